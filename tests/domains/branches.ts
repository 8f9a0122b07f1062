/**
 * Branches: for each pair of operands, whichever ways members go has to be possible, and each way has to leave the
 * members that go it.
 */
import type { BranchOp } from '../../dataplane/bpf/isa.ts';
import type { Scalar } from '../../dataplane/verifier/scalar.ts';
import { branchTaken, refine } from '../../dataplane/verifier/scalar-branch.ts';
import { goes, type Width } from './concrete.ts';
import type { Bounds } from './intervals.ts';
import { clear, HULL, isEmpty, join, noHulls, Numbers } from './numbers.ts';
import { Tally, type Row } from './row.ts';
import { textOf, type Run } from './runs.ts';

/** By operands' indices, 1 where the branch is taken. */
const waysOf = (op: BranchOp, width: Width, lefts: readonly bigint[], rights: readonly bigint[]): Uint8Array =>
  Uint8Array.from({ length: lefts.length * rights.length }, (_, index) => (goes(op, width, lefts[Math.floor(index / rights.length)]!, rights[index % rights.length]!) ? 1 : 0));

/** Hulls of members that do not take the branch, and of those that do. */
interface Ways {
  readonly left: Int32Array;
  readonly right: Int32Array;
}

export class BranchCheck {
  readonly tally = new Tally();
  readonly #op: BranchOp;
  readonly #width: Width;
  readonly #lefts: Numbers;
  readonly #rights: Numbers;
  /** Bounds that have to be exact. */
  readonly #tight: Bounds;

  constructor(op: BranchOp, width: Width, lefts: Numbers, rights: Numbers, tight: Bounds = []) {
    this.#op = op;
    this.#width = width;
    this.#lefts = lefts;
    this.#rights = rights;
    this.#tight = tight;
  }

  pair(a: Scalar, b: Scalar, { left, right }: Ways, text: () => string): void {
    const decided = branchTaken(this.#op, this.#width, a, b);
    let exact = true;
    for (let taken = 0; taken < 2; taken++) {
      const at = taken * HULL;
      if (isEmpty(left, at)) {
        exact &&= decided === (taken === 0);
        continue;
      }
      if (decided === (taken === 0)) this.tally.lost(() => `${text()}: decided`);
      // A branch that is decided is not looked at any more.
      if (decided !== undefined) continue;
      const [x, y] = refine(this.#op, this.#width, taken === 1, a, b);
      if (!this.#lefts.isWithin(left, at, x) || !this.#rights.isWithin(right, at, y)) this.tally.lost(() => `${text()}: ${taken === 1 ? 'taken' : 'not taken'}`);
      exact &&= this.#tight.every((order) => this.#lefts.isTight(left, at, x, order) && this.#rights.isTight(right, at, y, order));
    }
    this.tally.looked++;
    if (!exact) this.tally.inexact++;
  }

  row(what: string): Row {
    return this.tally.row(`${what}: ${this.#op}${this.#width}`, this.#tight.length > 0 ? 'must be exact' : 'not counted');
  }
}

/** All pairs of intervals of two runs. */
export function checkBranch(what: string, op: BranchOp, width: Width, lefts: Run, rights: Run, tight?: Bounds): Row {
  const ways = waysOf(op, width, lefts.values, rights.values);
  const [leftNumbers, rightNumbers] = [new Numbers(lefts.values), new Numbers(rights.values)];
  const check = new BranchCheck(op, width, leftNumbers, rightNumbers, tight);
  const hulls: Ways = { left: noHulls(2), right: noHulls(2) };
  // Ways that some right number goes with each left one; then, that each right number goes with some left one.
  const possible = new Uint8Array(lefts.count);
  const gone = new Uint8Array(rights.count);
  for (const from of rights.ends) {
    possible.fill(0);
    for (let to = from; to < rights.count; to++) {
      for (let x = 0; x < lefts.count; x++) possible[x]! |= 1 << ways[x * rights.count + to]!;
      const b = rights.scalars[from * rights.count + to];
      if (b === undefined) continue;
      for (const least of lefts.ends) {
        gone.fill(0);
        for (const side of [hulls.left, hulls.right]) for (const way of [0, 1]) clear(side, way * HULL);
        for (let most = least; most < lefts.count; most++) {
          for (let way = 0; way < 2; way++) if ((possible[most]! & (1 << way)) !== 0) join(hulls.left, way * HULL, leftNumbers.hulls, most * HULL);
          for (let y = from; y <= to; y++) {
            const way = ways[most * rights.count + y]!;
            if ((gone[y]! & (1 << way)) !== 0) continue;
            gone[y]! |= 1 << way;
            join(hulls.right, way * HULL, rightNumbers.hulls, y * HULL);
          }
          const a = lefts.scalars[least * lefts.count + most];
          if (a !== undefined) check.pair(a, b, hulls, () => `${textOf(lefts, least, most)} ${op} ${textOf(rights, from, to)}`);
        }
      }
    }
  }
  return check.row(what);
}

export interface Known {
  readonly scalar: Scalar;
  /** Indices of its members. */
  readonly members: readonly number[];
  readonly text: string;
}

/** All pairs of numbers whose members are among these values. */
export function checkBranchOf(what: string, op: BranchOp, width: Width, values: readonly bigint[], all: readonly Known[]): Row {
  const ways = waysOf(op, width, values, values);
  const numbers = new Numbers(values);
  const check = new BranchCheck(op, width, numbers, numbers);
  const hulls: Ways = { left: noHulls(2), right: noHulls(2) };
  for (const a of all) {
    for (const b of all) {
      for (const side of [hulls.left, hulls.right]) for (const way of [0, 1]) clear(side, way * HULL);
      for (const x of a.members) {
        for (const y of b.members) {
          const way = ways[x * values.length + y]! * HULL;
          join(hulls.left, way, numbers.hulls, x * HULL);
          join(hulls.right, way, numbers.hulls, y * HULL);
        }
      }
      check.pair(a.scalar, b.scalar, hulls, () => `${a.text} ${op} ${b.text}`);
    }
  }
  return check.row(what);
}

/** Every number of a set compared with itself. */
export function checkBranchWithItself(what: string, op: BranchOp, width: Width, values: readonly bigint[], all: readonly Known[]): Row {
  const numbers = new Numbers(values);
  const tally = new Tally();
  const hull = noHulls(1);
  for (const { scalar, members, text } of all) {
    for (const taken of [true, false]) {
      clear(hull, 0);
      for (const x of members) if (goes(op, width, values[x]!, values[x]!) === taken) join(hull, 0, numbers.hulls, x * HULL);
      tally.looked++;
      if (isEmpty(hull, 0)) continue;
      const decided = branchTaken(op, width, scalar, scalar);
      const found = refine(op, width, taken, scalar, scalar, true);
      if ((decided ?? taken) !== taken || (decided === undefined && !found.every((each) => numbers.isWithin(hull, 0, each)))) tally.lost(() => `${text} ${op} itself`);
    }
  }
  return tally.row(`${what}: ${op}${width} with itself`, 'not counted');
}
