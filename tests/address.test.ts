import fc from 'fast-check';
import { isIPv4, isIPv6 } from 'node:net';
import { describe, expect, test } from 'vitest';
import {
  formatAddress, formatIPv4, formatIPv6, formatMac, formatPrefix,
  parseAddress, parseIPv4, parseIPv6, parseMac, parsePrefix,
} from '../dataplane/address.ts';

const bytesOf = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

describe('IPv6 text', () => {
  // The examples of RFC 5952 §4 and §5, and the corners of the compression rule.
  test.each([
    ['2001:0db8:0:0:0:0:0002:1', '2001:db8::2:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:DB8::AAAA', '2001:db8::aaaa'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['1:0:0:0:0:0:0:0', '1::'],
    ['0:0:1:0:0:0:0:0', '0:0:1::'],
    ['::ffff:192.0.2.1', '::ffff:192.0.2.1'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
  ])('%s is written %s', (text, canonical) => {
    expect(formatIPv6(parseIPv6(text)!)).toBe(canonical);
  });

  test.each(['', ':', ':::', '1::2::3', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1::2:3:4:5:6:7:8', '12345::', 'g::', '::1.2.3', '1.2.3.4::', 'fe80::1%eth0', ' ::1', '::1/64', ':1:2:3:4:5:6:7:8'])(
    '%j is not an address', (text) => {
      expect(parseIPv6(text)).toBeUndefined();
    },
  );
});

test.each(['', '1.2.3', '1.2.3.4.5', '256.0.0.1', '01.2.3.4', '1.2.3.4 ', '1..2.3', '0x1.2.3.4', '-1.2.3.4', '1e1.0.0.0'])(
  '%j is not an IPv4 address', (text) => {
    expect(parseIPv4(text)).toBeUndefined();
  },
);

test('any four or sixteen bytes survive text, and Node reads the text as the same family', () => {
  fc.assert(fc.property(bytesOf(4), (bytes) => {
    expect(isIPv4(formatIPv4(bytes))).toBe(true);
    expect(parseAddress(formatAddress(bytes))).toEqual(bytes);
  }));
  // Mostly zero and 0xff bytes, so that runs of zero groups and mapped addresses occur.
  const sparse = fc.array(fc.constantFrom(0, 0, 0, 1, 0xff), { minLength: 16, maxLength: 16 }).map((list) => Uint8Array.from(list));
  fc.assert(fc.property(fc.oneof(bytesOf(16), sparse), (bytes) => {
    expect(isIPv6(formatIPv6(bytes))).toBe(true);
    expect(parseAddress(formatAddress(bytes))).toEqual(bytes);
  }));
});

test('any text is accepted exactly when Node accepts it', () => {
  const pieces = fc.array(fc.constantFrom(':', '::', '.', '0', '1', 'ffff', '255', '00', 'g'), { maxLength: 17 }).map((list) => list.join(''));
  fc.assert(fc.property(pieces, (text) => {
    expect(parseIPv6(text) !== undefined).toBe(isIPv6(text));
    expect(parseIPv4(text) !== undefined).toBe(isIPv4(text));
  }), { numRuns: 2000 });
});

test('a MAC address is read with colons or dashes, not mixed, and written with colons', () => {
  expect(formatMac(parseMac('02:0A:00:00:00:ff')!)).toBe('02:0a:00:00:00:ff');
  expect(formatMac(parseMac('02-0a-00-00-00-ff')!)).toBe('02:0a:00:00:00:ff');
  for (const text of ['02:0a:00:00:00', '02:0a:00:00:00:f', '02:0a-00:00:00:ff', '02:0a:00:00:00:ff:00']) expect(parseMac(text)).toBeUndefined();
});

test('a prefix keeps its host bits, and an address alone is a host prefix', () => {
  expect(formatPrefix(parsePrefix('10.1.2.3/8')!)).toBe('10.1.2.3/8');
  expect(parsePrefix('10.1.2.3')!.prefixBits).toBe(32);
  expect(parsePrefix('::1')!.prefixBits).toBe(128);
  expect(formatPrefix(parsePrefix('2001:db8::/32')!)).toBe('2001:db8::/32');
  for (const text of ['10.0.0.0/33', '10.0.0.0/', '10.0.0.0/08', '10.0.0.0/-1', '::/129', '10/8', '10.0.0.0/8/8']) expect(parsePrefix(text)).toBeUndefined();
});
