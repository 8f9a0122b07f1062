/** A run of a live interface, which begins and is stopped: what comes, comes when it comes. What is done with it is its kind's. */
import { XdplabError } from '../errors.ts';
import type { InterfaceRunDescription, OpenRun, RunState } from './open-run.ts';

/** What a kind of run says of itself. */
export type RunFacts = Omit<InterfaceRunDescription, 'id' | 'interface' | 'state' | 'startedAt' | 'error'>;

export abstract class InterfaceRun implements OpenRun {
  readonly id: string;
  readonly #interface: string;
  readonly #tell: (run: InterfaceRunDescription) => void;
  readonly #abort = new AbortController();
  readonly #startedAt = new Date().toISOString();
  readonly #finished: Promise<void>;
  #state: RunState = 'running';
  #error: string | undefined;

  /** `tell` is called when its state changes. */
  constructor(request: { readonly id: string; readonly interface: string }, tell: (run: InterfaceRunDescription) => void) {
    this.id = request.id;
    this.#interface = request.interface;
    this.#tell = tell;
    this.#finished = this.#run();
  }

  /** Until the signal aborts, or the interface fails; then everything is closed. */
  protected abstract run(signal: AbortSignal): Promise<{ readonly failure?: XdplabError }>;
  protected abstract facts(): RunFacts;

  get ended(): boolean {
    return this.#state !== 'running';
  }

  describe(): InterfaceRunDescription {
    const facts = this.facts();
    const { elapsedNs, busyNs } = facts;
    return {
      id: this.id,
      interface: this.#interface,
      state: this.#state,
      startedAt: this.#startedAt,
      ...(this.#error === undefined ? {} : { error: this.#error }),
      ...facts,
      elapsedNs: Math.round(elapsedNs),
      busyNs: busyNs === null ? null : Math.round(busyNs),
    };
  }

  async stop(): Promise<InterfaceRunDescription> {
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
    throw new XdplabError('ERR_LAB', `run ${this.id}: packets of ${this.#interface} come when they come, and cannot be ${what}; stop it`);
  }

  async #run(): Promise<void> {
    // The answer that it has begun goes out first.
    await new Promise(setImmediate);
    const running = this.run(this.#abort.signal);
    try {
      this.#tell(this.describe());
      const { failure } = await running;
      if (failure !== undefined) this.#error = failure.message;
      this.#state = failure === undefined ? 'stopped' : 'failed';
    } catch (error) {
      // What it has open is closed, whatever went wrong.
      this.#abort.abort();
      await running.catch(() => {});
      this.#error = error instanceof Error ? error.message : String(error);
      this.#state = 'failed';
      // What is not an XdplabError is a bug, and shows its stack.
      if (!(error instanceof XdplabError)) console.error(error);
    }
    this.#tell(this.describe());
  }
}
