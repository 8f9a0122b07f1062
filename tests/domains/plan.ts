/** All that is gone through, for numbers of so many bits. */
import { ALU_OPS, BRANCH_OPS, type AluOp, type BranchOp } from '../../dataplane/bpf/isa.ts';
import { of } from '../../dataplane/verifier/scalar.ts';
import { checkBranch, checkBranchOf, checkBranchWithItself, type Known } from './branches.ts';
import { checkDeductions, PARTS } from './deductions.ts';
import { checkArithmetic, checkUnaryIntervals, checkUnion, CONVERSIONS, SHIFTS, type Bounds } from './intervals.ts';
import { allKnownBits, BINARY, checkBinary, checkSets, tnumsOf, tnumText } from './known-bits.ts';
import type { Row } from './row.ts';
import { runFrom } from './runs.ts';
import { checkRanges, checkShifts } from './shifts.ts';

/** Bits of operands. */
export interface Sizes {
  /** Pairs of partly known numbers. */
  readonly knownBits: number;
  /** Intervals by themselves; beside partly known numbers, or intervals of another order. */
  readonly intervals: number;
  readonly beside: number;
  /** Pairs of intervals by arithmetic, and by branches. */
  readonly arithmetic: number;
  readonly branches: number;
  /** Pairs of partly known numbers by branches. */
  readonly branchBits: number;
  /** All five parts of a number at once. */
  readonly allParts: number;
}

export const FULL: Sizes = { knownBits: 8, intervals: 8, beside: 7, arithmetic: 6, branches: 5, branchBits: 6, allParts: 3 };
export const SMALL: Sizes = { knownBits: 4, intervals: 4, beside: 4, arithmetic: 3, branches: 3, branchBits: 3, allParts: 2 };

const WIDTHS = [32, 64] as const;
/** Where numbers change their sign, or their width. */
const PLACES: readonly (readonly [name: string, place: bigint])[] = [['0', 0n], ['2^31', 1n << 31n], ['2^32', 1n << 32n], ['2^63', 1n << 63n]];
const ARITHMETIC: readonly AluOp[] = ALU_OPS.filter((op) => !/div|mod|sh|mov/.test(op));
/** Bounds that Linux gives exactly, where nothing overflows. */
const EXACT: Partial<Record<AluOp, Bounds>> = { add: ['unsigned', 'signed'], mul: ['unsigned', 'signed'] };
const isSigned = (op: BranchOp): boolean => op.startsWith('js') && op !== 'jset';

/** A step by its name, which runs when asked for. */
export interface Step {
  readonly part: 'bits' | 'intervals' | 'deductions' | 'branches';
  readonly run: () => Row;
}

export function stepsFor(sizes: Sizes): Step[] {
  return [...bitsSteps(sizes), ...intervalSteps(sizes), ...deductionSteps(sizes), ...branchSteps(sizes)];
}

function bitsSteps({ knownBits }: Sizes): Step[] {
  const step = (run: () => Row): Step => ({ part: 'bits', run });
  return [
    ...BINARY.flatMap((operator) => operator.places.map((place) => step(() => checkBinary(operator, knownBits, place)))),
    step(() => checkSets(knownBits)),
    step(() => checkShifts(knownBits)),
    step(() => checkRanges(knownBits)),
  ];
}

function intervalSteps({ intervals, arithmetic }: Sizes): Step[] {
  const step = (run: () => Row): Step => ({ part: 'intervals', run });
  const count = 2 ** intervals;
  const [whole, pairs] = [{ unsigned: runFrom(0n, count), signed: runFrom(BigInt(-count / 2), count) }, { unsigned: runFrom(0n, 2 ** arithmetic), signed: runFrom(BigInt(-(2 ** arithmetic) / 2), 2 ** arithmetic) }];
  /** Ends of intervals of which there are too many for pairs. */
  const ends = [0, 1, Math.floor(count / 32) + 5, count / 2 - 1, count / 2, count - 2, count - 1];
  const few = { unsigned: runFrom(0n, count, ends), signed: runFrom(BigInt(-count / 2), count, ends) };
  return [
    ...WIDTHS.flatMap((width) => ARITHMETIC.flatMap((op) => [
      step(() => checkArithmetic(`${arithmetic}-bit unsigned intervals`, op, width, pairs.unsigned, pairs.unsigned, width === 64 ? EXACT[op] : undefined)),
      step(() => checkArithmetic(`${arithmetic}-bit signed intervals`, op, width, pairs.signed, pairs.signed)),
      step(() => checkArithmetic(`${intervals}-bit unsigned intervals, some signed ones`, op, width, whole.unsigned, few.signed)),
      step(() => checkArithmetic(`${intervals}-bit signed intervals, some unsigned ones`, op, width, whole.signed, few.unsigned)),
    ])),
    ...(['unsigned', 'signed'] as const).map((order) => step(() => checkUnaryIntervals(`${intervals}-bit ${order} intervals: shifts by every count`, whole[order], SHIFTS))),
    ...[0n, 1n << 7n, 1n << 15n, 1n << 16n, ...PLACES.slice(1).map(([, place]) => place)].map((place) =>
      step(() => checkUnaryIntervals(`${intervals}-bit intervals around ${place}: negation, extensions, truncations, byte swaps`, runFrom(place - BigInt(count / 2), count), CONVERSIONS))),
    ...(['unsigned', 'signed'] as const).map((order) => step(() => checkUnion(`${arithmetic}-bit ${order} intervals: union`, pairs[order]))),
  ];
}

function deductionSteps({ beside, allParts }: Sizes): Step[] {
  const step = (run: () => Row): Step => ({ part: 'deductions', run });
  return PLACES.flatMap(([name, place]) => [
    step(() => checkDeductions(`${beside} bits around ${name}`, place, beside, ['unsigned', 'bits'])),
    step(() => checkDeductions(`${beside} bits around ${name}`, place, beside, ['signed', 'bits'])),
    step(() => checkDeductions(`${beside - 1} bits around ${name}`, place, beside - 1, ['unsigned', 'signed'])),
    step(() => checkDeductions(`${beside - 1} bits around ${name}`, place, beside - 1, ['unsigned', 'unsigned32'])),
    step(() => checkDeductions(`${beside - 1} bits around ${name}`, place, beside - 1, ['signed', 'signed32'])),
    step(() => checkDeductions(`${allParts} bits around ${name}`, place, allParts, PARTS)),
  ]);
}

function branchSteps({ intervals, branches, branchBits }: Sizes): Step[] {
  const step = (run: () => Row): Step => ({ part: 'branches', run });
  const run = (place: bigint, bits: number, ends?: readonly number[]): ReturnType<typeof runFrom> => runFrom(place - BigInt(2 ** bits / 2), 2 ** bits, ends);
  const count = 2 ** intervals;
  const ends = [0, count / 2 - 1, count / 2, count - 1];
  const values = Array.from({ length: 2 ** branchBits }, (_, index) => BigInt(index));
  const all = allKnownBits(branchBits);
  const known = tnumsOf(all, 0).map((tnum, index): Known => ({ scalar: of(tnum.value, tnum.mask), text: tnumText(tnum), members: values.flatMap((_, value) => ((value & ~all.masks[index]!) === all.values[index]! ? [value] : [])) }));
  return WIDTHS.flatMap((width) => BRANCH_OPS.flatMap((op) => {
    // Around 0 the signed bounds have all intervals, around 2^63 the unsigned ones.
    const [place, ...tight] = isSigned(op) ? ([PLACES[0]!, 'signed'] as const) : ([PLACES[3]!, 'unsigned'] as const);
    const isExact = width === 64 && !['jset', 'jne'].includes(op);
    return [
      ...PLACES.map((each) => step(() => checkBranch(`${branches}-bit intervals around ${each[0]}`, op, width, run(each[1], branches), run(each[1], branches), isExact && each === place ? tight : undefined))),
      step(() => checkBranch(`${intervals}-bit intervals around ${place[0]}, some`, op, width, run(place[1], intervals), run(place[1], intervals, ends))),
      step(() => checkBranchOf(`${branchBits} known bits`, op, width, values, known)),
      step(() => checkBranchWithItself(`${branchBits} known bits`, op, width, values, known)),
    ];
  }));
}
