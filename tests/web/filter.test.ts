import { expect, test } from 'vitest';
import { parseFilter } from '../../web/src/filter.ts';

test.each([
  ['', {}],
  ['drop', { verdict: ['XDP_DROP', 'TC_ACT_SHOT', 'TCX_DROP'] }],
  ['verdict:drop TCP', { verdict: ['XDP_DROP', 'TC_ACT_SHOT', 'TCX_DROP'], protocol: ['tcp'] }],
  ['port:443 port:80', { port: [443, 80] }],
  ['10.0.0.0/8 2001:db8::/32 ::1', { prefix: ['10.0.0.0/8', '2001:db8::/32', '::1'] }],
  ['XDP_TX program:xdp_lb hook:xdp tc-ingress', { verdict: ['XDP_TX'], program: ['xdp_lb'], hook: ['xdp', 'tc-ingress'] }],
  ['pcap: tcp port 443 and net 10.0.0.0/8', { pcap: 'tcp port 443 and net 10.0.0.0/8' }],
  ['drop pcap:ip[8] < 5', { verdict: ['XDP_DROP', 'TC_ACT_SHOT', 'TCX_DROP'], pcap: 'ip[8] < 5' }],
])('%j is understood', (text, filter) => {
  expect(parseFilter(text)).toEqual({ filter });
});

test.each([
  ['port:http', 'port:http: expected a number up to 65535'],
  ['port:70000', 'port:70000: expected a number up to 65535'],
  ['program:', 'program: expected a value behind the colon'],
  ['pcap: ', /^pcap: expected an expression of tcpdump's/],
  ['tcp port 443', /^port: expected drop.*behind pcap:$/],
  ['droped', /^droped: expected drop, pass/],
])('%j is answered with what was expected', (text, problem) => {
  expect(parseFilter(text)).toEqual({ problem: typeof problem === 'string' ? problem : expect.stringMatching(problem) as unknown });
});
