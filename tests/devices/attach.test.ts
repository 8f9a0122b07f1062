/** `xdplab live --attach`: programs that the running Linux runs on an interface of the test's own. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { kernelTitle, whyNoKernel } from '../engine/kernel/kernel-here.ts';
import { object, replaySummary, REPOSITORY, Scratch, trace } from '../cli/run-cli.ts';
import { Namespace, namespaceTitle, whyNoNamespaces, XDP_MODE } from './veth-pair.ts';

const FIREWALL = object('xdp_firewall.bpf.o');
const TC_FIREWALL = object('tc_firewall.bpf.o');
const scratch = new Scratch();
afterAll(() => scratch.remove());

interface AttachedSummary {
  readonly programs: readonly { readonly program: string; readonly hook: string; readonly mode: string; readonly packets: number; readonly verdicts: readonly { readonly verdict: string; readonly packets: number }[] }[];
  readonly maps: readonly { readonly map: string; readonly total: number; readonly rows: readonly { readonly label: string; readonly amount: number }[] }[];
}

describe.skipIf(whyNoNamespaces !== undefined || whyNoKernel !== undefined)(kernelTitle(namespaceTitle('attached to an interface')), { timeout: 60_000 }, () => {
  let here: Namespace;
  beforeEach(() => {
    here = new Namespace();
    here.pair('near', 'far');
  });
  afterEach(() => here.remove());

  test.each([['native', XDP_MODE.native], ['generic', XDP_MODE.generic]] as const)('by %s XDP, a program answers as in a replay, and its maps are shown while it runs', async (mode, number) => {
    const command = await here.live('near', '--attach', mode, '--xdp', FIREWALL, '--json', '--every', '0.2');
    expect(here.xdpMode('near')).toBe(number);
    await here.send('far', trace('mixed.pcap'));
    const during = (await command.snapshotWhere((snapshot) => (snapshot as unknown as AttachedSummary).programs[0]!.packets === 1000)) as unknown as AttachedSummary;
    const replayed = await replaySummary([trace('mixed.pcap'), '--xdp', FIREWALL]);
    const [{ verdicts }] = replayed.statistics.programs as [(typeof replayed.statistics.programs)[0]];
    expect(during.programs).toMatchObject([{ program: 'xdp_firewall', hook: 'xdp', mode, packets: 1000, verdicts: verdicts.map(({ verdict, packets }) => ({ verdict, packets })) }]);
    expect(during.maps.map(({ map, total }) => [map, total])).toEqual(replayed.maps.map(({ map, total }) => [map, total]));
    expect((await command.interrupt()).status).toBe(0);
    expect(here.xdpMode('near')).toBeUndefined();
  });

  test('by TCX, both directions are counted, and what is in maps is what the lab put there', async () => {
    const lab = scratch.file('tc.yaml', `devices: [{ name: near, tc-ingress: ["${TC_FIREWALL}:tc_fw_ingress"], tc-egress: ["${TC_FIREWALL}:tc_fw_egress"] }]\n`);
    const command = await here.live('near', '--attach', 'tcx', '--lab', lab, '--json');
    await here.send('far', trace('mixed.pcap'));
    await here.send('near', trace('icmp.pcap'), '--queued');
    const { stdout, status } = await command.interrupt();
    const { programs } = JSON.parse(stdout) as AttachedSummary;
    expect(status).toBe(0);
    expect(programs.map(({ program, hook, mode, packets }) => [program, hook, mode, packets > 0])).toEqual([
      ['tc_fw_ingress', 'tc-ingress', 'tcx', true],
      ['tc_fw_egress', 'tc-egress', 'tcx', true],
    ]);
  });

  test('a process that is killed leaves nothing attached', async () => {
    const command = await here.live('near', '--attach', 'generic', '--xdp', FIREWALL, '--json');
    expect(here.xdpMode('near')).toBe(XDP_MODE.generic);
    command.kill('SIGKILL');
    await command.finished;
    expect(here.xdpMode('near')).toBeUndefined();
  });

  test('a thread that hangs and is ended leaves nothing attached, though its process goes on', async () => {
    const child = here.start(process.execPath, `${REPOSITORY}tests/devices/attach-and-hang.mjs`, 'near', FIREWALL);
    try {
      const said = (word: string): Promise<void> => new Promise((resolve) => child.stdout.on('data', (chunk: Buffer) => chunk.toString().includes(word) && resolve()));
      await said('attached');
      expect(here.xdpMode('near')).toBe(XDP_MODE.generic);
      child.stdin.end();
      await said('ended');
      expect(child.exitCode).toBeNull();
      expect(here.xdpMode('near')).toBeUndefined();
    } finally {
      child.kill('SIGKILL');
    }
  });

  test('map contents of a lab are there before the first packet, and are written out as they are in the end', async () => {
    const lab = scratch.file('deny.yaml', `devices: [{ name: near, xdp: ["${FIREWALL}"] }]\nmaps:\n  deny_v4:\n    - { key: 192.0.2.0/24, value: 1 }\n`);
    const command = await here.live('near', '--attach', 'generic', '--lab', lab, '--json', '--maps-out', scratch.at('maps'));
    await here.send('far', trace('syn-flood.pcap'));
    const { programs } = JSON.parse((await command.interrupt()).stdout) as AttachedSummary;
    // Nobody but Linux has verified the program, and no more has to be said of it.
    expect(JSON.parse(readFileSync(join(scratch.at('maps'), 'fw_counters.json'), 'utf8'))).not.toHaveProperty('verified');
    const replayed = await replaySummary([trace('syn-flood.pcap'), '--lab', lab]);
    expect(programs[0]!.verdicts).toMatchObject(replayed.statistics.programs[0]!.verdicts.map(({ verdict, packets }) => ({ verdict, packets })));
  });

  test('the summary says that verdicts are counted, and none listed', async () => {
    const command = await here.live('near', '--attach', 'generic', '--xdp', FIREWALL);
    expect((await command.interrupt()).stdout).toMatch(/^near  attached \(generic\), [^\n]*: Linux runs the programs, and counts verdicts; single ones are not listed\n/);
  });

  test('what Linux does not attach, or is about packets that do not come here, is refused in one line', async () => {
    const first = await here.live('near', '--attach', 'generic', '--xdp', FIREWALL);
    const busy = await here.refused('near', '--attach', 'generic', '--xdp', FIREWALL);
    expect(busy).toMatchObject({ status: 5, stderr: "xdplab: near: Linux does not attach 'xdp_firewall' to xdp (generic): another program is attached there; bpftool net shows it, ip link set dev <interface> xdp off takes it off (EBUSY)\n" });
    const other = await here.refused('near', '--attach', 'native', '--xdp', FIREWALL);
    expect(other).toMatchObject({ status: 5, stderr: "xdplab: near: Linux does not attach 'xdp_firewall' to xdp (native): another program is attached there in another mode; bpftool net shows it, ip link set dev <interface> xdp off takes it off (EEXIST)\n" });
    await first.interrupt();
    for (const [args, message] of [
      [['--attach', 'tcx', '--xdp', FIREWALL], "program 'xdp_firewall': tcx attaches TC programs, and it is for XDP; use native or generic"],
      [['--attach', 'generic', '--xdp', FIREWALL, '--out', scratch.at('left.pcap')], '--attach generic: --out is about packets that come to this process, and they stay in the kernel; leave it out'],
      [['--attach', 'generic', '--xdp', FIREWALL, '--cpus', '2'], '--attach generic: the lab has as many CPUs as this Linux; leave --cpus out'],
      [['--attach', 'generic', '--xdp', FIREWALL, '--engine', 'interpreter'], '--attach generic: the running Linux runs the programs; leave --engine interpreter out'],
      [['--attach', 'generic'], 'near: there is no program to attach; give one with --xdp, --tc-ingress, --tc-egress or a lab file'],
      [['--attach', 'generic', '--xdp', FIREWALL, '--xdp', FIREWALL], "program 'xdp_firewall': Linux attaches one XDP program to an interface, and the lab has it second in a chain; let the first tail-call it"],
    ] as const) {
      expect(await here.refused('near', ...args)).toMatchObject({ status: 2, stderr: `xdplab: ${message}\n` });
    }
  });
});
