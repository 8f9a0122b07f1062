/**
 * `npm run bench:live`: packets of a live interface, on veth pairs in a network namespace of its own. One process sends
 * at top speed, another is `xdplab live`; what came in, what was lost, and what CPU time a packet cost the latter.
 * README.md has the method.
 */
import { spawn, spawnSync, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runScript, wholeFrom1 } from '../dataplane/cli/script.ts';
import { whyNoCap } from '../dataplane/devices/cap-source.ts';
import { XdplabError } from '../dataplane/errors.ts';
import { machineFacts } from '../dataplane/measure/machine-facts.ts';
import { summarize } from '../dataplane/measure/sample-summary.ts';
import { formatLive, type LiveResults, type LiveRow } from './live-report.ts';
import { Namespace, whyNoNamespaces } from './namespace.ts';
import { inTurns } from './turns.ts';
import { writeWorkload } from './workloads.ts';

const USAGE = `usage: npm run bench:live -- [options]

  --rounds <n>    turns of each (5)
  --packets <n>   sent in a turn (2000000)
  --json <file>   write the results there
`;

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const XDPLAB = join(ROOT, 'dist/dataplane/cli/start.cjs');
const SENDER = join(ROOT, 'dist/bench/send-capture.js');
const FIREWALL = join(ROOT, 'programs/xdp_firewall.bpf.o');
const CAPTURE = { packets: 20_000, flows: 256, frameBytes: 64, gapNs: 1000 };
const POLL_MS = 5;
/** Nothing comes any more when nothing came for so long. */
const QUIET_MS = 500;

interface Case {
  readonly name: string;
  readonly args: readonly string[];
  /** Packets are counted where they leave. */
  readonly inline?: true;
}

const CASES: readonly Case[] = [
  { name: 'observe, af_packet', args: ['left'] },
  { name: 'observe, af_packet, xdp_firewall', args: ['left', '--xdp', FIREWALL, '--no-verify'] },
  ...(whyNoCap() === undefined ? [{ name: 'observe, cap', args: ['left', '--backend', 'cap', '--promiscuous'] }] : []),
  { name: 'inline', args: ['left', '--to', 'right'], inline: true },
  { name: 'inline, xdp_firewall', args: ['left', '--to', 'right', '--xdp', FIREWALL, '--no-verify'], inline: true },
];

interface Turn {
  readonly offered: number;
  readonly offeredPerSecond: number;
  readonly lost: number;
  /** Of what arrived at the end: the interface, or inline the other side's outer end. */
  readonly arrivedPerSecond: number;
  readonly cpuNsPerPacket: number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { rounds: { type: 'string', default: '5' }, packets: { type: 'string', default: '2000000' }, json: { type: 'string' }, help: { type: 'boolean' }, inside: { type: 'boolean' } },
  });
  if (values.help) return void process.stdout.write(USAGE);
  const [rounds, packets] = [wholeFrom1('--rounds', values.rounds), wholeFrom1('--packets', values.packets)];
  if (!values.inside) return outside();
  const scratch = mkdtempSync(join(tmpdir(), 'xdplab-bench-'));
  try {
    const capture = join(scratch, 'capture.pcap');
    writeWorkload(capture, CAPTURE);
    const turns = await inTurns(CASES, rounds, (each) => runTurn(each, capture, Math.ceil(packets / CAPTURE.packets)));
    const results = resultsOf(turns);
    process.stdout.write(formatLive(results));
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

/** This again, in a network namespace: counters can be read there without starting anything. */
function outside(): void {
  const why = whyNoNamespaces();
  if (why !== undefined) throw new XdplabError('ERR_PRIVILEGE', why);
  const network = new Namespace();
  try {
    network.pair('client', 'left');
    network.pair('server', 'right');
    const { status } = spawnSync('ip', ['netns', 'exec', network.name, process.execPath, fileURLToPath(import.meta.url), '--inside', ...process.argv.slice(2)], { stdio: 'inherit' });
    process.exitCode = status ?? 1;
  } finally {
    network.remove();
  }
}

async function runTurn({ args, inline }: Case, capture: string, loops: number): Promise<Turn> {
  const command = spawn(process.execPath, [XDPLAB, 'live', ...args, '--json']);
  const output = textOf(command);
  await saying(command, 'Ctrl-C ends it');
  await sleep(QUIET_MS);
  const counter = `/sys/class/net/${inline ? 'server' : 'left'}/statistics/rx_packets`;
  const arrivals = (): number => Number(readFileSync(counter, 'latin1'));
  const [before, cpuBefore] = [arrivals(), cpuNs(command.pid!)];
  const sent = textOf(spawn(process.execPath, [SENDER, 'client', capture, '--loop', `${loops}`]));
  let [arrived, firstMs, lastMs, busyMs, cpu] = [before, 0, 0, performance.now(), cpuBefore];
  for (let now = busyMs; now - busyMs < QUIET_MS; now = performance.now()) {
    await sleep(POLL_MS);
    const [seen, spent] = [arrivals(), cpuNs(command.pid!)];
    if (seen !== arrived) {
      if (arrived === before) firstMs = now;
      [arrived, lastMs] = [seen, performance.now()];
    }
    // An idle process looks for packets and does no more; starting the sender takes a while.
    if (seen === before || seen !== arrived || lastMs > now || spent - cpu > (POLL_MS * 1e6) / 2) busyMs = performance.now();
    cpu = spent;
  }
  const { packets: offered, packetsPerSecond } = JSON.parse(await sent) as { packets: number; packetsPerSecond: number };
  command.kill('SIGINT');
  const { live, accounting } = JSON.parse(await output) as { live: { packets: number }; accounting: { verdicts: { dropped?: number } } };
  // What a program drops is not lost.
  const dropped = accounting.verdicts.dropped ?? 0;
  return {
    offered,
    offeredPerSecond: packetsPerSecond,
    lost: offered - (inline ? arrived - before + dropped : live.packets),
    arrivedPerSecond: ((arrived - before) * 1000) / (lastMs - firstMs),
    cpuNsPerPacket: (cpu - cpuBefore) / live.packets,
  };
}

function resultsOf(turns: ReadonlyMap<string, readonly Turn[]>): LiveResults {
  const rows = Array.from(turns, ([name, of]): LiveRow => ({
    name,
    offeredPerSecond: summarize(of.map((turn) => turn.offeredPerSecond)),
    arrivedPerSecond: summarize(of.map((turn) => turn.arrivedPerSecond)),
    cpuNsPerPacket: summarize(of.map((turn) => turn.cpuNsPerPacket)),
    offered: of.reduce((sum, turn) => sum + turn.offered, 0),
    lost: of.reduce((sum, turn) => sum + turn.lost, 0),
  }));
  const row = (name: string): LiveRow => rows.find((each) => each.name === name)!;
  const observed = row('observe, af_packet');
  const cap = rows.find(({ name }) => name === 'observe, cap');
  return {
    kind: 'xdplab live',
    machine: machineFacts(),
    rows,
    promises: [
      { what: 'packets lost by observe while another process sends at top speed', atMost: 0, found: observed.lost },
      ...(cap === undefined ? [] : [{ what: 'CPU time of a packet, of that which cap takes', atMost: 0.2, found: observed.cpuNsPerPacket.median / cap.cpuNsPerPacket.median }]),
      { what: 'packets that inline passes in a second, of those that observe takes', atLeast: 0.6, found: row('inline').arrivedPerSecond.median / observed.offeredPerSecond.median },
    ],
  };
}

/** Time that the threads of a process have been on a CPU, in the kernel too. */
function cpuNs(pid: number): number {
  return readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => sum + Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')[0]), 0);
}

function textOf(child: ChildProcessWithoutNullStreams): Promise<string> {
  return new Promise((resolve, reject) => {
    let [out, err] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    child.on('close', (status) => (status === 0 ? resolve(out) : reject(new Error(err))));
  });
}

function saying(child: ChildProcessWithoutNullStreams, text: string): Promise<void> {
  return new Promise((resolve) => {
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => {
      if ((said += chunk.toString()).includes(text)) resolve();
    });
  });
}

await runScript(main);
