/**
 * What a user waits for who starts `xdplab replay`: the first verdict on standard output, and the picture at the end.
 * Node's own start takes turns with it: a process that writes a byte, and one that does nothing.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { XdplabError } from '../dataplane/errors.ts';
import { measure } from '../dataplane/measure/rounds.ts';
import { median, summarize, type SampleSummary } from '../dataplane/measure/sample-summary.ts';
import { DEMO_LAB } from './programs.ts';
import { COMMAND_LINE } from './replaying.ts';

const REPLAY = [COMMAND_LINE, 'replay', fileURLToPath(new URL('../../traces/demo.pcapng', import.meta.url)), '--lab', DEMO_LAB];

/** Node and xdplab, up to the same event. */
const EVENTS = [
  { event: 'first byte', node: ['-e', 'process.stdout.write("0")'], xdplab: [...REPLAY, '--limit', '1', '--verdicts', '-'] },
  { event: 'end', node: ['-e', '0'], xdplab: REPLAY },
] as const;

type Event = (typeof EVENTS)[number]['event'];

export interface StartTime {
  readonly event: Event;
  readonly nodeMs: SampleSummary;
  readonly xdplabMs: SampleSummary;
}

export async function measureStarts(rounds: number): Promise<readonly StartTime[]> {
  const benchmarks = EVENTS.flatMap(({ event, node, xdplab }) => [node, xdplab].map((args) => ({ name: `${args[0]} to its ${event}`, sample: () => nanoseconds(args, event) })));
  const measured = await measure(benchmarks, { warmup: { rounds: 1, turnNs: 0 }, counted: { rounds, turnNs: 0 } });
  const milliseconds = measured.map(({ turns }) => summarize(turns.map((turn) => median(turn) / 1e6)));
  return EVENTS.map(({ event }, index) => ({ event, nodeMs: milliseconds[2 * index]!, xdplabMs: milliseconds[2 * index + 1]! }));
}

/** What xdplab takes longer than Node alone. */
export const beyondNodeMs = ({ nodeMs, xdplabMs }: StartTime): number => xdplabMs.median - nodeMs.median;

function nanoseconds(args: readonly string[], event: Event): Promise<number> {
  return new Promise((resolve, reject) => {
    const begun = performance.now();
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let found: number | undefined;
    let said = '';
    child.stderr.on('data', (text: Buffer) => (said += text.toString()));
    child.stdout.on('data', () => (found ??= performance.now() - begun));
    child.once('error', reject);
    child.once('close', (status) => {
      const elapsed = event === 'end' ? performance.now() - begun : found;
      if (status === 0 && elapsed !== undefined) resolve(elapsed * 1e6);
      else reject(new XdplabError('ERR_FILE', `node ${args.join(' ')} ended with status ${status}: ${said.trim() || 'it wrote nothing'}`));
    });
  });
}
