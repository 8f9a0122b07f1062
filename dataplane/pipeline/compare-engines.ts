/**
 * The same packets through the same program on several engines, each in a lab of its own: what every run answers, and
 * where not all say the same.
 *
 *   const { differences } = await compareEngines({
 *     open: async (engine) => (await openLab({ file: 'lab.yaml', engine })).lab,
 *     program: 'xdp_firewall',
 *     inputs: [{ packet }],
 *     engines: ['wasm', 'interpreter', 'kernel'],
 *   });
 *
 * A run is as BPF_PROG_TEST_RUN makes it (engine/test-run.ts), one after the other, so that a packet finds in the maps
 * what those before it left there. Time stands still, and random numbers are the same everywhere.
 */
import type { ProgramType } from '../bpf/spec.ts';
import { XdplabError } from '../errors.ts';
import type { EngineName } from '../engine/engine.ts';
import { ENGINES } from '../engine/index.ts';
import { KernelEngine } from '../engine/kernel/kernel-engine.ts';
import { TestBench, type TestRunInput } from '../engine/test-run.ts';
import { HOOKS } from '../hooks/index.ts';
import { CPU_BLOCK, FAULT } from '../machine/cpu.ts';
import type { BpfMap } from '../maps/bpf-map.ts';
import type { Program } from '../program/program.ts';
import type { Lab } from './lab.ts';

export interface CompareEnginesOptions {
  /** A lab with the program and what its maps hold, on that engine. Called once for each; the labs are closed in the end. */
  readonly open: (engine: EngineName) => Lab | Promise<Lab>;
  /** One of the lab's programs, by name. */
  readonly program: string;
  readonly inputs: readonly TestRunInput[];
  /** All that this machine has, unless said: the kernel only where this process may load programs into it. The first is what the others are compared with. */
  readonly engines?: readonly EngineName[];
}

/** What one engine says of one run. */
export interface EngineRun {
  /** The low half of r0, signed; undefined where the program was stopped. */
  readonly code: number | undefined;
  /** Name of the fault that stopped it. */
  readonly fault: string | undefined;
  /** What the packet and its metadata are afterwards, in hexadecimal, as is every record. */
  readonly packet: string;
  readonly metadata: string;
  readonly context: Readonly<Record<string, number>>;
  /** Taken from the ring buffers, by map. */
  readonly records: Readonly<Record<string, readonly string[]>>;
}

export interface EngineDifference {
  /** The input, from 0; undefined for what maps hold after the last one. */
  readonly input: number | undefined;
  /** `code`, `packet`, `context.mark`, `records.drops`, `maps.flows[0a000001]`, … */
  readonly what: string;
  /** As text, by engine; undefined where it has no such thing. */
  readonly found: Readonly<Partial<Record<EngineName, string>>>;
}

export interface RunNotMade {
  readonly input: number;
  readonly engine: EngineName;
  readonly why: string;
}

export interface EngineComparison {
  readonly engines: readonly EngineName[];
  /** Engines of this machine's that could not be asked, and the line that says why. */
  readonly missing: readonly { readonly engine: EngineName; readonly why: string }[];
  /** By input, then by engine in the order of `engines`; none where the run was not made. */
  readonly runs: readonly (readonly EngineRun[])[];
  /** Inputs, from 0, that an engine makes no run of, and the line that says why. */
  readonly notMade: readonly RunNotMade[];
  /** Empty where all engines agree. */
  readonly differences: readonly EngineDifference[];
}

/** Those that packets of a lab meet. */
const RUN_TYPES: ReadonlySet<ProgramType> = new Set(HOOKS.flatMap(({ programTypes }) => programTypes));

interface Participant {
  readonly engine: EngineName;
  readonly lab: Lab;
  readonly program: Program;
  readonly bench: TestBench;
}

export async function compareEngines({ open, program, inputs, engines }: CompareEnginesOptions): Promise<EngineComparison> {
  const missing: { readonly engine: EngineName; readonly why: string }[] = [];
  const participants: Participant[] = [];
  try {
    for (const engine of engines ?? (Object.keys(ENGINES) as EngineName[])) {
      try {
        const lab = await open(engine);
        participants.push({ engine, lab, program: programOf(lab, program), bench: new TestBench(lab.machine) });
      } catch (error) {
        if (engines !== undefined || !(error instanceof XdplabError) || error.code !== 'ERR_PRIVILEGE') throw error;
        missing.push({ engine, why: error.message });
      }
    }
    const notMade: RunNotMade[] = [];
    const runs = inputs.map((packet, input) => {
      const made = runEverywhere(participants, packet);
      if (!('why' in made)) return made;
      notMade.push({ input, ...made });
      return [];
    });
    const differences = [
      ...runs.flatMap((answers, input) => (answers.length === 0 ? [] : differencesOf(participants, answers.map(facts), input))),
      ...differencesOf(participants, participants.map(({ lab }) => contents(lab)), undefined),
    ];
    return { engines: participants.map(({ engine }) => engine), missing, runs, notMade, differences };
  } finally {
    for (const { lab } of participants) lab.close();
  }
}

function programOf({ collections }: Lab, name: string): Program {
  const owner = collections.find(({ spec }) => spec.programs.has(name));
  if (owner !== undefined) {
    const found = owner.program(name);
    if (RUN_TYPES.has(found.type)) return found;
    throw new XdplabError('ERR_LAB', `program '${name}': programs of type ${found.type} are verified, and not run; expected one of type ${[...RUN_TYPES].join(', ')}`);
  }
  throw new XdplabError('ERR_LAB', `program '${name}': no object of the lab has it, expected one of ${collections.flatMap(({ spec }) => [...spec.programs.keys()]).join(', ')}`);
}

/** Asks those first who may not make the run. */
function runEverywhere(participants: readonly Participant[], input: TestRunInput): readonly EngineRun[] | Omit<RunNotMade, 'input'> {
  const answers = new Map<Participant, EngineRun>();
  for (const participant of participants.toSorted((a, b) => Number(mayRefuse(b)) - Number(mayRefuse(a)))) {
    answers.set(participant, run(participant, input));
    const { engine } = participant.lab;
    if (engine instanceof KernelEngine && engine.refusal !== undefined) return { engine: participant.engine, why: engine.refusal };
  }
  return participants.map((each) => answers.get(each)!);
}

function mayRefuse({ lab }: Participant): boolean {
  return lab.engine instanceof KernelEngine;
}

function run({ lab, program, bench }: Participant, input: TestRunInput): EngineRun {
  const recordsOf = (): EngineRun['records'] =>
    Object.fromEntries(lab.maps.filter(({ type }) => type.holds === 'records').map((map) => [lab.mapName(map), Array.from(map.records(), hex)]));
  try {
    const { code, packet, metadata, context } = bench.run(program, input);
    return { code, fault: undefined, packet: hex(packet), metadata: hex(metadata), context, records: recordsOf() };
  } catch (error) {
    // As the packet path takes it: programs trap, everything else is a mistake of ours.
    if (!(error instanceof WebAssembly.RuntimeError) && !(error instanceof RangeError)) throw error;
    const number = lab.machine.cell(CPU_BLOCK.fault);
    lab.machine.setCell(CPU_BLOCK.fault, FAULT.none);
    const fault = Object.entries(FAULT).find(([, each]) => each === number && each !== FAULT.none)?.[0] ?? 'memory';
    return { code: undefined, fault, packet: '', metadata: '', context: {}, records: recordsOf() };
  }
}

/** One text by name, so that runs can be compared name by name. */
function facts({ code, fault, packet, metadata, context, records }: EngineRun): Map<string, string> {
  const texts: (readonly [string, string])[] = [['code', fault === undefined ? String(code) : `stopped: ${fault}`], ['packet', packet], ['metadata', metadata]];
  for (const [name, value] of Object.entries(context)) texts.push([`context.${name}`, String(value)]);
  for (const [map, found] of Object.entries(records)) texts.push([`records.${map}`, found.join(' ')]);
  return new Map(texts);
}

/** Every entry that is not all zero in an array, or is there at all in other maps. */
function contents(lab: Lab): Map<string, string> {
  const texts = new Map<string, string>();
  for (const map of lab.maps) {
    if (map.type.holds !== 'bytes') continue;
    let place = 0;
    for (const [key, value] of map.writtenEntries()) texts.set(`maps.${lab.mapName(map)}[${keyText(map, key, place++)}]`, hex(value));
  }
  return texts;
}

/** Queues and stacks have places instead of keys. */
function keyText(map: BpfMap, key: Uint8Array, place: number): string {
  return map.type.keys === 'none' ? String(place) : hex(key);
}

function differencesOf(participants: readonly Participant[], answers: readonly Map<string, string>[], input: number | undefined): EngineDifference[] {
  const names = new Set(answers.flatMap((each) => [...each.keys()]));
  return [...names]
    .filter((name) => answers.some((each) => each.get(name) !== answers[0]?.get(name)))
    .map((what) => ({ input, what, found: Object.fromEntries(participants.flatMap(({ engine }, index) => (answers[index]!.has(what) ? [[engine, answers[index]!.get(what)!]] : []))) }));
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}
