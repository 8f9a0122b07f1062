/** The runs of this server: the newest one belongs to the lab, the others are remembered as they ended. */
import type { AttachedRequest } from './attached-run.ts';
import type { LabHost } from './lab-host.ts';
import type { RunRequest } from './lab-run.ts';
import type { LiveRequest } from './live-run.ts';
import type { RunDescription } from './open-run.ts';
import type { StoredCapture } from './capture-store.ts';
import { HttpProblem } from './problem.ts';

const REMEMBERED = 100;

export type RunOptions = Pick<RunRequest, 'speed' | 'loops' | 'paused'> & { readonly limit?: number };

export class Runs {
  readonly #host: LabHost;
  readonly #runs = new Map<string, RunDescription>();
  #count = 0;
  #isBeginning = false;

  constructor(host: LabHost) {
    this.#host = host;
    host.on('run', (run) => this.#remember(run));
  }

  /** The newest last. */
  get all(): readonly RunDescription[] {
    return [...this.#runs.values()];
  }

  get open(): RunDescription | undefined {
    return this.all.find(isOpen);
  }

  /** As it is now. */
  async get(id: string): Promise<RunDescription> {
    const run = this.#runs.get(id);
    if (run === undefined) throw new HttpProblem(404, 'ERR_NOT_FOUND', `there is no run ${id}`);
    if (!isOpen(run)) return run;
    const { run: now } = await this.#host.call('statistics');
    return now?.id === id ? this.#remember(now) : run;
  }

  async start({ id: capture, path, name, packets: totalPackets }: StoredCapture, options: RunOptions): Promise<RunDescription> {
    return this.#begin((id) => this.#host.call('startRun', { id, capture, path, name, totalPackets, ...options }));
  }

  async startLive(options: Omit<LiveRequest, 'id'>): Promise<RunDescription> {
    return this.#begin((id) => this.#host.call('startLive', { id, ...options }));
  }

  async startAttached(options: Omit<AttachedRequest, 'id'>): Promise<RunDescription> {
    return this.#begin((id) => this.#host.call('startAttached', { id, ...options }));
  }

  /** Throws where there is no such run, or where it has ended. */
  async expectOpen(id: string): Promise<void> {
    const { state } = await this.get(id);
    if (state !== 'running' && state !== 'paused') throw new HttpProblem(409, 'ERR_BUSY', `run ${id} has ended (${state}); start another one`);
  }

  /** Another lab has taken the place of the one it ran in. */
  endAll(): void {
    for (const run of this.all.filter(isOpen)) this.#remember({ ...run, state: 'stopped' });
  }

  async #begin(start: (id: string) => Promise<RunDescription>): Promise<RunDescription> {
    const { open } = this;
    if (open !== undefined) throw new HttpProblem(409, 'ERR_BUSY', `run ${open.id} has not ended; stop it first`);
    if (this.#isBeginning) throw new HttpProblem(409, 'ERR_BUSY', 'another run is just beginning; stop it first');
    this.#isBeginning = true;
    try {
      return this.#remember(await start(`r${++this.#count}`));
    } finally {
      this.#isBeginning = false;
    }
  }

  #remember(run: RunDescription): RunDescription {
    this.#runs.set(run.id, run);
    const [oldest] = this.#runs.keys();
    if (this.#runs.size > REMEMBERED) this.#runs.delete(oldest!);
    return run;
  }
}

function isOpen({ state }: RunDescription): boolean {
  return state === 'running' || state === 'paused';
}
