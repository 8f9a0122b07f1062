/** `xdplab live --attach`: the programs of a lab attached to an interface by the running Linux, and what they answer there. */
import { setTimeout as sleep } from 'node:timers/promises';
import { liveInterface, usableInterface } from '../devices/interfaces.ts';
import { openLinux } from '../engine/kernel/linux.ts';
import { XdplabError } from '../errors.ts';
import { checkHighlights, highlightTables } from '../insight/highlights.ts';
import { Attached, type AttachedProgram } from '../pipeline/attached.ts';
import { jsonText } from '../pipeline/json-text.ts';
import { devicesFor } from '../pipeline/live.ts';
import { openLab, type OpenedLab } from '../pipeline/open-lab.ts';
import { labSources } from './lab-options.ts';
import { INTERRUPTED_STATUS, type LiveFlags } from './live-flags.ts';
import { eventSection, heading, highlightSection, verdictLine } from './picture.ts';
import { ownsStandardOutput, ReplayOutputs } from './replay-outputs.ts';
import { count, duration, paint, print, printJson, safe } from './terminal.ts';

/** How often ring buffers are read. */
const POLL_MS = 50;
/** How often it is looked whether the interface is still there. */
const CHECK_MS = 500;

/** Options that are about packets that come here, which they do not. */
const NOT_HERE = ['to', 'backend', 'snaplen', 'promiscuous', 'count', 'out', 'verdicts'] as const;

export async function runAttached(name: string, filter: readonly string[], flags: LiveFlags): Promise<void> {
  const mode = flags.attach!;
  const misplaced = NOT_HERE.find((option) => flags[option] !== undefined);
  if (misplaced !== undefined) throw new XdplabError('ERR_USAGE', `--attach ${mode}: --${misplaced} is about packets that come to this process, and they stay in the kernel; leave it out`);
  if (filter.length > 0) throw new XdplabError('ERR_USAGE', `--attach ${mode}: packets stay in the kernel, so they are not filtered; leave the filter out`);
  const to = usableInterface(liveInterface(name));
  const { possibleCpus } = openLinux();
  // Linux verifies what is loaded into it.
  const opened = await openLab({ ...labSources(flags), verify: false, cpus: possibleCpus, parallel: false, engine: 'wasm', devices: [{ name, ifindex: to.ifindex, mac: to.mac, mtuBytes: to.mtuBytes }] });
  const { lab } = opened;
  checkHighlights(lab, opened.highlights);
  if (mode === 'tcx' && lab.pipeline.attachments.some(({ hook }) => hook === 'xdp')) throw new XdplabError('ERR_USAGE', '--attach tcx: TC programs attach so, XDP programs do not; use --attach native or generic');
  const outputs = new ReplayOutputs(lab, flags, opened.events);
  const attached = new Attached(lab, {
    device: devicesFor(lab, [name])[0]!,
    to,
    xdp: mode === 'tcx' ? 'native' : mode,
    interfaceOf: (device) => liveInterface(flags.redirect.find((each) => each.device === device.name)?.to ?? device.name),
  });
  try {
    const { interrupted, failure, elapsedNs } = await untilEnd(attached, name, flags, outputs, opened);
    attached.tellOfRecords();
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

interface End {
  readonly interrupted: boolean;
  readonly failure?: XdplabError;
  readonly elapsedNs: number;
}

async function untilEnd(attached: Attached, name: string, flags: LiveFlags, outputs: ReplayOutputs, opened: OpenedLab): Promise<End> {
  const abort = new AbortController();
  const interrupt = (): void => abort.abort();
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  print(`attached to ${safe(name)} (${flags.attach}), Ctrl-C ends it`, process.stderr);
  const begun = performance.now();
  const endMs = begun + (flags.duration ?? Infinity) * 1000;
  const everyMs = (flags.every ?? Infinity) * 1000;
  let [snapshotMs, checkMs] = [begun + everyMs, begun + CHECK_MS];
  let failure: XdplabError | undefined;
  try {
    for (let now = begun; now < endMs && !abort.signal.aborted && failure === undefined; now = performance.now()) {
      attached.tellOfRecords();
      if (now >= checkMs) {
        outputs.flush();
        failure = whyGone(name);
        checkMs = now + CHECK_MS;
      }
      if (now >= snapshotMs) {
        snapshotMs = now + everyMs;
        summarize(name, flags, attached.read(), opened, outputs, (now - begun) * 1e6);
      }
      await sleep(Math.min(POLL_MS, Math.max(1, endMs - now)));
    }
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
  return { interrupted: abort.signal.aborted, elapsedNs: (performance.now() - begun) * 1e6, ...(failure === undefined ? {} : { failure }) };
}

function whyGone(name: string): XdplabError | undefined {
  try {
    liveInterface(name);
    return undefined;
  } catch (error) {
    if (error instanceof XdplabError) return error;
    throw error;
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
  const sections = [[`${paint('bold', safe(name))}  attached (${flags.attach}), ${duration(elapsedNs)}`], ...programs.map(programSection), ...maps.map(highlightSection), eventSection(events)];
  print(sections.filter((lines) => lines.length > 0).map((lines) => lines.join('\n')).join('\n\n'), ownsStandardOutput(flags) ? process.stderr : process.stdout);
}

function programSection({ program, hook, mode, id, packets, verdicts }: AttachedProgram): string[] {
  return [heading(`${safe(program)}  ${hook}`, `${mode}, id ${id}, ${count(packets)} packets`), ...verdicts.toSorted((a, b) => b.packets - a.packets).map((verdict) => verdictLine(verdict, packets))];
}
