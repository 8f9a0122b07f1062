/** `xdplab live --to`: a bump in the wire between interfaces of the test's own, seen from both of its outer ends. */
import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { object, REPOSITORY, replaySummary, Scratch, trace } from '../cli/run-cli.ts';
import { readCapture } from '../packet/crafted-capture.ts';
import { captureOf, hex, udpTo } from './sample-packets.ts';
import { holds, Namespace, namespaceTitle, whyNoNamespaces, type LiveSummary } from './veth-pair.ts';

const FIREWALL = object('xdp_firewall.bpf.o');
/** Linux itself drops frames that end in a VLAN tag. */
const SHORTEST = 18;
const scratch = new Scratch();
afterAll(() => scratch.remove());

/** The demonstration's load balancer and nothing else: eth0 towards clients, eth1 (ifindex 3) beside it, and eth2 (4). Backends are where `egress` is. */
function loadBalancerLab(egress: number): string {
  const demo = parse(readFileSync(`${REPOSITORY}programs/demo.yaml`, 'utf8')) as { maps: Record<string, unknown> };
  const { vips, backends, lb_rings, lb_config } = demo.maps;
  const devices = [{ name: 'eth0', ifindex: 2, xdp: [object('xdp_lb.bpf.o')] }, { name: 'eth1', ifindex: 3, mtu: 9000 }, { name: 'eth2', ifindex: 4, mtu: 9000 }];
  const config = [{ ...(lb_config as object[])[0], egress_ifindex: egress }];
  return scratch.file(`lb-${egress}.yaml`, stringify({ devices, maps: { vips, backends, lb_rings, lb_config: config } }));
}

/** What of the demonstration's packets Linux lets through. */
async function demoCapture(): Promise<string> {
  const { packets } = await readCapture(trace('demo.pcapng'));
  return captureOf(scratch, 'demo.pcapng', packets.map(({ bytes }) => bytes).filter((bytes) => bytes.length >= SHORTEST));
}

const packetsOf = (summary: LiveSummary, fate: string): number => summary.statistics.fates.find((each) => each.fate === fate)?.packets ?? 0;

describe.skipIf(whyNoNamespaces !== undefined)(namespaceTitle('inline'), { timeout: 60_000 }, () => {
  let here: Namespace;
  // client ── left [ xdplab ] right ── server
  beforeEach(() => {
    here = new Namespace();
    here.pair('client', 'left');
    here.pair('server', 'right');
  });
  afterEach(() => here.remove());

  test.each(['1', '2'])('what passes leaves on the other side, what is redirected by its interface, and what is sent back where it came from, byte for byte as a replay leaves it (CPUs: %s)', async (cpus) => {
    for (const name of ['server', 'right']) here.ip('link', 'set', name, 'mtu', '9000');
    const lab = loadBalancerLab(3);
    const capture = await demoCapture();
    const replayed = await replaySummary([capture, '--lab', lab, '--out', scratch.at('replayed.pcapng'), '--verdicts', scratch.at('replayed.ndjson')]);
    const ends = await Promise.all(['client', 'server'].map((name) => here.live(name, '--json', '--out', scratch.at(`${name}.pcap`))));
    const inline = await here.live('left', '--to', 'right', '--lab', lab, '--json', '--cpus', cpus);
    await here.send('client', capture);
    const { stdout, status } = await inline.interrupt();
    for (const end of ends) await end.interrupt();
    const summary = JSON.parse(stdout) as LiveSummary;
    const { accounting, sent, statistics } = summary;

    expect(status).toBe(0);
    expect(holds(accounting)).toBe(true);
    expect(statistics.fates).toEqual(replayed.statistics.fates);
    expect(packetsOf(summary, 'transmitted')).toBeGreaterThan(0);
    expect(sent).toMatchObject([{ interface: 'left', packets: packetsOf(summary, 'transmitted'), refused: 0 }, { interface: 'right', packets: packetsOf(summary, 'stack') + packetsOf(summary, 'redirected'), refused: 0 }]);

    const fates = readFileSync(scratch.at('replayed.ndjson'), 'utf8').trimEnd().split('\n').map((line) => (JSON.parse(line) as { fate: string }).fate);
    const left = (await readCapture(scratch.at('replayed.pcapng'))).packets.map(({ bytes }, index) => ({ fate: fates[index]!, bytes: hex(bytes) }));
    const seen = async (name: string): Promise<string[]> => (await readCapture(scratch.at(`${name}.pcap`))).packets.map(({ bytes }) => hex(bytes));
    expect(await seen('client')).toEqual(left.filter(({ fate }) => fate === 'transmitted').map(({ bytes }) => bytes));
    expect(await seen('server')).toEqual(left.filter(({ fate }) => fate === 'stack' || fate === 'redirected').map(({ bytes }) => bytes));
  });

  test('drops what programs drop, in the direction they are attached for, and passes everything in the other', async () => {
    const flood = trace('syn-flood.pcap');
    const lab = scratch.file('deny.yaml', stringify({ devices: [{ name: 'left', xdp: [FIREWALL] }], maps: { deny_v4: [{ key: '192.0.2.0/25', value: 1 }] } }));
    const inline = await here.live('left', '--to', 'right', '--lab', lab, '--json');
    await here.send('client', flood);
    await here.send('server', flood);
    const { stdout } = await inline.interrupt();
    const { accounting, sent, statistics } = JSON.parse(stdout) as LiveSummary;
    const [firewall] = statistics.programs;
    const passed = firewall!.verdicts.find(({ verdict }) => verdict === 'XDP_PASS')!.packets;
    expect(passed).toBeLessThan(1500);
    expect(sent).toMatchObject([{ interface: 'left', packets: 1500 }, { interface: 'right', packets: passed }]);
    expect(accounting).toMatchObject({ received: 3000, ringDrops: 0, inFlight: 0, verdicts: { stack: 1500 + passed, dropped: 1500 - passed } });
  });

  describe('between two hosts', () => {
    const SERVER = '10.99.0.2';
    let [one, two]: Namespace[] = [];
    beforeEach(() => {
      [one, two] = [new Namespace(), new Namespace()];
      for (const [host, name, address] of [[one, 'client', '10.99.0.1'], [two, 'server', SERVER]] as const) {
        here.ip('link', 'set', name, 'netns', host.name);
        host.ip('addr', 'add', `${address}/24`, 'dev', name);
        host.ip('link', 'set', name, 'up');
      }
    });
    afterEach(() => {
      one!.remove();
      two!.remove();
    });

    /** What the client prints that talks to a server of this code, once that is there. */
    async function talk(server: string, client: string): Promise<string> {
      const listening = two!.start(process.execPath, '-e', server);
      await new Promise((resolve) => listening.stdout.once('data', resolve));
      try {
        return one!.run(process.execPath, '-e', client);
      } finally {
        listening.kill();
      }
    }

    test('what nobody had completed has its checksum', async () => {
      const inline = await here.live('left', '--to', 'right', '--json');
      const answer = await talk("require('net').createServer((s) => s.pipe(s)).listen(7000, () => console.log('ready'))", `const s = require('net').connect(7000, '${SERVER}', () => s.end('over the wire')); s.pipe(process.stdout)`);
      expect(answer).toBe('over the wire');
      expect(holds((JSON.parse((await inline.interrupt()).stdout) as LiveSummary).accounting)).toBe(true);
    });

    test('what a sender wanted its NIC to cut comes in the pieces that a wire would have carried', async () => {
      const BYTES = 3_000_000;
      const inline = await here.live('left', '--to', 'right', '--json');
      const answer = await talk(
        "require('net').createServer({ allowHalfOpen: true }, (s) => { const h = require('crypto').createHash('sha1'); s.on('data', (d) => h.update(d)).on('end', () => s.end(h.digest('hex'))); }).listen(7000, () => console.log('ready'))",
        `const data = Buffer.alloc(${BYTES}); for (let i = 0; i < data.length; i += 4) data.writeUInt32LE(i, i); console.log(require('crypto').createHash('sha1').update(data).digest('hex')); const s = require('net').connect(7000, '${SERVER}', () => s.end(data)); s.pipe(process.stdout)`,
      );
      const { accounting, sent } = JSON.parse((await inline.interrupt()).stdout) as LiveSummary;
      const [left, arrived] = answer.split('\n');
      expect(arrived).toBe(left);
      expect(holds(accounting)).toBe(true);
      expect(sent).toMatchObject([{ tooLong: 0 }, { tooLong: 0 }]);
      expect(sent![1]!.packets).toBeGreaterThan(BYTES / 1460);
    });
  });

  test('counts what is longer than the other side may send', async () => {
    here.ip('link', 'set', 'right', 'mtu', '1000');
    const inline = await here.live('left', '--to', 'right', '--json');
    await here.send('client', captureOf(scratch, 'long.pcap', [udpTo(1, 1200), udpTo(2)]));
    const { sent } = JSON.parse((await inline.interrupt()).stdout) as LiveSummary;
    expect(sent).toMatchObject([{ packets: 0 }, { packets: 1, tooLong: 1 }]);
  });

  test('redirects to a third interface only where it is named', async () => {
    here.pair('backends', 'third');
    for (const name of ['backends', 'third']) here.ip('link', 'set', name, 'mtu', '9000');
    const [lab, capture] = [loadBalancerLab(4), await demoCapture()];
    for (const [redirect, named] of [[[], false], [['--redirect', 'eth2=third'], true]] as const) {
      const inline = await here.live('left', '--to', 'right', '--lab', lab, '--json', ...redirect);
      await here.send('client', capture);
      const summary = JSON.parse((await inline.interrupt()).stdout) as LiveSummary & { readonly nowhere: number };
      const redirected = packetsOf(summary, 'redirected');
      expect(redirected).toBeGreaterThan(0);
      expect({ nowhere: summary.nowhere, third: summary.sent![2]?.packets }).toEqual(named ? { nowhere: 0, third: redirected } : { nowhere: redirected, third: undefined });
    }
  });

  test('does not start where the host would answer or forward too, and names the commands that change that', async () => {
    here.run('sysctl', '-qw', 'net.ipv6.conf.left.disable_ipv6=0', 'net.ipv4.conf.right.forwarding=1');
    here.ip('link', 'add', 'bridge0', 'type', 'bridge');
    here.ip('link', 'set', 'right', 'master', 'bridge0');
    here.ip('addr', 'add', '10.1.0.1/24', 'dev', 'left');
    const { status, stderr } = await here.refused('left', '--to', 'right');
    expect(status).toBe(5);
    const [, commands] = /^xdplab: left and right cannot be run inline: [^\n]+\. First: ([^\n]+)\n$/.exec(stderr)!;
    expect(commands!.split(' && ')).toEqual(expect.arrayContaining(['ip addr flush dev left', 'sysctl -w net.ipv6.conf.left.disable_ipv6=1', 'ip link set right nomaster', 'sysctl -w net.ipv4.conf.right.forwarding=0', 'sysctl -w net.ipv4.conf.left.arp_ignore=8']));
    // They are all that is needed.
    here.run('sh', '-c', commands!);
    const command = await here.live('left', '--to', 'right', '--json');
    expect((await command.interrupt()).status).toBe(0);
  });

  test('does not start with options that would lose or change packets', async () => {
    for (const [args, message] of [
      [['left', '--to', 'left'], '--to left: is the same interface; give the one on the other side'],
      [['left', '--to', 'right', 'udp'], '--to right: inline, what a filter does not match would be lost; leave the filter out'],
      [['left', '--to', 'right', '--snaplen', '64'], '--to right: inline, packets that --snaplen cuts would be damaged; leave it out'],
      [['left', '--redirect', 'eth2=right'], '--redirect: packets are sent only inline; give the other side with --to <interface>'],
    ] as const) {
      expect(await here.refused(...args)).toMatchObject({ status: 2, stderr: `xdplab: ${message}\n` });
    }
  });
});
