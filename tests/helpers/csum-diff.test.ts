import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checksumAdd } from '../../dataplane/packet/checksum.ts';
import { Bench } from './bench.ts';

const bench = new Bench('xdp');
const ZEROS = bench.bytes(new Uint8Array(16));
const ONES = bench.bytes(new Uint8Array(16).fill(0xff));
const MIXED = bench.bytes([0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x00, 0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99]);

describe('csum_diff', () => {
  // Results of Linux 6.18.
  test.each([
    ['a seed alone is folded', 0, 0, 0, 0, 0x1234_5678, 0x68ac],
    ['eight bytes of ones taken away leave 0', ONES, 8, ZEROS, 8, 0, 0],
    ['two bytes of ones taken away leave 0xffff', ONES, 2, ZEROS, 8, 0, 0xffff],
    ['eight bytes of ones taken from nothing leave 0', ONES, 8, 0, 0, 0, 0],
    ['two bytes of ones taken from nothing leave 0xffff', ONES, 2, 0, 0, 0, 0xffff],
    ['zeros taken from nothing leave 0', ZEROS, 8, 0, 0, 0, 0],
    ['zeros for zeros leave 0xffff', ZEROS, 8, ZEROS, 8, 0, 0xffff],
    ['zeros taken from a full seed leave 0xffff', ZEROS, 8, 0, 0, 0xffff_ffff, 0xffff],
    ['an odd length is summed to its last byte', 0, 0, MIXED, 13, 0x1234, 0x145],
    ['odd lengths differ', MIXED, 7, MIXED, 11, 0x9876_abcd, 0x5533],
    ['an odd length is taken away', MIXED, 7, 0, 0, 0x9876_abcd, 0x43ef],
    ['ones for ones leave 0xffff', ONES, 8, ONES, 8, 0, 0xffff],
    ['four bytes of ones taken away leave 0', ONES, 4, ZEROS, 4, 0, 0],
    ['ones added to nothing are 0xffff', 0, 0, ONES, 8, 0, 0xffff],
    ['a seed in the upper half is folded', 0, 0, ZEROS, 8, 0xffff_0000, 0xffff],
    ['ones taken from a full seed leave 0xffff', ONES, 8, ZEROS, 4, 0xffff_ffff, 0xffff],
  ])('%s', (_sentence, from, fromBytes, to, toBytes, seed, expected) => {
    expect(bench.call('csum_diff', from, fromBytes, to, toBytes, seed)).toBe(expected);
  });

  test('a header whose words are replaced keeps a valid checksum', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 20, maxLength: 60 }), fc.uint8Array({ minLength: 4, maxLength: 4 }), (header, fresh) => {
        const stored = bench.bytes(header);
        const before = Number(bench.call('csum_diff', 0, 0, stored, header.length, 0));
        const changed = Uint8Array.from(header);
        changed.set(fresh, 8);
        const after = Number(bench.call('csum_diff', stored + 8, 4, bench.bytes(fresh), 4, before));
        const naive = checksumAdd(0, changed, 0, changed.length);
        const swapped = ((after & 0xff) << 8) | (after >> 8);
        expect(swapped % 0xffff).toBe(naive % 0xffff);
      }),
    );
  });
});
