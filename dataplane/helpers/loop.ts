/**
 * bpf_loop and bpf_for_each_map_elem: a subprogram called again and again until it answers something but 0. What it
 * leaves in the packet, maps and stack stays.
 */
import type { Machine } from '../machine/machine.ts';
import { mapsOf } from '../maps/map-registry.ts';
import { ERRNO, roundUp } from '../maps/map.ts';
import type { Helper, HelperFunction } from './helper.ts';
import { ANY_PROGRAM } from './program-sets.ts';

/** BPF_MAX_LOOPS. */
export const MAX_ITERATIONS = 1 << 23;
const LEAST_KEY_ROOM_BYTES = 64;

const join = (low: number, high: number): bigint => (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);

/** Answers the number of calls made. */
const loop =
  (machine: Machine): HelperFunction =>
  (count, callback, contextLow, contextHigh, flags, flagsHigh) => {
    if (flags !== 0 || flagsHigh !== 0) return -ERRNO.EINVAL;
    const iterations = count! >>> 0;
    if (iterations > MAX_ITERATIONS) return -ERRNO.E2BIG;
    const body = machine.callback(callback!);
    if (body === undefined) return -ERRNO.EINVAL;
    const context = join(contextLow!, contextHigh!);
    for (let index = 0; index < iterations; index++) {
      if (body(BigInt(index), context, 0n, 0n, 0n) !== 0n) return index + 1;
    }
    return iterations;
  };

/** Types that Linux walks. */
const WALKED: ReadonlySet<string> = new Set(['array', 'percpu_array', 'hash', 'percpu_hash', 'lru_hash', 'lru_percpu_hash']);

/**
 * Answers how many entries were visited. The key after the current one is found before the callback, which may delete
 * the current entry; where it deletes the following one, the walk goes on behind the current one, or ends.
 */
const forEachMapElement = (machine: Machine): HelperFunction => {
  /** Room for two keys, for each walk inside a walk. */
  const buffers: { readonly address: number; readonly keyBytes: number }[] = [];
  let depth = 0;

  function keyBuffer(keyBytes: number): number {
    let buffer = buffers[depth];
    if (buffer === undefined || buffer.keyBytes < keyBytes) {
      const rounded = roundUp(keyBytes, LEAST_KEY_ROOM_BYTES);
      buffer = { address: machine.memory.allocate(2 * rounded, 8, 'keys of bpf_for_each_map_elem'), keyBytes: rounded };
      buffers[depth] = buffer;
    }
    return buffer.address;
  }

  return (map, callback, contextLow, contextHigh, flags, flagsHigh) => {
    const walked = mapsOf(machine).byDescriptor(map!);
    const body = machine.callback(callback!);
    if (flags !== 0 || flagsHigh !== 0 || body === undefined || walked === undefined || !WALKED.has(walked.type.name)) return -ERRNO.EINVAL;
    const { operations, spec, descriptor } = walked;
    const context = join(contextLow!, contextHigh!);
    let current = keyBuffer(spec.keyBytes);
    let following = current + roundUp(spec.keyBytes, 8);
    let visited = 0;
    let more = operations.next(0, current) === 0;
    depth++;
    try {
      while (more && visited < spec.maxEntries) {
        more = operations.next(current, following) === 0;
        const value = operations.lookup_percpu(current, machine.cpu) >>> 0;
        if (value !== 0) {
          visited++;
          if (body(BigInt(descriptor), BigInt(current), BigInt(value), context, 0n) !== 0n) return visited;
        }
        if (more && operations.lookup_percpu(following, machine.cpu) === 0) {
          more = operations.lookup_percpu(current, machine.cpu) !== 0 && operations.next(current, following) === 0;
        }
        [current, following] = [following, current];
      }
    } finally {
      depth--;
    }
    return visited;
  };
};

export const LOOP_HELPERS: readonly Helper[] = [
  {
    id: 164,
    name: 'for_each_map_elem',
    args: ['map', 'callback', 'callback_ctx', 'u64'],
    returns: 'int',
    programs: ANY_PROGRAM,
    implementation: { kind: 'js', bind: forEachMapElement },
  },
  {
    id: 181,
    name: 'loop',
    args: ['u32', 'callback', 'callback_ctx', 'u64'],
    returns: 'int',
    programs: ANY_PROGRAM,
    implementation: { kind: 'js', bind: loop },
  },
];
