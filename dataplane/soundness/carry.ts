/** What an instruction does to what is known of values besides their bits: where they go, and where new ones come from. */
import type { CallTarget, Instruction, Register } from '../bpf/isa.ts';
import type { ProgramType } from '../bpf/spec.ts';
import { calleeOf, prototypeOf, type Kfunc } from '../helpers/index.ts';
import type { BpfMap } from '../maps/bpf-map.ts';
import { isKnownZero, isPointer, type RegisterState } from '../verifier/register.ts';
import { NO_SLOTS, withSlot } from '../verifier/slot-set.ts';
import { BYTE, isSpilledScalar, kindAt, SLOT_BYTES } from '../verifier/state.ts';
import type { ExploredState } from './exploration.ts';
import { FrameProvenance, NEW, type Origin, type Region } from './provenance.ts';

/** A frame as it was before the instruction. */
export interface RunningFrame {
  readonly framePointer: number;
  readonly registers: BigUint64Array;
}

/** The instruction at `from.slot` was run, and led to `to`. */
export interface Passage {
  readonly instruction: Instruction;
  readonly from: ExploredState;
  readonly to: ExploredState;
  readonly frames: readonly RunningFrame[];
  /** Registers of the frame that runs now. */
  readonly registers: BigUint64Array;
  readonly type: ProgramType;
  /** The live map with that descriptor. */
  map(descriptor: number): BpfMap | undefined;
}

const FIRST_ARGUMENT = 1;
const LAST_ARGUMENT = 5;
/** Helpers that call back: which argument of the callback is what they were given in r3. */
const PASSED_ON: Readonly<Record<number, number>> = { 164: 4, 181: 2 };

export const low = (value: bigint): number => Number(BigInt.asUintN(32, value));

/** Changes `provenance`, which is by frame, to what it is afterwards. */
export function carry(provenance: FrameProvenance[], passage: Passage): void {
  const { from, to } = passage;
  if (to.frames.length > from.frames.length) enter(provenance, passage);
  else if (to.frames.length < from.frames.length) leave(provenance, passage);
  else within(provenance, passage);
}

function enter(provenance: FrameProvenance[], { instruction, registers, map }: Passage): void {
  const caller = provenance.at(-1)!;
  const callee = new FrameProvenance();
  provenance.push(callee);
  if (instruction.kind !== 'call') return;
  if (instruction.target.kind === 'subprogram') {
    for (let number = FIRST_ARGUMENT; number <= LAST_ARGUMENT; number++) callee.setRegister(number, caller.register(number));
  } else if (instruction.target.kind === 'helper') {
    const { id } = instruction.target;
    const passedOn = PASSED_ON[id];
    if (passedOn === 4) beginElement(callee, registers, map);
    if (passedOn !== undefined) callee.setRegister(passedOn, caller.register(3));
  }
}

/** A callback that is given a map, a key and a value of it. */
export function beginElement(callee: FrameProvenance, registers: BigUint64Array, mapWith: Passage['map']): void {
  const map = mapWith(low(registers[1]!));
  if (map === undefined) return;
  callee.setRegister(2, { forgotten: false, region: { start: low(registers[2]!), bytes: map.spec.keyBytes, map } });
  callee.setRegister(3, { forgotten: false, region: { start: low(registers[3]!), bytes: map.spec.valueBytes, map } });
}

function leave(provenance: FrameProvenance[], { instruction, from }: Passage): void {
  const callee = provenance.pop()!;
  if (from.frames.at(-1)!.isCallback) return;
  provenance.at(-1)!.setRegister(0, instruction.kind === 'exit' ? callee.register(0) : NEW);
}

function within(provenance: FrameProvenance[], passage: Passage): void {
  const { instruction, from } = passage;
  const frame = provenance.at(-1)!;
  const known = from.frames.at(-1)!.registers;
  switch (instruction.kind) {
    case 'alu': {
      const { op, dst, source } = instruction;
      const operand = source.kind === 'register' ? frame.register(source.register) : NEW;
      if (op === 'mov') return frame.setRegister(dst, operand);
      const before = frame.register(dst);
      const moved = isPointer(known[dst]!) ? before : operand;
      return frame.setRegister(dst, { forgotten: before.forgotten || operand.forgotten, region: moved.region });
    }
    case 'movsx':
      return frame.setRegister(instruction.dst, frame.register(instruction.src));
    case 'load_imm64':
      return frame.setRegister(instruction.dst, NEW);
    case 'load':
      return frame.setRegister(instruction.dst, loaded(provenance, passage, instruction));
    case 'store': {
      const { dst, offset, source } = instruction;
      return stored(provenance, passage, { address: dst, offset }, source.kind === 'register' ? frame.register(source.register) : NEW);
    }
    case 'atomic': {
      const { op, dst, src, offset, bytes, fetch } = instruction;
      if (op === 'load_acquire') return frame.setRegister(dst, loaded(provenance, passage, { src, offset, bytes }));
      if (op === 'store_release') return stored(provenance, passage, { address: dst, offset }, frame.register(src));
      if (op === 'cmpxchg') frame.setRegister(0, loaded(provenance, passage, { src: dst, offset, bytes }));
      else if (fetch) frame.setRegister(src, loaded(provenance, passage, { src: dst, offset, bytes }));
      return;
    }
    case 'load_packet':
      return frame.setRegister(0, NEW);
    case 'call':
      return frame.setRegister(0, { forgotten: false, region: answered(passage, instruction.target) });
    case 'branch':
      return compared(provenance, passage, instruction);
    default:
  }
}

/** What a comparison with a forgotten number said in the state, of the other number and of what is related to either, need not hold. */
function compared(provenance: readonly FrameProvenance[], { from }: Passage, { dst, source }: Extract<Instruction, { kind: 'branch' }>): void {
  const operands = source.kind === 'register' ? [dst, source.register] : [dst];
  if (!operands.some((number) => provenance.at(-1)!.isForgotten(number))) return;
  const known = from.frames.at(-1)!.registers;
  const ids = new Set(operands.map((number) => idOf(known[number]!)).filter((id) => id !== 0));
  for (const [index, { registers, stack }] of from.frames.entries()) {
    let told = 0;
    let slots = NO_SLOTS;
    for (const [number, register] of registers.entries()) if (ids.has(idOf(register))) told |= 1 << number;
    for (const [slot, content] of stack.entries()) if (isSpilledScalar(content) && ids.has(idOf(content.spilled))) slots = withSlot(slots, slot);
    if (registers === known) for (const number of operands) if (known[number]!.type === 'scalar') told |= 1 << number;
    provenance[index]!.forget({ registers: told, slots });
  }
}

/** Of a number. */
const idOf = ({ type, id }: RegisterState): number => (type === 'scalar' ? id : 0);

/** The stack slot that `register + offset` is in, where it is a pointer into the stack. */
function slotAt({ from, frames }: Passage, register: Register, offset: number): { readonly frame: number; readonly slot: number; readonly below: number } | undefined {
  const known = from.frames.at(-1)!.registers[register]!;
  if (known.type !== 'fp') return undefined;
  const below = frames[known.frame]!.framePointer - (low(frames[from.frames.length - 1]!.registers[register]!) + offset);
  return { frame: known.frame, slot: (below - 1) >> 3, below };
}

/** What was spilled travels with a load of it, and a zero with a load of any part of it; other bytes are taken for unknown. */
function loaded(provenance: readonly FrameProvenance[], passage: Passage, { src, offset, bytes }: { readonly src: Register; readonly offset: number; readonly bytes: number }): Origin {
  const place = slotAt(passage, src, offset);
  const slot = place === undefined ? undefined : passage.from.frames[place.frame]!.stack[place.slot];
  if (place === undefined || slot === undefined) return NEW;
  for (let byte = 0; byte < bytes; byte++) if (kindAt(slot, (place.below - byte - 1) & (SLOT_BYTES - 1)) !== BYTE.spill) return NEW;
  const beginsThere = (place.below & (SLOT_BYTES - 1)) === 0;
  return beginsThere || isKnownZero(slot.spilled) ? provenance[place.frame]!.slot(place.slot) : NEW;
}

function stored(provenance: readonly FrameProvenance[], passage: Passage, { address, offset }: { readonly address: Register; readonly offset: number }, origin: Origin): void {
  const place = slotAt(passage, address, offset);
  if (place !== undefined) provenance[place.frame]!.setSlot(place.slot, origin);
}

/** What a helper or kernel function handed out. */
function answered({ frames, from, registers, type, map: mapWith }: Passage, target: CallTarget): Region | undefined {
  const callee = target.kind === 'helper' ? prototypeOf(target.id, type) : calleeOf(target, type);
  const given = frames[from.frames.length - 1]!.registers;
  const start = low(registers[0]!);
  switch (callee?.returns) {
    case 'map_value':
    case 'map_value_or_null': {
      const map = mapWith(low(given[1]!));
      return map === undefined ? undefined : { start, bytes: map.spec.valueBytes, map };
    }
    case 'ringbuf_record_or_null':
    case 'memory_or_null':
      return { start, bytes: sizeOf(callee, given), map: undefined };
    default:
      return undefined;
  }
}

/** An argument says it, or the row. */
function sizeOf(callee: Pick<Kfunc, 'args' | 'resultBytes'>, given: BigUint64Array): number {
  const index = callee.args.findIndex((kind) => kind === 'allocated_size' || kind === 'constant_size');
  return index === -1 ? (callee.resultBytes ?? 0) : low(given[index + 1]!);
}
