/**
 * Measures the programs of a lab: each by itself at its hook, on several engines side by side, and all of them one after
 * the other as the lab has them. An empty program at the same hook tells what the engine takes by itself.
 */
import { XdplabError } from '../errors.ts';
import { assemble } from '../bpf/assemble.ts';
import type { CollectionSpec, ProgramSpec } from '../bpf/spec.ts';
import type { HookName } from '../hooks/hook.ts';
import type { BpfMap } from '../maps/bpf-map.ts';
import { measureBalance, type BalanceOptions } from '../insight/balance.ts';
import { CostCounter, type Cost } from '../insight/cost.ts';
import { packetCount, withoutOpening, type PacketTrace } from '../packet/packet-trace.ts';
import { Lab } from '../pipeline/lab.ts';
import { openLab, readObject, type LabSources, type ObjectOptions } from '../pipeline/open-lab.ts';
import type { Attachment } from '../pipeline/pipeline.ts';
import { TIMED, type BenchEngine, type BenchReport, type ProgramFigures, type SeriesName, type Timed } from './bench-report.ts';
import { changeOfInstances, INSTANCES } from './change.ts';
import { kernelBenchmarks } from './kernel-benchmark.ts';
import { labBenchmark } from './lab-benchmark.ts';
import { JAVASCRIPT_TIER, machineFacts, WASM_TIER } from './machine-facts.ts';
import { controlBenchmark, NoiseMeter } from './noise.ts';
import { ResidentTrace } from '../packet/resident-trace.ts';
import { measure, type Benchmark } from './rounds.ts';
import { median, summarizeTurns, type TurnSummary } from './sample-summary.ts';

export interface BenchmarkOptions {
  readonly sources: Omit<LabSources, 'engine' | 'only' | 'replace'>;
  readonly engines: readonly BenchEngine[];
  /** Names of the programs that are measured; all that are attached unless said. */
  readonly programs?: readonly string[];
  /** The packets, as they come in or, for programs on the way out, go out. */
  readonly trace: (hook: HookName) => PacketTrace;
  /** An object file that is measured beside the one whose programs it has. */
  readonly versus?: string;
  readonly runs: number;
  /** Of each engine with each program. */
  readonly durationSeconds: number;
  readonly warmupSeconds: number;
  /** Every sample begins with maps as the lab fills them, and is a whole round over the trace. */
  readonly freshMaps?: boolean;
  /** Backends are looked at, where there are any. */
  readonly balance?: Omit<BalanceOptions, 'trace' | 'sources'>;
  readonly yardstick?: Yardstick;
  readonly onProgress?: (text: string) => void;
  readonly signal?: AbortSignal;
}

/** A program as native code: what to time, and an empty one in the same loop. */
export type Yardstick = (subject: { readonly program: string; readonly maps: readonly BpfMap[]; readonly trace: PacketTrace }) => { readonly program: Benchmark; readonly empty: Benchmark; readonly tier: string };

/** Packets between two looks at the clock: a tenth of a millisecond or more, so that looking costs nothing. To begin a run in the kernel takes milliseconds. */
const BATCH_PACKETS: Readonly<Record<BenchEngine, number>> = { wasm: 4096, kernel: 32_768, interpreter: 64 };
const WARMUP_ROUNDS = 1;
/** Counting is slow, and the first packets are as good as any. */
const MOST_COUNTED_PACKETS = 50_000;

interface Target {
  readonly name: string;
  readonly hook: HookName | undefined;
  readonly trace: PacketTrace;
}

/** `again`: further instances of what `versus` is compared with. */
type MeasuredName = SeriesName | 'versus' | 'again';

interface Series {
  readonly target: Target;
  readonly series: MeasuredName;
  readonly benchmark: Benchmark;
}

export async function benchmarkLab(options: BenchmarkOptions): Promise<BenchReport> {
  const { sources, engines, runs, durationSeconds, warmupSeconds, freshMaps = false, onProgress = () => {}, signal } = options;
  onProgress('reading the lab');
  const lab = await openFor(sources);
  const targets = targetsOf(lab, options);
  const replace = options.versus === undefined ? undefined : await replacement(lab, targets, options.versus, sources);
  const tiers: { [Name in Timed]?: string } = {};
  const missing = new Map<Target, { engine: BenchEngine; why: string }[]>(targets.map((target) => [target, []]));
  const all: Series[] = [];
  for (const target of targets) {
    const common = { trace: target.trace, freshMaps };
    const only = target.hook === undefined ? {} : { only: target.name };
    for (const engine of engines) {
      onProgress(`preparing ${target.name} on ${engine}`);
      const named = { ...common, name: `${target.name}, ${engine}`, batchPackets: BATCH_PACKETS[engine] };
      if (engine !== 'kernel') {
        tiers[engine] = engine === 'wasm' ? WASM_TIER : JAVASCRIPT_TIER;
        all.push({ target, series: engine, benchmark: labBenchmark(await openFor({ ...sources, ...only, engine }), named) });
        all.push({ target, series: `${engine}Empty`, benchmark: labBenchmark(emptyLab(lab, target.hook ?? 'xdp', engine), { ...named, name: `empty, ${engine}` }) });
        continue;
      }
      if (target.hook === undefined) {
        missing.get(target)!.push({ engine, why: 'the kernel is asked to run one program at a time' });
        continue;
      }
      try {
        // As it stands in its file: Linux looks at it itself.
        const mapsOnly = await openFor({ ...sources, ...only, verify: false });
        const { gross, empty, tier } = kernelBenchmarks(mapsOnly.machine, mapsOnly.pipeline.attachments[0]!.program, named);
        tiers.kernel = tier;
        all.push({ target, series: 'kernel', benchmark: gross }, { target, series: 'kernelEmpty', benchmark: empty });
      } catch (error) {
        if (!(error instanceof XdplabError) || error.code === 'ERR_PRIVILEGE') throw error;
        missing.get(target)!.push({ engine, why: error.message });
      }
    }
    if (options.yardstick !== undefined && target.hook === 'xdp') {
      onProgress(`preparing ${target.name} as native code`);
      const subject = await openFor({ ...sources, ...only });
      const { program, empty, tier } = options.yardstick({ program: target.name, maps: [...subject.pipeline.attachments[0]!.program.maps.values()], trace: target.trace });
      tiers.native = tier;
      all.push({ target, series: 'native', benchmark: program }, { target, series: 'nativeEmpty', benchmark: empty });
    }
    const [first] = engines;
    if (replace !== undefined && target.hook !== undefined && first !== undefined && first !== 'kernel') {
      const other = await openFor({ ...sources, ...only, engine: first, replace });
      if (other.pipeline.attachments.length > 0) {
        const batchPackets = BATCH_PACKETS[first];
        const instances = async (series: 'versus' | 'again', how: LabSources, from: number): Promise<void> => {
          for (let instance = from; instance < INSTANCES; instance++) {
            all.push({ target, series, benchmark: labBenchmark(await openFor({ ...sources, ...only, engine: first, ...how }), { ...common, name: `${target.name}, ${series} ${instance}`, batchPackets }) });
          }
        };
        // Of its own object, one is measured already.
        await instances('versus', { replace }, 0);
        await instances('again', {}, 1);
      }
    }
  }
  const meter = new NoiseMeter();
  const turnNs = freshMaps ? 0 : (durationSeconds * 1e9) / runs;
  const measured = await measure([controlBenchmark(), ...all.map(({ benchmark }) => benchmark)], {
    warmup: { rounds: WARMUP_ROUNDS, turnNs: freshMaps ? 0 : warmupSeconds * 1e9 },
    counted: { rounds: runs, turnNs },
    onRound: (round, total) => onProgress(`round ${round + 1} of ${total}`),
    ...(signal === undefined ? {} : { signal }),
  });
  if (measured[0]!.turns.length === 0) throw new XdplabError('ERR_INTERRUPTED', 'interrupted before a round was finished');
  const [control, ...summaries] = measured.map(({ turns }) => summarizeTurns(turns));
  const found = all.map(({ target, series }, place) => ({ target, series, summary: summaries[place]!, note: measured[place + 1]!.note }));
  const noise = meter.read(control!, found.flatMap(({ series, target, summary }) => (series.endsWith('Empty') ? [] : [[`${target.name}, ${series}`, summary] as const])));
  const programs: ProgramFigures[] = [];
  for (const target of targets) {
    onProgress(`counting what ${target.name} costs`);
    const only = target.hook === undefined ? {} : { only: target.name };
    const cost = await countCost({ ...sources, ...only }, target.trace, freshMaps);
    const rows = found.filter((each) => each.target === target);
    const figuresOf = (...wanted: readonly MeasuredName[]): number[] => rows.filter(({ series }) => wanted.includes(series)).map(({ summary }) => summary.median);
    const versus = figuresOf('versus');
    const [engine] = engines;
    programs.push({
      ...figures(target, rows.filter((row): row is typeof row & { readonly series: SeriesName } => row.series !== 'versus' && row.series !== 'again')),
      cost,
      missing: missing.get(target)!,
      ...(versus.length === 0 || replace === undefined
        ? {}
        : { versus: { object: options.versus!, engine: engine!, nsPerPacket: median(versus), change: changeOfInstances(versus, figuresOf(engine!, 'again')), cost: await countCost({ ...sources, ...only, replace }, target.trace, freshMaps) } }),
    });
  }
  onProgress('looking at backends');
  const incoming = options.trace('xdp');
  const balance = options.balance === undefined ? undefined : await measureBalance({ ...options.balance, sources, trace: incoming });
  return {
    kind: 'xdplab bench',
    measuredAt: new Date().toISOString(),
    verified: lab.verified,
    machine: machineFacts(),
    tiers,
    workload: { text: incoming.text, packets: packetCount(incoming) - incoming.opening, opening: incoming.opening, meanBytes: incoming.bytes.length / packetCount(incoming) },
    settings: { runs: measured[0]!.turns.length, durationSeconds, warmupSeconds, freshMaps },
    programs,
    ...(balance === undefined ? {} : { balance }),
    noise,
  };
}

async function openFor(sources: LabSources): Promise<Lab> {
  return (await openLab({ engine: 'wasm', parallel: false, ...sources })).lab;
}

/** Every attached program, and the whole where there are several. Of a name that is attached twice, the first. */
function targetsOf(lab: Lab, { trace, freshMaps, programs }: BenchmarkOptions): Target[] {
  const { attachments } = lab.pipeline;
  if (attachments.length === 0) throw new XdplabError('ERR_USAGE', 'bench: no program is attached; name an object file, or a lab file with --lab');
  const prepared = (hook: HookName): PacketTrace => (freshMaps ? withoutOpening(trace(hook)) : trace(hook));
  const first = new Map<string, Attachment>();
  for (const attachment of attachments) if (!first.has(attachment.program.spec.name)) first.set(attachment.program.spec.name, attachment);
  const single = [...first].map(([name, { hook }]): Target => ({ name, hook, trace: prepared(hook) }));
  const stranger = programs?.find((name) => !first.has(name));
  if (stranger !== undefined) throw new XdplabError('ERR_USAGE', `program '${stranger}': not attached in this lab, expected one of ${[...first.keys()].join(', ')}`);
  if (programs !== undefined) return single.filter(({ name }) => programs.includes(name));
  return single.length === 1 ? single : [...single, { name: 'all programs', hook: undefined, trace: prepared('xdp') }];
}

/** The other object in the place of the lab's object that has programs of the same names. */
async function replacement(lab: Lab, targets: readonly Target[], versus: string, options: ObjectOptions): Promise<ReadonlyMap<string, string>> {
  const owners = lab.collections.filter(({ spec }) => targets.some(({ name }) => spec.programs.has(name)));
  const [owner] = owners;
  if (owner === undefined || owners.length > 1) throw new XdplabError('ERR_USAGE', `--vs ${versus}: the lab has ${owners.length} objects with programs that are measured, and only one can be compared; name that one only`);
  const { programs } = await readObject(versus, options);
  const missing = targets.find(({ name }) => owner.spec.programs.has(name) && !programs.has(name));
  if (missing !== undefined) throw new XdplabError('ERR_USAGE', `--vs ${versus}: found no program '${missing.name}', expected one of ${[...programs.keys()].join(', ')}`);
  return new Map([[owner.name, versus]]);
}

function figures({ name, hook }: Target, rows: readonly { readonly series: MeasuredName; readonly summary: TurnSummary; readonly note: string }[]): Omit<ProgramFigures, 'missing'> {
  const series = Object.fromEntries(rows.map((row) => [row.series, row.summary])) as ProgramFigures['series'];
  const nsPerPacket: Record<string, number> = {};
  const packetsPerSecond: Record<string, number> = {};
  for (const engine of TIMED) {
    const [gross, empty] = [series[engine], series[`${engine}Empty`]];
    if (gross === undefined) continue;
    nsPerPacket[engine] = gross.median;
    packetsPerSecond[engine] = Math.round(1e9 / gross.median);
    if (empty !== undefined) nsPerPacket[`${engine}Net`] = Math.max(0, gross.median - empty.median);
  }
  const { kernelNet, native, wasm, wasmNet } = nsPerPacket;
  return {
    name,
    hook,
    nsPerPacket,
    packetsPerSecond,
    ...(kernelNet === undefined || wasm === undefined ? {} : { speedupVsKernelNet: kernelNet / wasm }),
    ...(kernelNet === undefined || wasmNet === undefined || wasmNet === 0 ? {} : { speedupNetVsNet: kernelNet / wasmNet }),
    ...(native === undefined || wasm === undefined ? {} : { shareOfNative: native / wasm }),
    series,
    fates: rows.find(({ series: each }) => each === 'wasm' || each === 'interpreter')?.note ?? '',
  };
}

/** One round, after one that fills the maps unless each begins with fresh ones. */
async function countCost(sources: Omit<LabSources, 'engine'>, trace: PacketTrace, freshMaps: boolean): Promise<Cost> {
  const counter = new CostCounter();
  const lab = await openFor({ ...sources, engine: counter.engine });
  const resident = new ResidentTrace(lab.machine.memory, trace);
  lab.pipeline.setInterface(0, lab.devices[0]);
  const { batch } = resident;
  if (!freshMaps) {
    lab.pipeline.run(batch);
    resident.advance();
  }
  batch.count = Math.min(batch.count, trace.opening + MOST_COUNTED_PACKETS);
  return counter.run(lab, batch, trace.opening);
}

/** The same devices with a program that does nothing. */
function emptyLab(like: Lab, hook: HookName, engine: 'wasm' | 'interpreter'): Lab {
  const lab = new Lab({ engine });
  for (const device of like.devices) lab.addDevice(device);
  lab.attach(lab.load(emptyObject(hook), 'empty').program(), { hook });
  return lab;
}

function emptyObject(hook: HookName): CollectionSpec {
  const type = hook === 'xdp' ? 'xdp' : 'sched_cls';
  const { instructions } = assemble(hook === 'xdp' ? 'r0 = 1\nexit' : 'r0 = 2\nexit');
  const program: ProgramSpec = { name: 'empty', section: type, type, frags: false, instructions, functions: [{ name: 'empty', slot: 0, typeId: 0, linkage: 'global' }], lines: [], license: 'GPL' };
  return { programs: new Map([['empty', program]]), maps: new Map(), btf: undefined, license: 'GPL' };
}
