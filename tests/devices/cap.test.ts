/** The package cap as a way to get packets: what it does not tell is not claimed, and what it shows is judged. */
import { spawnSync } from 'node:child_process';
import { Worker } from 'node:worker_threads';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { object, replaySummary, REPOSITORY, Scratch, trace, xdplab } from '../cli/run-cli.ts';
import { readCapture } from '../packet/crafted-capture.ts';
import { captureOf, hex, udpTo } from './sample-packets.ts';
import { holds, Namespace, whyNoNamespaces, type LiveSummary } from './veth-pair.ts';

const NOBODY = 65_534;
const FIREWALL = object('xdp_firewall.bpf.o');
const scratch = new Scratch();
afterAll(() => scratch.remove());

/** Test files run in worker threads, where the package does not work. */
const { status } = spawnSync(process.execPath, ['-e', "require('cap')"], { cwd: REPOSITORY });
const whyNot = whyNoNamespaces ?? (status === 0 ? undefined : 'the optional package cap is not built');

describe.skipIf(whyNot !== undefined)(whyNot === undefined ? 'by cap' : `by cap (skipped: ${whyNot})`, { timeout: 60_000 }, () => {
  let here: Namespace;
  beforeEach(() => {
    here = new Namespace();
    here.pair('near', 'far');
  });
  afterEach(() => here.remove());

  /** Until all have been judged, as losses are not known. */
  async function observe(capture: string, packets: number, args: readonly string[]): Promise<LiveSummary> {
    const command = await here.live('near', '--backend', 'cap', '--promiscuous', '--json', '--every', '0.1', ...args);
    await here.send('far', capture);
    await command.snapshotWhere((snapshot) => snapshot.packets >= packets);
    const { stdout } = await command.interrupt();
    return JSON.parse(stdout.trimEnd().split('\n').at(-1)!) as LiveSummary;
  }

  test('packets are judged as in a replay, and losses are not claimed to be known', async () => {
    const { accounting, statistics, live, backend } = await observe(trace('mixed.pcap'), 1000, ['--xdp', FIREWALL]);
    const replayed = await replaySummary([trace('mixed.pcap'), '--xdp', FIREWALL]);
    expect(statistics.programs[0]!.verdicts).toEqual(replayed.statistics.programs[0]!.verdicts);
    expect({ backend, knowsLosses: live.knowsLosses, holds: holds(accounting), received: accounting.received }).toEqual({ backend: 'cap', knowsLosses: false, holds: true, received: 1000 });
  });

  test('packets are whole, also when the ring has gone round often', async () => {
    const rounds = Array.from({ length: 8 }, (_, round) => Array.from({ length: 500 }, (__, index) => udpTo(500 * round + index, (index * 37) % 1400)));
    const out = scratch.at('left.pcap');
    const command = await here.live('near', '--backend', 'cap', '--promiscuous', '--json', '--every', '0.1', '--out', out, '--buffer', '1');
    for (const [round, packets] of rounds.entries()) {
      await here.send('far', captureOf(scratch, 'round.pcap', packets));
      await command.snapshotWhere((snapshot) => snapshot.packets >= 500 * (round + 1));
    }
    await command.interrupt();
    expect((await readCapture(out)).packets.map(({ bytes }) => hex(bytes))).toEqual(rounds.flat().map(hex));
  });

  test('a snap length and a filter hold', async () => {
    const { statistics, accounting } = await observe(captureOf(scratch, 'ports.pcap', [udpTo(53, 100), udpTo(54, 100), udpTo(53, 10)]), 2, ['--snaplen', '64', 'udp', 'port', '53']);
    expect({ received: accounting.received, truncated: statistics.truncated }).toEqual({ received: 2, truncated: 1 });
  });

  test('packets for other hosts are left out unless they are asked for', async () => {
    const [other, own] = [udpTo(1), udpTo(2)];
    other.set([2, 0, 0, 0, 0, 0xee]);
    here.ip('link', 'set', 'near', 'address', [...own.subarray(0, 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(':'));
    const command = await here.live('near', '--backend', 'cap', '--json', '--every', '0.1');
    await here.send('far', captureOf(scratch, 'other.pcap', [other, own]));
    expect((await command.snapshotWhere(({ packets }) => packets > 0)).accounting.received).toBe(1);
    expect((await command.interrupt()).stderr).toMatch(/^by cap, packets for other hosts are left out; --promiscuous takes them too$/m);
  });

  test('who may not capture is told so in one line, and by the list', async () => {
    const refusal = /packet sockets are not allowed: this process lacks CAP_NET_RAW; [^\n]+/;
    const { status: exit, stderr } = await xdplab(['live', 'lo', '--backend', 'cap'], { uid: NOBODY });
    expect(exit).toBe(5);
    expect(stderr).toMatch(new RegExp(`^xdplab: ${refusal.source}\n$`));
    const { backends } = JSON.parse((await xdplab(['live', '--list', '--json'], { uid: NOBODY })).stdout) as { backends: readonly { name: string; refused: string | null }[] };
    expect(backends.map(({ name, refused }) => [name, refusal.test(refused ?? '')])).toEqual([['af_packet', true], ['cap', true]]);
  });

  test.each([
    ['udp prot 53', /syntax error, found 'prot' behind 'udp'/],
    ['host bad', /unknown host 'bad'/],
    ['port 99999', /illegal port number/],
    ['ether host 1:2', /illegal link layer address/],
  ])("the filter '%s' is refused as a mistake of who wrote it", async (filter, words) => {
    const { status: exit, stderr } = await here.refused('near', '--backend', 'cap', ...filter.split(' '));
    expect(exit).toBe(2);
    expect(stderr).toMatch(new RegExp(`^xdplab: filter '${filter}': [^\\n]*${words.source}[^\\n]*; man pcap-filter says what there is, [^\\n]+\n$`));
  });

  test('and so without koffi, where the package is asked', async () => {
    const without = scratch.file('without-koffi.cjs', "const { Module } = require('node:module'); const load = Module._load; Module._load = (name, ...rest) => { if (name === 'koffi') throw new Error('not here'); return load(name, ...rest); };");
    here.ip('address', 'add', '192.0.2.1/24', 'dev', 'near');
    const { status: exit, stderr } = await here.refusedWith(['--require', without], 'near', '--backend', 'cap', 'port', '99999');
    expect({ exit, stderr }).toEqual({ exit: 2, stderr: "xdplab: filter 'port 99999': illegal port number 99999 > 65535; man pcap-filter says what there is, such as 'udp port 53 and not src net 10.0.0.0/8'\n" });
  });
});

test('in a worker thread the package is not touched', async () => {
  const worker = new Worker(`import('${REPOSITORY}dist/dataplane/devices/cap-source.js').then(({ whyNoCap }) => require('node:worker_threads').parentPort.postMessage(whyNoCap()))`, { eval: true });
  expect(await new Promise((resolve) => worker.once('message', resolve))).toBe('the package cap works on the main thread only');
  await worker.terminate();
});
