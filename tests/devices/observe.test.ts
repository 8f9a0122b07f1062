/** `xdplab live` in observe mode, on interfaces of the test's own: what comes in is judged, counted and kept, and nothing is sent. */
import { chmodSync, chownSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { whyNoFilters } from '../../dataplane/devices/packet-filter.ts';
import { ethernet } from '../../dataplane/packet/ethernet.ts';
import { ipv4 } from '../../dataplane/packet/ipv4.ts';
import { ipv6 } from '../../dataplane/packet/ipv6.ts';
import { udp } from '../../dataplane/packet/udp.ts';
import { vlan } from '../../dataplane/packet/vlan.ts';
import { object, replaySummary, Scratch, trace, xdplab } from '../cli/run-cli.ts';
import { readCapture } from '../packet/crafted-capture.ts';
import { captureOf, hex, udpTo } from './sample-packets.ts';
import { holds, Namespace, namespaceTitle, whyNoNamespaces, type LiveSummary } from './veth-pair.ts';

const NOBODY = 65_534;
const FIREWALL = object('xdp_firewall.bpf.o');
const scratch = new Scratch();
afterAll(() => scratch.remove());

describe.skipIf(whyNoNamespaces !== undefined)(namespaceTitle('a live interface'), { timeout: 60_000 }, () => {
  let here: Namespace;
  beforeEach(() => {
    here = new Namespace();
    here.pair('near', 'far');
  });
  afterEach(() => here.remove());

  /** Runs `xdplab live near … --json` while the far end sends the capture. */
  async function observe(capture: string, args: readonly string[]): Promise<LiveSummary> {
    const command = await here.live('near', '--json', ...args);
    await here.send('far', capture);
    const { status, stdout, stderr } = await command.interrupt();
    if (status !== 0) throw new Error(stderr);
    return JSON.parse(stdout) as LiveSummary;
  }

  test('is judged as a replay of the same packets is', async () => {
    const { accounting, statistics } = await observe(trace('mixed.pcap'), ['--xdp', FIREWALL]);
    const replayed = await replaySummary([trace('mixed.pcap'), '--xdp', FIREWALL]);
    expect(statistics.programs.map(({ program, verdicts }) => ({ program, verdicts }))).toEqual(replayed.statistics.programs.map(({ program, verdicts }) => ({ program, verdicts })));
    expect(accounting).toMatchObject({ received: 1000, ringDrops: 0, rejected: 0, inFlight: 0 });
    expect(holds(accounting)).toBe(true);
  });

  test('is spread over two CPUs by flows, every packet accounted for, and judged as a replay on one is', async () => {
    const { accounting, statistics } = await observe(trace('imix.pcap'), ['--xdp', FIREWALL, '--cpus', '2']);
    const replayed = await replaySummary([trace('imix.pcap'), '--xdp', FIREWALL]);
    expect(statistics.programs.map(({ program, verdicts }) => ({ program, verdicts }))).toEqual(replayed.statistics.programs.map(({ program, verdicts }) => ({ program, verdicts })));
    expect(accounting).toMatchObject({ received: replayed.statistics.packets, ringDrops: 0, rejected: 0, inFlight: 0 });
    expect(holds(accounting)).toBe(true);
    const onCpus = statistics.hooks[0]!.cpus.map(({ packets }) => packets);
    expect(onCpus.length).toBe(2);
    expect(onCpus.every((packets) => packets > 0)).toBe(true);
    expect(onCpus[0]! + onCpus[1]!).toBe(accounting.received);
  });

  test.each([
    ['two CPUs', 'mixed.pcap', '{ name: near }', 2],
    ['three CPUs, by a key and a table of its own', 'imix.pcap', '{ name: near, rss_key: symmetric, queues: 5, indirection: [4, 0, 1, 1, 3, 2, 0] }', 3],
    ['two CPUs, of which one has all, for there is one queue', 'icmp.pcap', '{ name: near, queues: 1 }', 2],
  ])('comes to %s by flows as a replay spreads it, each CPU with a ring of its own', async (_, capture, device, cpus) => {
    const lab = scratch.file('spread.yaml', `devices: [${device.replace('}', `, xdp: ["${FIREWALL}"] }`)}]\n`);
    const { accounting, statistics } = await observe(trace(capture), ['--lab', lab, '--cpus', String(cpus)]);
    const replayed = await replaySummary([trace(capture), '--lab', lab, '--cpus', String(cpus)]) as unknown as LiveSummary;
    expect(statistics.hooks[0]!.cpus).toEqual(replayed.statistics.hooks[0]!.cpus);
    expect(accounting).toMatchObject({ received: replayed.statistics.hooks[0]!.cpus.reduce((sum, { packets }) => sum + packets, 0), ringDrops: 0, rejected: 0, inFlight: 0 });
  });

  test('comes to CPUs by the hash of what is behind VLAN tags, options and other headers, as a replay spreads it', async () => {
    const macs = { source: '02:00:00:00:00:0a', destination: '02:00:00:00:00:0b' };
    const flow = (index: number) => udp({ sourcePort: 5000 + index, destinationPort: 9 }, new Uint8Array(30));
    const v4 = { source: '10.0.0.1', destination: '10.0.0.2' };
    const v6 = { source: 'fd00::1', destination: 'fd00::2' };
    const shapes = (index: number): Uint8Array[] => [
      ethernet(macs, ipv4(v4, flow(index))),
      ethernet(macs, ipv4({ ...v4, options: new Uint8Array(8) }, flow(index))),
      ethernet(macs, ipv4({ ...v4, source: `10.0.1.${index}`, moreFragments: true }, flow(index))),
      ethernet(macs, vlan({ id: 7 }, ipv4(v4, flow(index)))),
      ethernet(macs, vlan({ id: 7 }, vlan({ id: 8 }, ipv6(v6, flow(index))))),
      ethernet(macs, ipv6(v6, flow(index))),
      ethernet(macs, ipv6({ ...v6, source: `fd00::${index}:1`, nextHeader: 44 }, new Uint8Array(40))),
      // Its ports are not there.
      ethernet(macs, ipv4({ ...v4, source: `10.0.2.${index}`, protocol: 17 }, new Uint8Array(2))).subarray(0, 14 + 20 + 2),
    ];
    const capture = captureOf(scratch, 'shapes.pcap', Array.from({ length: 32 }, (__, index) => shapes(index)).flat());
    const pass = ['--xdp', FIREWALL, '--cpus', '4'];
    const { accounting, statistics } = await observe(capture, pass);
    const replayed = await replaySummary([capture, ...pass]) as unknown as LiveSummary;
    expect(statistics.hooks[0]!.cpus.map(({ packets }) => packets)).toEqual(replayed.statistics.hooks[0]!.cpus.map(({ packets }) => packets));
    expect(accounting).toMatchObject({ received: 256, ringDrops: 0, inFlight: 0 });
  });

  test('that several CPUs receive has what the host sends too, where a program is at TC egress, and not where none is', async () => {
    const firewall = object('tc_firewall.bpf.o');
    const packetsOf = async (...args: string[]): Promise<LiveSummary> => {
      const command = await here.live('near', '--json', '--cpus', '2', ...args);
      await here.send('near', trace('mixed.pcap'), '--queued');
      return JSON.parse((await command.interrupt()).stdout) as LiveSummary;
    };
    const heard = await packetsOf('--tc-egress', `${firewall}:tc_fw_egress`);
    expect(heard.statistics.programs.map(({ program, packets }) => [program, packets])).toEqual([['tc_fw_egress', 1000]]);
    expect(holds(heard.accounting)).toBe(true);
    expect((await packetsOf('--xdp', FIREWALL)).accounting.received).toBe(0);
  });

  test('of the host itself comes to CPUs by the hash of what is behind its VLAN tags too', async () => {
    const macs = { source: '02:00:00:00:00:0a', destination: '02:00:00:00:00:0b' };
    const flow = (index: number) => ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }, udp({ sourcePort: 5000 + index, destinationPort: 9 }, new Uint8Array(30)));
    const shapes = (index: number): Uint8Array[] => [ethernet(macs, flow(index)), ethernet(macs, vlan({ id: 7 }, flow(index))), ethernet(macs, vlan({ id: 7 }, vlan({ id: 8 }, flow(index))))];
    const capture = captureOf(scratch, 'sent-shapes.pcap', Array.from({ length: 32 }, (__, index) => shapes(index)).flat());
    const command = await here.live('near', '--json', '--cpus', '4', '--tc-egress', `${object('tc_firewall.bpf.o')}:tc_fw_egress`);
    await here.send('near', capture, '--queued');
    const { statistics } = JSON.parse((await command.interrupt()).stdout) as LiveSummary;
    const replayed = await replaySummary([capture, '--xdp', FIREWALL, '--cpus', '4']) as unknown as LiveSummary;
    expect(statistics.hooks[0]!.cpus.map(({ packets }) => packets)).toEqual(replayed.statistics.hooks[0]!.cpus.map(({ packets }) => packets));
  });

  test('that several CPUs receive is left after --count packets', async () => {
    const command = await here.live('near', '--json', '--count', '100', '--cpus', '2');
    await here.send('far', trace('mixed.pcap'));
    const { live, accounting } = JSON.parse((await command.finished).stdout) as LiveSummary;
    expect({ packets: live.packets, holds: holds(accounting) }).toEqual({ packets: 100, holds: true });
  });

  test('that several CPUs receive is written in the order it came, numbered, and with verdicts as one CPU gives them', async () => {
    const [out, verdicts] = [scratch.at('left.pcapng'), scratch.at('verdicts.ndjson')];
    await observe(trace('mixed.pcap'), ['--xdp', FIREWALL, '--cpus', '2', '--out', out, '--verdicts', verdicts]);
    const lines = readFileSync(verdicts, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as { readonly packet: number; readonly time: string });
    expect(lines.map(({ packet }) => packet)).toEqual(Array.from({ length: 1000 }, (__, index) => index + 1));
    const { packets } = await readCapture(out);
    const original = await readCapture(trace('mixed.pcap'));
    expect(packets.map(({ bytes }) => hex(bytes)).toSorted()).toEqual(original.packets.map(({ bytes }) => hex(bytes)).toSorted());
  });

  test('is kept whole, with times of its own, and with VLAN tags where they were', async () => {
    const tagged = (id: number): Uint8Array => ethernet({ source: '02:00:00:00:00:0a', destination: '02:00:00:00:00:0b' }, vlan({ id, priority: 5 }, ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }, udp({ sourcePort: 1, destinationPort: 2 }, new Uint8Array(30)))));
    const packets = [udpTo(1), tagged(7), udpTo(2, 1400), tagged(4094)];
    const out = scratch.at('left.pcapng');
    const before = BigInt(Date.now()) * 1_000_000n;
    await observe(captureOf(scratch, 'tagged.pcap', packets), ['--out', out]);
    const read = await readCapture(out);
    expect(read.packets.map(({ bytes, wire }) => [hex(bytes), wire])).toEqual(packets.map((bytes) => [hex(bytes), bytes.length]));
    const times = read.packets.map(({ timestampNs }) => timestampNs);
    expect(times.every((time, index) => time >= (times[index - 1] ?? before - 1_000_000n))).toBe(true);
    expect(times.at(-1)).toBeLessThanOrEqual(BigInt(Date.now() + 1) * 1_000_000n);
  });

  test('sends nothing', async () => {
    await observe(trace('mixed.pcap'), ['--xdp', FIREWALL, '--promiscuous']);
    const [link] = JSON.parse(here.ip('-s', '-j', 'link', 'show', 'near')) as { stats64: { tx: { packets: number }; rx: { packets: number } } }[];
    expect(link!.stats64).toMatchObject({ tx: { packets: 0 }, rx: { packets: 1000 } });
  });

  test('has what the host sends at TC egress, whatever address it carries, and what comes in at TC ingress', async () => {
    const firewall = object('tc_firewall.bpf.o');
    const command = await here.live('near', '--json', '--tc-ingress', `${firewall}:tc_fw_ingress`, '--tc-egress', `${firewall}:tc_fw_egress`);
    await here.send('far', trace('icmp.pcap'));
    await here.send('near', trace('mixed.pcap'), '--queued');
    const { statistics, accounting } = JSON.parse((await command.interrupt()).stdout) as LiveSummary;
    expect(holds(accounting)).toBe(true);
    expect(statistics.programs.map(({ program, packets }) => [program, packets])).toEqual([['tc_fw_ingress', (await replaySummary([trace('icmp.pcap')])).statistics.packets], ['tc_fw_egress', 1000]]);
  });

  test('gives only so much of each packet as --snaplen says', async () => {
    const { statistics, accounting } = await observe(captureOf(scratch, 'lengths.pcap', [udpTo(1, 100), udpTo(1, 22), udpTo(1, 23)]), ['--snaplen', '64']);
    expect({ truncated: statistics.truncated, received: accounting.received }).toEqual({ truncated: 2, received: 3 });
  });

  test('is left after --count packets, and what is left over is in flight', async () => {
    const command = await here.live('near', '--json', '--count', '100');
    await here.send('far', trace('mixed.pcap'));
    const { status, stdout } = await command.finished;
    const { live, accounting } = JSON.parse(stdout) as LiveSummary;
    expect({ status, packets: live.packets, interrupted: live.interrupted }).toEqual({ status: 0, packets: 100, interrupted: false });
    expect(holds(accounting)).toBe(true);
  });

  test('is left after --duration', async () => {
    const { status, stdout } = await here.refused('near', '--json', '--duration', '0.2');
    expect({ status, packets: (JSON.parse(stdout) as LiveSummary).live.packets }).toEqual({ status: 0, packets: 0 });
  });

  test.each([
    // The interpreter takes some 6 µs for a packet of each firewall, and the sender 3 µs.
    ['one CPU', ['--engine', 'interpreter', '--xdp', FIREWALL, '--xdp', FIREWALL]],
    // With the sender, these share the machine's processors.
    ['two CPUs', ['--cpus', '2', ...Array.from({ length: 16 }, () => ['--xdp', FIREWALL]).flat()]],
  ])('tells of what was lost for want of room, and of what is in flight, to the packet, while more than twice as much comes in as %s can judge', async (_, args) => {
    const command = await here.live('near', '--json', '--every', '0.1', '--buffer', '2', ...args);
    const snapshots: LiveSummary[] = [];
    let sent = 0;
    // On a busy machine the sender may be done before the other side has a processor: then it sends again.
    while (!snapshots.some(({ accounting }) => accounting.inFlight > 0 && accounting.ringDrops > 0)) {
      let isSending = true;
      const sending = here.send('far', trace('mixed.pcap'), '--loop', '200').finally(() => (isSending = false));
      while (isSending) snapshots.push(await command.nextSnapshot());
      sent += await sending;
    }
    const { stdout } = await command.interrupt();
    const summary = JSON.parse(stdout.trimEnd().split('\n').at(-1)!) as LiveSummary;
    expect(snapshots.every(({ accounting }) => holds(accounting))).toBe(true);
    expect(holds(summary.accounting)).toBe(true);
    expect(summary.accounting.ringDrops).toBeGreaterThan(0);
    expect(summary.accounting).toMatchObject({ received: sent, inFlight: 0 });
  }, 60_000);

  test('whose packets are not to be judged any more is left at the second Ctrl-C, with the rest in flight', async () => {
    const slow = Array.from({ length: 10 }, () => ['--xdp', FIREWALL]).flat();
    const command = await here.live('near', '--json', ...slow, '--engine', 'interpreter');
    await here.send('far', trace('mixed.pcap'), '--loop', '100');
    command.kill('SIGINT');
    command.kill('SIGTERM');
    const { status, stdout } = await command.finished;
    const { accounting } = JSON.parse(stdout) as LiveSummary;
    expect({ status, holds: holds(accounting), received: accounting.received, ringDrops: accounting.ringDrops }).toEqual({ status: 0, holds: true, received: 100_000, ringDrops: 0 });
    expect(accounting.inFlight).toBeGreaterThan(0);
  });

  test.skipIf(whyNoFilters() !== undefined)(`gives only what a filter matches (${whyNoFilters() ?? 'libpcap is there'})`, async () => {
    const { accounting } = await observe(captureOf(scratch, 'ports.pcap', [udpTo(53), udpTo(54), udpTo(53), udpTo(80)]), ['udp', 'port', '53']);
    expect(accounting.received).toBe(2);
  });

  test.skipIf(whyNoFilters() !== undefined)('says what is wrong with a filter, and where', async () => {
    const { status, stderr } = await here.refused('near', 'udp', 'prot', '53');
    expect({ status, stderr }).toEqual({ status: 2, stderr: "xdplab: filter 'udp prot 53': syntax error, found 'prot' behind 'udp'; man pcap-filter says what there is, such as 'udp port 53 and not src net 10.0.0.0/8'\n" });
    expect((await here.refused('near', 'vlan', '7')).stderr).toMatch(/^xdplab: filter 'vlan 7': the kernel takes VLAN tags off [^\n]+\n$/);
  });

  test('is read by a process without any rights, to which another hands the socket', async () => {
    const folder = scratch.at('nobodys');
    mkdirSync(folder);
    chownSync(folder, NOBODY, NOBODY);
    chmodSync(scratch.path, 0o755);
    const out = `${folder}/left.pcapng`;
    const command = await here.live('near', '--json', '--user', 'nobody', '--xdp', FIREWALL, '--out', out);
    const children = readFileSync(`/proc/${command.pid}/task/${command.pid}/children`, 'latin1').trim().split(' ');
    const status = readFileSync(`/proc/${children[0]}/status`, 'latin1');
    expect(/^Uid:\t(.*)$/m.exec(status)![1]!.split('\t')).toEqual(Array.from({ length: 4 }, () => `${NOBODY}`));
    expect(/^CapEff:\t(.*)$/m.exec(status)![1]).toMatch(/^0+$/);
    await here.send('far', trace('mixed.pcap'));
    command.kill('SIGTERM');
    const { status: exit, stdout } = await command.finished;
    expect({ exit, accounting: (JSON.parse(stdout) as LiveSummary).accounting }).toMatchObject({ exit: 0, accounting: { received: 1000, inFlight: 0 } });
    expect({ uid: statSync(out).uid, packets: (await readCapture(out)).packets.length }).toEqual({ uid: NOBODY, packets: 1000 });
  });

  test('that goes down ends the run, with what was counted until then', async () => {
    const command = await here.live('near', '--json');
    await here.send('far', trace('mixed.pcap'));
    here.ip('link', 'set', 'near', 'down');
    const { status, stdout, stderr } = await command.finished;
    expect({ status, stderr: stderr.split('\n').at(-2) }).toEqual({ status: 5, stderr: 'xdplab: near: it went down or away while packets were read (ENETDOWN)' });
    expect((JSON.parse(stdout) as LiveSummary).accounting).toMatchObject({ received: 1000, inFlight: 0 });
  });

  test('without a program, says that nothing judges packets', async () => {
    const remark = /^no program is attached: packets are counted, and nothing judges them;/m;
    expect((await (await here.live('near')).interrupt()).stderr).toMatch(remark);
    expect((await (await here.live('near', '--xdp', FIREWALL)).interrupt()).stderr).not.toMatch(remark);
  });

  test('that is down, or no interface, is refused in one line', async () => {
    here.ip('link', 'set', 'near', 'down');
    expect(await here.refused('near')).toMatchObject({ status: 5, stderr: 'xdplab: near: it is down; ip link set near up\n' });
    expect((await here.refused('nowhere')).stderr).toMatch(/^xdplab: interface 'nowhere': there is none of that name, expected one of [^\n]*near[^\n]*\n$/);
  });
});

test.skipIf(process.platform !== 'linux' || process.getuid?.() !== 0)('a user who may not capture gets one line that names the capability, and status 5', async () => {
  const { status, stdout, stderr } = await xdplab(['live', 'lo'], { uid: NOBODY });
  expect({ status, stdout }).toEqual({ status: 5, stdout: '' });
  expect(stderr).toMatch(/^xdplab: packet sockets are not allowed: this process lacks CAP_NET_RAW; [^\n]+\n$/);
});

test('the list has interfaces, and why a way to get packets is missing', async () => {
  const { status, stdout } = await xdplab(['live', '--list', '--json']);
  const { interfaces, backends } = JSON.parse(stdout) as { interfaces: readonly { name: string }[]; backends: readonly { name: string; missing?: string }[] };
  expect(status).toBe(0);
  expect(interfaces.length).toBeGreaterThan(0);
  expect(backends.map(({ name }) => name)).toContain('af_packet');
});

test('without an interface, the command says how to find one', async () => {
  expect(await xdplab(['live'])).toMatchObject({ status: 2, stderr: 'xdplab: live: which interface? Give its name; xdplab live --list shows them\n' });
});
