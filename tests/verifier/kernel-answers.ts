/** What the running Linux answers to a case. Maps are made when first named, and programs closed at once, at the pace that closeProgram keeps. */
import { createKernelMap, type KernelMap } from '../../dataplane/engine/kernel/kernel-map.ts';
import { LOG_LEVEL, loadKernelProgram } from '../../dataplane/engine/kernel/kernel-program.ts';
import { BtfImage } from '../../dataplane/engine/kernel/btf-image.ts';
import { KernelRefusal, openLinux } from '../../dataplane/engine/kernel/linux.ts';
import { loadBtf } from '../../dataplane/engine/kernel/load-btf.ts';
import type { ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { programOf, type VerifierCase } from './case-file.ts';
import { CASE_MAPS } from './case-maps.ts';

const ONLY_KEY = new Uint8Array(4);

export class KernelAnswers {
  readonly #linux = openLinux();
  readonly #maps = new Map<string, KernelMap>();

  /** `accepted`, or `refused EACCES: ` and the last line of the log. */
  answer(of: VerifierCase): string {
    const spec = programOf(of);
    try {
      // Callbacks need function information, and so do tail calls in subprograms.
      if (spec.functions.length === 1) this.#load(spec);
      else {
        const image = new BtfImage(undefined, [spec]);
        loadBtf(this.#linux, image, 'case', (fd) => this.#load(spec, { image, fd }));
      }
      return 'accepted';
    } catch (error) {
      if (!(error instanceof KernelRefusal) || error.code !== 'ERR_PROGRAM') throw error;
      const reason = /Linux refuses it: (.*) \(.+\)$/s.exec(error.message)?.[1] ?? '';
      return `refused ${error.errno}: ${reason}`;
    }
  }

  close(): void {
    for (const map of this.#maps.values()) map.close();
    this.#maps.clear();
  }

  #load(spec: ProgramSpec, btf?: { readonly image: BtfImage; readonly fd: number }): void {
    loadKernelProgram(this.#linux, spec, { type: spec.type!, map: (name) => this.#map(name).fd, logLevel: LOG_LEVEL.path, ...(btf === undefined ? {} : { btf }) }).close();
  }

  #map(name: string): KernelMap {
    let map = this.#maps.get(name);
    if (map !== undefined) return map;
    const spec = CASE_MAPS.get(name);
    if (spec === undefined) throw new Error(`no map ${name}; case-maps.ts has ${[...CASE_MAPS.keys()].join(', ')}`);
    const create = (btfFd?: number): KernelMap => createKernelMap(this.#linux, spec, btfFd === undefined ? {} : { btfFd });
    map = spec.btf === undefined ? create() : loadBtf(this.#linux, new BtfImage(spec.btf, []), name, create);
    if (spec.contents !== undefined) map.update(ONLY_KEY, spec.contents);
    if (spec.frozen) map.freeze();
    this.#maps.set(name, map);
    return map;
  }
}
