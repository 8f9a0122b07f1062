/**
 * What the parts of a number say of each other: whatever intervals and bits are put together, no number that is in all
 * of them may be lost. Looked at around places where numbers change their sign or their width.
 */
import { sync, UNKNOWN, type Scalar } from '../../dataplane/verifier/scalar.ts';
import { allKnownBits } from './known-bits.ts';
import { clear, HULL, isEmpty, join, noHulls, Numbers } from './numbers.ts';
import { Tally, type Row } from './row.ts';

/** One thing that may be said of a number, and the numbers around the place that it leaves, a bit for each. */
interface Said {
  readonly part: Partial<Scalar>;
  readonly members: Int32Array;
}

export const PARTS = ['unsigned', 'signed', 'unsigned32', 'signed32', 'bits'] as const;
export type Part = (typeof PARTS)[number];

const membersOf = (values: readonly bigint[], isIn: (value: bigint) => boolean): Int32Array => {
  const members = new Int32Array(Math.ceil(values.length / 32));
  for (const [index, value] of values.entries()) if (isIn(value)) members[index >> 5]! |= 1 << (index & 31);
  return members;
};

const BOUNDS: Readonly<Record<Exclude<Part, 'bits'>, { readonly of: (value: bigint) => bigint; readonly part: (least: bigint, greatest: bigint) => Partial<Scalar> }>> = {
  unsigned: { of: (value) => value, part: (umin, umax) => ({ umin, umax }) },
  signed: { of: (value) => BigInt.asIntN(64, value), part: (smin, smax) => ({ smin, smax }) },
  unsigned32: { of: (value) => BigInt.asUintN(32, value), part: (least, greatest) => ({ u32min: Number(least), u32max: Number(greatest) }) },
  signed32: { of: (value) => BigInt.asIntN(32, value), part: (least, greatest) => ({ s32min: Number(least), s32max: Number(greatest) }) },
};

/** All that the part can say that begins and ends at one of the values; of bits, which of the low ones, and on which side of the middle. */
function allSaid(part: Part, values: readonly bigint[]): Said[] {
  if (part === 'bits') return allBits(values);
  const { of, part: said } = BOUNDS[part];
  const sorted = values.map(of).toSorted((a, b) => (a < b ? -1 : 1));
  return sorted.flatMap((least, index) => sorted.slice(index).map((greatest): Said => ({ part: said(least, greatest), members: membersOf(values, (value) => of(value) >= least && of(value) <= greatest) })));
}

function allBits(values: readonly bigint[]): Said[] {
  const half = values.length / 2;
  const low = BigInt(half - 1);
  const [below, above] = [values[0]! & ~low, values[half]! & ~low];
  const sides = [{ value: below, mask: 0n }, { value: above, mask: 0n }, { value: below & above, mask: below ^ above }];
  const all = allKnownBits(Math.log2(half));
  return sides.flatMap((side) => Array.from(all.values, (bits, index): Said => {
    const value = side.value | BigInt(bits);
    const mask = side.mask | BigInt(all.masks[index]!);
    return { part: { value, mask }, members: membersOf(values, (each) => (each & ~mask) === value) };
  }));
}

/** All combinations of what these parts may say of 2^bits numbers around the place. Those that leave none of them are passed over. */
export function checkDeductions(what: string, place: bigint, bits: number, parts: readonly Part[], deduce: (said: Scalar) => Scalar = sync): Row {
  const count = 2 ** bits;
  const values = Array.from({ length: count }, (_, index) => BigInt.asUintN(64, place + BigInt(index - count / 2)));
  const numbers = new Numbers(values);
  const said = parts.map((part) => allSaid(part, values));
  const words = Math.ceil(count / 32);
  /** By depth: the numbers that all parts so far leave. */
  const left = Array.from({ length: parts.length + 1 }, () => new Int32Array(words).fill(count < 32 ? 2 ** count - 1 : -1));
  const hull = noHulls(1);
  const tally = new Tally();

  const combine = (depth: number, scalar: Scalar): void => {
    if (depth === parts.length) {
      clear(hull, 0);
      for (let word = 0; word < words; word++) {
        for (let rest = left[depth]![word]!; rest !== 0; rest &= rest - 1) join(hull, 0, numbers.hulls, (32 * word + 31 - Math.clz32(rest & -rest)) * HULL);
      }
      if (isEmpty(hull, 0)) return;
      tally.looked++;
      if (!numbers.isWithin(hull, 0, deduce(scalar))) tally.lost(() => JSON.stringify(scalar, (_, each: unknown) => (typeof each === 'bigint' ? String(each) : each)));
      return;
    }
    for (const { part, members } of said[depth]!) {
      let some = 0;
      for (let word = 0; word < words; word++) some |= left[depth + 1]![word] = left[depth]![word]! & members[word]!;
      if (some !== 0) combine(depth + 1, { ...scalar, ...part });
    }
  };
  combine(0, UNKNOWN);
  return tally.row(`${what}: ${parts.length === PARTS.length ? 'all parts' : parts.join(' and ')}`, 'not counted');
}
