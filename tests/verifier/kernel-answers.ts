/**
 * What the running Linux answers to a case. Each of the users makes maps of their own when first named; programs are
 * closed at once, at the pace that closeProgram keeps. A program array is made anew for each case: it takes the type of the first program that names it.
 */
import { BPF_MAP_TYPE } from '../../dataplane/bpf/map-type.ts';
import { createKernelMap, type KernelMap } from '../../dataplane/engine/kernel/kernel-map.ts';
import { LOG_LEVEL, loadKernelProgram, refusalLine } from '../../dataplane/engine/kernel/kernel-program.ts';
import { BtfImage } from '../../dataplane/engine/kernel/btf-image.ts';
import { KernelRefusal, openLinux, type Linux } from '../../dataplane/engine/kernel/linux.ts';
import { whyNobodysPrograms, withRights } from '../../dataplane/engine/kernel/rights.ts';
import { loadBtf } from '../../dataplane/engine/kernel/load-btf.ts';
import type { ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { USERS, type User } from '../../dataplane/verifier/user.ts';
import { programOf, type VerifierCase } from './case-file.ts';
import { CASE_MAPS } from './case-maps.ts';
import { typesOf } from './case-types.ts';

const ONLY_KEY = new Uint8Array(4);

/** The branch that closes such a loop stands in front of what is wrong, where precision was followed back from it. */
const CLOSING_BRANCH = /^\d+: \([0-9a-f]{2}\) .* (?=infinite loop detected)/;

/** The last line that says why. */
const reasonIn = (log: string): string => (refusalLine(log) ?? '').replace(CLOSING_BRANCH, '');

/** Callbacks need function information, and so do tail calls in subprograms. */
function needsTypes({ functions, instructions }: ProgramSpec): boolean {
  return functions.length > 1 || instructions.some((each) => each.kind === 'load_imm64' && each.value.kind === 'function');
}

export class KernelAnswers {
  readonly #linux = openLinux();
  readonly #maps: Readonly<Record<User, Map<string, KernelMap>>> = { privileged: new Map(), without_perfmon: new Map(), without_capabilities: new Map() };
  readonly #whyNobodys = whyNobodysPrograms();

  /** Why the case cannot be asked here. */
  whyNot({ user }: VerifierCase): string | undefined {
    return user === 'without_capabilities' ? this.#whyNobodys : undefined;
  }

  /** `accepted`, or `refused EACCES: ` and the last line of the log. */
  answer(of: VerifierCase): string {
    try {
      this.#load(of, LOG_LEVEL.statistics);
      return 'accepted';
    } catch (error) {
      if (!(error instanceof KernelRefusal) || (error.code !== 'ERR_PROGRAM' && of.user !== 'without_capabilities')) throw error;
      const reason = reasonIn(error.log);
      return `refused ${error.errno}${reason === '' ? '' : `: ${reason}`}`;
    }
  }

  /** The log of a case, every path; undefined where it is refused, or where the log is too long. */
  log(of: VerifierCase): string | undefined {
    try {
      return this.#load(of, LOG_LEVEL.states);
    } catch (error) {
      if (error instanceof KernelRefusal && error.code === 'ERR_PROGRAM') return undefined;
      throw error;
    }
  }

  close(): void {
    for (const maps of Object.values(this.#maps)) {
      for (const map of maps.values()) map.close();
      maps.clear();
    }
  }

  /** Loads it, and closes it at once; answers the log. */
  #load(of: VerifierCase, logLevel: number): string {
    return withRights(this.#linux, USERS[of.user], () => this.#loadHere(of, logLevel));
  }

  #loadHere(of: VerifierCase, logLevel: number): string {
    const spec = programOf(of);
    const maps = this.#maps[of.user];
    const load = (btf?: { readonly image: BtfImage; readonly fd: number }): string => {
      const program = loadKernelProgram(this.#linux, spec, { type: spec.type!, map: (name) => mapNamed(maps, name, this.#linux).fd, logLevel, ...(btf === undefined ? {} : { btf }) });
      program.close();
      return program.log;
    };
    try {
      if ((!needsTypes(spec) && of.exceptionCallbacks.length === 0) || !USERS[of.user].bpf) return load();
      const image = new BtfImage(typesOf(of), [spec]);
      return loadBtf(this.#linux, image, 'case', (fd) => load({ image, fd }));
    } finally {
      for (const [name, map] of maps) {
        if (map.spec.type !== BPF_MAP_TYPE.prog_array) continue;
        map.close();
        maps.delete(name);
      }
    }
  }

}

function mapNamed(maps: Map<string, KernelMap>, name: string, linux: Linux): KernelMap {
  let map = maps.get(name);
  if (map !== undefined) return map;
  const spec = CASE_MAPS.get(name);
  if (spec === undefined) throw new Error(`no map ${name}; case-maps.ts has ${[...CASE_MAPS.keys()].join(', ')}`);
  const create = (btfFd?: number): KernelMap => createKernelMap(linux, spec, btfFd === undefined ? {} : { btfFd });
  map = spec.btf === undefined ? create() : loadBtf(linux, new BtfImage(spec.btf, []), name, create);
  if (spec.contents !== undefined) map.update(ONLY_KEY, spec.contents);
  if (spec.frozen) map.freeze();
  maps.set(name, map);
  return map;
}
