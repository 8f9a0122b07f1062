/**
 * The timers of a machine: those that programs keep in map values (`struct bpf_timer`), in the order they expire.
 *
 * Virtual time passes between packets, so whoever moves the clock calls `run` first; callbacks then see the time they
 * asked for. Timers that expire together run in the order they were started. A timer ends with the value it is in:
 * its first word is a mark that updating, deleting or reusing the value takes away.
 */
import type { Callback, Machine } from '../machine/machine.ts';
import type { BpfMap } from '../maps/bpf-map.ts';

/** In a map value. `mark` is 0 where no timer was initialised. */
export const BPF_TIMER = { mark: 0, size: 16 } as const;

/** Entries that count no more, before it is worth looking for them. */
const MOST_STALE = 1024;

export interface Timer {
  readonly address: number;
  readonly map: BpfMap;
  readonly mark: number;
  callback: Callback | undefined;
  /** Of the program that set the callback. */
  programId: number;
  /** Which of its starts counts, 0 while it is not running. */
  started: number;
}

interface Entry {
  readonly timer: Timer;
  readonly expiresNs: bigint;
  readonly start: number;
}

/** The arguments of a callback besides the map: where the key and the value are. Undefined once the value is gone. */
export type LocateElement = (timer: Timer) => { readonly key: number; readonly value: number } | undefined;

export class TimerQueue {
  readonly #machine: Machine;
  readonly #locate: LocateElement;
  readonly #timers = new Map<number, Timer>();
  /** A binary heap; entries of timers that were stopped or started again stay until they come up, or until they are too many. */
  #heap: Entry[] = [];
  #starts = 0;
  #marks = 0;
  /** The timer whose callback runs. */
  running: Timer | undefined;

  constructor(machine: Machine, locate: LocateElement) {
    this.#machine = machine;
    this.#locate = locate;
  }

  /** When the next timer expires, or earlier; undefined if none is running. */
  get nextNs(): bigint | undefined {
    return this.#heap[0]?.expiresNs;
  }

  /** The timer at `address`, if one was initialised and its value is still there. */
  at(address: number): Timer | undefined {
    const timer = this.#timers.get(address);
    return timer?.mark === this.#machine.memory.view.getUint32(address + BPF_TIMER.mark, true) ? timer : undefined;
  }

  add(address: number, map: BpfMap): void {
    const mark = ++this.#marks;
    this.#machine.memory.view.setUint32(address + BPF_TIMER.mark, mark, true);
    this.#timers.set(address, { address, map, mark, callback: undefined, programId: 0, started: 0 });
  }

  /** Entries it keeps, of timers that were stopped too. */
  get length(): number {
    return this.#heap.length;
  }

  /** Returns what undoes all that happens to the timers from now on, where the memory goes back too. */
  keep(): () => void {
    const heap = [...this.#heap];
    const timers = Array.from(this.#timers.values(), (timer) => ({ timer, before: { ...timer } }));
    return () => {
      this.#heap = heap;
      this.#timers.clear();
      for (const { timer, before } of timers) this.#timers.set(timer.address, Object.assign(timer, before));
    };
  }

  start(timer: Timer, expiresNs: bigint): void {
    timer.started = ++this.#starts;
    this.#push({ timer, expiresNs, start: timer.started });
    // A program may start a timer anew with every packet, and no timer has more than one entry that counts.
    if (this.#heap.length > MOST_STALE + 2 * this.#timers.size) this.#dropStale();
  }

  /** Whether it was running. */
  stop(timer: Timer): boolean {
    const wasRunning = timer.started !== 0;
    timer.started = 0;
    return wasRunning;
  }

  /**
   * Runs what expires up to `untilNs`; returns how many callbacks ran. The clock is left at the last expiry. What a
   * callback throws ends that callback only, and goes to `onFault`.
   */
  run(untilNs: bigint, onFault: (error: unknown) => void = () => {}): number {
    let ran = 0;
    for (;;) {
      const due = this.#heap[0];
      if (due === undefined || due.expiresNs > untilNs) {
        this.#machine.nextTimerNs = this.nextNs;
        return ran;
      }
      this.#pop();
      const { timer } = due;
      if (!this.#isLive(due)) continue;
      timer.started = 0;
      const element = this.#locate(timer);
      if (element === undefined || timer.callback === undefined) continue;
      this.#call(timer, timer.callback, element, due.expiresNs, onFault);
      ran++;
    }
  }

  #call(timer: Timer, callback: Callback, element: { readonly key: number; readonly value: number }, expiresNs: bigint, onFault: (error: unknown) => void): void {
    const machine = this.#machine;
    if (machine.nowNs < expiresNs) machine.nowNs = expiresNs;
    machine.beginRun(timer.programId);
    this.running = timer;
    try {
      callback(BigInt(timer.map.descriptor), BigInt(element.key), BigInt(element.value), 0n, 0n);
    } catch (error) {
      onFault(error);
    } finally {
      this.running = undefined;
    }
  }

  #isLive({ timer, start }: Entry): boolean {
    return timer.started === start && this.at(timer.address) === timer;
  }

  #dropStale(): void {
    // What is sorted is a heap.
    this.#heap = this.#heap.filter((entry) => this.#isLive(entry)).sort((a, b) => (isBefore(a, b) ? -1 : 1));
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(entry, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = entry;
    this.#machine.nextTimerNs = this.nextNs;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.expiresNs < b.expiresNs || (a.expiresNs === b.expiresNs && a.start < b.start);
}
