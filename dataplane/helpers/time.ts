/**
 * Clocks. Virtual time is one number of nanoseconds, so the monotonic, boot and TAI clocks agree (Linux's TAI clock
 * is its real time until somebody tells it the leap seconds). The coarse clock and jiffies advance HZ times a second.
 */
import { CPU_BLOCK } from '../machine/cpu.ts';
import type { Machine } from '../machine/machine.ts';
import { i32, i64, type I64 } from '../wasm/expression.ts';
import type { Helper } from './helper.ts';
import { ANY_PROGRAM } from './program-sets.ts';

/** CONFIG_HZ of the distributions that most servers run. */
export const HZ = 250;
const JIFFY_NS = 1_000_000_000n / BigInt(HZ);
/** Linux starts jiffies five minutes before they wrap 32 bits. */
const INITIAL_JIFFIES = BigInt(-300 * HZ >>> 0);

const clock = (id: number, name: string, value: (now: I64) => I64): Helper => ({
  id,
  name,
  args: [],
  returns: 'u64',
  programs: ANY_PROGRAM,
  implementation: {
    kind: 'wasm',
    emit: (module, machine: Machine) => {
      const f = module.function(name, [], 'i64');
      f.return(value(i64.load(i32.const(machine.cpuBlock), CPU_BLOCK.now)));
      return f;
    },
  },
});

const jiffies = (now: I64): I64 => i64.divU(now, i64.const(JIFFY_NS));

export const TIME_HELPERS: readonly Helper[] = [
  clock(5, 'ktime_get_ns', (now) => now),
  clock(125, 'ktime_get_boot_ns', (now) => now),
  clock(160, 'ktime_get_coarse_ns', (now) => i64.mul(jiffies(now), i64.const(JIFFY_NS))),
  clock(208, 'ktime_get_tai_ns', (now) => now),
  clock(118, 'jiffies64', (now) => i64.add(jiffies(now), i64.const(INITIAL_JIFFIES))),
];
