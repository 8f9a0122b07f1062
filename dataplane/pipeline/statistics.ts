/** What happened to the packets so far, read from the packet loop's counters into plain data. */
import { hookByName } from '../hooks/index.ts';
import { HOOK_NAMES, type HookName, type Outcome, type VerdictMode } from '../hooks/hook.ts';
import { LOOP } from './layout.ts';
import { DROP_REASONS, FATES, FATE_TEXT, type DropReason, type Fate } from './outcome.ts';
import type { Attachment, Pipeline } from './pipeline.ts';

export interface VerdictCount {
  /** `XDP_PASS`; `other` for codes that are no verdict of the hook. */
  readonly verdict: string;
  readonly outcome: Outcome;
  readonly packets: number;
  readonly bytes: number;
}

export interface ProgramStatistics {
  readonly device: string;
  readonly hook: HookName;
  readonly mode: string;
  /** It is in slots of such a map: the device is the one it sends to or, in a cpumap, where packets came in. */
  readonly slots?: string;
  readonly program: string;
  /** False where somebody wanted it to run without. */
  readonly verified: boolean;
  /** Indexes of its attachments: each change of a hook gives its programs new ones. */
  readonly attachments: readonly number[];
  readonly packets: number;
  readonly bytes: number;
  readonly verdicts: readonly VerdictCount[];
  /** Packets on which it had to be stopped. */
  readonly faults: number;
}

/** A hook of a device as a whole: what its chains of programs decided, or those in slots of a kind of map. */
export interface HookStatistics {
  readonly device: string;
  readonly hook: HookName;
  readonly slots?: string;
  readonly packets: number;
  readonly bytes: number;
  readonly verdicts: readonly VerdictCount[];
  /** What each CPU had of them. */
  readonly cpus: readonly CpuStatistics[];
}

export interface CpuStatistics {
  readonly cpu: number;
  readonly packets: number;
  readonly bytes: number;
}

export interface DeviceStatistics {
  readonly device: string;
  readonly ifindex: number;
  readonly rxPackets: number;
  readonly rxBytes: number;
  readonly txPackets: number;
  readonly txBytes: number;
}

export interface Statistics {
  readonly packets: number;
  /** Of the packets as they left. */
  readonly bytes: number;
  /** Packets of which the capture holds only the beginning. */
  readonly truncated: number;
  readonly fates: readonly { readonly fate: Fate; readonly text: string; readonly packets: number; readonly bytes: number }[];
  readonly reasons: readonly { readonly reason: DropReason; readonly text: string; readonly packets: number }[];
  readonly hooks: readonly HookStatistics[];
  readonly programs: readonly ProgramStatistics[];
  readonly devices: readonly DeviceStatistics[];
}

export function readStatistics(pipeline: Pipeline): Statistics {
  const fates = FATES.map((fate, index) => ({
    fate,
    text: FATE_TEXT[fate],
    packets: pipeline.counter(LOOP.fatePackets, index),
    bytes: pipeline.counter(LOOP.fateBytes, index),
  })).filter(({ packets }) => packets > 0);
  // Where several CPUs run, what may be in slots is attached before it is known whether it ever runs.
  const chains = pipeline.chains.map((chain) => chain.map((attachment) => programStatistics(pipeline, attachment))).filter(([first]) => first!.slots === undefined || first!.packets > 0);
  return {
    packets: sum(fates, 'packets'),
    bytes: sum(fates, 'bytes'),
    truncated: pipeline.counter(LOOP.truncated),
    fates,
    reasons: DROP_REASONS.map(({ name, text }, index) => ({ reason: name, text, packets: pipeline.counter(LOOP.reasons, index) }))
      .filter(({ packets }) => packets > 0)
      .toSorted((a, b) => b.packets - a.packets),
    hooks: pipeline.devices.flatMap(({ name: device }) =>
      HOOK_NAMES.flatMap((hook) => {
        const here = chains.filter(([program]) => program!.device === device && program!.hook === hook);
        return [...new Set([undefined, ...here.map(([program]) => program!.slots)])].flatMap((slots) => hookStatistics(pipeline, here.filter(([program]) => program!.slots === slots)));
      }),
    ),
    programs: mergedByProgram(pipeline, chains.flat()),
    devices: pipeline.devices.map((device) => ({ device: device.name, ifindex: device.ifindex, ...pipeline.deviceCounters(device) })),
  };
}

function programStatistics(pipeline: Pipeline, attachment: Attachment): ProgramStatistics {
  const { packets, bytes, faults } = pipeline.attachmentCounters(attachment);
  const mode = hookByName(attachment.hook).modes[attachment.mode]!;
  const verdicts = verdictCounts(mode, packets, bytes);
  return {
    device: attachment.device.name,
    hook: attachment.hook,
    mode: attachment.mode,
    ...(mode.inSlots ? { slots: attachment.mode } : {}),
    program: attachment.program.spec.name,
    verified: attachment.program.proof !== 'none',
    attachments: [attachment.index],
    packets: sum(verdicts, 'packets'),
    bytes: sum(verdicts, 'bytes'),
    verdicts,
    faults,
  };
}

/** What was counted by verdict slot, by verdict; those that were never given are left out. */
export function verdictCounts(mode: VerdictMode, packets: readonly number[], bytes: readonly number[]): VerdictCount[] {
  const known = mode.verdicts.map(({ code, name, outcome }) => ({ verdict: name, outcome, packets: packets[code + 1]!, bytes: bytes[code + 1]! }));
  const knownSlots = new Set(mode.verdicts.map(({ code }) => code + 1));
  const other = { verdict: 'other', outcome: mode.unknown, packets: 0, bytes: 0 };
  packets.forEach((amount, slot) => {
    if (knownSlots.has(slot)) return;
    other.packets += amount;
    other.bytes += bytes[slot]!;
  });
  return [...known, other].filter((count) => count.packets > 0);
}

/** One row for all the times that a program was at a hook, in the order of the first ones. */
function mergedByProgram({ attachments }: Pipeline, rows: readonly ProgramStatistics[]): ProgramStatistics[] {
  const merged = new Map<string, ProgramStatistics>();
  for (const row of rows.toSorted((a, b) => a.attachments[0]! - b.attachments[0]!)) {
    const { device, hook, mode, program } = attachments[row.attachments[0]!]!;
    const key = `${device.ifindex} ${hook} ${mode} ${program.id}`;
    const before = merged.get(key);
    merged.set(key, before === undefined ? row : { ...row, attachments: [...before.attachments, ...row.attachments], packets: before.packets + row.packets, bytes: before.bytes + row.bytes, verdicts: addVerdicts([...before.verdicts, ...row.verdicts]), faults: before.faults + row.faults });
  }
  return [...merged.values()];
}

/** A program's `next` counts for the hook only where no further program was asked. */
function hookStatistics(pipeline: Pipeline, chains: readonly (readonly ProgramStatistics[])[]): HookStatistics[] {
  const first = chains[0]?.[0];
  if (first === undefined) return [];
  const { device, hook, slots } = first;
  const entered = chains.map(([program]) => program!);
  const decided = chains.flatMap((chain) => chain.flatMap(({ verdicts }, position) => verdicts.filter(({ outcome }) => (outcome !== 'next' && outcome !== 'leave') || position === chain.length - 1)));
  return [{ device, hook, ...(slots === undefined ? {} : { slots }), packets: sum(entered, 'packets'), bytes: sum(entered, 'bytes'), verdicts: addVerdicts(decided), cpus: cpuStatistics(pipeline, entered) }];
}

/** Of the first programs of chains: each packet meets one of them. */
function cpuStatistics(pipeline: Pipeline, entered: readonly ProgramStatistics[]): CpuStatistics[] {
  const byCpu = entered.flatMap(({ attachments }) => attachments).map((index) => pipeline.cpuCounters(pipeline.attachments[index]!));
  return byCpu[0]!.map((_, cpu) => ({ cpu, packets: byCpu.reduce((total, counts) => total + counts[cpu]!.packets, 0), bytes: byCpu.reduce((total, counts) => total + counts[cpu]!.bytes, 0) }));
}

function addVerdicts(counts: readonly VerdictCount[]): VerdictCount[] {
  const totals = new Map<string, VerdictCount>();
  for (const count of counts) {
    const before = totals.get(count.verdict);
    totals.set(count.verdict, { ...count, packets: count.packets + (before?.packets ?? 0), bytes: count.bytes + (before?.bytes ?? 0) });
  }
  return [...totals.values()];
}

function sum<K extends string>(rows: readonly Readonly<Record<K, number>>[], key: K): number {
  return rows.reduce((total, row) => total + row[key], 0);
}
