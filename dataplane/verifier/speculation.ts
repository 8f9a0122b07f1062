/**
 * What a processor may do with a wrong guess (Spectre v1 and v4). Programs of whoever may not read the kernel's memory
 * (no CAP_PERFMON) are verified on the paths of wrong guesses too, and must not reach more there than anywhere else.
 *
 *   branches    one whose outcome is certain is followed the other way as well, with operands that may be anything
 *   pointers    an amount in a register is masked at run time, so that it stays inside whatever is guessed: for one
 *               instruction there is one mask, and it is known for the stack and for map values only. A masked amount may
 *               become 0, so the unmoved pointer is followed as well
 *   barriers    what breaks a rule on such a path alone is not refused: a barrier goes in front of the instruction, and
 *               no guess comes further. Behind a store to the stack that may be passed by a later load there is one too
 *
 * Linux: sanitize_ptr_alu, sanitize_speculative_path, nospec and nospec_result (kernel/bpf/verifier.c).
 */
import type { Instruction, Register } from '../bpf/isa.ts';
import type { MapSpec } from '../bpf/spec.ts';
import { checkMapValue } from './memory.ts';
import { refuse, Refused, refuseFor, type RefusalErrno } from './refusal.ts';
import { UNKNOWN_SCALAR, withFacts, type RegisterState } from './register.ts';
import { isConstant, unknownLow } from './scalar.ts';
import { MAX_STACK_BYTES, tnumText } from './stack.ts';
import type { State } from './state.ts';
import type { Walk } from './walk.ts';

/** What a mask has to know, or-ed; NUMBER where there is no pointer. */
const MASK = { negative: 1, constant: 2, pointerFirst: 4, pointerLast: 8, number: 16 } as const;

interface Mask {
  readonly kind: number;
  readonly limit: number;
  /** The pointer moves to lower addresses. */
  readonly left: boolean;
}

/** Errors on a wrong guess that a barrier in front of the instruction prevents. */
const PREVENTABLE: ReadonlySet<RefusalErrno> = new Set(['EPERM', 'EACCES', 'EINVAL']);
const PROHIBITED = 'pointer arithmetic with it prohibited for !root';

type Alu = Extract<Instruction, { kind: 'alu' }>;

export class Speculation {
  /** Which amounts are possible decides about masks: from now on only equal numbers cover each other. */
  comparesExactly = false;
  /** By slot: 1 where a barrier is in front of the instruction, or behind it. */
  readonly #before: Uint8Array;
  readonly #behind: Uint8Array;
  readonly #masks = new Map<number, Pick<Mask, 'kind' | 'limit'>>();

  /** Program arrays by the tail call that uses them, while there is one for each. */
  readonly #arrays = new Map<number, MapSpec>();
  #mixedArrays: number | undefined;

  constructor(slots: number) {
    this.#before = new Uint8Array(slots);
    this.#behind = new Uint8Array(slots);
  }

  stopsBefore(slot: number): boolean {
    return this.#before[slot] === 1;
  }

  stopsBehind(slot: number): boolean {
    return this.#behind[slot] === 1;
  }

  /** A load may run ahead of the store, and find what was there before. */
  putBehind(slot: number): void {
    this.#behind[slot] = 1;
  }

  /** A rule was broken on a wrong guess: whether a barrier prevents that. */
  prevents(error: unknown, slot: number): error is Refused {
    if (!(error instanceof Refused) || !PREVENTABLE.has(error.errno)) return false;
    this.#before[slot] = 1;
    this.#masks.delete(slot);
    return true;
  }

  tailCalls(slot: number, array: MapSpec): void {
    const before = this.#arrays.get(slot);
    if (before === undefined) this.#arrays.set(slot, array);
    else if (before !== array) this.#mixedArrays ??= slot;
  }

  /** A tail call masks its index by the size of one array. Answers the slot of one that has several. */
  get mixedTailCall(): number | undefined {
    return this.#mixedArrays;
  }

  /** Both operands of an addition or subtraction are numbers. */
  addsNumbers(walk: Walk, instruction: Alu): void {
    if (isMasked(instruction) && !this.stopsBefore(walk.at)) this.#setMask(walk, instruction, { kind: MASK.number, limit: 0 });
  }

  /** Before a pointer moves. Answers the mask, where there is one. */
  beginMove(walk: Walk, instruction: Alu, base: RegisterState, by: RegisterState, pointerFirst: boolean): Mask | undefined {
    if (!isMasked(instruction) || this.stopsBefore(walk.at)) return undefined;
    const known = isConstant(by.scalar);
    const mask = walk.state.speculative ? undefined : maskFor(instruction, base, by, pointerFirst);
    if (mask !== undefined && !known) this.comparesExactly = true;
    if (!known) runAhead(walk, walk.at + 1).current.registers[instruction.dst] = pointerFirst ? withFacts(base, { scalar: unknownLow(base.scalar) }) : base;
    return mask;
  }

  /** After it has moved. */
  endMove(walk: Walk, instruction: Alu, moved: RegisterState, mask: Mask | undefined): void {
    checkMoved(instruction.dst, moved);
    if (mask !== undefined) this.#setMask(walk, instruction, { kind: mask.kind, limit: Math.abs(mask.limit - limitOf(instruction, moved, mask.left)) });
  }

  /** One instruction has one mask, whichever way it was reached. */
  #setMask(walk: Walk, { op, dst }: Alu, mask: Pick<Mask, 'kind' | 'limit'>): void {
    const before = this.#masks.get(walk.at);
    if (before === undefined) this.#masks.set(walk.at, mask);
    else if (before.kind !== mask.kind || before.limit !== mask.limit) refuse('EACCES', `R${dst} tried to ${op} from different maps, paths or scalars, ${PROHIBITED}`);
  }
}

/** Amounts that the instruction itself has are not guessed. */
const isMasked = ({ op, source }: Alu): boolean => source.kind === 'register' && (op === 'add' || op === 'sub');

function maskFor(instruction: Alu, base: RegisterState, by: RegisterState, pointerFirst: boolean): Mask {
  const { op, dst, source } = instruction;
  const { smin, smax } = by.scalar;
  const negative = smin < 0n;
  const known = isConstant(by.scalar);
  if (!known && negative !== smax < 0n) refuse('EACCES', `R${pointerFirst && source.kind === 'register' ? source.register : dst} has unknown scalar with mixed signed bounds, ${PROHIBITED}`);
  const left = (op === 'add') === negative;
  const kind = (negative ? MASK.negative : 0) | (known ? MASK.constant : 0) | (pointerFirst ? MASK.pointerFirst : MASK.pointerLast);
  return { kind, limit: limitOf(instruction, base, left, pointerFirst), left };
}

/** How far from the end of its object the pointer is that the mask starts from. */
function limitOf({ op, dst, source }: Alu, { type, offset, scalar, map }: RegisterState, left: boolean, pointerFirst = true): number {
  let limit: number;
  let most: number;
  if (type === 'fp') {
    most = MAX_STACK_BYTES + (left ? 1 : 0);
    limit = -(offset + Number(BigInt.asIntN(64, scalar.value)));
  } else if (type === 'map_value') {
    most = map!.valueBytes;
    limit = Number(left ? scalar.smin : scalar.umax) + offset;
  } else return refuse('EACCES', `R${pointerFirst || source.kind !== 'register' ? dst : source.register} has pointer with unsupported alu operation, ${PROHIBITED}`);
  // Unsigned, as Linux compares.
  if (limit < 0 || limit >= most) refuse('EACCES', `R${dst} tried to ${op} beyond pointer bounds, ${PROHIBITED}`);
  return limit;
}

/** A pointer that left its object could be used by a wrong guess: it may not even be formed. */
function checkMoved(dst: Register, moved: RegisterState): void {
  const { type, offset, scalar } = moved;
  if (type === 'fp') {
    const at = offset + Number(BigInt.asIntN(64, scalar.value));
    if (!isConstant(scalar)) refuse('EACCES', `R${dst} variable stack access prohibited for !root, var_off=${tnumText(scalar)} off=${at}`);
    if (at >= 0 || at < -MAX_STACK_BYTES) refuse('EACCES', `R${dst} stack pointer arithmetic goes out of range, prohibited for !root; off=${at}`);
  }
  if (type !== 'map_value') return;
  try {
    checkMapValue(dst, moved, 0, 1, false, true);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    refuseFor(error, `R${dst} pointer arithmetic of map value goes out of range, prohibited for !root`);
  }
}

/** A path of a wrong guess, to follow later. */
function runAhead(walk: Walk, at: number): State {
  const ahead = walk.push(at);
  ahead.speculative = true;
  return ahead;
}

/** A branch goes one way for certain; a processor may take the other one first. */
export function guessWrong(walk: Walk, at: number, dst: Register, src: Register | undefined): void {
  if (walk.speculation === undefined) return;
  const { registers } = runAhead(walk, at).current;
  registers[dst] = UNKNOWN_SCALAR;
  if (src !== undefined) registers[src] = UNKNOWN_SCALAR;
}
