/** Objects that were uploaded or named at the start, in memory, with what was found out about them. */
import type { ObjectDescription } from '../insight/describe-object.ts';
import type { Verification } from './job-service.ts';
import type { Jobs } from './jobs.ts';
import type { ObjectFile } from './lab-service.ts';
import { HttpProblem } from './problem.ts';

export const MOST_OBJECT_BYTES = 1 << 24;
const MOST_OBJECTS = 256;

export interface StoredObject {
  readonly file: ObjectFile;
  readonly description: ObjectDescription;
}

export class ObjectStore {
  readonly #jobs: Jobs;
  readonly #proofsPath: string;
  readonly #objects = new Map<string, StoredObject>();
  /** By object, program and policy: what was asked once is not asked again. */
  readonly #verifications = new Map<string, Verification>();
  #count = 0;

  /** `proofsPath`: where it is remembered what was accepted, so that the lab's thread need not verify again. */
  constructor(jobs: Jobs, proofsPath: string) {
    this.#jobs = jobs;
    this.#proofsPath = proofsPath;
  }

  get all(): readonly StoredObject[] {
    return [...this.#objects.values()];
  }

  get(id: string): StoredObject {
    const found = this.#objects.get(id);
    if (found === undefined) throw new HttpProblem(404, 'ERR_NOT_FOUND', `there is no object ${id}`);
    return found;
  }

  /** The newest one of that name. */
  named(name: string): StoredObject | undefined {
    return this.all.findLast(({ file }) => file.name === name);
  }

  async add(name: string, bytes: Uint8Array): Promise<StoredObject> {
    if (this.#objects.size >= MOST_OBJECTS) throw new HttpProblem(409, 'ERR_TOO_MANY', `there are ${MOST_OBJECTS} objects already; delete one first`);
    const description = await this.#describe({ name, bytes });
    // Only now: what is damaged has no number.
    return this.#keep({ id: `o${++this.#count}`, name, bytes }, description);
  }

  /** What the lab begins with again, also where it was forgotten meanwhile. */
  async restore(files: Iterable<ObjectFile>): Promise<void> {
    for (const file of files) if (!this.#objects.has(file.id)) this.#keep(file, await this.#describe(file));
  }

  #describe(file: Omit<ObjectFile, 'id'>): Promise<ObjectDescription> {
    return this.#jobs.run(file.name, (call) => call('describe', file));
  }

  #keep(file: ObjectFile, description: ObjectDescription): StoredObject {
    const stored = { file, description };
    this.#objects.set(file.id, stored);
    return stored;
  }

  delete(id: string): void {
    this.#objects.delete(id);
    for (const key of this.#verifications.keys()) if (key.startsWith(`${id} `)) this.#verifications.delete(key);
  }

  async verify({ file }: StoredObject, program: string | undefined, unprivileged = false): Promise<Verification> {
    const key = `${file.id} ${unprivileged} ${program ?? ''}`;
    const known = this.#verifications.get(key);
    if (known) return known;
    const verification = await this.#jobs.run(file.name, (call) => call('verify', file, program, unprivileged));
    this.#verifications.set(key, verification);
    return verification;
  }

  /** Throws what Linux would say to a program that it refuses. */
  async expectAccepted(object: StoredObject, program: string | undefined, cpus: number): Promise<void> {
    const { accepted, refusal } = await this.#jobs.run(object.file.name, (call) => call('prove', object.file, program, cpus, this.#proofsPath));
    if (!accepted) throw new HttpProblem(422, 'ERR_REFUSED', `${object.file.name}${program === undefined ? '' : `: program '${program}'`}: Linux would refuse it: ${refusal?.message ?? ''}`, { refusal });
  }
}
