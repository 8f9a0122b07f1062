/** Where a filter expression is wrong, which libpcap does not say. */
import { describe, expect, test } from 'vitest';
import { nameIn, nameless } from '../../dataplane/devices/filter-syntax.ts';
import { byteFilter, expectSyntax, whyNoFilters } from '../../dataplane/devices/packet-filter.ts';

test.each([
  ['udp port 53 and host 10.0.0.1', undefined],
  ['ether host 0a:0b:0c:0d:0e:0f and ip6 host fe80::1 and udp[8] = 0xff', undefined],
  ['tcp[tcpflags] & tcp-syn != 0', undefined],
  ['host example and port http', 'example'],
  ['port http', 'http'],
])('the name in %s', (expression, name) => {
  expect(nameIn(expression)).toBe(name);
});

test('names stand for numbers', () => {
  expect(nameless('host example and tcp port http and ether host 0a:0b:0c:0d:0e:0f')).toBe('host 192.0.2.1 and tcp port 1 and ether host 0a:0b:0c:0d:0e:0f');
});

const why = whyNoFilters();
describe.skipIf(why !== undefined)(`libpcap${why === undefined ? '' : ` (${why})`}`, () => {
  const mistakes: readonly (readonly [expression: string, place: string])[] = [
    ['udp prot 53', "found 'prot' behind 'udp'"],
    ['bad filter expression', "found 'bad' at the beginning"],
    ['tcp port', "ends behind 'port', where more is expected"],
    ['((tcp) and udp', "ends behind 'udp', where more is expected"],
    ['tcp)', "found ')' behind 'tcp'"],
    ['tcp[13 & 2 != 0', "found '!=' behind '2'"],
    ['tcp[13] & 2', "ends behind '2', where more is expected"],
    ['(ip[0] + 2', "ends behind '2', where more is expected"],
    ['udp and and tcp', "found 'and' behind 'and'"],
    ['tcp.port == 443', "found 'tcp.port' at the beginning"],
    ['tcp port http and ( src', "ends behind 'src', where more is expected"],
    ['"', "found '\"' at the beginning"],
  ];

  test.each(mistakes)("'%s' is told where it is wrong, and what is right", (expression, place) => {
    const message = `filter '${expression}': syntax error, ${place}; man pcap-filter says what there is, such as 'udp port 53 and not src net 10.0.0.0/8'`;
    expect(() => byteFilter(expression, 65_535)).toThrow(message);
    expect(() => expectSyntax(expression)).toThrow(message);
  });

  test('what is no mistake of syntax is told in its words', () => {
    expect(() => byteFilter('port 99999', 65_535)).toThrow("filter 'port 99999': illegal port number 99999 > 65535; man pcap-filter");
    expectSyntax('port http and host example');
  });
});
