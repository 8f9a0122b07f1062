/** Where packets and programs come from: standard input, packed captures, readers, hooks, lab and map files, pace. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { spawnSync } from 'node:child_process';
import { afterAll, describe, expect, test } from 'vitest';
import { readCapture } from '../packet/crafted-capture.ts';
import { object, replaySummary, REPOSITORY, Scratch, trace, xdplab } from './run-cli.ts';

const scratch = new Scratch();
afterAll(() => scratch.remove());

const IMIX = readFileSync(trace('imix.pcap'));
const LB = object('xdp_lb.bpf.o');
const COUNTER = object('flow_counter.bpf.o');
const FIREWALL = object('xdp_firewall.bpf.o');
const TC = object('tc_firewall.bpf.o');

describe('standard input', () => {
  const piped = (input: Uint8Array, ...args: readonly string[]) => replaySummary(['-', '--xdp', COUNTER, ...args], { input });

  test('is read like a file: plain, gzip, and as far as asked', async () => {
    const [file, plain, gzip, some] = await Promise.all([
      replaySummary([trace('imix.pcap'), '--xdp', COUNTER]),
      piped(IMIX),
      piped(gzipSync(IMIX)),
      piped(IMIX, '--limit', '10'),
    ]);
    expect(file.statistics.packets).toBe(400);
    expect(plain).toMatchObject({ capture: '-', replay: { compression: 'none' }, statistics: file.statistics });
    expect(gzip).toMatchObject({ replay: { compression: 'gzip' }, statistics: file.statistics });
    expect(some.replay.packets).toBe(10);
  });

  const { stdout: zstd, status } = spawnSync('zstd', ['-c'], { input: IMIX });
  test.skipIf(status !== 0)('may be packed by zstd (needs zstd to make it)', async () => {
    expect((await piped(zstd)).replay).toMatchObject({ packets: 400, compression: 'zstd' });
  });

  test('cannot be looped over, and is no capture when empty', async () => {
    const [looped, empty] = await Promise.all([xdplab(['replay', '-', '--loop', '2'], { input: IMIX }), xdplab(['replay', '-'])]);
    expect(looped).toMatchObject({ status: 2, stdout: '', stderr: 'xdplab: standard input can be replayed only once; write it to a file to loop over it\n' });
    expect(empty).toMatchObject({ status: 1, stdout: '' });
    expect(empty.stderr).toBe('xdplab: standard input: found an empty file, expected a pcap or pcapng capture (also gzip or zstd packed)\n');
  });
});

test('--reader pcap-parser reads the same packets', async () => {
  // It knows microseconds only: the same records with the other magic, and fractions a thousandth.
  const micro = Buffer.from(IMIX);
  micro.writeUInt32LE(0xa1b2c3d4, 0);
  for (let at = 24; at < micro.length; at += 16 + micro.readUInt32LE(at + 8)) micro.writeUInt32LE(Math.floor(micro.readUInt32LE(at + 4) / 1000), at + 4);
  const path = scratch.file('micro.pcap', micro);
  const [native, other] = await Promise.all(['native', 'pcap-parser'].map((reader) => replaySummary([path, '--xdp', COUNTER, '--reader', reader, '--verdicts', scratch.at(`${reader}.ndjson`)])));
  expect(other!.statistics).toEqual(native!.statistics);
  expect(other!.statistics.packets).toBe(400);
  expect(readFileSync(scratch.at('pcap-parser.ndjson'), 'utf8')).toBe(readFileSync(scratch.at('native.ndjson'), 'utf8'));
});

describe('a damaged capture', () => {
  test('gives the packets before the damage, then one line with the place, and status 1', async () => {
    const path = scratch.file('cut.pcap', IMIX.subarray(0, 20_000));
    const { packets, damage } = await readCapture(path);
    expect(packets.length).toBeGreaterThan(10);
    const [picture, json] = await Promise.all([
      xdplab(['replay', path, '--xdp', COUNTER, '--out', scratch.at('left.pcapng'), '--verdicts', scratch.at('left.ndjson'), '--maps-out', scratch.at('left')]),
      xdplab(['replay', path, '--json']),
    ]);
    expect(picture).toMatchObject({ status: 1, stderr: `xdplab: ${damage!}\n` });
    expect(picture.stderr).toMatch(/cut\.pcap: byte \d+: found \d+ bytes of record \d+, expected \d+; what came before it was read/);
    expect(picture.stdout).toContain(`${packets.length} packets`);
    const left = await readCapture(scratch.at('left.pcapng'));
    expect(left.damage).toBeUndefined();
    expect(left.packets.length).toBe(packets.length);
    expect(readFileSync(scratch.at('left.ndjson'), 'utf8').trimEnd().split('\n')).toHaveLength(packets.length);
    expect(JSON.parse(readFileSync(scratch.at('left/flows.json'), 'utf8'))).toMatchObject({ name: 'flows', type: 'hash' });
    expect(json).toMatchObject({ status: 1 });
    expect(JSON.parse(json.stdout)).toMatchObject({ replay: { packets: packets.length, damage } });
  });

  test('of which nothing can be run is no success', async () => {
    const { status, stdout, stderr } = await xdplab(['replay', trace('raw-ip.pcap'), '--xdp', COUNTER]);
    expect({ status, stderr }).toEqual({ status: 1, stderr: `xdplab: ${trace('raw-ip.pcap')}: none of its 50 packets could be run: not an Ethernet capture\n` });
    expect(stdout).toContain('LINK_TYPE');
  });
});

describe('programs, their chains and what is in their maps', () => {
  test('come from options, in order, by object and name, with contents in YAML or JSON', async () => {
    const yaml = scratch.file('config.yaml', '- { default_action: FW_DROP, syn_rate: 0, syn_burst: 0, event_every: 0, drop_fragments: 0, drop_ip_options: 0 } # but for rules\n');
    const rules = scratch.file('rules.json', JSON.stringify([{ key: { protocol: 'udp', port: 53 }, value: { id: 7, action: 'FW_PASS' } }]));
    const mapping = scratch.file('deny.yml', '198.18.0.0/15: 9\n"203.0.113.0/24": 9\n');
    const base = [trace('imix.pcap'), '--xdp', FIREWALL, '--xdp', `${LB}:xdp_lb`, '--tc-ingress', `${TC}:tc_fw_ingress`, '--tc-egress', `${TC}:tc_fw_egress`, '--map', `fw_config=${yaml}`];
    const [open, passing, denied] = await Promise.all([
      replaySummary(base),
      replaySummary([...base, '--map', `fw_rules=${rules}`, '--engine', 'interpreter', '--maps-out', scratch.at('maps')]),
      replaySummary([...base, '--map', `fw_rules=${rules}`, '--map', `deny_v4=${mapping}`]),
    ]);
    expect(passing.engine).toBe('interpreter');
    expect(passing.statistics.programs.map(({ hook, program }) => [hook, program])).toEqual([
      ['xdp', 'xdp_firewall'],
      ['xdp', 'xdp_lb'],
      ['tc-ingress', 'tc_fw_ingress'],
      ['tc-egress', 'tc_fw_egress'],
    ]);
    expect(open.statistics.programs.map(({ packets }) => packets)).toEqual([400, 0, 0, 0]);
    expect(passing.statistics.programs.map(({ packets }) => packets)).toEqual([400, 400, 400, 0]);
    expect(denied.statistics.programs.map(({ packets }) => packets)).toEqual([400, 0, 0, 0]);
    const rows = (summary: typeof open) => summary.maps.find(({ map }) => map === 'fw_counters')!.rows.map(({ label, amount }) => [label, amount]);
    expect([open, passing, denied].map(rows)).toEqual([[['FW_DEFAULT', 400]], [['FW_PASSED', 400]], [['FW_DENY_LIST', 400]]]);
    expect(JSON.parse(readFileSync(scratch.at('maps/fw_rules.json'), 'utf8'))).toMatchObject({ entries: [{ key: { protocol: 'udp', port: 53 }, value: { id: 7, action: 'FW_PASS' } }] });
  });

  test('maps of one name in two objects are told apart by object', async () => {
    const copy = scratch.file('other.bpf.o', readFileSync(LB));
    const both = [trace('imix.pcap'), '--xdp', LB, '--xdp', copy];
    const vips = scratch.file('vips.yaml', '- { key: { address: 10.0.0.101, port: 53, protocol: udp }, value: { id: 2, flags: VIP_STATELESS } }\n');
    const [vague, exact] = await Promise.all([
      xdplab(['replay', ...both, '--map', `vips=${vips}`]),
      xdplab(['replay', ...both, '--map', `other.bpf.o:vips=${vips}`, '--maps-out', scratch.at('two')]),
    ]);
    expect(vague).toMatchObject({ status: 2, stdout: '' });
    expect(vague.stderr).toBe("xdplab: map 'vips': 2 objects have one of their own; share it (share: [vips]) or say which: xdp_lb.bpf.o:vips or other.bpf.o:vips\n");
    expect(exact).toMatchObject({ status: 0, stderr: '' });
    const entries = (name: string): number => (JSON.parse(readFileSync(scratch.at(`two/${name}`), 'utf8')) as { entries: unknown[] }).entries.length;
    expect([entries('xdp_lb.bpf.o_vips.json'), entries('other.bpf.o_vips.json')]).toEqual([0, 1]);
  });

  test('types that no section says, and the CPUs of per-CPU maps, come from options too', async () => {
    const legacy = join(REPOSITORY, 'tests/bpf/objects/legacy-iproute2.bpf.o:tail');
    const [unknown, typed, cpus] = await Promise.all([
      xdplab(['replay', trace('imix.pcap'), '--xdp', legacy]),
      replaySummary([trace('imix.pcap'), '--xdp', legacy, '--type', 'xdp']),
      replaySummary([trace('imix.pcap'), '--xdp', LB, '--cpus', '3', '--seed', '7', '--maps-out', scratch.at('three')]),
    ]);
    expect(unknown.stderr).toBe("xdplab: legacy-iproute2.bpf.o: program 'tail': section '7/3' does not say the program's type; say it with --type or in the lab file\n");
    expect(typed.statistics.programs).toMatchObject([{ program: 'tail', packets: 400 }]);
    expect(cpus.statistics.packets).toBe(400);
    const [passed] = JSON.parse(readFileSync(scratch.at('three/lb_counters.json'), 'utf8')).entries as [{ readonly key: string; readonly value: readonly number[] }];
    expect([passed.key, passed.value.length, passed.value.reduce((sum, packets) => sum + packets)]).toEqual(['LB_PASSED', 3, 400]);
  });

  test('a lab file finds its objects beside itself, and options go behind it', async () => {
    writeFileSync(scratch.at('beside.bpf.o'), readFileSync(FIREWALL));
    const lab = scratch.file('lab.yaml', 'devices:\n  - { name: wan, xdp: [beside.bpf.o] }\nshow: [{ map: fw_counters, title: Fate, by: bytes, top: 1, names: { FW_PASSED: fine } }]\n');
    const summary = await replaySummary([trace('imix.pcap'), '--lab', lab, '--xdp', LB]);
    expect(summary.statistics.programs.map(({ program }) => program)).toEqual(['xdp_firewall', 'xdp_lb']);
    expect(summary.statistics.devices.map(({ device }) => device)).toEqual(['wan']);
    expect(summary.maps).toMatchObject([{ title: 'Fate', by: 'bytes', rows: [{ label: 'fine', amount: summary.statistics.bytes }] }]);
  });
});

test('--speed keeps the pace of the capture, of a multiple, or of a rate', async () => {
  // 400 packets, a millisecond apart.
  const paces = [['original'], ['2x'], ['1000pps', '--limit', '150'], ['top']];
  const runs = await Promise.all(paces.map(([pace, ...args]) => replaySummary([trace('imix.pcap'), '--speed', pace!, ...args])));
  const { packets } = await readCapture(trace('imix.pcap'));
  const spanNs = Number(packets.at(-1)!.timestampNs - packets[0]!.timestampNs);
  const [original, twice, rate, top] = runs.map(({ replay }) => replay.elapsedNs);
  // Packets due within a millisecond go together. How much later than due they are is up to the machine.
  for (const [elapsedNs, wantedNs] of [[original!, spanNs], [twice!, spanNs / 2], [rate!, 149e6]] as const) expect(elapsedNs).toBeGreaterThan(wantedNs - 2e6);
  expect(top).toBeLessThan(original!);
  expect(runs.map(({ replay }) => replay.packets)).toEqual([400, 400, 150, 400]);
});
