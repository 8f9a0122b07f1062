/**
 * Runs a packet through a lab as it is now, watching every instruction, and puts everything back: maps, counters, the
 * clock, timers and the random sequence are as if it had not come. What programs send to user space is heard by nobody.
 */
import { XdplabError } from '../errors.ts';
import { timersOf } from '../helpers/timer.ts';
import { MemorySnapshot } from '../machine/memory-snapshot.ts';
import type { Lab, PacketResult, RunOptions } from '../pipeline/lab.ts';
import { RunTracer, type TracedRun } from './run-trace.ts';
import type { WatchedPrograms } from './watched-programs.ts';

export interface Rerun extends PacketResult {
  /** One for each verdict. */
  readonly runs: readonly TracedRun[];
}

/** Looking at all of it takes a moment, in which nothing else runs. */
const MIB = 1 << 20;
const MOST_MEMORY_BYTES = 1024 * MIB;

export class Rerunner {
  readonly #lab: Lab;
  readonly #tracer = new RunTracer();
  readonly #watched: WatchedPrograms;

  constructor(lab: Lab, watched: WatchedPrograms) {
    this.#lab = lab;
    this.#watched = watched;
  }

  run(packet: Uint8Array, options: RunOptions): Rerun {
    const { machine } = this.#lab;
    const { memory } = machine;
    if (memory.usedBytes > MOST_MEMORY_BYTES) throw new XdplabError('ERR_MEMORY', `the lab has ${Math.round(memory.usedBytes / MIB)} MiB of memory, all of which is put back after a packet has run again: expected at most ${MOST_MEMORY_BYTES / MIB} MiB; declare smaller maps`);
    const { onEvent, onRecords } = machine;
    const restoreTimers = timersOf(machine).keep();
    const snapshot = new MemorySnapshot(memory);
    // Timers that are due would change what the packet is to find.
    Object.assign(machine, { onEvent: () => {}, onRecords: () => {}, nextTimerNs: undefined });
    this.#watched.on(this.#tracer);
    try {
      return { ...this.#lab.run(packet, options), runs: this.#tracer.take() };
    } finally {
      this.#watched.off();
      snapshot.restore();
      restoreTimers();
      Object.assign(machine, { onEvent, onRecords });
    }
  }
}
