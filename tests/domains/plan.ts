/** All that is gone through, for numbers of so many bits. */
import { BRANCH_OPS, type BranchOp } from '../../dataplane/bpf/isa.ts';
import { of } from '../../dataplane/verifier/scalar.ts';
import { checkBranch, checkBranchOf, checkBranchWithItself, type Known } from './branches.ts';
import { checkDeductions, PARTS } from './deductions.ts';
import { OPERATORS, type Operator } from './digest.ts';
import { checkArithmetic, checkUnaryIntervals, checkUnion, CONVERSIONS, SHIFTS, type Bounds } from './intervals.ts';
import { allKnownBits, BINARY, checkBinary, checkSets, tnumsOf, tnumText } from './known-bits.ts';
import { checkClasses, checkEachPair, type Part } from './pairs.ts';
import type { Row } from './row.ts';
import { runFrom, type Run } from './runs.ts';
import { checkRanges, checkShifts } from './shifts.ts';

const ORDERS = ['unsigned', 'signed'] as const;

/** Bits of operands. */
export interface Sizes {
  /** Pairs of partly known numbers. */
  readonly knownBits: number;
  /** Intervals by themselves; beside partly known numbers, or intervals of another order. */
  readonly intervals: number;
  readonly beside: number;
  /** Pairs of intervals by arithmetic, of which the verifier is asked all; by classes; and of two orders. */
  readonly each: number;
  readonly classes: number;
  readonly mixed: number;
  /** Parts in which classes of products are looked at, where there are more than memory. */
  readonly productParts: Readonly<Record<(typeof ORDERS)[number], number>>;
  /** Pairs of intervals by union, and by branches. */
  readonly unions: number;
  readonly branches: number;
  /** Pairs of partly known numbers by branches. */
  readonly branchBits: number;
  /** All five parts of a number at once. */
  readonly allParts: number;
}

export const FULL: Sizes = { knownBits: 8, intervals: 8, beside: 7, each: 6, classes: 8, mixed: 5, productParts: { unsigned: 3, signed: 1 }, unions: 7, branches: 5, branchBits: 6, allParts: 3 };
export const SMALL: Sizes = { knownBits: 4, intervals: 4, beside: 4, each: 3, classes: 4, mixed: 3, productParts: { unsigned: 3, signed: 1 }, unions: 3, branches: 3, branchBits: 3, allParts: 2 };

const WIDTHS = [32, 64] as const;
/** Where numbers change their sign, or their width. */
const PLACES: readonly (readonly [name: string, place: bigint])[] = [['0', 0n], ['2^31', 1n << 31n], ['2^32', 1n << 32n], ['2^63', 1n << 63n]];
/** Bounds that Linux gives exactly: of all sums and differences, and of products that nothing negative is in. */
const exactOf = (op: Operator, isUnsigned: boolean): Bounds => (op === 'add' || op === 'sub' || (op === 'mul' && isUnsigned) ? ORDERS : []);
const isSigned = (op: BranchOp): boolean => op.startsWith('js') && op !== 'jset';

/** A step by its name, which runs when asked for. */
export interface Step {
  readonly part: 'bits' | 'intervals' | 'deductions' | 'branches';
  /** Of pairs of intervals. */
  readonly operator?: Operator;
  readonly run: () => Row;
}

export function stepsFor(sizes: Sizes): Step[] {
  return [...bitsSteps(sizes), ...intervalSteps(sizes), ...pairSteps(sizes), ...deductionSteps(sizes), ...branchSteps(sizes)];
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

const around0 = (bits: number, ends?: readonly number[]): Readonly<Record<(typeof ORDERS)[number], Run>> => ({ unsigned: runFrom(0n, 2 ** bits, ends), signed: runFrom(BigInt(-(2 ** bits) / 2), 2 ** bits, ends) });

function intervalSteps({ intervals, unions }: Sizes): Step[] {
  const step = (run: () => Row): Step => ({ part: 'intervals', run });
  const whole = around0(intervals);
  return [
    ...ORDERS.map((order) => step(() => checkUnaryIntervals(`${intervals}-bit ${order} intervals: shifts by every count`, whole[order], SHIFTS))),
    ...[0n, 1n << 7n, 1n << 15n, 1n << 16n, ...PLACES.slice(1).map(([, place]) => place)].map((place) =>
      step(() => checkUnaryIntervals(`${intervals}-bit intervals around ${place}: negation, extensions, truncations, byte swaps`, runFrom(place - BigInt(2 ** intervals / 2), 2 ** intervals), CONVERSIONS))),
    ...ORDERS.map((order) => step(() => checkUnion(`${unions}-bit ${order} intervals: union`, around0(unions)[order]))),
  ];
}

/** Sums, differences, products and bits of pairs of intervals. */
function pairSteps({ intervals, each, classes, mixed, productParts }: Sizes): Step[] {
  const [few, many, mixedRuns] = [around0(each), around0(classes), around0(mixed)];
  /** Ends of intervals of which there are too many for pairs. */
  const count = 2 ** intervals;
  const [whole, some] = [around0(intervals), around0(intervals, [0, 1, Math.floor(count / 32) + 5, count / 2 - 1, count / 2, count - 2, count - 1])];
  return OPERATORS.flatMap((operator) => {
    const step = (run: () => Row): Step => ({ part: 'intervals', operator, run });
    const partsOf = (order: (typeof ORDERS)[number]): readonly (Part | undefined)[] => {
      const parts = operator === 'mul' ? productParts[order] : 1;
      return parts === 1 ? [undefined] : Array.from({ length: parts }, (_, number) => ({ number, of: parts }));
    };
    return [
      ...ORDERS.map((order) => step(() => checkEachPair(`${each}-bit ${order} intervals`, operator, few[order], few[order], exactOf(operator, order === 'unsigned')))),
      step(() => checkEachPair(`${mixed}-bit unsigned and signed intervals`, operator, mixedRuns.unsigned, mixedRuns.signed, exactOf(operator, false))),
      step(() => checkEachPair(`${mixed}-bit signed and unsigned intervals`, operator, mixedRuns.signed, mixedRuns.unsigned, exactOf(operator, false))),
      ...ORDERS.flatMap((order) => partsOf(order).map((part) =>
        step(() => checkClasses(`${classes}-bit ${order} intervals${part === undefined ? '' : `, part ${part.number} of ${part.of}`}`, operator, many[order], many[order], exactOf(operator, order === 'unsigned'), part === undefined ? {} : { part })))),
      ...ORDERS.flatMap((order) => ORDERS.flatMap((other) => WIDTHS.map((width) => step(() => checkArithmetic(`${intervals}-bit ${order} intervals, some ${other} ones`, operator, width, whole[order], some[other]))))),
    ];
  });
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
