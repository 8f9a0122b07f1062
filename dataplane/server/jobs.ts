/** Jobs, one after the other in a thread of their own: few may wait, none may take for ever, and none takes the server down. */
import { Worker } from 'node:worker_threads';
import type { JobService } from './job-service.ts';
import { HttpProblem } from './problem.ts';
import { ThreadCaller } from './thread-call.ts';
import { workerFile } from '../system/worker-file.ts';

const MOST_WAITING = 16;
const LONGEST_MS = 60_000;
const MOST_MEMORY_MB = 2048;

type Call = ThreadCaller<JobService>['call'];

export class Jobs {
  #worker: Worker | undefined;
  #caller: ThreadCaller<JobService> | undefined;
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  /** `what` is named where it takes too long. */
  async run<Result>(what: string, job: (call: Call) => Promise<Result>): Promise<Result> {
    if (this.#waiting >= MOST_WAITING) throw new HttpProblem(429, 'ERR_TOO_MANY', `${this.#waiting} jobs are waiting already; try again later`);
    this.#waiting++;
    const turn = this.#last.then(() => this.#run(what, job));
    this.#last = turn.catch(() => {});
    try {
      return await turn;
    } finally {
      this.#waiting--;
    }
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
  }

  async #run<Result>(what: string, job: (call: Call) => Promise<Result>): Promise<Result> {
    const caller = this.#open();
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(new HttpProblem(422, 'ERR_REFUSED', `${what}: has taken ${LONGEST_MS / 1000} seconds, and was given up`));
        const late = this.#worker;
        this.#worker = undefined;
        void late?.terminate();
      }, LONGEST_MS);
    });
    try {
      return await Promise.race([job(caller.call.bind(caller) as Call), tooLate]);
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY') throw new HttpProblem(422, 'ERR_REFUSED', `${what}: needs more than ${MOST_MEMORY_MB} MB`);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #open(): ThreadCaller<JobService> {
    if (this.#caller !== undefined && this.#worker !== undefined) return this.#caller;
    const worker = new Worker(workerFile('server/job-worker'), { resourceLimits: { maxOldGenerationSizeMb: MOST_MEMORY_MB } });
    worker.unref();
    worker.on('exit', () => {
      if (this.#worker === worker) this.#worker = undefined;
    });
    this.#worker = worker;
    this.#caller = new ThreadCaller<JobService>(worker);
    return this.#caller;
  }
}
