/**
 * Operators of partly known numbers (verifier/tnum.ts), held against all pairs of members of all pairs of such numbers.
 *
 * What is best said of a pair follows from its halves: an unknown bit is 0 or 1, so the result's bits are those that
 * both halves agree on. So each pair costs one step, begun from results of numbers that are known: for 8 bits 65,536
 * results and 43,046,721 pairs. What an operator says holds for every member if and only if it holds for what is best
 * said, since both are partly known numbers.
 */
import { tnumAdd, tnumAnd, tnumContains, tnumIntersect, tnumMul, tnumOr, tnumOverlap, tnumSub, tnumUnion, tnumXor, type Tnum } from '../../dataplane/verifier/tnum.ts';
import { Tally, type Row } from './row.ts';

/** All numbers of so many bits, in base 3: a digit for each bit, 2 where it is not known. Halves stand in front of the whole. */
export interface KnownBits {
  readonly bits: number;
  readonly values: Int32Array;
  readonly masks: Int32Array;
  /** By number: those with its lowest unknown bit 0, and 1; none of a number that is known. */
  readonly zero: Int32Array;
  readonly one: Int32Array;
}

export function allKnownBits(bits: number): KnownBits {
  const count = 3 ** bits;
  const all: KnownBits = { bits, values: new Int32Array(count), masks: new Int32Array(count), zero: new Int32Array(count).fill(-1), one: new Int32Array(count).fill(-1) };
  for (let number = 0; number < count; number++) {
    for (let bit = 0, rest = number, digit = 1; bit < bits; bit++, rest = Math.floor(rest / 3), digit *= 3) {
      if (rest % 3 === 1) all.values[number]! |= 1 << bit;
      if (rest % 3 !== 2) continue;
      all.masks[number]! |= 1 << bit;
      if (all.zero[number]! >= 0) continue;
      all.zero[number] = number - 2 * digit;
      all.one[number] = number - digit;
    }
  }
  return all;
}

export const tnumsOf = ({ values, masks }: KnownBits, at: number): Tnum[] => Array.from(values, (value, index) => ({ value: BigInt(value) << BigInt(at), mask: BigInt(masks[index]!) << BigInt(at) }));

export const tnumText = ({ value, mask }: Tnum): string => `(0x${value.toString(16)}; 0x${mask.toString(16)})`;

export interface BinaryOperator {
  readonly name: string;
  readonly tnum: (a: Tnum, b: Tnum) => Tnum;
  readonly concrete: (x: number, y: number) => number;
  readonly isExact: boolean;
  /** Where the lowest bits of the operands and of the result are. */
  readonly places: readonly (readonly [a: number, b: number, result: number])[];
}

export const BINARY: readonly BinaryOperator[] = [
  { name: 'add', tnum: tnumAdd, concrete: (x, y) => x + y, isExact: true, places: [[0, 0, 0], [56, 56, 56]] },
  { name: 'sub', tnum: tnumSub, concrete: (x, y) => x - y, isExact: true, places: [[0, 0, 0], [56, 56, 56]] },
  { name: 'and', tnum: tnumAnd, concrete: (x, y) => x & y, isExact: true, places: [[0, 0, 0]] },
  { name: 'or', tnum: tnumOr, concrete: (x, y) => x | y, isExact: true, places: [[0, 0, 0]] },
  { name: 'xor', tnum: tnumXor, concrete: (x, y) => x ^ y, isExact: true, places: [[0, 0, 0]] },
  { name: 'mul', tnum: tnumMul, concrete: (x, y) => x * y, isExact: false, places: [[0, 0, 0]] },
];

/** Results of so many bits are small: 64 bits of each, made once. */
class Wide {
  readonly #least: number;
  readonly #all: readonly bigint[];

  constructor(bits: number, at: number) {
    this.#least = -(1 << (bits + 1));
    this.#all = Array.from({ length: (1 << (2 * bits)) - this.#least }, (_, index) => BigInt.asUintN(64, BigInt(index + this.#least) << BigInt(at)));
  }

  of(small: number): bigint {
    return this.#all[small - this.#least]!;
  }
}

/** All pairs of numbers of so many bits. */
export function checkBinary({ name, tnum, concrete, isExact }: BinaryOperator, bits: number, [atA, atB, at]: readonly [number, number, number]): Row {
  const all = allKnownBits(bits);
  const { values, zero, one } = all;
  const [lefts, rights] = [tnumsOf(all, atA), tnumsOf(all, atB)];
  const wide = new Wide(bits, at);
  const known = 1 << bits;
  // Bits that are 1 in all results, and in some: of each left number with each known one, then with each.
  const [everyKnown, someKnown] = [new Int32Array(values.length * known), new Int32Array(values.length * known)];
  const [every, some] = [new Int32Array(values.length), new Int32Array(values.length)];
  const tally = new Tally();
  for (let a = 0; a < values.length; a++) {
    const row = a * known;
    const [rowZero, rowOne] = [zero[a]! * known, one[a]! * known];
    for (let y = 0; y < known; y++) {
      if (rowZero < 0) everyKnown[row + y] = someKnown[row + y] = concrete(values[a]!, y);
      else {
        everyKnown[row + y] = everyKnown[rowZero + y]! & everyKnown[rowOne + y]!;
        someKnown[row + y] = someKnown[rowZero + y]! | someKnown[rowOne + y]!;
      }
    }
    for (let b = 0; b < values.length; b++) {
      const half = zero[b]!;
      if (half < 0) {
        every[b] = everyKnown[row + values[b]!]!;
        some[b] = someKnown[row + values[b]!]!;
      } else {
        every[b] = every[half]! & every[one[b]!]!;
        some[b] = some[half]! | some[one[b]!]!;
      }
      const value = wide.of(every[b]!);
      const mask = wide.of(some[b]! & ~every[b]!);
      const found = tnum(lefts[a]!, rights[b]!);
      tally.looked++;
      if (found.value === value && found.mask === mask) continue;
      tally.inexact++;
      if ((found.value & found.mask) !== 0n || !tnumContains(found, { value, mask })) tally.lost(() => `${tnumText(lefts[a]!)} ${name} ${tnumText(rights[b]!)} is ${tnumText({ value, mask })}, found ${tnumText(found)}`);
    }
  }
  return tally.row(`known bits: ${name}${at === 0 ? '' : `, the highest ${bits} bits`}`, isExact ? 'must be exact' : 'counted');
}

/** What says how two sets of members lie to each other, and puts them together. */
export const SETS = { union: tnumUnion, intersect: tnumIntersect, overlap: tnumOverlap, contains: tnumContains };

/** All pairs: union, intersection, whether they overlap, whether one contains the other. */
export function checkSets(bits: number, { union, intersect, overlap, contains }: typeof SETS = SETS): Row {
  const all = allKnownBits(bits);
  const { values, masks, zero, one } = all;
  const tnums = tnumsOf(all, 0);
  const wide = new Wide(bits, 0);
  // Of the members that both have: how many, bits that are 1 in all, and in some.
  const [count, every, some] = [new Int32Array(values.length), new Int32Array(values.length), new Int32Array(values.length)];
  const size = Int32Array.from(masks, (mask) => 2 ** [...mask.toString(2)].filter((bit) => bit === '1').length);
  const tally = new Tally();
  for (let a = 0; a < values.length; a++) {
    for (let b = 0; b < values.length; b++) {
      const [half, other] = [zero[b]!, one[b]!];
      if (half < 0) {
        const isIn = (values[b]! & ~masks[a]!) === values[a]!;
        count[b] = isIn ? 1 : 0;
        every[b] = isIn ? values[b]! : -1;
        some[b] = isIn ? values[b]! : 0;
      } else {
        count[b] = count[half]! + count[other]!;
        every[b] = every[half]! & every[other]!;
        some[b] = some[half]! | some[other]!;
      }
      const [left, right] = [tnums[a]!, tnums[b]!];
      const both = count[b]! > 0;
      const said = (what: string): void => tally.lost(() => `${what} of ${tnumText(left)} and ${tnumText(right)}`);
      tally.looked++;
      if (overlap(left, right) !== both) said('the overlap');
      if (contains(left, right) !== (count[b] === size[b])) said('the containment');
      if (both) {
        const { value, mask } = intersect(left, right);
        if (value !== wide.of(every[b]!) || mask !== wide.of(some[b]! & ~every[b]!)) said('the intersection');
      }
      const { value, mask } = union(left, right);
      const everyOfBoth = values[a]! & values[b]!;
      const someOfBoth = values[a]! | masks[a]! | values[b]! | masks[b]!;
      if (value !== wide.of(everyOfBoth) || mask !== wide.of(someOfBoth & ~everyOfBoth)) said('the union');
    }
  }
  return tally.row('known bits: union, intersection, overlap, containment', 'must be exact');
}
