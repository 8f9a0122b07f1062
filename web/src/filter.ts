/**
 * What stands in the filter box: words, each of one kind, that all have to fit; of a kind that comes twice, one.
 *
 *   drop tcp port:443 10.0.0.0/8 program:xdp_lb hook:xdp reason:XDP_DROP
 *   drop pcap: tcp[tcpflags] & tcp-syn != 0 and net 10.0.0.0/8
 *
 * What is behind `pcap:` is tcpdump's, up to the end.
 */
import type { Filter } from './stream.ts';

const NAMED = ['hook', 'verdict', 'device', 'program', 'fate', 'reason', 'prefix', 'protocol'] as const;
type Named = (typeof NAMED)[number];

/** For who asks what can stand there. */
export const FILTER_HELP = `Words that all have to fit: drop pass tx redirect aborted, tcp udp icmp icmpv6 sctp gre, xdp tc-ingress tc-egress, 10.0.0.0/8, port:443, ${NAMED.map((kind) => `${kind}:`).join(' ')}; and at the end pcap: with an expression of tcpdump's`;

const PROTOCOLS: ReadonlySet<string> = new Set(['tcp', 'udp', 'icmp', 'icmpv6', 'sctp', 'gre']);
const HOOKS: ReadonlySet<string> = new Set(['xdp', 'tc-ingress', 'tc-egress']);
const PREFIX = /^(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]*:[0-9a-f:.]*)(?:\/\d{1,3})?$/i;

/** Words that mean several verdicts. */
const VERDICTS: Readonly<Record<string, readonly string[]>> = {
  drop: ['XDP_DROP', 'TC_ACT_SHOT', 'TCX_DROP'],
  pass: ['XDP_PASS', 'TC_ACT_OK', 'TCX_PASS', 'TCX_NEXT', 'TC_ACT_UNSPEC'],
  tx: ['XDP_TX'],
  redirect: ['XDP_REDIRECT', 'TC_ACT_REDIRECT', 'TCX_REDIRECT'],
  aborted: ['XDP_ABORTED'],
};

export type Parsed = { readonly filter: Filter } | { readonly problem: string };

export function parseFilter(text: string): Parsed {
  const [, words = '', expression] = /^(.*?)(?:(?:^|\s)pcap:(.*))?$/s.exec(text.trim()) ?? [];
  if (expression?.trim() === '') return { problem: "pcap: expected an expression of tcpdump's behind the colon, such as tcp port 443" };
  const lists: Partial<Record<Named, string[]>> = {};
  const ports: number[] = [];
  const add = (kind: Named, ...values: readonly string[]): void => void (lists[kind] ??= []).push(...values);
  for (const word of words.trim().split(/\s+/).filter((one) => one !== '')) {
    const [kind, value] = split(word);
    if (kind === 'port') {
      const port = Number(value);
      if (!Number.isInteger(port) || port < 0 || port > 65_535) return { problem: `port:${value}: expected a number up to 65535` };
      ports.push(port);
    } else if (kind !== undefined) {
      if (value === '') return { problem: `${kind}: expected a value behind the colon` };
      add(kind, ...(kind === 'verdict' ? (VERDICTS[value.toLowerCase()] ?? [value]) : [value]));
    } else if (VERDICTS[word.toLowerCase()] !== undefined) add('verdict', ...VERDICTS[word.toLowerCase()]!);
    else if (PROTOCOLS.has(word.toLowerCase())) add('protocol', word.toLowerCase());
    else if (HOOKS.has(word.toLowerCase())) add('hook', word.toLowerCase());
    else if (/^(XDP|TC|TCX)_/.test(word)) add('verdict', word);
    else if (PREFIX.test(word)) add('prefix', word);
    else return { problem: `${word}: expected drop, pass, tx, redirect, a verdict, a protocol, a prefix, or one of ${['port', ...NAMED].join(':, ')}:, or an expression of tcpdump's behind pcap:` };
  }
  return { filter: { ...lists, ...(ports.length === 0 ? {} : { port: ports }), ...(expression === undefined ? {} : { pcap: expression.trim() }) } };
}

/** `10.0.0.1` and `::1` have colons, or none, that are no kind. */
function split(word: string): readonly [Named | 'port' | undefined, string] {
  const colon = word.indexOf(':');
  const kind = word.slice(0, colon).toLowerCase();
  if (colon > 0 && (kind === 'port' || (NAMED as readonly string[]).includes(kind))) return [kind as Named | 'port', word.slice(colon + 1)];
  return [undefined, word];
}
