/**
 * Moving the bounds of an skb's packet inside its buffer, and skb->csum along with them.
 *
 *   head          data                    data_end          end
 *     |  headroom  | packet (all linear)     |  tailroom     |
 *
 * Linux allocates a larger buffer where room runs out; here the packet moves inside the one it has, and only what
 * does not fit at all is refused. Invariant: len is data_end - data, and both stay within head and end.
 */
import type { Machine } from '../machine/machine.ts';
import { CHECKSUM, SK_BUFF } from '../packet/frame.ts';
import { fillBytes, moveBytes } from './bounds.ts';

/** SKB_MAX_ALLOC: no helper makes a packet longer. */
export const LONGEST_SKB_BYTES = 16_064;

export function getField(machine: Machine, ctx: number, field: number): number {
  return machine.memory.view.getUint32((ctx >>> 0) + field, true);
}

export function setField(machine: Machine, ctx: number, field: number, value: number): void {
  machine.memory.view.setUint32((ctx >>> 0) + field, value, true);
}

function setBounds(machine: Machine, ctx: number, data: number, lengthBytes: number): void {
  setField(machine, ctx, SK_BUFF.data, data);
  setField(machine, ctx, SK_BUFF.data_end, data + lengthBytes);
  setField(machine, ctx, SK_BUFF.len, lengthBytes);
  // Metadata that XDP left in front of the packet is lost once the packet's start moves.
  setField(machine, ctx, SK_BUFF.data_meta, data);
}

/** Makes sure of so much free room on either side; false if the buffer is too small. */
function reserve(machine: Machine, ctx: number, headBytes: number, tailBytes: number): boolean {
  const head = getField(machine, ctx, SK_BUFF.head);
  const end = getField(machine, ctx, SK_BUFF.end);
  const data = getField(machine, ctx, SK_BUFF.data);
  const lengthBytes = getField(machine, ctx, SK_BUFF.len);
  if (data - head >= headBytes && end - (data + lengthBytes) >= tailBytes) return true;
  if (headBytes + lengthBytes + tailBytes > end - head) return false;
  const moved = data - head < headBytes ? head + headBytes : end - tailBytes - lengthBytes;
  moveBytes(machine.memory, moved, data, lengthBytes);
  setBounds(machine, ctx, moved, lengthBytes);
  return true;
}

/**
 * Inserts `lengthBytes` zeros at `offset`, or at the end of a packet that is shorter, by moving what is before them
 * towards the head. False if they do not fit.
 */
export function insertBytes(machine: Machine, ctx: number, offset: number, lengthBytes: number): boolean {
  if (!reserve(machine, ctx, lengthBytes, 0)) return false;
  const data = getField(machine, ctx, SK_BUFF.data);
  const packetBytes = getField(machine, ctx, SK_BUFF.len);
  const before = Math.min(offset, packetBytes);
  setBounds(machine, ctx, data - lengthBytes, packetBytes + lengthBytes);
  moveBytes(machine.memory, data - lengthBytes, data, before);
  fillBytes(machine.memory, data - lengthBytes + before, lengthBytes);
  return true;
}

/** Removes `lengthBytes` at `offset` by moving what is before it towards the tail. False if there are not as many. */
export function removeBytes(machine: Machine, ctx: number, offset: number, lengthBytes: number): boolean {
  const packetBytes = getField(machine, ctx, SK_BUFF.len);
  if (offset + lengthBytes > packetBytes) return false;
  const data = getField(machine, ctx, SK_BUFF.data);
  uncountBytes(machine, ctx, offset, lengthBytes);
  moveBytes(machine.memory, data + lengthBytes, data, offset);
  setBounds(machine, ctx, data + lengthBytes, packetBytes - lengthBytes);
  return true;
}

/** Cuts the packet's end, or appends zeros. False if they do not fit. */
export function setLength(machine: Machine, ctx: number, lengthBytes: number): boolean {
  const before = getField(machine, ctx, SK_BUFF.len);
  if (lengthBytes > before && !reserve(machine, ctx, 0, lengthBytes - before)) return false;
  const data = getField(machine, ctx, SK_BUFF.data);
  if (lengthBytes > before) fillBytes(machine.memory, data + before, lengthBytes - before);
  const meta = getField(machine, ctx, SK_BUFF.data_meta);
  setBounds(machine, ctx, data, lengthBytes);
  setField(machine, ctx, SK_BUFF.data_meta, meta);
  return true;
}

/** Adds two 32-bit ones-complement sums. */
export function addSums(a: number, b: number): number {
  const sum = (a >>> 0) + (b >>> 0);
  return (sum % 0x1_0000_0000) + (sum > 0xffff_ffff ? 1 : 0);
}

/** Sum of the packet's bytes as skb->csum has it: little-endian words, swapped where they begin at an odd offset. */
function sumOfBytes(machine: Machine, ctx: number, offset: number, lengthBytes: number): number {
  const { u8 } = machine.memory;
  const start = getField(machine, ctx, SK_BUFF.data) + offset;
  let sum = 0;
  for (let at = 0; at < lengthBytes; at++) sum += u8[start + at]! << (((offset + at) & 1) * 8);
  return addSums(sum, 0);
}

/** Takes bytes that are about to change or to go out of skb->csum. */
export function uncountBytes(machine: Machine, ctx: number, offset: number, lengthBytes: number): void {
  if (getField(machine, ctx, SK_BUFF.ip_summed) !== CHECKSUM.complete) return;
  setField(machine, ctx, SK_BUFF.csum, addSums(getField(machine, ctx, SK_BUFF.csum), ~sumOfBytes(machine, ctx, offset, lengthBytes)));
}

/** Adds bytes that have changed or are new to skb->csum. */
export function countBytes(machine: Machine, ctx: number, offset: number, lengthBytes: number): void {
  if (getField(machine, ctx, SK_BUFF.ip_summed) !== CHECKSUM.complete) return;
  setField(machine, ctx, SK_BUFF.csum, addSums(getField(machine, ctx, SK_BUFF.csum), sumOfBytes(machine, ctx, offset, lengthBytes)));
}
