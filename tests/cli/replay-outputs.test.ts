/** One replay of the demonstration with everything it can write, and a second one on the other engine. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadObject } from '../../dataplane/bpf/object.ts';
import { decodeVerdictFile } from '../../dataplane/server/verdict-decoder.ts';
import { readCapture } from '../packet/crafted-capture.ts';
import { object, replaySummary, Scratch, trace, xdplab, type Run, type Summary } from './run-cli.ts';

const CAPTURE = trace('demo.pcapng');
const LAB = ['--lab', object('demo.yaml')];
const XDP_CODES = ['XDP_ABORTED', 'XDP_DROP', 'XDP_PASS', 'XDP_TX', 'XDP_REDIRECT'];

interface LoggedPacket {
  readonly packet: number;
  readonly time: string;
  readonly device: string;
  readonly length: number;
  readonly verdicts: readonly { readonly hook: string; readonly program: string; readonly verdict: string; readonly length: number }[];
  readonly fate: string;
  readonly reason?: string;
  readonly out?: string;
}

const scratch = new Scratch();
afterAll(() => scratch.remove());

let whole: Run;
let summary: Summary;
let log: LoggedPacket[];
/** The interpreter, with its log on standard output. */
let other: Run;
let captureOnStdout: Run;
beforeAll(async () => {
  const files = ['--out', scratch.at('out.pcapng'), '--verdicts', scratch.at('verdicts.ndjson'), '--events', scratch.at('events.ndjson')];
  [whole, other, captureOnStdout] = await Promise.all([
    xdplab(['replay', CAPTURE, ...LAB, ...files, '--maps-out', scratch.at('deep/maps'), '--json']),
    xdplab(['replay', CAPTURE, ...LAB, '--engine', 'interpreter', '--verdicts', '-', '--events', scratch.at('events-too.ndjson')]),
    xdplab(['replay', CAPTURE, ...LAB, '--limit', '500', '--out', '-']),
  ]);
  summary = JSON.parse(whole.stdout) as Summary;
  log = lines(readFileSync(scratch.at('verdicts.ndjson'), 'utf8')) as LoggedPacket[];
}, 30_000);

function lines(text: string): unknown[] {
  expect(text.endsWith('\n')).toBe(true);
  return text.trimEnd().split('\n').map((line) => JSON.parse(line) as unknown);
}

function tally<T>(items: readonly T[], keyOf: (item: T) => string | undefined): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const item of items) {
    const key = keyOf(item);
    if (key !== undefined) counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

describe('replay --json', () => {
  test('succeeds without a word on stderr', () => {
    expect(whole).toMatchObject({ status: 0, stderr: '' });
  });

  test('says what was replayed, and how', () => {
    expect(Object.keys(summary)).toEqual(['capture', 'engine', 'verified', 'replay', 'statistics', 'maps', 'events']);
    expect(summary).toMatchObject({ capture: CAPTURE, engine: 'wasm', verified: true });
    expect(summary.replay).toMatchObject({ format: 'pcapng', compression: 'none', interrupted: false, interfaces: [{ linkType: 1, name: 'eth0' }] });
    expect(summary.replay).not.toHaveProperty('damage');
    expect(summary.replay.elapsedNs).toBeGreaterThan(0);
  });

  test('has statistics that add up', () => {
    const { packets, fates, hooks, programs, devices, reasons } = summary.statistics;
    expect(packets).toBe(summary.replay.packets);
    expect(fates.reduce((sum, fate) => sum + fate.packets, 0)).toBe(packets);
    const dropped = fates.find(({ fate }) => fate === 'dropped')?.packets;
    expect(reasons.reduce((sum, reason) => sum + reason.packets, 0)).toBe(dropped);
    expect(hooks.map(({ device, hook }) => `${device} ${hook}`)).toEqual(['eth0 xdp', 'eth0 tc-ingress', 'eth0 tc-egress']);
    for (const { verdicts, packets: seen } of programs) expect(verdicts.reduce((sum, verdict) => sum + verdict.packets, 0)).toBe(seen);
    expect(devices.map(({ device, ifindex }) => [device, ifindex])).toEqual([['eth0', 2], ['eth1', 3]]);
    expect(devices[0]!.rxPackets + hooks[2]!.packets).toBe(packets);
  });

  test('has the maps that the lab file wants shown, by name', () => {
    expect(summary.maps.map(({ map }) => map)).toEqual(['vip_stats', 'backend_stats', 'fw_counters', 'rule_stats', 'ct_counters', 'ct_counters', 'connections']);
    expect(summary.maps[1]).toMatchObject({ title: 'Backends', by: 'packets', rows: [{ label: 'web-3  10.1.0.3' }, {}, {}, {}, {}, {}, {}] });
    for (const { rows, more, total } of summary.maps) {
      expect(rows.map(({ amount }) => amount)).toEqual(rows.map(({ amount }) => amount).toSorted((a, b) => b - a));
      const shown = rows.reduce((sum, { amount }) => sum + amount, 0);
      expect(more === 0 ? shown === total : shown < total).toBe(true);
    }
  });
});

describe('the verdict log', () => {
  test('has a line for each packet, with what the summary counts', () => {
    expect(log.map(({ packet }) => packet)).toEqual(Array.from({ length: summary.replay.packets }, (_, index) => index + 1));
    expect(tally(log, ({ fate }) => fate)).toEqual(Object.fromEntries(summary.statistics.fates.map(({ fate, packets }) => [fate, packets])));
    expect(tally(log, ({ reason }) => reason)).toEqual(Object.fromEntries(summary.statistics.reasons.map(({ reason, packets }) => [reason, packets])));
    for (const { program, verdicts } of summary.statistics.programs) {
      const logged = log.flatMap((packet) => packet.verdicts).filter((verdict) => verdict.program === program);
      expect(tally(logged, ({ verdict }) => verdict)).toEqual(Object.fromEntries(verdicts.map(({ verdict, packets }) => [verdict, packets])));
    }
  });

  test('is the same to the byte on the other engine, and may go to standard output', () => {
    expect(other.status).toBe(0);
    expect(other.stdout).toBe(readFileSync(scratch.at('verdicts.ndjson'), 'utf8'));
  });

  test('leaves standard output to itself: the picture goes to stderr', () => {
    expect(other.stderr).toMatch(/^.*demo\.pcapng {2}pcapng, [\d,]+ packets.*engine interpreter$/m);
    expect(other.stderr).toMatch(/^Where they went$/m);
  });
});

describe('the log of events', () => {
  test('has a line for each record, decoded by the type that the lab file names', () => {
    const events = lines(readFileSync(scratch.at('events.ndjson'), 'utf8')) as { time: string; source: string; record: Record<string, unknown> }[];
    expect(tally(events, ({ source }) => source)).toEqual(Object.fromEntries(summary.events.map(({ source, count }) => [source, count])));
    expect(events.map(({ record }) => record['reason'])).toContain('FW_SYN_RATE');
    for (const { time, record } of events) {
      expect(time).toMatch(/^17000000\d\d\.\d{9}$/);
      expect(record).toMatchObject({ ifindex: 2, source: expect.any(String) as string });
    }
    expect(readFileSync(scratch.at('events-too.ndjson'), 'utf8')).toBe(readFileSync(scratch.at('events.ndjson'), 'utf8'));
  });
});

describe('--out', () => {
  test('has every packet, in order, on the interface of the device it left by', async () => {
    const input = await readCapture(CAPTURE);
    const { packets, damage, reader } = await readCapture(scratch.at('out.pcapng'));
    expect(damage).toBeUndefined();
    expect(packets.length).toBe(input.packets.length);
    expect(packets.map(({ timestampNs }) => timestampNs)).toEqual(input.packets.map(({ timestampNs }) => timestampNs));
    expect(reader.interfaces.map(({ name }) => name)).toEqual(['eth0', 'eth1']);
    expect(packets.map((packet) => reader.interfaces[packet.interface]!.name)).toEqual(log.map(({ out, device }) => out ?? device));
    log.forEach(({ verdicts }, index) => {
      const last = verdicts.at(-1);
      const grown = last?.program === 'xdp_lb' && last.verdict === 'XDP_REDIRECT';
      if (!grown) expect(Buffer.from(packets[index]!.bytes).equals(input.packets[index]!.bytes) || last?.verdict === 'XDP_TX').toBe(true);
    });
  });

  test('on standard output is the same capture, with the picture on stderr', async () => {
    expect(captureOnStdout).toMatchObject({ status: 0 });
    expect(captureOnStdout.stderr).toMatch(/500 packets/);
    const { packets, damage } = await readCapture(scratch.file('piped.pcapng', captureOnStdout.stdoutBytes));
    expect(damage).toBeUndefined();
    const { packets: all } = await readCapture(scratch.at('out.pcapng'));
    expect(packets).toEqual(all.slice(0, 500));
  });

  test('as pcap, and packed, has the same packets', async () => {
    const small = trace('imix.pcap');
    const names = ['a.pcap', 'a.pcap.gz', 'a.pcapng.gz'];
    await Promise.all(names.map((name) => replaySummary([small, '--xdp', object('flow_counter.bpf.o'), '--loop', '3', '--limit', '1000', '--out', scratch.at(name)])));
    const [plain, ...packed] = await Promise.all(names.map((name) => readCapture(scratch.at(name))));
    expect(plain!.packets.length).toBe(1000);
    const times = plain!.packets.map(({ timestampNs }) => timestampNs);
    expect(times.every((time, index) => index === 0 || time > times[index - 1]!)).toBe(true);
    expect(gunzipSync(readFileSync(scratch.at('a.pcap.gz'))).equals(readFileSync(scratch.at('a.pcap')))).toBe(true);
    for (const { packets, damage } of packed) {
      expect(damage).toBeUndefined();
      expect(packets).toEqual(plain!.packets);
    }
  });

  test('keeps packets that are not Ethernet as what they are', async () => {
    const { statistics } = await replaySummary([trace('interfaces.pcapng'), '--xdp', object('flow_counter.bpf.o'), '--out', scratch.at('interfaces.pcapng')]);
    expect(statistics.reasons).toMatchObject([{ reason: 'LINK_TYPE', packets: 50 }]);
    const [input, output] = await Promise.all([readCapture(trace('interfaces.pcapng')), readCapture(scratch.at('interfaces.pcapng'))]);
    expect(output.packets.map(({ bytes }) => Buffer.from(bytes))).toEqual(input.packets.map(({ bytes }) => Buffer.from(bytes)));
    const linkTypes = ({ reader, packets }: typeof input): number[] => packets.map((packet) => reader.interfaces[packet.interface]!.linkType);
    expect(linkTypes(output)).toEqual(linkTypes(input));
  });

  const tshark = (path: string, ...fields: readonly string[]): { readonly rows: string[][]; readonly stderr: string } => {
    const { stdout, stderr } = spawnSync('tshark', ['-n', '-r', path, '-T', 'fields', ...fields.flatMap((field) => ['-e', field])], { encoding: 'utf8', maxBuffer: 1 << 28 });
    // As root it says first that this is dangerous.
    return { rows: stdout.replace(/\n$/, '').split('\n').map((line) => line.split('\t')), stderr: stderr.replaceAll(/^Running as user.*\n/gm, '') };
  };
  test.skipIf(spawnSync('tshark', ['--version']).status !== 0)('is what Wireshark reads: packets, devices and verdicts (needs tshark)', () => {
    const { rows, stderr } = tshark(scratch.at('out.pcapng'), 'frame.number', 'frame.interface_name', 'frame.verdict.ebpf_xdp', 'frame.verdict.ebpf_tc');
    expect(stderr).toBe('');
    expect(rows.length).toBe(log.length);
    const TC_CODES: Record<string, number> = { TCX_NEXT: -1, TCX_DROP: 2 };
    const verdictsOf = ({ verdicts }: LoggedPacket, hook: RegExp): string | undefined => verdicts.findLast((verdict) => hook.test(verdict.hook))?.verdict;
    log.forEach((packet, index) => {
      const [, device, xdp, tc] = rows[index]!;
      expect(device).toBe(packet.out ?? packet.device);
      const wanted = verdictsOf(packet, /^xdp/);
      expect(xdp).toBe(wanted === undefined ? '' : String(XDP_CODES.indexOf(wanted)));
      const decided = verdictsOf(packet, /^tc/);
      expect(Number(BigInt.asIntN(32, BigInt(tc === '' ? 99 : tc!)))).toBe(decided === undefined ? 99 : TC_CODES[decided]);
    });
    const foreign = tshark(scratch.at('interfaces.pcapng'), 'frame.protocols');
    expect(foreign.stderr).toBe('');
    expect(foreign.rows.filter(([protocols]) => protocols!.startsWith('raw:ip')).length).toBe(50);
  });
});

describe('--verdicts to a .bin file', () => {
  test('has every verdict of the log as a record, with the names of what it is about', async () => {
    await xdplab(['replay', CAPTURE, ...LAB, '--verdicts', scratch.at('verdicts.bin'), '--json']);
    const found = [...decodeVerdictFile(readFileSync(scratch.at('verdicts.bin')))].flatMap(({ names, frame }) =>
      Array.from({ length: frame.count }, (_, index) => {
        const { hook, mode, program } = names.attachments[frame.attachment(index)]!;
        return { packet: frame.packet(index), time: frame.timestampNs(index), hook, program, verdict: names.verdicts[hook]![mode]![frame.verdict(index)], length: frame.length(index) };
      }),
    );
    const expected = log.flatMap(({ packet, time, verdicts }) => verdicts.map(({ hook, program, verdict, length }) => ({ packet, time: BigInt(time.replace('.', '')), hook, program, verdict, length })));
    expect(found).toEqual(expected);
  });

  test('that ends within a frame gives what came before, and says where', () => {
    const bytes = readFileSync(scratch.at('verdicts.bin'));
    const cut = decodeVerdictFile(bytes.subarray(0, -40));
    expect(() => [...cut]).toThrow(/a frame of \d+ bytes says it has \d+ records/);
  });
});

describe('--maps-out', () => {
  const read = (map: string): { name: string; type: string; maxEntries: number; entries: { key: unknown; value: unknown }[] } =>
    JSON.parse(readFileSync(scratch.at(`deep/maps/${map}.json`), 'utf8')) as ReturnType<typeof read>;

  test('says nothing of the verifier where all was verified', () => expect(read('vips')).not.toHaveProperty('verified'));

  test('makes the folder, and a file for each map of each object', () => {
    const objects = ['xdp_firewall', 'xdp_lb', 'tc_firewall'].map((name) => loadObject(readFileSync(object(`${name}.bpf.o`)), { name }));
    const declared = objects.flatMap(({ maps }) => [...maps.values()].filter(({ section }) => section === undefined).map(({ name }) => name));
    const written = readdirSync(scratch.at('deep/maps')).map((name) => name.replace(/\.json$/, ''));
    expect(written).toEqual(expect.arrayContaining([...declared, 'tc_firew.rodata']));
  });

  test('spells keys and values as the types do', () => {
    expect(read('vips')).toMatchObject({ name: 'vips', type: 'hash', maxEntries: 64 });
    expect(read('vips').entries).toContainEqual({ key: { address: '10.0.0.100', port: 80, protocol: 'tcp' }, value: { id: 0, flags: 0 } });
    expect(readFileSync(scratch.at('deep/maps/vips.json'), 'utf8').split('\n').slice(0, 2)).toEqual([
      '{"name":"vips","type":"hash","maxEntries":64,"entries":[',
      '{"key":{"address":"10.0.0.100","port":80,"protocol":"tcp"},"value":{"id":0,"flags":0}},',
    ]);
    expect(read('ct_counters').entries.map(({ key }) => key)).toContain('CT_PASS_CONNECTION');
  });
});

test('of programs that nobody verified, logs of events and saved maps say so', async () => {
  const [events, maps] = [scratch.at('unverified.ndjson'), scratch.at('unverified-maps')];
  expect(await xdplab(['replay', CAPTURE, '--lab', object('demo.yaml'), '--no-verify', '--limit', '1000', '--events', events, '--maps-out', maps])).toMatchObject({ status: 0 });
  expect(lines(readFileSync(events, 'utf8'))[0]).toMatchObject({ source: 'fw_drops', verified: false });
  expect(JSON.parse(readFileSync(`${maps}/vips.json`, 'utf8'))).toMatchObject({ name: 'vips', verified: false, entries: expect.any(Array) as unknown[] });
  expect(await xdplab(['map', 'diff', maps, maps])).toMatchObject({ status: 0, stdout: 'no difference\n' });
});
