/** What the running Linux's verifier makes of a program. The program is not run, and is gone when the answer is there. */
import type { Btf } from '../../bpf/btf.ts';
import type { MapSpec, ProgramSpec, ProgramType } from '../../bpf/spec.ts';
import { XdplabError } from '../../errors.ts';
import { BtfImage } from './btf-image.ts';
import { createKernelMap, type KernelMap } from './kernel-map.ts';
import { LOG_LEVEL, loadKernelProgram, refusalLine } from './kernel-program.ts';
import { KernelRefusal, openLinux, type Linux } from './linux.ts';
import { withBtf } from './load-btf.ts';
import { whyNobodysPrograms, withRights, type Rights } from './rights.ts';

export interface KernelVerdict {
  readonly accepted: boolean;
  /** `EACCES`, …; absent where it accepts. */
  readonly errno?: string;
  /** The line of the log that says why. */
  readonly message?: string;
  /** `processed 40 insns (limit 1000000) …`: absent where it refuses before it walks. */
  readonly processed?: number;
  readonly totalStates?: number;
  readonly peakStates?: number;
  readonly elapsedUs?: number;
}

export interface KernelVerdictOptions {
  readonly type: ProgramType;
  readonly maps: ReadonlyMap<string, MapSpec>;
  /** What who asks may do; all that this process may, unless said. */
  readonly rights?: Rights;
  /** The object's. */
  readonly btf?: Btf | undefined;
}

const ALL_RIGHTS: Rights = { bpf: true, perfmon: true };
const ONLY_KEY = new Uint8Array(4);

/** ERR_PRIVILEGE where this process may not ask; ERR_MAP where Linux does not make one of the maps. */
export function kernelVerdict(spec: ProgramSpec, options: KernelVerdictOptions): KernelVerdict {
  const { rights = ALL_RIGHTS } = options;
  const whyNot = rights.bpf ? undefined : whyNobodysPrograms();
  if (whyNot !== undefined) throw new XdplabError('ERR_PRIVILEGE', `the kernel lets nobody without capabilities load programs: ${whyNot}`);
  const linux = openLinux();
  return withRights(linux, rights, () => verdictOf(linux, spec, options));
}

function verdictOf(linux: Linux, spec: ProgramSpec, { type, maps, btf }: KernelVerdictOptions): KernelVerdict {
  const made = new Map<string, KernelMap>();
  const image = new BtfImage(btf, [spec]);
  try {
    return withBtf(linux, image, spec.name, (loaded) => {
      const mapNamed = (name: string): number => {
        const found = made.get(name);
        if (found !== undefined) return found.fd;
        const declared = maps.get(name)!;
        const map = createKernelMap(linux, declared, btf === undefined || loaded === undefined ? {} : { btfFd: loaded.fd });
        made.set(name, map);
        if (declared.contents !== undefined) map.update(ONLY_KEY, declared.contents);
        if (declared.frozen) map.freeze();
        return map.fd;
      };
      try {
        const program = loadKernelProgram(linux, spec, { type, map: mapNamed, ...(loaded === undefined ? {} : { btf: loaded }), logLevel: LOG_LEVEL.statistics });
        program.close();
        return { accepted: true, ...statistics(program.log) };
      } catch (error) {
        if (!(error instanceof KernelRefusal) || error.code !== 'ERR_PROGRAM') throw error;
        const again = refusalLine(error.log);
        return { accepted: false, errno: error.errno, message: again ?? error.message, ...statistics(error.log) };
      }
    });
  } finally {
    for (const map of made.values()) map.close();
  }
}

function statistics(log: string): Pick<KernelVerdict, 'processed' | 'totalStates' | 'peakStates' | 'elapsedUs'> {
  const number = (pattern: RegExp): number | undefined => {
    const found = pattern.exec(log);
    return found === null ? undefined : Number(found[1]);
  };
  const found = {
    processed: number(/processed (\d+) insns/),
    totalStates: number(/total_states (\d+)/),
    peakStates: number(/peak_states (\d+)/),
    elapsedUs: number(/verification time (\d+) usec/),
  };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
}
