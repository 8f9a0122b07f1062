/**
 * The instructions of a function, each behind what may follow it, where loops leave that possible (Linux: compute_postorder).
 * What is known of an instruction from those behind it is found fastest in this order.
 */
import type { Instruction } from '../bpf/isa.ts';
import { fallThrough, jumpsTo, NONE } from './control-flow.ts';

export interface Postorder {
  readonly length: number;
  /** By slot from the function's start: its place in the order. */
  readonly places: Uint32Array;
  /** By place, two each: places of what may follow, the first alone where there is one, NONE where there is none. */
  readonly after: Int32Array;
  /** By place: places that it may follow. */
  readonly before: readonly (readonly number[])[];
}

/** A function is left by exits and calls only, so all that follows is its own. Code that nothing reaches has no place. */
export function postorderOf(instructions: readonly Instruction[], start: number, end: number): Postorder {
  const following = (slot: number): number[] => [fallThrough(instructions[slot]!, slot), jumpsTo(instructions[slot]!, slot)].filter((next) => next !== NONE);
  const places = new Uint32Array(end - start);
  const order: number[] = [];
  const [met, entered] = [new Uint8Array(end - start), new Uint8Array(end - start)];
  const path = [start];
  met[0] = 1;
  while (path.length > 0) {
    const slot = path.at(-1)!;
    if (entered[slot - start] === 1) {
      places[slot - start] = order.push(slot) - 1;
      path.pop();
      continue;
    }
    entered[slot - start] = 1;
    for (const next of following(slot)) {
      if (met[next - start] === 1) continue;
      met[next - start] = 1;
      path.push(next);
    }
  }
  const after = new Int32Array(2 * order.length).fill(NONE);
  const before: number[][] = order.map(() => []);
  for (const [place, slot] of order.entries()) {
    for (const [index, next] of following(slot).entries()) {
      after[2 * place + index] = places[next - start]!;
      before[places[next - start]!]!.push(place);
    }
  }
  return { length: order.length, places, after, before };
}
