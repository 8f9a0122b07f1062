import { describe, expect, test } from 'vitest';
import { parseMac } from '../../dataplane/address.ts';
import { PacketBatch } from '../../dataplane/packet/packet-batch.ts';
import type { EngineName } from '../../dataplane/engine/engine.ts';
import type { Lab } from '../../dataplane/pipeline/lab.ts';
import { ENGINE_NAMES, frame, mapSpec, programSpec, smallLab, type SmallProgram } from './small-lab.ts';

const TWO_DEVICES = [
  { name: 'eth0', ifindex: 2 },
  { name: 'eth1', ifindex: 3 },
];

/** Returns a 32-bit field of the context as the verdict log's length would not show it: as the return code. */
const returnField = (offset: number): string => `r0 = *(u32 *)(r1 +${offset})\nexit`;
const answer = (code: number): string => `r0 = ${code}\nexit`;
const redirectTo = (ifindex: number, flags = 0): string => `r1 = ${ifindex}\nr2 = ${flags}\ncall bpf_redirect\nexit`;

const TO_SLOT = 'r1 = map[slots]\nr2 = 0\nr3 = 0\ncall bpf_redirect_map\nexit';

/** eth0 redirects to a slot of the map; the program stands in slot 0, of a devmap also in slot 1: to eth1, and to eth0. */
function labWithSlot(engine: EngineName, kind: 'devmap' | 'cpumap', source: string | undefined, more: readonly SmallProgram[] = [], first = TO_SLOT): Lab {
  const isDevmap = kind === 'devmap';
  const inSlot = { ...programSpec('in_slot', 'xdp', source ?? answer(2), `xdp/${kind}`), attach: `xdp_${kind}` } as const;
  const maps = [mapSpec({ name: 'slots', type: isDevmap ? 14 : 16, maxEntries: isDevmap ? 2 : 1 })];
  const lab = smallLab(engine, [{ hook: 'xdp', source: first }, ...more], { devices: TWO_DEVICES, maps, more: [inSlot] });
  const bpf_prog = source === undefined ? null : 'in_slot';
  lab.map('slots').fill(isDevmap ? ['eth1', 'eth0'].map((ifindex) => ({ ifindex, bpf_prog })) : [{ qsize: 192, bpf_prog }], 'slots');
  return lab;
}

describe.each(ENGINE_NAMES)('the packet path with the %s engine', (engine) => {
  test.each([
    [0, 'XDP_ABORTED', 'dropped', 'XDP_ABORTED'],
    [1, 'XDP_DROP', 'dropped', 'XDP'],
    [2, 'XDP_PASS', 'stack', undefined],
    [3, 'XDP_TX', 'transmitted', undefined],
    [4, 'XDP_REDIRECT', 'dropped', 'XDP_REDIRECT_FAILED'],
    [77, 'unknown (77)', 'dropped', 'XDP_INVALID_ACTION'],
    [-1, 'unknown (-1)', 'dropped', 'XDP_INVALID_ACTION'],
  ])('XDP return code %i is %s and the packet is %s', (code, verdict, fate, reason) => {
    const result = smallLab(engine, [{ hook: 'xdp', source: answer(code) }]).run(frame());
    expect(result.verdicts.map((each) => each.verdict)).toEqual([verdict]);
    expect([result.fate, result.reason]).toEqual([fate, reason]);
  });

  test.each([
    [-1, 'TC_ACT_UNSPEC', 'stack', undefined],
    [0, 'TC_ACT_OK', 'stack', undefined],
    [2, 'TC_ACT_SHOT', 'dropped', 'TC_INGRESS'],
    [4, 'TC_ACT_STOLEN', 'consumed', undefined],
    [8, 'TC_ACT_TRAP', 'consumed', undefined],
    [7, 'TC_ACT_REDIRECT', 'dropped', 'TC_REDIRECT_FAILED'],
    [99, 'unknown (99)', 'stack', undefined],
  ])('TC ingress return code %i is %s and the packet is %s', (code, verdict, fate, reason) => {
    const result = smallLab(engine, [{ hook: 'tc-ingress', source: answer(code) }]).run(frame());
    expect(result.verdicts.map((each) => each.verdict)).toEqual([verdict]);
    expect([result.fate, result.reason]).toEqual([fate, reason]);
  });

  test('XDP_PASS asks the next XDP program, anything else ends the chain', () => {
    const passing = smallLab(engine, [2, 2, 1].map((code) => ({ hook: 'xdp', source: answer(code) }))).run(frame());
    expect(passing.verdicts.map(({ verdict }) => verdict)).toEqual(['XDP_PASS', 'XDP_PASS', 'XDP_DROP']);
    const dropping = smallLab(engine, [1, 2].map((code) => ({ hook: 'xdp', source: answer(code) }))).run(frame());
    expect(dropping.verdicts.map(({ verdict }) => verdict)).toEqual(['XDP_DROP']);
  });

  test('TC_ACT_OK ends a TC chain while TC_ACT_UNSPEC and TC_ACT_PIPE go on', () => {
    const verdicts = (codes: number[]): string[] =>
      smallLab(engine, codes.map((code) => ({ hook: 'tc-ingress' as const, source: answer(code) }))).run(frame()).verdicts.map(({ verdict }) => verdict);
    expect(verdicts([-1, 3, 0, 2])).toEqual(['TC_ACT_UNSPEC', 'TC_ACT_PIPE', 'TC_ACT_OK']);
  });

  test('a code that tcx does not know ends the tcx programs, and clsact programs still run', () => {
    const lab = smallLab(engine, [
      { hook: 'tc-ingress', source: answer(2), section: 'tc' },
      { hook: 'tc-ingress', source: answer(3), section: 'tcx/ingress' },
      { hook: 'tc-ingress', source: answer(0), section: 'tcx/ingress' },
    ]);
    expect(lab.run(frame()).verdicts.map(({ program, verdict }) => `${program} ${verdict}`)).toEqual(['program_1 unknown (3)', 'program_0 TC_ACT_SHOT']);
  });

  test('a packet redirected by XDP leaves through the other device, without TC', () => {
    const lab = smallLab(engine, [{ hook: 'xdp', source: redirectTo(3) }, { hook: 'tc-egress', source: answer(2), device: 'eth1' }], { devices: TWO_DEVICES });
    const result = lab.run(frame());
    expect([result.fate, result.out]).toEqual(['redirected', 'eth1']);
    expect(lab.statistics().devices.map(({ device, rxPackets, txPackets }) => [device, rxPackets, txPackets])).toEqual([['eth0', 1, 0], ['eth1', 0, 1]]);
  });

  test('a packet redirected by TC runs the TC egress programs of the other device', () => {
    const devices = { devices: TWO_DEVICES };
    const sent = smallLab(engine, [{ hook: 'tc-ingress', source: redirectTo(3) }, { hook: 'tc-egress', source: answer(0), device: 'eth1' }], devices).run(frame());
    expect([sent.fate, sent.out]).toEqual(['redirected', 'eth1']);
    expect(sent.verdicts.map(({ hook, device }) => `${hook} ${device}`)).toEqual(['tc-ingress eth0', 'tc-egress eth1']);
    const dropped = smallLab(engine, [{ hook: 'tc-ingress', source: redirectTo(3) }, { hook: 'tc-egress', source: answer(2), device: 'eth1' }], devices).run(frame());
    expect([dropped.fate, dropped.reason]).toEqual(['dropped', 'TC_EGRESS']);
  });

  test('BPF_F_INGRESS redirects to the TC ingress of the other device', () => {
    const lab = smallLab(engine, [{ hook: 'tc-ingress', source: redirectTo(3, 1) }, { hook: 'tc-ingress', source: returnField(40), device: 'eth1' }], { devices: TWO_DEVICES });
    // The second program returns skb->ifindex, 3, which is TC_ACT_PIPE.
    expect(lab.run(frame()).verdicts.map(({ device, code }) => [device, code])).toEqual([['eth0', 7], ['eth1', 3]]);
  });

  test('bpf_redirect_peer goes to the ingress of the other end of a pair, and nowhere from TC egress', () => {
    const devices = [TWO_DEVICES[0]!, { ...TWO_DEVICES[1]!, peer: 4 }, { name: 'eth2', ifindex: 4 }];
    const toPeer = 'r1 = 3\nr2 = 0\ncall bpf_redirect_peer\nexit';
    const arrived = smallLab(engine, [{ hook: 'tc-ingress', source: toPeer }, { hook: 'tc-ingress', source: answer(0), device: 'eth2' }], { devices }).run(frame());
    expect([arrived.fate, arrived.verdicts.map(({ device }) => device)]).toEqual(['stack', ['eth0', 'eth2']]);
    const own = [{ ...devices[0]!, mac: Uint8Array.of(2, 0, 0, 0, 0, 1) }, ...devices.slice(1)];
    const leaving = smallLab(engine, [{ hook: 'tc-egress', source: toPeer }], { devices: own }).run(frame({ source: '02:00:00:00:00:01' }));
    expect([leaving.fate, leaving.reason]).toEqual(['dropped', 'TC_REDIRECT_FAILED']);
  });

  test('a broadcast goes, as long as the packet is then, to every device of the map that can send it', () => {
    const devices = [...TWO_DEVICES, { name: 'down', ifindex: 4, up: false }, { name: 'narrow', ifindex: 5, mtuBytes: 68 }];
    const source = 'r6 = r1\nr2 = -4\ncall bpf_xdp_adjust_head\nr1 = map[ports]\nr2 = 0\nr3 = 24\ncall bpf_redirect_map\nexit';
    const lab = smallLab(engine, [{ hook: 'xdp', source }], { devices, maps: [mapSpec({ name: 'ports', type: 14, maxEntries: 8, valueBytes: 4 })] });
    for (const [index, ifindex] of [2, 3, 4, 5].entries()) lab.map('ports').set(index, ifindex);
    expect(lab.run(frame({ length: 100 })).fate).toBe('redirected');
    expect(lab.statistics().devices.map(({ device, txPackets, txBytes }) => [device, txPackets, txBytes])).toEqual([['eth0', 0, 0], ['eth1', 1, 104], ['down', 0, 0], ['narrow', 0, 0]]);
  });

  test('a program in a devmap slot begins with all its tail calls and an empty stack', () => {
    const tailCall = 'r2 = map[self]\nr3 = 0\ncall bpf_tail_call\n';
    const maps = [mapSpec({ name: 'self', type: 3, valueBytes: 4 }), mapSpec({ name: 'egress', type: 3, valueBytes: 4 }), mapSpec({ name: 'ports', type: 14, valueBytes: 8 })];
    const first = `r6 = r1\n${tailCall}r1 = map[ports]\nr2 = 0\nr3 = 0\ncall bpf_redirect_map\nexit`;
    // Drops on its way out unless its tail call is made.
    const onTheWay = { ...programSpec('on_the_way', 'xdp', 'r2 = map[egress]\nr3 = 0\ncall bpf_tail_call\nr0 = 1\nexit', 'xdp/devmap'), attach: 'xdp_devmap' } as const;
    const passing = { ...programSpec('passing', 'xdp', 'r0 = 2\nexit', 'xdp/devmap'), attach: 'xdp_devmap' } as const;
    const lab = smallLab(engine, [{ hook: 'xdp', source: first }], { devices: TWO_DEVICES, maps, more: [onTheWay, passing] });
    const [object] = lab.collections;
    lab.map('self').map.setProgram(0, object!.program('program_0'));
    lab.map('egress').map.setProgram(0, object!.program('passing'));
    lab.map('ports').map.update(new Uint8Array(4), new Uint8Array(new Uint32Array([3, object!.program('on_the_way').id]).buffer));
    expect([lab.run(frame()).fate, lab.statistics().devices[1]!.txPackets]).toEqual(['redirected', 1]);
  });

  test.each([
    [2, 'XDP_PASS', 'redirected', undefined],
    [1, 'XDP_DROP', 'dropped', 'XDP'],
    [0, 'XDP_ABORTED', 'dropped', 'XDP_ABORTED'],
    [3, 'XDP_TX', 'dropped', 'XDP_INVALID_ACTION'],
    [4, 'XDP_REDIRECT', 'dropped', 'XDP_INVALID_ACTION'],
    [77, 'unknown (77)', 'dropped', 'XDP_INVALID_ACTION'],
  ])('a program in a devmap slot that answers %i, %s: the packet is %s', (code, verdict, fate, reason) => {
    const lab = labWithSlot(engine, 'devmap', answer(code));
    const result = lab.run(frame());
    expect([result.fate, result.reason, result.out]).toEqual([fate, reason, code === 2 ? 'eth1' : undefined]);
    expect(result.verdicts).toMatchObject([
      { hook: 'xdp', device: 'eth0', program: 'program_0', verdict: 'XDP_REDIRECT' },
      { hook: 'xdp', device: 'eth1', program: 'in_slot', verdict, code, faulted: false },
    ]);
    lab.run(frame({ length: 100 }));
    const { programs, hooks } = lab.statistics();
    const slot = { device: 'eth1', hook: 'xdp', slots: 'devmap', packets: 2, bytes: 164 };
    expect(programs).toMatchObject([{ program: 'program_0', packets: 2 }, { ...slot, program: 'in_slot', mode: 'devmap', faults: 0, verdicts: [{ verdict: verdict.startsWith('unknown') ? 'other' : verdict, packets: 2 }] }]);
    expect(hooks).toMatchObject([{ device: 'eth0', packets: 2 }, slot]);
  });

  test.each([
    [2, 'XDP_PASS', 'stack', undefined],
    [1, 'XDP_DROP', 'dropped', 'XDP'],
    [0, 'XDP_ABORTED', 'dropped', 'XDP_ABORTED'],
    [3, 'XDP_TX', 'dropped', 'XDP_INVALID_ACTION'],
    [4, 'XDP_REDIRECT', 'dropped', 'XDP_REDIRECT_FAILED'],
    [77, 'unknown (77)', 'dropped', 'XDP_INVALID_ACTION'],
  ])('a program in a cpumap slot that answers %i, %s: the packet is %s', (code, verdict, fate, reason) => {
    const lab = labWithSlot(engine, 'cpumap', answer(code), [{ hook: 'tc-ingress', source: 'r0 = 0\nexit' }]);
    const result = lab.run(frame());
    expect([result.fate, result.reason]).toEqual([fate, reason]);
    expect(result.verdicts.map((each) => `${each.device} ${each.program} ${each.verdict}`)).toEqual(['eth0 program_0 XDP_REDIRECT', `eth0 in_slot ${verdict}`, ...(code === 2 ? ['eth0 program_1 TC_ACT_OK'] : [])]);
    expect(lab.statistics().programs.find(({ program }) => program === 'in_slot')).toMatchObject({ device: 'eth0', hook: 'xdp', mode: 'cpumap', slots: 'cpumap', packets: 1, bytes: 64 });
    expect(lab.statistics().hooks.map(({ hook, slots, packets }) => [hook, slots, packets])).toEqual([['xdp', undefined, 1], ['xdp', 'cpumap', 1], ['tc-ingress', undefined, code === 2 ? 1 : 0]]);
  });

  test('a program in a cpumap slot sees the packet before the skb, may change it, and may redirect it but not to a CPU again', () => {
    const shorter = 'r2 = -10\ncall bpf_xdp_adjust_tail\nr0 = 2\nexit';
    const passed = labWithSlot(engine, 'cpumap', shorter, [{ hook: 'tc-ingress', source: returnField(0) }]).run(frame());
    expect(passed.verdicts.map(({ program, code }) => [program, code])).toEqual([['program_0', 4], ['in_slot', 2], ['program_1', 54]]);
    expect(labWithSlot(engine, 'cpumap', redirectTo(3)).run(frame())).toMatchObject({ fate: 'redirected', out: 'eth1' });
    expect(labWithSlot(engine, 'cpumap', TO_SLOT).run(frame())).toMatchObject({ fate: 'dropped', reason: 'XDP_REDIRECT_FAILED' });
  });

  test('an skb that comes from another CPU has no receive queue', () => {
    const queue = returnField(12);
    const tc = [{ hook: 'tc-ingress', source: queue }] as const;
    expect(smallLab(engine, tc).run(frame()).verdicts.at(-1)).toMatchObject({ code: 1 });
    expect(labWithSlot(engine, 'cpumap', answer(2), tc).run(frame()).verdicts.at(-1)).toMatchObject({ code: 0 });
    expect(labWithSlot(engine, 'cpumap', undefined, tc).run(frame()).verdicts.at(-1)).toMatchObject({ code: 0 });
  });

  test.each(['devmap', 'cpumap'] as const)('a program in a %s slot that faults is charged with it, and the next packet runs', (kind) => {
    const lab = labWithSlot(engine, kind, 'r1 = 0\n*(u32 *)(r1 +0) = 1\nr0 = 2\nexit');
    for (let packet = 0; packet < 2; packet++) {
      const result = lab.run(frame());
      expect([result.fate, result.reason]).toEqual(['dropped', 'PROGRAM_NULL']);
      expect(result.verdicts.map(({ program, faulted }) => [program, faulted])).toEqual([['program_0', false], ['in_slot', true]]);
    }
    expect(lab.statistics().programs.map(({ program, packets, faults }) => [program, packets, faults])).toEqual([['program_0', 2, 0], ['in_slot', 2, 2]]);
  });

  test('one program in slots of several devices is counted at each', () => {
    const lab = labWithSlot(engine, 'devmap', answer(2), [], 'r2 = *(u32 *)(r1 +0)\nr2 = *(u8 *)(r2 +0)\nr1 = map[slots]\nr3 = 0\ncall bpf_redirect_map\nexit');
    for (const destination of ['00:00:00:00:00:00', '01:00:00:00:00:00', '01:00:00:00:00:00']) lab.run(frame({ destination }));
    expect(lab.statistics().programs.map(({ device, program, packets }) => [device, program, packets])).toEqual([['eth0', 'program_0', 3], ['eth1', 'in_slot', 1], ['eth0', 'in_slot', 2]]);
  });

  test('however many programs packets meet on their hops, each run has its record', () => {
    const chain = (to: number): string[] => [...Array.from({ length: 59 }, () => answer(-1)), redirectTo(to, 1)];
    const lab = smallLab(
      engine,
      [...chain(3).map((source) => ({ hook: 'tc-ingress' as const, source })), ...chain(2).map((source) => ({ hook: 'tc-ingress' as const, source, device: 'eth1' }))],
      { devices: TWO_DEVICES },
    );
    const { memory } = lab.machine;
    const batch = new PacketBatch(memory, 10);
    const at = memory.allocate(64, 64, 'packet');
    memory.u8.set(frame(), at);
    batch.count = 10;
    for (let index = 0; index < batch.count; index++) memory.u32.set([at, 64, 64, 0], batch.descriptor(index) >>> 2);
    lab.pipeline.setInterface(0, lab.devices[0]);
    let runs = 0;
    lab.pipeline.run(batch, { finished: (_batch, _first, _count, _records, recordCount) => void (runs += recordCount) });
    expect(runs).toBe(10 * 9 * 60);
  });

  test('what the host sends goes through egress and what comes from the wire through XDP, whatever address they carry', () => {
    const mac = parseMac('02:00:00:00:00:02')!;
    const lab = smallLab(engine, [{ hook: 'xdp', source: answer(1) }, { hook: 'tc-egress', source: answer(2) }], { devices: [{ name: 'eth0' }, { name: 'eth1', mac }] });
    const { memory } = lab.machine;
    const batch = new PacketBatch(memory, 3);
    const at = memory.allocate(64, 64, 'packet');
    memory.u8.set(frame({ source: '02:00:00:00:00:02' }), at);
    batch.count = 3;
    for (let index = 0; index < batch.count; index++) memory.u32.set([at, 60, 60, index], batch.descriptor(index) >>> 2);
    lab.pipeline.setInterface(0, lab.devices[0]);
    lab.pipeline.setInterface(1, lab.devices[0], 'host');
    lab.pipeline.setInterface(2, lab.devices[1], 'wire');
    lab.pipeline.run(batch);
    expect(lab.statistics().reasons).toMatchObject([{ reason: 'XDP', packets: 1 }, { reason: 'TC_EGRESS', packets: 1 }]);
    expect(lab.statistics().fates).toMatchObject([{ fate: 'stack', packets: 1 }, { fate: 'dropped', packets: 2 }]);
  });

  test('two devices that redirect to each other stop after 8 hops', () => {
    const lab = smallLab(engine, [{ hook: 'tc-ingress', source: redirectTo(3, 1) }, { hook: 'tc-ingress', source: redirectTo(2, 1), device: 'eth1' }], { devices: TWO_DEVICES });
    const result = lab.run(frame());
    expect([result.fate, result.reason, result.verdicts.length]).toEqual(['dropped', 'TC_RECLASSIFY_LOOP', 9]);
  });

  test('a redirect to a device that is missing, down or of a small MTU drops with its reason', () => {
    const reason = (device: { up?: boolean; mtuBytes?: number }, ifindex = 3): string | undefined =>
      smallLab(engine, [{ hook: 'xdp', source: redirectTo(ifindex) }], { devices: [TWO_DEVICES[0]!, { ...TWO_DEVICES[1]!, ...device }] }).run(frame({ length: 200 })).reason;
    expect(reason({}, 9)).toBe('XDP_REDIRECT_FAILED');
    expect(reason({ up: false })).toBe('DEV_READY');
    expect(reason({ mtuBytes: 181 })).toBe('PKT_TOO_BIG');
    expect(reason({ mtuBytes: 182 })).toBeUndefined();
  });

  test('packets from the device’s own address go through TC egress instead of XDP', () => {
    const lab = smallLab(engine, [{ hook: 'xdp', source: answer(1) }, { hook: 'tc-egress', source: answer(0) }], {
      devices: [{ name: 'eth0', mac: Uint8Array.of(2, 0, 0, 0, 0, 1) }],
    });
    expect(lab.run(frame({ source: '02:00:00:00:00:01' })).fate).toBe('sent');
    expect(lab.run(frame()).fate).toBe('dropped');
  });

  test('TC sees a VLAN tag in metadata, and the packet leaves with the tag where it was', () => {
    const tagged = frame({ vlan: 0x6064, type: 0x0800, length: 80 });
    const field = (offset: number): number => smallLab(engine, [{ hook: 'tc-ingress', source: returnField(offset) }]).run(tagged).verdicts[0]!.code;
    expect([field(0), field(16), field(20), field(24), field(28)]).toEqual([76, 0x0008, 1, 0x6064, 0x0081]);
    expect(smallLab(engine, [{ hook: 'tc-ingress', source: answer(0) }]).run(tagged).bytes).toEqual(tagged);
  });

  test('a frame of IEEE 802.3 has the protocol that Linux gives it, as its type field is a length', () => {
    const protocol = (options: Parameters<typeof frame>[0], begins: readonly number[] = []): number => {
      const packet = frame(options);
      packet.set(begins, options?.vlan === undefined ? 14 : 18);
      return smallLab(engine, [{ hook: 'tc-ingress', source: returnField(16) }]).run(packet).verdicts[0]!.code;
    };
    const [ETH_P_802_2, ETH_P_802_3] = [0x0400, 0x0100];
    expect(protocol({ type: 50 })).toBe(ETH_P_802_2);
    expect(protocol({ type: 50 }, [0xff, 0xff])).toBe(ETH_P_802_3);
    expect(protocol({ type: 50, length: 14 })).toBe(ETH_P_802_2);
    expect(protocol({ type: 50, vlan: 7 })).toBe(ETH_P_802_2);
    expect(protocol({ type: 50, vlan: 7 }, [0xff, 0xff])).toBe(ETH_P_802_3);
    expect(protocol({ type: 0x0600 })).toBe(0x0006);
  });

  test('a tagged packet that XDP passes reaches the host as it was, whether or not TC programs see it', () => {
    const tagged = frame({ vlan: 0x6064, length: 80 });
    const passing = { hook: 'xdp', source: answer(2) } as const;
    for (const programs of [[passing], [passing, { hook: 'tc-ingress', source: answer(0) } as const]]) {
      const { fate, bytes } = smallLab(engine, programs).run(tagged);
      expect([fate, bytes]).toEqual(['stack', tagged]);
    }
  });

  test('XDP sees a VLAN tag in the packet', () => {
    const source = 'r2 = *(u32 *)(r1 +0)\nr0 = *(u16 *)(r2 +12)\nexit';
    expect(smallLab(engine, [{ hook: 'xdp', source }]).run(frame({ vlan: 5 })).verdicts[0]!.code).toBe(0x0081);
  });

  test.each([
    ['ff:ff:ff:ff:ff:ff', 1],
    ['01:00:5e:00:00:01', 2],
    ['02:00:00:00:00:01', 0],
    ['02:00:00:00:00:09', 3],
  ])('a packet to %s has pkt_type %i', (destination, type) => {
    const lab = smallLab(engine, [{ hook: 'tc-ingress', source: returnField(4) }], { devices: [{ name: 'eth0', mac: Uint8Array.of(2, 0, 0, 0, 0, 1) }] });
    expect(lab.run(frame({ destination })).verdicts[0]!.code).toBe(type);
  });

  test('packets shorter than an Ethernet header are not run', () => {
    const result = smallLab(engine, [{ hook: 'xdp', source: answer(2) }]).run(frame({ length: 13 }));
    expect([result.fate, result.reason, result.verdicts]).toEqual(['rejected', 'PKT_TOO_SMALL', []]);
  });

  test('a program that reads memory that does not exist is stopped, and the next packet runs', () => {
    const source = 'r2 = *(u32 *)(r1 +0)\nr3 = *(u8 *)(r2 +13)\nif r3 == 1 goto bad\nr0 = 2\nexit\nbad: r4 = -16 ll\nr0 = *(u64 *)(r4 +0)\nexit';
    const lab = smallLab(engine, [{ hook: 'xdp', source }]);
    const bad = lab.run(frame({ type: 0x0801 }));
    expect([bad.fate, bad.reason, bad.verdicts[0]!.verdict, bad.verdicts[0]!.faulted]).toEqual(['dropped', 'PROGRAM_TRAP', 'XDP_ABORTED', true]);
    expect(lab.run(frame()).fate).toBe('stack');
    expect(lab.statistics().programs[0]!.faults).toBe(1);
  });

  test('a program that writes through a NULL pointer is stopped', () => {
    const lab = smallLab(engine, [{ hook: 'xdp', source: 'r2 = 0\nr3 = 1\n*(u64 *)(r2 +8) = r3\nr0 = 2\nexit' }]);
    for (let again = 0; again < 2; again++) {
      const { fate, reason, verdicts } = lab.run(frame());
      expect([fate, reason, verdicts[0]!.verdict]).toEqual(['dropped', 'PROGRAM_NULL', 'XDP_ABORTED']);
    }
    expect(lab.statistics().programs[0]!.faults).toBe(2);
  });

  test('the clock does not go back where packets are out of order', () => {
    const lab = smallLab(engine, [{ hook: 'tc-ingress', source: 'call bpf_ktime_get_ns\nexit' }]);
    const times = [5n, 9n, 7n, 12n].map((timestampNs) => lab.run(frame(), { timestampNs }).verdicts[0]!.code);
    expect(times).toEqual([5, 9, 9, 12]);
  });

  test('an endless loop is stopped at the instruction budget', () => {
    const result = smallLab(engine, [{ hook: 'tc-ingress', source: 'again: r0 = 1\nif r1 != 0 goto again\nexit' }], { instructionBudget: 10_000 });
    const { fate, reason, verdicts } = result.run(frame());
    expect([fate, reason, verdicts[0]!.verdict]).toEqual(['dropped', 'PROGRAM_BUDGET', 'TC_ACT_SHOT']);
  });

  test('a packet in the very last bytes that memory hands out is run', () => {
    const lab = smallLab(engine, [{ hook: 'xdp', source: answer(2) }]);
    const { memory } = lab.machine;
    const { pipeline } = lab;
    const batch = new PacketBatch(memory, 1);
    const packet = frame({ length: 61 });
    memory.allocate(memory.wasm.buffer.byteLength - memory.usedBytes, 1, 'the rest');
    const at = memory.usedBytes - packet.length;
    memory.u8.set(packet, at);
    memory.u32.set([at, packet.length, packet.length, 0], batch.descriptor(0) >>> 2);
    batch.count = 1;
    pipeline.setInterface(0, lab.devices[0]);
    pipeline.run(batch);
    expect(lab.statistics().fates.map(({ fate, packets }) => [fate, packets])).toEqual([['stack', 1]]);
  });

  test('jumbo packets are whole in the frame', () => {
    const source = 'r2 = *(u32 *)(r1 +4)\nr3 = *(u32 *)(r1 +0)\nr2 -= r3\nr0 = r2\nexit';
    const jumbo = frame({ length: 9014 });
    const result = smallLab(engine, [{ hook: 'xdp', source }]).run(jumbo);
    expect(result.verdicts[0]!.code).toBe(9014);
    expect(result.bytes).toEqual(jumbo);
  });

  test('what a program writes to the packet is in the packet that leaves', () => {
    const source = 'r2 = *(u32 *)(r1 +0)\nr3 = 171\n*(u8 *)(r2 +20) = r3\nr0 = 3\nexit';
    const expected = frame();
    expected[20] = 171;
    expect(smallLab(engine, [{ hook: 'xdp', source }]).run(frame()).bytes).toEqual(expected);
  });

  test('metadata that XDP prepends is at data_meta in TC', () => {
    const xdp = 'r6 = r1\nr2 = -4\ncall bpf_xdp_adjust_meta\nr2 = *(u32 *)(r6 +8)\nr3 = 1234\n*(u32 *)(r2 +0) = r3\nr0 = 2\nexit';
    const tc = 'r2 = *(u32 *)(r1 +140)\nr3 = *(u32 *)(r1 +76)\nr0 = *(u32 *)(r2 +0)\nr3 -= r2\nif r3 == 4 goto good\nr0 = 0\ngood: exit';
    for (const vlan of [undefined, 7]) {
      const packet = vlan === undefined ? frame() : frame({ vlan });
      expect(smallLab(engine, [{ hook: 'xdp', source: xdp }, { hook: 'tc-ingress', source: tc }]).run(packet).verdicts[1]!.code).toBe(1234);
    }
  });

  test('cb passes between the TC programs of a chain, mark too', () => {
    const write = 'r2 = 41\n*(u32 *)(r1 +48) = r2\n*(u32 *)(r1 +8) = r2\nr0 = -1\nexit';
    const read = 'r0 = *(u32 *)(r1 +48)\nr2 = *(u32 *)(r1 +8)\nr0 += r2\nexit';
    expect(smallLab(engine, [{ hook: 'tc-ingress', source: write }, { hook: 'tc-ingress', source: read }]).run(frame()).verdicts[1]!.code).toBe(82);
  });
});
