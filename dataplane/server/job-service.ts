/**
 * Work on what clients have sent that may take long or go wrong: reading objects, verifying, compiling to text, going
 * through captures. In a thread of its own that can be ended at any time; it keeps nothing.
 */
import { XdplabError } from '../errors.ts';
import { disassemble } from '../bpf/disassemble.ts';
import type { LineInfo, ProgramSpec } from '../bpf/spec.ts';
import { programTag } from '../bpf/tag.ts';
import { createWasmEngine } from '../engine/wasm-engine.ts';
import { HELPER_NAMES } from '../helpers/index.ts';
import { describeObject, type ObjectDescription } from '../insight/describe-object.ts';
import { explainRefusal, type Explanation } from '../insight/explain-refusal.ts';
import { Machine } from '../machine/machine.ts';
import { openCapture } from '../packet/open-capture.ts';
import { DESCRIPTOR, PacketBatch } from '../packet/packet-batch.ts';
import { parseObject } from '../pipeline/open-lab.ts';
import { seconds } from '../pipeline/verdict-log.ts';
import { Collection } from '../program/collection.ts';
import { unverified } from '../program/program.ts';
import { CacheFolder } from '../system/cache-folder.ts';
import { prove } from '../verifier/admit.ts';
import { leastPrivileged } from '../verifier/user.ts';
import { verifyProgram, type VerifierReport, type VerifyOptions } from '../verifier/verify.ts';
import type { ObjectFile } from './lab-service.ts';

export interface Verification {
  readonly accepted: boolean;
  readonly instructionsProcessed: number;
  readonly totalStates: number;
  readonly peakStates: number;
  readonly stackBytes: readonly number[];
  readonly elapsedNs: number;
  /** Slots that no path reaches; none where it was refused. */
  readonly deadSlots: readonly number[];
  readonly errno?: string;
  readonly refusal?: Explanation;
}

export interface ProgramListing {
  readonly name: string;
  readonly section: string;
  readonly type: string;
  readonly tag: string;
  readonly instructions: readonly { readonly slot: number; readonly text: string }[];
  readonly functions: readonly { readonly name: string; readonly slot: number }[];
  readonly lines: readonly LineInfo[];
}

export interface CaptureSurvey {
  readonly format: 'pcap' | 'pcapng';
  readonly compression: 'none' | 'gzip' | 'zstd';
  readonly packets: number;
  readonly bytes: number;
  readonly firstTime: string | null;
  readonly lastTime: string | null;
  readonly interfaces: readonly { readonly name?: string; readonly linkType: number }[];
  readonly damage?: string;
}

export const JOB_CALLS = ['describe', 'verify', 'prove', 'list', 'wat', 'survey'] as const satisfies readonly (keyof JobService)[];

const BATCH_PACKETS = 4096;
const WINDOW_BYTES = 1 << 20;

export class JobService {
  describe({ bytes, name }: Omit<ObjectFile, 'id'>): ObjectDescription {
    return describeObject(parseObject(bytes, name));
  }

  verify({ bytes, name }: ObjectFile, wanted: string | undefined, unprivileged: boolean): Verification {
    const spec = parseObject(bytes, name);
    const program = programOf(spec.programs, name, wanted);
    const options: VerifyOptions = { maps: spec.maps, btf: spec.btf, ...(unprivileged && program.type !== undefined ? { user: leastPrivileged(program.type) } : {}) };
    return verificationOf(program, verifyProgram(program, options), options);
  }

  /** For a lab of so many CPUs; what is accepted is remembered where the lab will look for it. */
  prove({ bytes, name }: ObjectFile, wanted: string | undefined, cpus: number, proofsPath: string): Verification {
    const spec = parseObject(bytes, name);
    const program = programOf(spec.programs, name, wanted);
    const { report, options } = prove(program, program.type, { maps: spec.maps, btf: spec.btf, cpus }, new CacheFolder(proofsPath));
    return verificationOf(program, report, options);
  }

  list({ bytes, name }: ObjectFile, wanted: string): ProgramListing {
    const program = programOf(parseObject(bytes, name).programs, name, wanted);
    const { section, type, instructions, functions, lines } = program;
    const text = disassemble(instructions, { helper: (id) => HELPER_NAMES[id], subprogram: (slot) => functions.find((one) => one.slot === slot)?.name });
    const slots = instructions.flatMap((instruction, slot) => (instruction.kind === 'upper' ? [] : [slot]));
    return { name: program.name, section, type: type ?? 'unknown', tag: programTag(instructions), instructions: slots.map((slot, position) => ({ slot, text: text[position]! })), functions: functions.map((one) => ({ name: one.name, slot: one.slot })), lines };
  }

  async wat({ bytes, name }: ObjectFile, wanted: string): Promise<string> {
    const machine = new Machine();
    const engine = createWasmEngine(machine);
    const collection = new Collection(machine, parseObject(bytes, name), { name, pinned: new Map(), admit: unverified, load: (program) => engine.load(program) });
    return (await engine.wat(collection.program(wanted))).trimEnd();
  }

  /** What is said of the capture says its name, and not where it is. */
  async survey(path: string, name: string): Promise<CaptureSurvey> {
    const { memory } = new Machine();
    const batch = new PacketBatch(memory, BATCH_PACKETS);
    const byName = (error: XdplabError): XdplabError => new XdplabError(error.code, error.message.replaceAll(path, name));
    const reader = await openCapture(path, { window: memory.region(WINDOW_BYTES, 4096, 'capture window') }).catch((error: unknown) => {
      throw error instanceof XdplabError ? byName(error) : error;
    });
    let [packets, bytes] = [0, 0];
    let [first, last]: (bigint | undefined)[] = [];
    for (let count = await reader.read(batch); count > 0; count = await reader.read(batch)) {
      const { u32 } = memory;
      for (let index = 0; index < count; index++) bytes += u32[(batch.descriptor(index) + DESCRIPTOR.captured) >>> 2]!;
      packets += count;
      first ??= batch.timestampNs(0);
      last = batch.timestampNs(count - 1);
    }
    const { format, compression, interfaces, damage } = reader;
    await reader.close();
    return {
      format,
      compression,
      packets,
      bytes,
      firstTime: first === undefined ? null : seconds(first),
      lastTime: last === undefined ? null : seconds(last),
      interfaces: interfaces.map((one) => ({ linkType: one.linkType, ...(one.name === undefined ? {} : { name: one.name }) })),
      ...(damage === undefined ? {} : { damage: byName(damage).message }),
    };
  }
}

function verificationOf(program: ProgramSpec, report: VerifierReport, options: VerifyOptions): Verification {
  const { accepted, refusal, instructionsProcessed, totalStates, peakStates, stackBytes, elapsedNs, reached } = report;
  const explanation = explainRefusal(program, report, options);
  return {
    accepted,
    instructionsProcessed,
    totalStates,
    peakStates,
    stackBytes,
    elapsedNs: Math.round(elapsedNs),
    deadSlots: accepted ? program.instructions.flatMap((instruction, slot) => (instruction.kind !== 'upper' && reached[slot] === 0 ? [slot] : [])) : [],
    ...(refusal === undefined || explanation === undefined ? {} : { errno: refusal.errno, refusal: explanation }),
  };
}

function programOf(programs: ReadonlyMap<string, ProgramSpec>, object: string, wanted: string | undefined): ProgramSpec {
  const all = [...programs.values()];
  const found = wanted === undefined && all.length === 1 ? all[0] : all.find((program) => program.name === wanted || program.section === wanted);
  if (found) return found;
  throw new XdplabError('ERR_USAGE', `${object}: ${wanted === undefined ? 'say which program' : `found no program '${wanted}'`}, expected one of ${all.map((program) => program.name).join(', ') || '(none)'}`);
}
