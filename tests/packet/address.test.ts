import { isIPv4, isIPv6 } from 'node:net';

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { formatAddress, formatIPv6, formatMac, formatPrefix, parseAddress, parseIPv4, parseIPv6, parseMac, parsePrefix } from '../../dataplane/address.ts';
import { addressBytes, macBytes } from '../../dataplane/packet/address.ts';

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

/** Texts that are nearly addresses. */
const nearly = fc
  .array(fc.constantFrom('0', '1', 'ff', 'ffff', '255', '256', ':', '::', '.', 'g', '00', '10.0.0.1'), {
    maxLength: 16,
  })
  .map((parts) => parts.join(''));

describe('addresses', () => {
  test.each([
    ['10.0.0.1', [10, 0, 0, 1]],
    ['255.255.255.255', [255, 255, 255, 255]],
  ])('%s is IPv4', (text, expected) => {
    expect([...parseIPv4(text)!]).toEqual(expected);
  });

  test.each(['10.0.0', '10.0.0.256', '010.0.0.1', '10.0.0.1 ', '10.0.0.1.2', '1.2.3.', '', '0x0a.0.0.1', '-1.0.0.0'])(
    '"%s" is not IPv4',
    (text) => {
      expect(parseIPv4(text)).toBeUndefined();
    },
  );

  // The examples of RFC 5952 §1, 2 and 4, and of RFC 4291 §2.2.
  test.each([
    ['2001:0DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:0:0:0:2:1', '2001:db8::2:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['1:0:0:0:0:0:0:0', '1::'],
    ['FF01:0:0:0:0:0:0:101', 'ff01::101'],
    ['::FFFF:129.144.52.38', '::ffff:129.144.52.38'],
    ['::13.1.68.3', '::d01:4403'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ])('%s is written %s', (text, expected) => {
    expect(formatIPv6(parseIPv6(text)!)).toBe(expected);
  });

  test.each([
    '',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7::8',
    'fe80::1%eth0',
    '12345::',
    'g::',
    '::1.2.3',
    '1.2.3.4::',
    ':1:2:3:4:5:6:7:8',
    '1:2:3:4:5:6:7:1.2.3.4',
  ])('"%s" is not IPv6', (text) => {
    expect(parseIPv6(text)).toBeUndefined();
  });

  test('what is accepted is what Node accepts, zone names and a :: for no hextet aside', () => {
    fc.assert(
      fc.property(nearly, (text) => {
        const emptyRun = text.includes('::') && parseIPv6(text.replace('::', ':')) !== undefined;
        expect(parseAddress(text) !== undefined).toBe(isIPv4(text) || (isIPv6(text) && !emptyRun));
      }),
      { numRuns: 3000 },
    );
  });

  test('every address survives being written and read', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          bytes(4),
          bytes(16),
          bytes(16).map((all) => all.map((byte, index) => (index % 5 < 3 ? 0 : byte))),
        ),
        (address) => {
          expect(parseAddress(formatAddress(address))).toEqual(address);
        },
      ),
    );
  });

  test('MAC addresses take either separator, but one', () => {
    fc.assert(fc.property(bytes(6), (mac) => void expect(parseMac(formatMac(mac))).toEqual(mac)));
    expect([...parseMac('02-00-0a-0b-0c-FF')!]).toEqual([2, 0, 10, 11, 12, 255]);
    for (const text of ['02:00:00:00:00', '02:00-00:00:00:01', '020000000001', '02:00:00:00:00:001'])
      expect(parseMac(text)).toBeUndefined();
  });

  test('prefixes keep the address as written; an address alone is all of its bits', () => {
    expect(formatPrefix(parsePrefix('10.1.2.3/8')!)).toBe('10.1.2.3/8');
    expect(formatPrefix(parsePrefix('fd00::/64')!)).toBe('fd00::/64');
    expect(formatPrefix(parsePrefix('10.1.2.3')!)).toBe('10.1.2.3/32');
    expect(parsePrefix('0.0.0.0/0')!.prefixBits).toBe(0);
    for (const text of ['10.0.0.0/33', '10.0.0.0/', '10.0.0.0/08', '10.0.0.0/-1', 'fd00::/129', '/8', '10.0.0.0/8/8'])
      expect(parsePrefix(text)).toBeUndefined();
  });

  test('builders say what they wanted', () => {
    expect(() => addressBytes('10.0.0')).toThrow('found "10.0.0", expected an IPv4 or IPv6 address');
    expect(() => macBytes('eth0')).toThrow('found "eth0", expected a MAC address');
  });
});
