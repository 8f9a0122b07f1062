/**
 * Virtual time in the kernel. A program that asks for the time or for a random number would get other answers than a
 * program here; so before it is loaded, its calls of these helpers become calls of functions that are appended to it,
 * and that read one map, whose page this process has too, laid out like the start of the simulated CPU (machine/cpu.ts):
 *
 *   0 u64 now      8 u64 random: state of the generator
 *
 * A call takes the place of a call, so no instruction moves. Such a program has one frame more in its deepest chain,
 * and a subprogram even if it had none, which Linux limits where there are tail calls: 256 bytes of stack.
 */
import { BPF_MAP_TYPE } from '../../bpf/map-type.ts';
import type { MapSpec, ProgramSpec } from '../../bpf/spec.ts';
import { HZ } from '../../helpers/time.ts';
import { CPU_BLOCK } from '../../machine/cpu.ts';
import { MAP_FLAG } from '../../maps/map-check.ts';
import { replaceCalls, type Replacement } from './replace-calls.ts';

export const VIRTUAL_TIME_BYTES = 16;
/** The time, and room for what programs note (redirect-notes.ts). */
const VALUE_BYTES = 64;
export const VIRTUAL_TIME_MAP: MapSpec = {
  name: 'virtual_time', type: BPF_MAP_TYPE.array, keyBytes: 4, valueBytes: VALUE_BYTES, maxEntries: 1, flags: MAP_FLAG.MMAPABLE, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false,
};

const NOW = `r0 = map[${VIRTUAL_TIME_MAP.name}][0]+${CPU_BLOCK.now}\nr0 = *(u64 *)(r0 +0)`;
const JIFFY_NS = 1_000_000_000 / HZ;
const INITIAL_JIFFIES = -300 * HZ >>> 0;

/** By helper id: what helpers/time.ts and helpers/random.ts do. */
const REPLACEMENTS: ReadonlyMap<number, Replacement> = new Map([
  [5, { name: 'ktime_get_ns', code: NOW }],
  [125, { name: 'ktime_get_boot_ns', code: NOW }],
  [208, { name: 'ktime_get_tai_ns', code: NOW }],
  [160, { name: 'ktime_get_coarse_ns', code: `${NOW}\nr0 /= ${JIFFY_NS}\nr0 *= ${JIFFY_NS}` }],
  [118, { name: 'jiffies64', code: `${NOW}\nr0 /= ${JIFFY_NS}\nr1 = 0x${INITIAL_JIFFIES.toString(16)}\nr0 += r1` }],
  [
    7,
    {
      name: 'get_prandom_u32',
      code: `
        r1 = map[${VIRTUAL_TIME_MAP.name}][0]+${CPU_BLOCK.random}
        r0 = *(u64 *)(r1 +0)
        r2 = r0
        r2 >>= 12
        r0 ^= r2
        r2 = r0
        r2 <<= 25
        r0 ^= r2
        r2 = r0
        r2 >>= 27
        r0 ^= r2
        *(u64 *)(r1 +0) = r0
        r2 = 0x2545f4914f6cdd1d
        r0 *= r2
        r0 >>= 32`,
    },
  ],
]);

/** The same program where it asks for neither. */
export function withVirtualTime(spec: ProgramSpec): ProgramSpec {
  return replaceCalls(spec, (id) => REPLACEMENTS.get(id));
}
