/** What the page knows, as signals that its parts read: the lab, its counters over time, the verdicts that came. */
import { computed, signal } from '@preact/signals';
import { api, Problem, type Capture, type Lab, type LiveInfo, type Run, type Statistics } from './api.ts';
import { parseFilter } from './filter.ts';
import { RecordStore } from './record-store.ts';
import { isBefore } from './run-moment.ts';
import { nanoseconds } from './text.ts';
import { NOTHING_YET, VerdictStream, type Message, type Names } from './stream.ts';
import type { StreamPacket } from '../../dataplane/server/verdict-decoder.ts';

/** Counters at one moment. */
export interface Sample {
  /** Milliseconds, of this machine's clock. */
  readonly at: number;
  readonly statistics: Statistics;
}

export interface KeptPacket extends StreamPacket {
  readonly timestampNs: bigint;
}

const STATISTICS_MS = 500;
export const SAMPLES = 600;
/** A whole packet of an Ethernet, and what is put in front of it. */
const SNAP_BYTES = 1600;
const PACKETS_PER_SECOND = 1000;
const MOST_PACKETS = 10_000;

export const entrance = signal<'opening' | 'open' | 'locked'>('opening');
/** Undefined until it has been connected once. */
export const connected = signal<boolean | undefined>(undefined);
export const notice = signal<{ readonly text: string; readonly bad: boolean; readonly more?: string | undefined } | undefined>(undefined);
export const lab = signal<Lab | undefined>(undefined);
export const names = signal<Names | undefined>(undefined);
export const captures = signal<readonly Capture[]>([]);
export const run = signal<Run | undefined>(undefined);

/** What was said before what is known already would turn a button back under a hand. */
export function tellRun(now: Run): void {
  if (run.value === undefined || !isBefore(now, run.value)) run.value = now;
}

/** What times of packets count from: the first of the capture, or when the interface began to be listened to. */
export const originNs = computed(() => {
  const now = run.value;
  if (now === undefined) return undefined;
  if (now.interface !== undefined) return BigInt(Date.parse(now.startedAt)) * 1_000_000n;
  const first = captures.value.find(({ id }) => id === now.capture)?.firstTime;
  return first === undefined || first === null ? undefined : nanoseconds(first);
});

/** What the server may do with the interface that it was started with. */
export const live = signal<LiveInfo | null>(null);
export const samples = signal<readonly Sample[]>([]);
export const latest = computed(() => samples.value.at(-1));
export const records = new RecordStore();
/** Counts up when records came; their number alone says nothing once old ones go. */
export const recordsVersion = signal(0);
let latestAccount = NOTHING_YET;
/** Of the verdicts that are in `records`; told by `recordsVersion`. */
export const account = (): typeof NOTHING_YET => latestAccount;
export const filterText = signal('');
export const filterProblem = signal<string | undefined>(undefined);
export const selected = signal<number | undefined>(undefined);
/** Whether the list goes along with the newest verdict; every new list does. */
export const following = signal(true);
export type Tab = 'packet' | 'throughput' | 'maps' | 'programs' | 'printed';
export const tab = signal<Tab>('throughput');
/** Bytes of a sample of packets, by their numbers. */
export const packets = new Map<number, KeptPacket>();

/** That of a record. Another run counts from the beginning: its packets have other times. */
export function packetOf({ packet, timestampNs }: { readonly packet: number; readonly timestampNs: bigint }): KeptPacket | undefined {
  const kept = packets.get(packet);
  return kept?.timestampNs === timestampNs ? kept : undefined;
}
export const printed = signal<readonly { readonly time: string; readonly source: string; readonly text: string }[]>([]);

/** That packets ran: the server's clock, which a busy network does not shake. */
export const secondsBetween = (before: Statistics, now: Statistics): number => (now.elapsedNs - before.elapsedNs) / 1e9;

/** A counter's rate a second between the last two samples. */
export function rateOf(counter: (statistics: Statistics) => number | undefined): number {
  const [before, now] = [samples.value.at(-2), samples.value.at(-1)];
  if (before === undefined || now === undefined || before.statistics.epoch !== now.statistics.epoch) return 0;
  const seconds = secondsBetween(before.statistics, now.statistics);
  return seconds <= 0 ? 0 : Math.max(0, ((counter(now.statistics) ?? 0) - (counter(before.statistics) ?? 0)) / seconds);
}

/** What the list shows, and what it is to show as soon as the server has understood the filter. */
let verdicts: VerdictStream | undefined;
let asked: VerdictStream | undefined;
let askedText = '';
let bytes: VerdictStream | undefined;
let isVerdictsTurn = false;
/** A socket of their own: verdicts may come as fast as they can be read, and what else is said on theirs then has no room. */
let counters: VerdictStream | undefined;
let touched = false;
/** Came since the last picture that shows any. */
let freshSamples: readonly Sample[] = [];

export async function open(): Promise<void> {
  const token = new URLSearchParams(window.location.hash.slice(1)).get('token');
  try {
    if (token !== null) {
      await api.enter(token);
      history.replaceState(null, '', window.location.pathname);
    }
    lab.value = await api.lab();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    entrance.value = 'locked';
    return;
  }
  entrance.value = 'open';
  captures.value = await api.captures();
  run.value = (await api.runs()).at(-1);
  live.value = await api.live();
  bytes = new VerdictStream({
    verdicts: (frame) => {
      for (const packet of frame.packets()) keepPacket(packet, frame.timestampNs(packet.record));
    },
  });
  counters = new VerdictStream({ message: hear }, [{ topic: 'statistics', intervalMs: STATISTICS_MS }, { topic: 'trace' }, { topic: 'events' }]);
  counters.open();
  applyFilter('');
  requestAnimationFrame(paint);
}

/**
 * Verdicts come in frames of thousands, many a second: what shows them is told in every other picture, which is more
 * than anybody reads, and counters in those between, so that neither makes the other's late.
 */
function paint(): void {
  isVerdictsTurn = !isVerdictsTurn;
  if (isVerdictsTurn && touched) {
    touched = false;
    recordsVersion.value++;
  } else if (!isVerdictsTurn && freshSamples.length > 0) {
    samples.value = [...samples.value, ...freshSamples].slice(-SAMPLES);
    freshSamples = [];
  }
  requestAnimationFrame(paint);
}

/** A server that was started anew does not know this page: it has another token, and says so over HTTP only. */
async function expectEntrance(): Promise<void> {
  try {
    await api.lab();
  } catch (error) {
    if (!(error instanceof Problem) || error.status !== 401) return;
    entrance.value = 'locked';
    asked?.end();
    verdicts?.end();
    bytes?.end();
    counters?.end();
  }
}

/** Its bytes stay where they are, in the frame, which has little else. The oldest go first. */
function keepPacket(packet: StreamPacket, timestampNs: bigint): void {
  packets.delete(packet.number);
  packets.set(packet.number, { ...packet, timestampNs });
  touched = true;
  if (packets.size > MOST_PACKETS) packets.delete(packets.keys().next().value!);
}

/** Names come before the verdicts that they are for, on the same socket. */
function hearNames(message: Message): void {
  if (message.type !== 'welcome' && message.type !== 'lab') return;
  const isNew = names.value !== undefined && names.value.epoch !== message.epoch;
  names.value = message;
  if (isNew) startOver();
  void refreshLab().catch(() => {});
}

function hear(message: Message): void {
  switch (message.type) {
    case 'run':
      tellRun(message);
      if (message.error !== undefined) notice.value = { text: message.error, bad: true };
      break;
    case 'statistics':
      freshSamples = [...freshSamples.slice(1 - SAMPLES), { at: performance.now(), statistics: message }];
      // A lab that starts over has none.
      if (message.run === null) run.value = undefined;
      else tellRun(message.run);
      break;
    case 'events':
    case 'trace':
      printed.value = [...printed.value, ...message.events.map(({ time, source, text, record }) => ({ time, source, text: text ?? JSON.stringify(record) }))].slice(-500);
      break;
    case 'error':
      notice.value = { text: message.detail, bad: true };
      break;
    default:
  }
}

/** A new lab: what was seen of the old one is of no use. */
function startOver(): void {
  samples.value = freshSamples = [];
  printed.value = [];
  forgetVerdicts();
  subscribe(asked === undefined ? filterText.value : askedText);
}

function forgetVerdicts(): void {
  records.clear();
  packets.clear();
  selected.value = undefined;
  following.value = true;
  latestAccount = NOTHING_YET;
  touched = true;
}

/** From the oldest verdict on that the server still has and that fits. Until it has understood the filter, the list goes on as it was. */
function subscribe(text: string): void {
  const parsed = parseFilter(text);
  filterProblem.value = 'problem' in parsed ? parsed.problem : undefined;
  if ('problem' in parsed) return;
  asked?.end();
  const { filter } = parsed;
  const stream = new VerdictStream({
    message: (message) => {
      if (message.type === 'error') filterProblem.value = message.detail;
      if (stream === asked && message.type === 'error') {
        asked = undefined;
        stream.end();
        if (verdicts === undefined && text !== filterText.value) {
          subscribe(filterText.value);
          filterProblem.value = message.detail;
        }
      } else if (stream === asked && message.type === 'subscribed') {
        verdicts?.end();
        verdicts = stream;
        asked = undefined;
        filterText.value = text;
        connected.value = true;
        forgetVerdicts();
        bytes?.want({ filter, packets: { snap: SNAP_BYTES, perSecond: PACKETS_PER_SECOND } });
      } else hearNames(message);
    },
    connected: (now) => {
      if (stream !== (verdicts ?? asked)) return;
      connected.value = now;
      if (!now) void expectEntrance();
    },
    verdicts: (_frame, fresh, sum) => {
      records.append(fresh);
      latestAccount = sum;
      touched = true;
    },
  });
  asked = stream;
  askedText = text;
  stream.want({ filter });
}

/** Shows the packet of a verdict, also of the one that was chosen before. */
export function choose(index: number): void {
  selected.value = index;
  openTab('packet');
}

export function openTab(name: Tab): void {
  tab.value = name;
  // Where one thing stands below the other, it is out of sight.
  if (window.matchMedia('(max-width: 820px)').matches) document.querySelector('.side')?.scrollIntoView({ behavior: 'smooth' });
}

export async function refreshLab(): Promise<void> {
  lab.value = await api.lab();
}

/** The filter that the list has already leaves it as it is. */
export function applyFilter(text: string): void {
  if (verdicts === undefined || text !== filterText.value) return subscribe(text);
  asked?.end();
  asked = filterProblem.value = undefined;
}

/** Does something with the server, and says where that did not work. What did not work before is forgotten when something does. */
export async function attempt<T>(what: () => Promise<T>): Promise<T | undefined> {
  const before = notice.value;
  try {
    const result = await what();
    if (before?.bad === true && notice.value === before) notice.value = undefined;
    return result;
  } catch (error) {
    const refusal = error instanceof Problem ? error.refusal : undefined;
    const more = refusal === undefined ? undefined : [refusal.instruction, refusal.known, refusal.needed, refusal.suggestion].filter((line) => line !== undefined).join('\n');
    notice.value = { text: error instanceof Error ? error.message : String(error), bad: true, more };
    return undefined;
  }
}
