/**
 * Addresses that a program passes are numbers of its own making until a verifier has proven them. DataView and
 * `set` throw on what is outside machine memory, and engines take that for a fault of the program; the rest of
 * JavaScript's byte handling clamps in silence, so it asks here first.
 */
import type { MachineMemory } from '../machine/memory.ts';

/** Throws RangeError unless `memory` has all of the stretch; returns the address as an unsigned number. */
export function inMemory(memory: MachineMemory, address: number, lengthBytes: number): number {
  const start = address >>> 0;
  if (start + lengthBytes > memory.u8.length) throw new RangeError(`${lengthBytes} bytes at ${start} are outside machine memory`);
  return start;
}

/** memmove. Returns nothing, throws RangeError where either stretch is outside. */
export function moveBytes(memory: MachineMemory, to: number, from: number, lengthBytes: number): void {
  const target = inMemory(memory, to, lengthBytes);
  const source = inMemory(memory, from, lengthBytes);
  memory.u8.copyWithin(target, source, source + lengthBytes);
}

export function fillBytes(memory: MachineMemory, at: number, lengthBytes: number, byte = 0): void {
  const start = inMemory(memory, at, lengthBytes);
  memory.u8.fill(byte, start, start + lengthBytes);
}
