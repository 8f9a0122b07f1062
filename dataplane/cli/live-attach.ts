/** `xdplab live --attach`: the programs of a lab attached to an interface by the running Linux, and what they answer there. */
import { XdplabError } from '../errors.ts';
import { checkHighlights, highlightTables } from '../insight/highlights.ts';
import { kernelCpus, openAttached, type Attached, type AttachedProgram } from '../live/attached.ts';
import { deviceOf, usableInterfaces } from '../live/open-live.ts';
import { watchAttached, type WatchResult } from '../live/watch-attached.ts';
import { jsonText } from '../pipeline/json-text.ts';
import { openLab, type OpenedLab } from '../pipeline/open-lab.ts';
import { labSources } from './lab-options.ts';
import { INTERRUPTED_STATUS, type LiveFlags } from './live-flags.ts';
import { eventSection, heading, highlightSection, verdictLine } from './picture.ts';
import { ownsStandardOutput, ReplayOutputs } from './replay-outputs.ts';
import { count, duration, paint, print, printJson, safe } from './terminal.ts';

/** Options that are about packets that come here, which they do not. */
const NOT_HERE = ['to', 'backend', 'snaplen', 'promiscuous', 'count', 'out', 'verdicts'] as const;

export async function runAttached(name: string, filter: readonly string[], flags: LiveFlags): Promise<void> {
  const { attach = 'native', redirect } = flags;
  const misplaced = NOT_HERE.find((option) => flags[option] !== undefined);
  if (misplaced !== undefined) throw new XdplabError('ERR_USAGE', `--attach ${attach}: --${misplaced} is about packets that come to this process, and they stay in the kernel; leave it out`);
  if (filter.length > 0) throw new XdplabError('ERR_USAGE', `--attach ${attach}: packets stay in the kernel, so they are not filtered; leave the filter out`);
  if (flags.engine === 'interpreter') throw new XdplabError('ERR_USAGE', `--attach ${attach}: the running Linux runs the programs; leave --engine interpreter out`);
  if (flags.cpus !== undefined) throw new XdplabError('ERR_USAGE', `--attach ${attach}: the lab has as many CPUs as this Linux; leave --cpus out`);
  const [to] = usableInterfaces([name]);
  const opened = await openLab({ ...labSources(flags), verify: 'by-linux', ...kernelCpus(), engine: 'wasm', devices: [deviceOf(to!, false)] });
  const { lab } = opened;
  checkHighlights(lab, opened.highlights);
  const outputs = new ReplayOutputs(lab, flags, opened.events);
  const attached = openAttached(lab, { interface: name, attach, redirect });
  try {
    const { interrupted, failure, elapsedNs } = await untilEnd(attached, name, flags, outputs, opened);
    outputs.writeMaps();
    summarize(name, flags, attached.read(), opened, outputs, elapsedNs);
    if (failure !== undefined) throw failure;
    if (interrupted && flags.duration !== undefined) process.exitCode = INTERRUPTED_STATUS;
  } finally {
    attached.close();
    await outputs.close();
    lab.close();
  }
}

async function untilEnd(attached: Attached, name: string, flags: LiveFlags, outputs: ReplayOutputs, opened: OpenedLab): Promise<WatchResult> {
  const abort = new AbortController();
  const interrupt = (): void => abort.abort();
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  print(`attached to ${safe(name)} (${flags.attach}), Ctrl-C ends it`, process.stderr);
  try {
    return await watchAttached(attached, {
      ...(flags.duration === undefined ? {} : { durationMs: flags.duration * 1000 }),
      ...(flags.every === undefined ? {} : { snapshotMs: flags.every * 1000 }),
      onSnapshot: (elapsedNs) => summarize(name, flags, attached.read(), opened, outputs, elapsedNs),
      onLook: () => outputs.flush(),
      signal: abort.signal,
    });
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}

function summarize(name: string, flags: LiveFlags, programs: readonly AttachedProgram[], { lab, highlights }: OpenedLab, outputs: ReplayOutputs, elapsedNs: number): void {
  const maps = highlightTables(lab, highlights);
  const events = outputs.events.counts;
  if (flags.json) {
    const summary = { interface: name, mode: 'attach', attach: flags.attach, live: { elapsedNs }, programs, maps, events };
    if (flags.every === undefined) printJson(summary);
    else print(jsonText(summary));
    return;
  }
  const sections = [[`${paint('bold', safe(name))}  attached (${flags.attach}), ${duration(elapsedNs)}: Linux runs the programs, and counts verdicts; single ones are not listed`], ...programs.map(programSection), ...maps.map(highlightSection), eventSection(events)];
  print(sections.filter((lines) => lines.length > 0).map((lines) => lines.join('\n')).join('\n\n'), ownsStandardOutput(flags) ? process.stderr : process.stdout);
}

function programSection({ program, hook, mode, id, packets, verdicts }: AttachedProgram): string[] {
  return [heading(`${safe(program)}  ${hook}`, `${mode}, id ${id}, ${count(packets)} packets`), ...verdicts.toSorted((a, b) => b.packets - a.packets).map((verdict) => verdictLine(verdict, packets))];
}
