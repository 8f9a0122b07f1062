/**
 * Numbers that a run may have where no path of the verifier had them. A path ends where an earlier state covers it; of
 * numbers on which nothing depended that state may say something else (compare.ts), and the run goes on with them:
 *
 *      r6 = 1 ──► A ──► B: r6 is 1            r6 is a stray at A: the path with 2 ends there, since all that
 *      r6 = 2 ──► A: covered                  follows was verified with 1. At B it is 1 in every state, and 2 in a run
 *
 * Strays are followed along the ways that paths took until nothing is new: through arithmetic, through the stack, and
 * into what a comparison with a stray says of other numbers. No pointer is one, since how far a pointer moves always
 * matters; no branch that goes one way is decided by one.
 */
import { jumpTarget, type Instruction } from '../bpf/isa.ts';
import { joinScalars } from './join.ts';
import { isPointer, type RegisterState } from './register.ts';
import { constant, UNKNOWN, UNKNOWN_OF_BYTES, SIGNED_OF_BYTES, zeroExtend32, type Scalar } from './scalar.ts';
import { alu, byteSwap, negate, signExtend } from './scalar-arithmetic.ts';
import { refine } from './scalar-branch.ts';

/** Not even known to be a number: of registers that nobody reads. */
export const ANYTHING: Scalar = { ...UNKNOWN };

export type Strays = readonly (Scalar | undefined)[];

/** How a path went on from an instruction. */
export interface Way {
  readonly to: number;
  /** Into a function, out of one, or neither. */
  readonly frame: 'enters' | 'leaves' | 'stays';
  /** Of the function that was left. */
  readonly callSite: number;
}

/** What was seen of an instruction, over all paths. */
export interface Explored {
  /** Before it, r0 to r10. */
  readonly registers: RegisterState[];
  readonly ways: Way[];
  /** Strays by register, from paths that ended here, or in a function that is called here. */
  readonly given: (Scalar | undefined)[];
  /** Places on the stack that it may load from or store to. */
  readonly places: Set<number>;
  /** Of a comparison of two numbers: what was known to be related to one of them. */
  readonly relatives: { readonly registers: Set<number>; readonly places: Set<number> };
}

/** Registers are numbered over all instructions. */
export const REGISTERS = 11;
/** A bound that moved so often will go on: loops. */
const MOST_CHANGES = 8;

/** By slot, the strays before the instruction. `strayPlaces`: places on the stack where paths ended with strays in them. */
export function strayValues(instructions: readonly Instruction[], explored: readonly (Explored | undefined)[], strayPlaces: Set<number>): readonly Strays[] {
  return new StrayValues(instructions, explored, strayPlaces).solve();
}

/** The number, or one that it may be instead. */
export const joinStrays = (a: Scalar | undefined, b: Scalar): Scalar => (a === ANYTHING || b === ANYTHING ? ANYTHING : a === undefined ? b : joinScalars(a, b));

class StrayValues {
  readonly #instructions: readonly Instruction[];
  readonly #explored: readonly (Explored | undefined)[];
  readonly #strayPlaces: Set<number>;
  readonly #before: (Scalar | undefined)[][];
  readonly #changes: Uint8Array;
  #changed = false;

  constructor(instructions: readonly Instruction[], explored: readonly (Explored | undefined)[], strayPlaces: Set<number>) {
    this.#instructions = instructions;
    this.#explored = explored;
    this.#strayPlaces = strayPlaces;
    this.#before = instructions.map(() => []);
    this.#changes = new Uint8Array(instructions.length * REGISTERS);
  }

  solve(): readonly Strays[] {
    do {
      this.#changed = false;
      for (const [slot, explored] of this.#explored.entries()) if (explored !== undefined) this.#pass(slot, explored);
    } while (this.#changed);
    return this.#before;
  }

  /** Before the instruction, together with those of paths that ended there. */
  #at(slot: number): (Scalar | undefined)[] {
    const strays = this.#before[slot]!.slice();
    for (const [number, given] of this.#explored[slot]!.given.entries()) if (given !== undefined) strays[number] = joinStrays(strays[number], given);
    return strays;
  }

  #pass(slot: number, explored: Explored): void {
    const instruction = this.#instructions[slot]!;
    const strays = this.#at(slot);
    const after = strays.slice();
    this.#transfer(instruction, explored, strays, after);
    for (const way of explored.ways) {
      if (way.frame === 'enters') this.#enter(instruction, way, strays);
      else if (way.frame === 'leaves') this.#leave(instruction, way, strays);
      else {
        const narrowed = instruction.kind === 'branch' ? narrow(instruction, slot, way.to, explored.registers, after) : after;
        for (let number = 0; number < 10; number++) this.#arrive(way.to, number, narrowed[number]);
      }
    }
  }

  #arrive(slot: number, number: number, stray: Scalar | undefined): void {
    if (stray === undefined) return;
    const before = this.#before[slot]![number];
    const joined = joinStrays(before, stray);
    if (joined === before) return;
    const count = ++this.#changes[slot * REGISTERS + number]!;
    this.#before[slot]![number] = count > MOST_CHANGES && joined !== ANYTHING ? UNKNOWN : joined;
    this.#changed = true;
  }

  /** Arguments. What a helper hands to what it calls back may be any of its own. */
  #enter(instruction: Instruction, { to }: Way, strays: Strays): void {
    const same = instruction.kind === 'call' && instruction.target.kind === 'subprogram';
    for (let number = 1; number <= 5; number++) {
      for (let given = 1; given <= 5; given++) if (!same || given === number) this.#arrive(to, number, strays[given]);
    }
  }

  #leave(instruction: Instruction, { to, callSite }: Way, strays: Strays): void {
    if (instruction.kind === 'exit' && to !== callSite) this.#arrive(to, 0, strays[0]);
    const callers = this.#at(callSite);
    for (let number = to === callSite ? 0 : 6; number < 10; number++) this.#arrive(to, number, callers[number]);
  }

  #transfer(instruction: Instruction, explored: Explored, strays: Strays, after: (Scalar | undefined)[]): void {
    switch (instruction.kind) {
      case 'alu':
        after[instruction.dst] = arithmetic(instruction, explored.registers, strays);
        return;
      case 'neg': {
        const stray = strays[instruction.dst];
        after[instruction.dst] = stray && negate(instruction.width, stray);
        return;
      }
      case 'movsx': {
        const stray = strays[instruction.src];
        after[instruction.dst] = stray && signExtend(instruction.width, instruction.bits, stray);
        return;
      }
      case 'endian': {
        const stray = strays[instruction.dst];
        after[instruction.dst] = stray && byteSwap(instruction.op, instruction.bits, stray);
        return;
      }
      case 'load_imm64':
        after[instruction.dst] = undefined;
        return;
      case 'load':
        after[instruction.dst] = this.#loaded(explored, instruction.bytes, instruction.signed);
        return;
      case 'store':
        if (instruction.source.kind === 'register' && strays[instruction.source.register] !== undefined) this.#strayInto(explored.places);
        return;
      case 'atomic': {
        const { op, bytes, dst, src, fetch } = instruction;
        if (op === 'store_release') {
          if (strays[src] !== undefined) this.#strayInto(explored.places);
          return;
        }
        const into = op === 'load_acquire' ? dst : op === 'cmpxchg' ? 0 : fetch ? src : undefined;
        if (into !== undefined) after[into] = this.#loaded(explored, bytes, false);
        return;
      }
      case 'load_packet':
      case 'call':
        after.fill(undefined, 0, 6);
        return;
      case 'branch':
        if (instruction.source.kind === 'register' && (strays[instruction.dst] !== undefined || strays[instruction.source.register] !== undefined)) this.#strayWith(explored);
        return;
      default:
    }
  }

  #loaded({ places }: Explored, bytes: 1 | 2 | 4 | 8, signed: boolean): Scalar | undefined {
    for (const place of places) if (this.#strayPlaces.has(place)) return (bytes === 8 || !signed ? UNKNOWN_OF_BYTES : SIGNED_OF_BYTES)[bytes as 1 | 2 | 4];
    return undefined;
  }

  #strayInto(places: Iterable<number>): void {
    for (const place of places) {
      if (this.#strayPlaces.has(place)) continue;
      this.#strayPlaces.add(place);
      this.#changed = true;
    }
  }

  /** What a comparison with a stray said of numbers that are related to what it was compared with need not hold. */
  #strayWith({ relatives }: Explored): void {
    this.#strayInto(relatives.places);
    for (const place of relatives.registers) {
      const { registers, given } = this.#explored[Math.floor(place / REGISTERS)]!;
      const number = place % REGISTERS;
      const { type, scalar } = registers[number]!;
      const joined = joinStrays(given[number], type === 'scalar' ? scalar : ANYTHING);
      if (joined === given[number]) continue;
      given[number] = joined;
      this.#changed = true;
    }
  }
}

/** The numbers that were seen, and the stray; `undefined` of pointers. */
function allOf({ type, scalar }: RegisterState, stray: Scalar | undefined): Scalar | undefined {
  if (type === 'scalar') return stray === undefined ? scalar : joinScalars(scalar, stray);
  // Different things, numbers among them perhaps.
  return type === '?' ? UNKNOWN : undefined;
}

function arithmetic({ op, width, dst, source }: Extract<Instruction, { kind: 'alu' }>, registers: readonly RegisterState[], strays: Strays): Scalar | undefined {
  const right = source.kind === 'register' ? strays[source.register] : undefined;
  if (op === 'mov') return right === undefined || width === 64 ? right : zeroExtend32(right);
  const left = strays[dst];
  if (left === undefined && right === undefined) return undefined;
  if (left === ANYTHING || right === ANYTHING) return ANYTHING;
  const from = source.kind === 'register' ? registers[source.register]! : undefined;
  if (isPointer(registers[dst]!) || (from !== undefined && isPointer(from))) return undefined;
  // One of the two is a stray.
  const a = left !== undefined && right === undefined ? left : allOf(registers[dst]!, left)!;
  const b = from === undefined ? constant(BigInt((source as { readonly value: number }).value)) : left === undefined ? right! : allOf(from, right)!;
  return alu(op, width, a, b);
}

/** What the way that a branch went says of strays; where one is compared with a number that was seen, that one may be elsewhere than what the states say. */
function narrow({ op, width, dst, source, offset }: Extract<Instruction, { kind: 'branch' }>, at: number, to: number, registers: readonly RegisterState[], strays: Strays): Strays {
  const number = source.kind === 'register' ? source.register : undefined;
  const [left, right] = [strays[dst], number === undefined ? undefined : strays[number]];
  if ((left === undefined && right === undefined) || number === dst) return strays;
  const a = number === undefined ? left : allOf(registers[dst]!, left);
  const b = source.kind === 'immediate' ? constant(BigInt(source.value)) : allOf(registers[source.register]!, right);
  if (a === undefined || b === undefined) return strays;
  const target = jumpTarget(at, offset);
  const [first, second] = target === at + 1 ? [a, b] : refine(op, width, to === target, a, b);
  const narrowed = strays.slice();
  narrowed[dst] = first;
  if (number !== undefined) narrowed[number] = second;
  return narrowed;
}
