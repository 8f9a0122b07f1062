/** What happened to the packets so far, read from the packet loop's counters into plain data. */
import { hookByName } from '../hooks/index.ts';
import { HOOK_NAMES, type HookName, type Outcome } from '../hooks/hook.ts';
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
  readonly packets: number;
  readonly bytes: number;
  readonly verdicts: readonly VerdictCount[];
  /** Packets on which it had to be stopped. */
  readonly faults: number;
}

/** A hook of a device as a whole: what its chain of programs decided, or those in slots of a kind of map. */
export interface HookStatistics {
  readonly device: string;
  readonly hook: HookName;
  readonly slots?: string;
  readonly packets: number;
  readonly bytes: number;
  readonly verdicts: readonly VerdictCount[];
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
  const programs = pipeline.attachments.map((attachment) => programStatistics(pipeline, attachment));
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
        const here = programs.filter((program) => program.device === device && program.hook === hook);
        return [...new Set([undefined, ...here.map(({ slots }) => slots)])].flatMap((slots) => hookStatistics(here.filter((program) => program.slots === slots)));
      }),
    ),
    programs,
    devices: pipeline.devices.map((device) => ({ device: device.name, ifindex: device.ifindex, ...pipeline.deviceCounters(device) })),
  };
}

function programStatistics(pipeline: Pipeline, attachment: Attachment): ProgramStatistics {
  const { packets, bytes, faults } = pipeline.attachmentCounters(attachment);
  const mode = hookByName(attachment.hook).modes[attachment.mode]!;
  const known = mode.verdicts.map(({ code, name, outcome }) => ({ verdict: name, outcome, packets: packets[code + 1]!, bytes: bytes[code + 1]! }));
  const knownSlots = new Set(mode.verdicts.map(({ code }) => code + 1));
  const other = { verdict: 'other', outcome: mode.unknown, packets: 0, bytes: 0 };
  packets.forEach((amount, slot) => {
    if (knownSlots.has(slot)) return;
    other.packets += amount;
    other.bytes += bytes[slot]!;
  });
  const verdicts = [...known, other].filter((count) => count.packets > 0);
  return {
    device: attachment.device.name,
    hook: attachment.hook,
    mode: attachment.mode,
    ...(mode.inSlots ? { slots: attachment.mode } : {}),
    program: attachment.program.spec.name,
    packets: sum(verdicts, 'packets'),
    bytes: sum(verdicts, 'bytes'),
    verdicts,
    faults,
  };
}

/** A program's `next` counts for the hook only where no further program was asked. Those in slots do not ask each other. */
function hookStatistics(chain: readonly ProgramStatistics[]): HookStatistics[] {
  const first = chain[0];
  if (first === undefined) return [];
  const totals = new Map<string, VerdictCount>();
  chain.forEach((program, position) => {
    for (const count of program.verdicts) {
      if ((count.outcome === 'next' || count.outcome === 'leave') && position < chain.length - 1) continue;
      const before = totals.get(count.verdict);
      totals.set(count.verdict, { ...count, packets: count.packets + (before?.packets ?? 0), bytes: count.bytes + (before?.bytes ?? 0) });
    }
  });
  const { device, hook, slots } = first;
  const { packets, bytes } = slots === undefined ? first : { packets: sum(chain, 'packets'), bytes: sum(chain, 'bytes') };
  return [{ device, hook, ...(slots === undefined ? {} : { slots }), packets, bytes, verdicts: [...totals.values()] }];
}

function sum<K extends string>(rows: readonly Readonly<Record<K, number>>[], key: K): number {
  return rows.reduce((total, row) => total + row[key], 0);
}
