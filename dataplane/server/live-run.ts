/** A live interface through the lab of this thread: observed, never sent to. */
import { BACKENDS } from '../devices/index.ts';
import type { PacketSource } from '../devices/device.ts';
import { liveInterface, usableInterface } from '../devices/interfaces.ts';
import { XdplabError } from '../errors.ts';
import type { Lab } from '../pipeline/lab.ts';
import { live, type LiveSnapshot } from '../pipeline/live.ts';
import type { BatchObserver } from '../pipeline/pipeline.ts';
import type { OpenRun, RunDescription, RunState } from './open-run.ts';

export interface LiveRequest {
  readonly id: string;
  readonly interface: string;
  readonly promiscuous: boolean;
}

/** The only one that works in a thread. */
const BACKEND = 'af_packet';
const SNAPSHOT_MS = 100;

/** Throws ERR_PRIVILEGE or ERR_DEVICE where nothing can be had of the interface. */
export async function openLiveRun(lab: Lab, request: LiveRequest, observer: BatchObserver, tell: (run: RunDescription) => void): Promise<LiveRun> {
  const backend = BACKENDS.find(({ name }) => name === BACKEND)!;
  const missing = backend.missing() ?? backend.refused();
  if (missing !== undefined) throw new XdplabError('ERR_PRIVILEGE', `${request.interface}: no packets can be had here: ${missing}`);
  const source = await backend.open(usableInterface(liveInterface(request.interface)), { memory: lab.machine.memory, index: 0, promiscuous: request.promiscuous });
  return new LiveRun(lab, request, source, observer, tell);
}

export class LiveRun implements OpenRun {
  readonly id: string;
  readonly #request: LiveRequest;
  readonly #abort = new AbortController();
  readonly #tell: (run: RunDescription) => void;
  readonly #startedAt = new Date().toISOString();
  readonly #finished: Promise<void>;
  #state: RunState = 'running';
  #snapshot: LiveSnapshot | undefined;
  #error: string | undefined;

  constructor(lab: Lab, request: LiveRequest, source: PacketSource, observer: BatchObserver, tell: (run: RunDescription) => void) {
    this.id = request.id;
    this.#request = request;
    this.#tell = tell;
    this.#finished = this.#run(lab, source, observer);
  }

  get ended(): boolean {
    return this.#state !== 'running';
  }

  describe(): RunDescription {
    const { packets = 0, bytes = 0, elapsedNs = 0, accounting } = this.#snapshot ?? {};
    return {
      id: this.id,
      capture: '',
      interface: this.#request.interface,
      state: this.#state,
      speed: 'original',
      loops: 1,
      round: 1,
      packet: packets,
      totalPackets: packets,
      packets,
      bytes,
      elapsedNs: Math.round(elapsedNs),
      busyNs: 0,
      startedAt: this.#startedAt,
      ...(this.#error === undefined ? {} : { error: this.#error }),
      ...(accounting === undefined ? {} : { accounting }),
    };
  }

  async stop(): Promise<RunDescription> {
    this.#abort.abort();
    await this.#finished;
    return this.describe();
  }

  pause(): never {
    return this.#refuse('paused');
  }

  resume(): never {
    return this.#refuse('resumed');
  }

  seek(): never {
    return this.#refuse('moved');
  }

  hurry(): never {
    return this.#refuse('made to hurry');
  }

  #refuse(what: string): never {
    throw new XdplabError('ERR_LAB', `run ${this.id}: packets of ${this.#request.interface} come when they come, and cannot be ${what}; stop it`);
  }

  async #run(lab: Lab, source: PacketSource, observer: BatchObserver): Promise<void> {
    // The answer that it has begun goes out first.
    await new Promise(setImmediate);
    try {
      const result = await live(lab, [source], { observer, signal: this.#abort.signal, snapshotMs: SNAPSHOT_MS, onSnapshot: (snapshot) => (this.#snapshot = snapshot) });
      this.#snapshot = result;
      if (result.failure !== undefined) this.#error = result.failure.message;
      this.#state = result.failure === undefined ? 'stopped' : 'failed';
    } catch (error) {
      this.#error = error instanceof Error ? error.message : String(error);
      this.#state = 'failed';
      // What is not an XdplabError is a bug, and shows its stack.
      if (!(error instanceof XdplabError)) console.error(error);
    } finally {
      source.close();
    }
    this.#tell(this.describe());
  }
}
