/** The picture of a run: what each hook decided, where packets went, why some were lost, what the maps say, how fast it was. */
import type { HighlightTable } from '../insight/highlights.ts';
import type { Outcome } from '../hooks/hook.ts';
import { jsonText } from '../pipeline/json-text.ts';
import type { Accounting } from '../live/accounting.ts';
import type { ReplayResult } from '../pipeline/replay.ts';
import type { Statistics, VerdictCount } from '../pipeline/statistics.ts';
import { bar, bytes, count, duration, paint, percent, rate, safe, sectionsText, type Style } from './terminal.ts';

const BAR_COLUMNS = 24;
const HOOK_TITLES = { xdp: 'XDP', 'tc-ingress': 'TC ingress', 'tc-egress': 'TC egress' } as const;

const OUTCOME_STYLE: Readonly<Record<Outcome, Style>> = {
  next: 'green',
  leave: 'green',
  pass: 'green',
  drop: 'red',
  aborted: 'magenta',
  transmit: 'cyan',
  redirect: 'blue',
  consumed: 'yellow',
};

export interface PictureInput {
  /** What was run. */
  readonly head: string;
  /** What came of it: how fast it was, remarks. */
  readonly foot: readonly string[];
  readonly statistics: Statistics;
  readonly highlights: readonly HighlightTable[];
  readonly events: readonly { readonly source: string; readonly count: number }[];
}

export function drawPicture(input: PictureInput): string {
  const { head, foot, statistics } = input;
  const sections = [[head], ...hookSections(statistics), fateSection(statistics), reasonSection(statistics), ...input.highlights.map(highlightSection), eventSection(input.events), foot];
  return sectionsText(sections);
}

/** The capture, and what it holds. */
export function captureLine(capture: string, engine: string, { format, compression, bytes: size }: ReplayResult, { packets }: Statistics): string {
  const packed = compression === 'none' ? '' : `, ${compression}`;
  return `${paint('bold', safe(capture))}  ${format}${packed}, ${count(packets)} packets, ${bytes(size)}, engine ${engine}`;
}

/** What the engine has to say about its results. */
export function remarkLines({ programs }: Statistics, remarks: readonly string[]): string[] {
  return programs.length > 0 ? remarks.map((line) => paint('dim', safe(line))) : [];
}

function hookSections({ hooks, programs }: Statistics): string[][] {
  return hooks.map((hook) => {
    const lines = [heading(`${safe(hook.device)} ${HOOK_TITLES[hook.hook]}${hook.slots === undefined ? '' : ` (${hook.slots})`}`, `${count(hook.packets)} packets, ${bytes(hook.bytes)}`)];
    for (const program of programs.filter(({ device, hook: at, slots }) => device === hook.device && at === hook.hook && slots === hook.slots)) {
      lines.push(`  ${paint('bold', safe(program.program))}${program.faults === 0 ? '' : paint('magenta', `  stopped on ${count(program.faults)} packets`)}`);
      for (const verdict of program.verdicts.toSorted((a, b) => b.packets - a.packets)) lines.push(verdictLine(verdict, program.packets));
    }
    return lines;
  });
}

/** Bytes are left out where they were not counted. */
export function verdictLine(verdict: Omit<VerdictCount, 'bytes'> & { readonly bytes?: number }, total: number): string {
  const size = verdict.bytes === undefined ? '' : `  ${bytes(verdict.bytes).padStart(8)}`;
  return barLine(verdict.verdict, verdict.packets / total, `${count(verdict.packets).padStart(11)}${size}`, OUTCOME_STYLE[verdict.outcome]);
}

function fateSection({ fates, packets, truncated }: Statistics): string[] {
  if (packets === 0) return ['No packets.'];
  const lines = [heading('Where they went', '')];
  for (const fate of fates) lines.push(barLine(fate.text, fate.packets / packets, `${count(fate.packets).padStart(11)}  ${bytes(fate.bytes).padStart(8)}`, fateStyle(fate.fate)));
  if (truncated > 0) lines.push(`  ${count(truncated)} packets were cut short by the capture's snap length and run as they are`);
  return lines;
}

function fateStyle(fate: Statistics['fates'][number]['fate']): Style {
  if (fate === 'dropped' || fate === 'rejected') return 'red';
  return fate === 'stack' || fate === 'sent' ? 'green' : 'cyan';
}

function reasonSection({ reasons }: Statistics): string[] {
  if (reasons.length === 0) return [];
  const total = reasons.reduce((sum, { packets }) => sum + packets, 0);
  return [
    heading('Why packets were lost', `${count(total)} packets`),
    ...reasons.map(({ reason, text, packets }) => `${barLine(reason, packets / total, count(packets).padStart(11), 'red')}  ${paint('dim', text)}`),
  ];
}

export function highlightSection({ title, by, rows, more, total }: HighlightTable): string[] {
  const nameOf = shortNames([by, ...Object.keys(rows[0]?.fields ?? {})]);
  const lines = [heading(safe(title), by === 'value' ? count(total) : `${count(total)} ${nameOf(by)}`)];
  const width = Math.max(...rows.map(({ label }) => label.length));
  for (const { label, amount, fields } of rows) {
    const others = Object.entries(fields)
      .filter(([, value]) => value !== 0 && value !== 0n)
      .map(([name, value]) => `${nameOf(name)} ${fieldText(value)}`)
      .join(', ');
    lines.push(`${barLine(safe(label), amount / total, count(amount).padStart(11), 'cyan', width)}  ${paint('dim', others)}`.trimEnd());
  }
  if (more > 0) lines.push(`  and ${count(more)} more`);
  return lines;
}

/** `ingress.packets` as `packets`, where no other of the names ends so. */
function shortNames(names: readonly string[]): (name: string) => string {
  return (name) => (names.filter((other) => last(other) === last(name)).length > 1 ? safe(name) : safe(last(name)));
}

function last(path: string): string {
  return path.slice(path.lastIndexOf('.') + 1);
}

function fieldText(value: unknown): string {
  if (typeof value === 'number' || typeof value === 'bigint') return count(Number(value));
  return safe(typeof value === 'string' ? value : jsonText(value));
}

export function eventSection(events: PictureInput['events']): string[] {
  if (events.length === 0) return [];
  return [heading('Sent to user space', ''), ...events.map(({ source, count: amount }) => `  ${safe(source)}: ${count(amount)} records`)];
}

/** Where every packet of live interfaces is. */
export function accountingLine({ received, ringDrops, rejected, inFlight, verdicts }: Accounting): string {
  const judged = Object.values(verdicts).reduce((sum, packets) => sum + packets, 0);
  return `received ${count(received)} = judged ${count(judged)} + rejected ${count(rejected)} + dropped for want of room ${count(ringDrops)} + in flight ${count(inFlight)}`;
}

export function accountingLines(accounting: Accounting, knowsLosses: boolean): string[] {
  return [
    heading('Every packet accounted for', ''),
    `  ${accountingLine(accounting)}`,
    ...(accounting.ringDrops === 0 ? [] : ['  more room: --buffer; less work: a filter, or programs that do less']),
    ...(knowsLosses ? [] : ['  what the system lost before that is not known']),
  ];
}

/** Fewer run while JavaScript is still being compiled. */
const FEW_PACKETS = 100_000;

export function speedLine({ packets, elapsedNs, interrupted }: ReplayResult): string {
  const stopped = interrupted ? paint('yellow', 'interrupted: ') : '';
  if (packets === 0) return `${stopped}nothing was replayed`;
  return `${stopped}${paint('bold', `${rate(packets / (elapsedNs / 1e9))} packets/s`)}, ${perPacket(elapsedNs / packets)} a packet, ${duration(elapsedNs)} in all (reading and every program${packets < FEW_PACKETS ? '; too few to say how fast: npm run bench does' : ''})`;
}

/** Packets that were slowed down take longer than nanoseconds tell well. */
function perPacket(ns: number): string {
  return ns < 1e5 ? `${ns.toFixed(0)} ns` : duration(ns);
}

export function heading(title: string, note: string): string {
  return note === '' ? paint('bold', title) : `${paint('bold', title)}  ${paint('dim', note)}`;
}

function barLine(label: string, share: number, amounts: string, style: Style, width = 0): string {
  return `    ${label.padEnd(Math.max(width, 24))} ${paint(style, bar(share, BAR_COLUMNS))} ${percent(share).padStart(7)} ${amounts}`;
}
