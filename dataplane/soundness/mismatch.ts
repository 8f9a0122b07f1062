/** A running program's registers and stack, held against one explored state: what does not agree, in words. */
import { registerText } from '../verifier/log.ts';
import { isPacketPointer, type RegisterState } from '../verifier/register.ts';
import { isSpilled, SLOT_BYTES, type StackSlot } from '../verifier/state.ts';
import { low, type RunningFrame } from './carry.ts';
import type { ExploredState } from './exploration.ts';
import { isMember, isOfRegion, isSlotMember, regionBytes, spilledBytes, type Surroundings } from './membership.ts';
import type { FrameProvenance, Region } from './provenance.ts';

/** A frame as it was when it was last compared. */
export interface ComparedFrame extends RunningFrame {
  readonly stack: BigUint64Array;
}

export interface Comparison {
  readonly state: ExploredState;
  /** What was compared last: what is the same in both need not be looked at. */
  readonly previous: ExploredState | undefined;
  readonly frames: readonly ComparedFrame[];
  readonly provenance: readonly FrameProvenance[];
  /** Registers of the frame that runs. */
  readonly registers: BigUint64Array;
  readonly around: Surroundings;
  /** The packet is elsewhere than it was, so all is looked at. */
  readonly hasMoved: boolean;
  /** The bytes of a stack slot now. */
  word(frame: ComparedFrame, slot: number): bigint;
}

/** What does not agree with the state, as the end of a sentence. Only what changed since the last instruction is looked at. */
export function mismatch(comparison: Comparison): string | undefined {
  const { state, previous, frames, provenance, registers, around, hasMoved, word } = comparison;
  const top = state.frames.length - 1;
  for (let index = 0; index <= top; index++) {
    const frame = frames[index]!;
    const now = index === top ? registers : frame.registers;
    const { registers: known, stack } = state.frames[index]!;
    const old = previous?.frames[index];
    const places = provenance[index]!;
    const at = index === top ? '' : ` of frame ${index}`;
    for (let number = 0; number < known.length; number++) {
      const register = known[number]!;
      if (!hasMoved && register === old?.registers[number] && now[number] === frame.registers[number]) continue;
      if (places.isForgotten(number)) continue;
      learnRegion(places, number, register, now[number]!);
      if (!isMember(register, now[number]!, places.region(number), around)) return `r${number}${at} is ${valueText(now[number]!, register, around)}, but the verifier knew ${registerText(register)}`;
      if (register.id !== 0) {
        const other = stranger(comparison, register, now[number]!);
        if (other !== undefined) return `r${number}${at} is ${valueText(now[number]!, register, around)}, which is not what ${other}`;
      }
    }
    for (let slot = 0; slot < stack.length; slot++) {
      const content = stack[slot]!;
      if (content.kinds === 0 || places.isForgottenSlot(slot)) continue;
      const bytes = word(frame, slot);
      if (!hasMoved && content === old?.stack[slot] && bytes === frame.stack[slot]) continue;
      if (isSpilled(content) && isOfRegion(content.spilled) && places.slot(slot).region === undefined) places.setSlot(slot, { forgotten: false, region: regionFor(content.spilled, bytes) });
      if (!isSlotMember(content, bytes, places.slot(slot).region, around)) return `fp-${SLOT_BYTES * (slot + 1)}${at} is ${valueText(bytes, content.spilled, around)}, but the verifier knew ${slotText(content)}`;
    }
  }
  return undefined;
}

/** A register or slot of the same id whose relation to the value does not hold. */
function stranger({ state, frames, provenance, registers, word }: Comparison, register: RegisterState, value: bigint): string | undefined {
  const top = state.frames.length - 1;
  const agrees = (other: RegisterState, found: bigint): boolean => other.id !== register.id || other.type !== register.type || other.nullable !== register.nullable || relation(other, found) === relation(register, value);
  for (const [index, { registers: known, stack }] of state.frames.entries()) {
    const frame = frames[index]!;
    const now = index === top ? registers : frame.registers;
    const places = provenance[index]!;
    const at = index === top ? '' : ` of frame ${index}`;
    for (const [number, other] of known.entries()) {
      if (!places.isForgotten(number) && !agrees(other, now[number]!)) return `r${number}${at} (${valueOnly(now[number]!)}) says of numbers with the same id: ${registerText(register)}, ${registerText(other)}`;
    }
    for (const [slot, content] of stack.entries()) {
      if (!isSpilled(content) || places.isForgottenSlot(slot) || spilledBytes(content) !== SLOT_BYTES) continue;
      if (!agrees(content.spilled, word(frame, slot))) return `fp-${SLOT_BYTES * (slot + 1)}${at} (${valueOnly(word(frame, slot))}) says of numbers with the same id: ${registerText(register)}, ${registerText(content.spilled)}`;
    }
  }
  return undefined;
}

/** Where nobody said what memory a pointer is of when it appeared, it says so itself: it points at the beginning. */
function learnRegion(places: FrameProvenance, number: number, register: RegisterState, value: bigint): void {
  if (isOfRegion(register) && places.region(number) === undefined) places.setRegister(number, { forgotten: false, region: regionFor(register, value) });
}

function regionFor(register: RegisterState, value: bigint): Region | undefined {
  if (value === 0n) return undefined;
  return { start: low(value) - register.offset - low(register.scalar.value), bytes: regionBytes(register), map: undefined };
}

/** What registers of one id have in common: the number less its distance, the variable part, or being NULL. */
function relation({ type, delta, offset, nullable }: RegisterState, value: bigint): bigint | boolean {
  if (type === 'scalar') return delta === 0 ? value : BigInt.asUintN(delta, value - BigInt(offset));
  if (type === 'pkt' || type === 'pkt_meta') return BigInt.asUintN(64, value - BigInt(offset));
  return nullable ? value === 0n : true;
}

const hexadecimal = (value: bigint): string => `0x${value.toString(16)}`;
const valueOnly = (value: bigint): string => (value < 1n << 16n ? String(value) : hexadecimal(value));

/** As a number, or as what it is from where its kind is measured. */
export function valueText(value: bigint, register: RegisterState, { data, dataEnd }: Surroundings): string {
  if (isPacketPointer(register)) return `data${signed(value - BigInt(data))} (of ${dataEnd - data} bytes)`;
  if (register.type !== 'scalar') return hexadecimal(value);
  const number = BigInt.asIntN(64, value);
  return number > -(1n << 16n) && number < 1n << 16n ? String(number) : `${hexadecimal(value)} (${number})`;
}

const signed = (offset: bigint): string => (offset < 0n ? String(offset) : `+${offset}`);

function slotText(slot: StackSlot): string {
  return isSpilled(slot) ? `${spilledBytes(slot)} bytes of ${registerText(slot.spilled)}` : 'zeroes in it';
}
