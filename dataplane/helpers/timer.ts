/**
 * bpf_timer_init, set_callback, start and cancel, on the machine's timer queue. All clocks are virtual time.
 */
import { CPU_BLOCK } from '../machine/cpu.ts';
import type { Machine } from '../machine/machine.ts';
import type { BpfMap } from '../maps/bpf-map.ts';
import { FREE, hashLayout, NODE, type HashKind } from '../maps/hash-layout.ts';
import { mapsOf } from '../maps/map-registry.ts';
import { ERRNO, valueStride } from '../maps/map.ts';
import { specialFields } from '../maps/special-fields.ts';
import type { ArgumentKind, Helper, HelperFunction } from './helper.ts';
import { ANY_PROGRAM } from './program-sets.ts';
import { TimerQueue, type Timer } from './timer-queue.ts';

/** CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME. */
const CLOCKS: readonly number[] = [0, 1, 7];
const BPF_F_TIMER_ABS = 1;
const BPF_F_TIMER_CPU_PIN = 2;

/** Types whose values may hold a timer. */
const HASH_KINDS: Readonly<Record<string, HashKind>> = { hash: { lru: false, perCpu: false }, lru_hash: { lru: true, perCpu: false } };

const queues = new WeakMap<Machine, TimerQueue>();

/** The timers of a machine; the packet path runs them before it moves the clock. */
export function timersOf(machine: Machine): TimerQueue {
  let queue = queues.get(machine);
  if (queue === undefined) {
    // An array's element has no key in memory: its index is put here for the callback.
    const index = machine.memory.allocate(8, 8, 'key of a timer callback');
    queue = new TimerQueue(machine, (timer) => locateElement(machine, timer, index));
    queues.set(machine, queue);
  }
  return queue;
}

function timerOffset({ spec }: BpfMap): number | undefined {
  return specialFields(spec).find(({ type }) => type === 'bpf_timer')?.offset;
}

function locateElement(machine: Machine, { map, address }: Timer, index: number): { key: number; value: number } | undefined {
  const { view } = machine.memory;
  const { spec, geometry, type } = map;
  const value = address - (timerOffset(map) ?? 0);
  const kind = HASH_KINDS[type.name];
  if (kind === undefined) {
    view.setUint32(index, (value - geometry.storage) / valueStride(spec), true);
    return { key: index, value };
  }
  const layout = hashLayout(kind, spec, machine.cpus);
  const node = value - layout.valueOffset;
  return (view.getUint32(node + NODE.next, true) & FREE) !== 0 ? undefined : { key: node + layout.keyOffset, value };
}

const initialise =
  (machine: Machine): HelperFunction =>
  (timer, map, flags, flagsHigh) => {
    const queue = timersOf(machine);
    const owner = mapsOf(machine).byDescriptor(map!);
    if (flagsHigh !== 0 || !CLOCKS.includes(flags!) || owner === undefined || timerOffset(owner) === undefined) return -ERRNO.EINVAL;
    if (queue.at(timer! >>> 0) !== undefined) return -ERRNO.EBUSY;
    queue.add(timer! >>> 0, owner);
    return 0;
  };

const setCallback =
  (machine: Machine): HelperFunction =>
  (address, callback) => {
    const timer = timersOf(machine).at(address! >>> 0);
    if (timer === undefined) return -ERRNO.EINVAL;
    timer.callback = machine.callback(callback!);
    timer.programId = machine.cell(CPU_BLOCK.programId);
    return 0;
  };

const start =
  (machine: Machine): HelperFunction =>
  (address, low, high, flags, flagsHigh) => {
    const queue = timersOf(machine);
    if ((flags! & ~(BPF_F_TIMER_ABS | BPF_F_TIMER_CPU_PIN)) !== 0 || flagsHigh !== 0) return -ERRNO.EINVAL;
    const timer = queue.at(address! >>> 0);
    if (timer?.callback === undefined) return -ERRNO.EINVAL;
    const ns = (BigInt(high! >>> 0) << 32n) | BigInt(low! >>> 0);
    queue.start(timer, (flags! & BPF_F_TIMER_ABS) !== 0 ? ns : machine.nowNs + ns);
    return 0;
  };

/** Answers 1 if the timer was running. It needs a callback again before it can be started. */
const cancel =
  (machine: Machine): HelperFunction =>
  (address) => {
    const queue = timersOf(machine);
    const timer = queue.at(address! >>> 0);
    if (timer === undefined) return -ERRNO.EINVAL;
    if (timer === queue.running) return -ERRNO.EDEADLK;
    timer.callback = undefined;
    return queue.stop(timer) ? 1 : 0;
  };

const row = (id: number, name: string, args: readonly ArgumentKind[], bind: (machine: Machine) => HelperFunction): Helper => ({
  id,
  name,
  args: ['timer', ...args],
  returns: 'int',
  programs: ANY_PROGRAM,
  gplOnly: true,
  implementation: { kind: 'js', bind },
});

export const TIMER_HELPERS: readonly Helper[] = [
  row(169, 'timer_init', ['map', 'u64'], initialise),
  row(170, 'timer_set_callback', ['callback'], setCallback),
  row(171, 'timer_start', ['u64', 'u64'], start),
  row(172, 'timer_cancel', [], cancel),
];
