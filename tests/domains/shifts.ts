/** Operators of one partly known number: shifts, byte swaps, the next member; and what a range says of bits. */
import { swapBytes } from '../../dataplane/engine/interpreter-arithmetic.ts';
import { of } from '../../dataplane/verifier/scalar.ts';
import { byteSwap } from '../../dataplane/verifier/scalar-arithmetic.ts';
import { tnumArsh, tnumLsh, tnumNext, tnumRange, tnumRsh, type Tnum } from '../../dataplane/verifier/tnum.ts';
import { allKnownBits, tnumsOf, tnumText } from './known-bits.ts';
import { Tally, type Row } from './row.ts';

/** An operator, and what it is of a number that is known. */
interface Unary {
  readonly name: string;
  readonly tnum: (a: Tnum) => Tnum;
  readonly concrete: (x: bigint) => bigint;
}

const u64 = (x: bigint): bigint => BigInt.asUintN(64, x);

const SHIFTS: readonly Unary[] = [
  ...Array.from({ length: 64 }, (_, count) => BigInt(count)).flatMap((count): Unary[] => [
    { name: `<< ${count}`, tnum: (a) => tnumLsh(a, count), concrete: (x) => u64(x << count) },
    { name: `>> ${count}`, tnum: (a) => tnumRsh(a, count), concrete: (x) => x >> count },
    { name: `s>> ${count}`, tnum: (a) => tnumArsh(a, count, 64), concrete: (x) => u64(BigInt.asIntN(64, x) >> count) },
    ...(count < 32n ? [{ name: `s>> ${count} of 32 bits`, tnum: (a: Tnum): Tnum => tnumArsh(a, count, 32), concrete: (x: bigint): bigint => BigInt.asUintN(32, BigInt.asIntN(32, x) >> count) }] : []),
  ]),
  ...([16, 32, 64] as const).map((bits): Unary => ({ name: `bswap${bits}`, tnum: ({ value, mask }) => byteSwap('bswap', bits, of(value, mask)), concrete: (x) => swapBytes(x, bits) })),
];

/** All numbers of so many bits, at the lowest, on either side of the middle, and at the highest: by every count, and swapped. */
export function checkShifts(bits: number): Row {
  const all = allKnownBits(bits);
  const { values, zero, one } = all;
  const [every, some] = [new BigUint64Array(values.length), new BigUint64Array(values.length)];
  const tally = new Tally();
  for (const at of [0, 32 - bits, 32, 64 - bits]) {
    const numbers = tnumsOf(all, at);
    for (const { name, tnum, concrete } of SHIFTS) {
      for (let a = 0; a < values.length; a++) {
        const half = zero[a]!;
        if (half < 0) every[a] = some[a] = concrete(numbers[a]!.value);
        else {
          every[a] = every[half]! & every[one[a]!]!;
          some[a] = some[half]! | some[one[a]!]!;
        }
        const { value, mask } = tnum(numbers[a]!);
        tally.looked++;
        if (value !== every[a] || mask !== (some[a]! & ~every[a]!)) tally.lost(() => `${tnumText(numbers[a]!)} ${name}: found ${tnumText({ value, mask })}`);
      }
    }
  }
  return tally.row('known bits: shifts by every count, byte swaps', 'must be exact');
}

/** All ranges of numbers of so many bits; and of each partly known number, the member behind each number. */
export function checkRanges(bits: number): Row {
  const tally = new Tally();
  const count = 1 << bits;
  for (const at of [0n, BigInt(64 - bits)]) {
    for (let min = 0; min < count; min++) {
      let [every, some] = [-1, 0];
      for (let max = min; max < count; max++) {
        every &= max;
        some |= max;
        // What is below the place is either all 0, or anything.
        const below = (1n << at) - 1n;
        const { value, mask } = tnumRange(BigInt(min) << at, (BigInt(max) << at) | below);
        tally.looked++;
        // A range shares what stands in front of the first bit that differs, and of numbers in a row nothing behind it.
        if (value !== BigInt(every) << at || mask !== ((BigInt(some & ~every) << at) | below)) tally.lost(() => `${min}..${max} at ${at}: found ${tnumText({ value, mask })}`);
      }
    }
  }
  const all = allKnownBits(bits);
  for (const [index, tnum] of tnumsOf(all, 0).entries()) {
    let next = all.values[index]! | all.masks[index]!;
    const greatest = BigInt(next);
    for (let from = count; from >= 0; from--) {
      if (from + 1 < count && ((from + 1) & ~all.masks[index]!) === all.values[index]!) next = from + 1;
      tally.looked++;
      if (tnumNext(tnum, BigInt(from)) !== (from >= Number(greatest) ? greatest : BigInt(next))) tally.lost(() => `behind ${from} in ${tnumText(tnum)}`);
    }
  }
  return tally.row('known bits: ranges, next members', 'must be exact');
}
