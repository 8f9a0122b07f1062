/** A replay of a capture through the lab of this thread, with a hand on it. */
import { XdplabError } from '../errors.ts';
import type { Lab } from '../pipeline/lab.ts';
import { paceText, parsePace } from '../pipeline/pace.ts';
import type { BatchObserver } from '../pipeline/pipeline.ts';
import { ReplayControl } from '../pipeline/replay-control.ts';
import { replay, type ReplayProgress } from '../pipeline/replay.ts';
import type { CaptureRunDescription, OpenRun, RunState } from './open-run.ts';

export interface RunRequest {
  readonly id: string;
  /** Id, path and the name to call it by. */
  readonly capture: string;
  readonly path: string;
  readonly name: string;
  readonly totalPackets: number;
  readonly speed: string;
  /** null: for ever. */
  readonly loops: number | null;
  readonly limit?: number;
  readonly paused: boolean;
}

const NOTHING_YET: ReplayProgress = { packets: 0, bytes: 0, place: 0, round: 1, busyNs: 0, bytesRead: 0, totalBytes: undefined };

export class LabRun implements OpenRun {
  readonly id: string;
  readonly #request: RunRequest;
  readonly #control: ReplayControl;
  readonly #abort = new AbortController();
  readonly #tell: (run: CaptureRunDescription) => void;
  readonly #startedAt = new Date().toISOString();
  readonly #finished: Promise<void>;
  #state: RunState;
  #progress = NOTHING_YET;
  /** Time that ran before `#sinceMs`, undefined while it does not run. */
  #elapsedMs = 0;
  #sinceMs: number | undefined;
  #damage: string | undefined;
  #error: string | undefined;

  /** `tell` is called when its state changes. */
  constructor(lab: Lab, request: RunRequest, observer: BatchObserver, tell: (run: CaptureRunDescription) => void) {
    this.id = request.id;
    this.#request = request;
    this.#tell = tell;
    this.#state = request.paused ? 'paused' : 'running';
    if (!request.paused) this.#sinceMs = performance.now();
    this.#control = new ReplayControl({ pace: parsePace(request.speed), paused: request.paused });
    this.#finished = this.#run(lab, observer);
  }

  get ended(): boolean {
    return this.#state !== 'running' && this.#state !== 'paused';
  }

  describe(): CaptureRunDescription {
    const { id, capture, totalPackets, loops } = this.#request;
    const { packets, bytes, place, round, busyNs } = this.#progress;
    const elapsedMs = this.#elapsedMs + (this.#sinceMs === undefined ? 0 : performance.now() - this.#sinceMs);
    return {
      id,
      capture,
      state: this.#state,
      speed: paceText(this.#control.pace),
      loops,
      round,
      packet: place,
      totalPackets,
      packets,
      bytes,
      elapsedNs: Math.round(elapsedMs * 1e6),
      busyNs: Math.round(busyNs),
      startedAt: this.#startedAt,
      ...(this.#damage === undefined ? {} : { damage: this.#damage }),
      ...(this.#error === undefined ? {} : { error: this.#error }),
    };
  }

  pause(): CaptureRunDescription {
    this.#control.paused = true;
    return this.#enter('paused');
  }

  resume(): CaptureRunDescription {
    this.#control.paused = false;
    return this.#enter('running');
  }

  async stop(): Promise<CaptureRunDescription> {
    this.#abort.abort();
    await this.#finished;
    return this.describe();
  }

  seek(place: number): CaptureRunDescription {
    const { totalPackets } = this.#request;
    if (place > totalPackets) throw new XdplabError('ERR_VALUE', `packet ${place}: the capture has ${totalPackets}; expected 1 to ${totalPackets}`);
    this.#control.seek(place);
    // The replay goes there only when it looks again.
    this.#progress = { ...this.#progress, place: place - 1 };
    return this.#enter(this.#state);
  }

  hurry(speed: string): CaptureRunDescription {
    this.#control.pace = parsePace(speed);
    return this.#enter(this.#state);
  }

  async #run(lab: Lab, observer: BatchObserver): Promise<void> {
    const { path, loops, limit } = this.#request;
    // The answer that it has begun goes out first.
    await new Promise(setImmediate);
    try {
      const { damage, interrupted } = await replay(lab, path, {
        control: this.#control,
        loops: loops ?? Number.POSITIVE_INFINITY,
        ...(limit === undefined ? {} : { limit }),
        observer,
        signal: this.#abort.signal,
        onProgress: (progress) => (this.#progress = progress),
      });
      if (damage !== undefined) this.#damage = this.#readable(damage);
      this.#enter(interrupted ? 'stopped' : 'finished');
    } catch (error) {
      const isStopped = error instanceof XdplabError && error.code === 'ERR_INTERRUPTED';
      if (!isStopped) this.#error = this.#readable(error instanceof Error ? error : new Error(String(error)));
      this.#enter(isStopped ? 'stopped' : 'failed');
      // What is not an XdplabError is a bug, and shows its stack.
      if (!(error instanceof XdplabError)) console.error(error);
    }
  }

  #enter(state: RunState): CaptureRunDescription {
    if (this.#sinceMs !== undefined) this.#elapsedMs += performance.now() - this.#sinceMs;
    this.#sinceMs = state === 'running' ? performance.now() : undefined;
    this.#state = state;
    const run = this.describe();
    this.#tell(run);
    return run;
  }

  /** With the name that the user knows the capture by. */
  #readable({ message }: Error): string {
    return message.replaceAll(this.#request.path, this.#request.name);
  }
}
