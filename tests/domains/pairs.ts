/**
 * Arithmetic on pairs of intervals in 32 and 64 bits, held against all pairs of members. All pairs of 8-bit intervals
 * are 1,082,146,816 for each operator: too many to ask the verifier of each, but many are the same to it. Pairs of one
 * digest are a class, either way round where the operator does not mind; what the members of all its pairs give is held
 * against the answer to one. That the pairs of a class are answered alike is looked at too: for every pair of fewer
 * bits, and for one in a thousand of these.
 */
import { scalarsEqual, type Scalar } from '../../dataplane/verifier/scalar.ts';
import { alu } from '../../dataplane/verifier/scalar-arithmetic.ts';
import { Classes, hashOf } from './classes.ts';
import { calculate } from './concrete.ts';
import { digestsOf, type Operator } from './digest.ts';
import { eachPair, resultsOf, type Bounds, type Results } from './intervals.ts';
import { HULL, isAlikeIn, lowHalf, noHulls, Numbers } from './numbers.ts';
import { Tally, type Row } from './row.ts';
import { textOf, type Run } from './runs.ts';

/** Answers in 64 and in 32 bits. */
interface Answer {
  readonly whole: Scalar;
  readonly half: Scalar;
}

/** An operator on two runs; `tight`: bounds that have to be exact. */
class Question {
  readonly op: Operator;
  readonly lefts: Run;
  readonly rights: Run;
  readonly results: Results;
  /** Of products, bits depend on which operand is which. */
  readonly isCommutative: boolean;
  readonly #tight: Bounds;
  readonly #lows: Numbers;
  readonly #low = noHulls(1);
  readonly #abstract: typeof alu;

  constructor(op: Operator, lefts: Run, rights: Run, tight: Bounds, abstract: typeof alu) {
    this.op = op;
    this.#abstract = abstract;
    this.lefts = lefts;
    this.rights = rights;
    this.isCommutative = op !== 'sub' && op !== 'mul';
    this.#tight = tight;
    this.results = resultsOf(lefts.values, rights.values, (x, y) => calculate(op, 64, x, y));
    this.#lows = new Numbers(this.results.values.map((value) => BigInt.asUintN(32, value)));
  }

  /** Two intervals as one number: their places, 16 bits each. */
  answer(pair: number): Answer {
    return this.#ask(this.lefts.scalars[pair >>> 16]!, this.rights.scalars[pair & 0xffff]!);
  }

  #ask(a: Scalar, b: Scalar): Answer {
    return { whole: this.#abstract(this.op, 64, a, b), half: this.#abstract(this.op, 32, a, b) };
  }

  text(pair: number): string {
    const { lefts, rights } = this;
    const [i, j] = [pair >>> 16, pair & 0xffff];
    return `${textOf(lefts, Math.floor(i / lefts.count), i % lefts.count)} and ${textOf(rights, Math.floor(j / rights.count), j % rights.count)}`;
  }

  /** Whether the hulls have the same ends where these have to be exact. */
  isAlike(hulls: Int32Array, at: number, hull: Int32Array): boolean {
    return this.#tight.every((order) => isAlikeIn(order, hulls, at, hull, 0));
  }

  /** Holds results' hull against an answer. */
  hold(tally: Tally, hulls: Int32Array, at: number, { whole, half }: Answer, pair: number): void {
    lowHalf(this.#low, 0, hulls, at);
    if (!this.results.numbers.isWithin(hulls, at, whole)) tally.lost(() => `${this.text(pair)} in 64 bits`);
    if (!this.#lows.isWithin(this.#low, 0, half)) tally.lost(() => `${this.text(pair)} in 32 bits`);
    if (!this.#tight.every((order) => this.results.numbers.isTight(hulls, at, whole, order) && this.#lows.isTight(this.#low, 0, half, order))) tally.inexact++;
  }

  /** Whether a pair is answered as another of its class; the other way round too, where that is no pair by itself. */
  compare(tally: Tally, pair: number, { whole, half }: Answer): void {
    const [a, b] = [this.lefts.scalars[pair >>> 16]!, this.rights.scalars[pair & 0xffff]!];
    for (const answer of this.isCommutative ? [this.#ask(a, b), this.#ask(b, a)] : [this.#ask(a, b)]) {
      if (!scalarsEqual(answer.whole, whole) || !scalarsEqual(answer.half, half)) tally.lost(() => `${this.text(pair)}: not answered as others of its class`);
    }
  }

  row(tally: Tally, what: string, classes: Classes): Row {
    return tally.row(`${what}: ${this.op}32 and ${this.op}64, ${classes.count.toLocaleString('en')} classes`, this.#tight.length > 0 ? 'must be exact' : 'not counted');
  }
}

/** Every pair is asked, and has to be answered as the first of its class. */
export function checkEachPair(what: string, op: Operator, lefts: Run, rights: Run, tight: Bounds = [], abstract = alu): Row {
  const question = new Question(op, lefts, rights, tight, abstract);
  const digestOf = digestsOf(op, lefts, rights);
  const classes = new Classes();
  const answers: Answer[] = [];
  const tally = new Tally();
  eachPair(lefts, rights, question.results, (i, j, hull) => {
    const pair = (i << 16) | j;
    const digest = digestOf(i, j);
    const number = classes.add(digest, hashOf(digest), pair, hull);
    const answer = (answers[number] ??= question.answer(pair));
    tally.looked++;
    question.hold(tally, hull, 0, answer, pair);
    question.compare(tally, pair, answer);
  });
  return question.row(tally, what, classes);
}

/** One pair of so many is asked too. */
const SAMPLE = 1009;

/** Of so many parts of all classes the one with this number. */
export interface Part {
  readonly number: number;
  readonly of: number;
}

const WHOLE: Part = { number: 0, of: 1 };

/** All pairs are calculated, and the first of each class is asked; of some classes only, where all are more than memory. */
export function checkClasses(what: string, op: Operator, lefts: Run, rights: Run, tight: Bounds = [], { part = WHOLE, abstract = alu }: { readonly part?: Part; readonly abstract?: typeof alu } = {}): Row {
  const question = new Question(op, lefts, rights, tight, abstract);
  const digestOf = digestsOf(op, lefts, rights);
  const classes = new Classes();
  const samples: { readonly pair: number; readonly number: number }[] = [];
  const tally = new Tally();
  const half = question.isCommutative && lefts === rights;
  let seen = 0;
  eachPair(lefts, rights, question.results, (i, j, hull) => {
    const digest = digestOf(i, j);
    const hash = hashOf(digest);
    // By the upper half: the lower ones are places in the table.
    if ((hash >>> 16) % part.of !== part.number) return;
    const pair = (i << 16) | j;
    const number = classes.add(digest, hash, pair, hull);
    tally.looked += half && i !== j ? 2 : 1;
    if (++seen % SAMPLE === 0) samples.push({ pair, number });
    if (!question.isAlike(classes.hulls, number * HULL, hull)) tally.inexact++;
  }, half);
  for (let number = 0; number < classes.count; number++) {
    const first = classes.firsts[number]!;
    question.hold(tally, classes.hulls, number * HULL, question.answer(first), first);
  }
  for (const { pair, number } of samples) question.compare(tally, pair, question.answer(classes.firsts[number]!));
  return question.row(tally, what, classes);
}
