/** `--engine kernel`: the lab's programs in the running Linux, compared with what the engines here make of the same packets. */
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { CollectionSpec, MapSpec, ProgramSpec } from '../../../dataplane/bpf/spec.ts';
import { BPF_MAP_TYPE } from '../../../dataplane/bpf/map-type.ts';
import type { EngineName } from '../../../dataplane/engine/engine.ts';
import { TestBench } from '../../../dataplane/engine/test-run.ts';
import { EventLog } from '../../../dataplane/pipeline/event-log.ts';
import { Lab } from '../../../dataplane/pipeline/lab.ts';
import { openLab } from '../../../dataplane/pipeline/open-lab.ts';
import { replay } from '../../../dataplane/pipeline/replay.ts';
import { VerdictLog } from '../../../dataplane/pipeline/verdict-log.ts';
import { TRACES } from './capture-packets.ts';
import { benchPacket, programSpec } from './kernel-bench.ts';
import { kernelTitle, whyNoKernel } from './kernel-here.ts';

const DEMO = join(TRACES, '../programs/demo.yaml');
const labs: Lab[] = [];
afterEach(() => labs.splice(0).forEach((lab) => lab.close()));

function spec(name: string, type: keyof typeof BPF_MAP_TYPE, fields: Partial<MapSpec> = {}): MapSpec {
  return { name, type: BPF_MAP_TYPE[type], keyBytes: 4, valueBytes: 8, maxEntries: 4, flags: 0, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false, ...fields };
}

function collection(programs: readonly ProgramSpec[], maps: readonly MapSpec[] = []): CollectionSpec {
  return { programs: new Map(programs.map((each) => [each.name, each])), maps: new Map(maps.map((each) => [each.name, each])), btf: undefined, license: 'GPL' };
}

/** A chain of one program at XDP of eth0, beside eth1. */
function xdpLab(engine: EngineName, code: string, maps: readonly MapSpec[] = [], more: readonly ProgramSpec[] = []): Lab {
  const lab = new Lab({ engine });
  labs.push(lab);
  lab.addDevice({ name: 'eth0' });
  lab.addDevice({ name: 'eth1', ifindex: 7 });
  lab.attach(lab.load(collection([programSpec(code, 'xdp'), ...more], maps), 'case').program('case'), { hook: 'xdp' });
  return lab;
}

describe.skipIf(whyNoKernel !== undefined)(kernelTitle('the kernel engine'), () => {
  test('carries the demonstration capture as the compiler does: verdicts, fates, events and maps', { timeout: 60_000 }, async () => {
    const outcome = async (engine: EngineName): Promise<object> => {
      const { lab, events: types } = await openLab({ file: DEMO, engine });
      labs.push(lab);
      let log = '';
      const sent: string[] = [];
      const events = new EventLog(lab, types, (lines) => sent.push(lines));
      await replay(lab, join(TRACES, 'demo.pcapng'), { observer: new VerdictLog(lab.pipeline, () => 'eth0', (lines) => (log += lines)) });
      const maps = Object.fromEntries(lab.maps.map((map) => [map.name, Array.from(map.writtenEntries(), (entry) => entry.map((bytes) => Buffer.from(bytes).toString('hex')).join(' ')).toSorted()]));
      // The lab's eth0 is device 2; a run in the kernel is on lo.
      return { log, counts: events.counts, sent: sent.map((line) => line.replace('"ifindex":2', '"ifindex":1')), statistics: lab.statistics(), maps };
    };
    expect(await outcome('kernel')).toEqual(await outcome('wasm'));
  });

  test.each(['wasm', 'kernel'] as const)('%s: what user space writes between packets, programs read, and the other way', (engine) => {
    const code = `
      *(u32 *)(r10 -4) = 0
      r2 = r10
      r2 += -4
      r1 = map[counter]
      call 1
      if r0 == 0 goto +3
      r1 = *(u64 *)(r0 +0)
      r1 += 2
      *(u64 *)(r0 +0) = r1
      r0 = 2
      exit`;
    const lab = xdpLab(engine, code, [spec('counter', 'hash')]);
    const counter = lab.map('counter');
    expect(counter.size).toBe(0);
    lab.run(benchPacket());
    counter.set(0, 40);
    lab.run(benchPacket());
    expect(counter.get(0)).toBe(42);
    expect([...counter.entries()]).toHaveLength(1);
    expect(counter.delete(0)).toBe(true);
    expect(counter.delete(0)).toBe(false);
    expect(counter.size).toBe(0);
  });

  test.each(['wasm', 'kernel'] as const)('%s: a redirect by number leads to the device of the lab', (engine) => {
    const { fate, out } = xdpLab(engine, 'r1 = 7\nr2 = 0\ncall 23\nexit').run(benchPacket());
    expect({ fate, out }).toEqual({ fate: 'redirected', out: 'eth1' });
  });

  test.each(['wasm', 'kernel'] as const)('%s: a redirect by a map leads where the slot says, or answers its flags', (engine) => {
    const lab = xdpLab(engine, 'r1 = map[ports]\nr2 = 1\nr3 = 1\ncall 51\nexit', [spec('ports', 'devmap', { valueBytes: 4 })]);
    expect(lab.run(benchPacket())).toMatchObject({ fate: 'dropped', reason: 'XDP' });
    lab.map('ports').set(1, 'eth1');
    expect(lab.run(benchPacket())).toMatchObject({ fate: 'redirected', out: 'eth1' });
  });

  test.each([
    ['bpf_redirect to its ingress', 'r1 = 7\nr2 = 1\ncall 23\nexit'],
    ['bpf_redirect_peer', 'r1 = 7\nr2 = 0\ncall 155\nexit'],
    ['bpf_redirect_neigh to the packet\'s own next hop', 'r1 = 7\nr2 = 0\nr3 = 0\nr4 = 0\ncall 152\nexit'],
    ['bpf_redirect_neigh to a next hop that the program gives', `
      *(u64 *)(r10 -8) = 0
      *(u64 *)(r10 -16) = 0
      *(u64 *)(r10 -24) = 0
      r1 = 2
      *(u32 *)(r10 -24) = r1
      r1 = 0x0900000a
      *(u32 *)(r10 -20) = r1
      r1 = 7
      r2 = r10
      r2 += -24
      r3 = 20
      r4 = 0
      call 152
      exit`],
    ['a helper that was called, but whose answer is not given', 'r1 = 7\nr2 = 0\ncall 23\nr0 = 0\nexit'],
    ['a verdict without a helper', 'r0 = 7\nexit'],
  ])('at TC, %s leads where it leads here', (_, code) => {
    const [here, kernel] = (['wasm', 'kernel'] as const).map((engine) => {
      const lab = new Lab({ engine });
      labs.push(lab);
      lab.addDevice({ name: 'eth0', ifindex: 2 });
      lab.addDevice({ name: 'eth1', ifindex: 7, peer: 9 });
      lab.addDevice({ name: 'eth2', ifindex: 9, peer: 7 });
      lab.addNeighbour({ address: Uint8Array.of(10, 0, 0, 9), mac: Uint8Array.of(2, 0, 0, 0, 0, 9), ifindex: 7 });
      lab.attach(lab.load(collection([programSpec(code, 'sched_cls')]), 'case').program('case'), { hook: 'tc-ingress' });
      return lab.run(benchPacket());
    });
    expect(kernel).toEqual(here);
    if (code.includes('call 152') && code.includes('r10')) expect(kernel).toMatchObject({ fate: 'redirected', out: 'eth1' });
  });

  const MAPS: readonly MapSpec[] = [
    spec('hash', 'hash'), spec('array', 'array'), spec('lru_hash', 'lru_hash'), spec('percpu_hash', 'percpu_hash', { valueBytes: 12 }),
    spec('percpu_array', 'percpu_array', { valueBytes: 12 }), spec('lpm_trie', 'lpm_trie', { keyBytes: 8, flags: 1 }), spec('queue', 'queue', { keyBytes: 0 }), spec('stack', 'stack', { keyBytes: 0 }),
  ];

  test.each(MAPS)('user space does to a $name what it does here, before the first packet and after it', (declared) => {
    const [here, kernel] = (['wasm', 'kernel'] as const).map((engine) => {
      const lab = new Lab({ engine });
      labs.push(lab);
      const object = lab.load(collection([programSpec(`r1 = map[${declared.name}]\nr0 = 2\nexit`)], [declared]), 'case');
      const [map] = lab.maps;
      const key = (number: number): Uint8Array => Uint8Array.from({ length: declared.keyBytes }, (_, index) => (index === 0 ? number : 0));
      const value = (number: number): Uint8Array => new Uint8Array(map!.userValueBytes).fill(number).fill(0, declared.valueBytes);
      const answers: unknown[] = [];
      const say = (action: () => unknown): void => {
        try {
          answers.push(action());
        } catch (error) {
          answers.push((error as Error).message);
        }
      };
      const all = (): string[] => Array.from(map!.entries(), (entry) => entry.map((bytes) => Buffer.from(bytes).toString('hex')).join(' ')).toSorted();
      const write = (number: number, flags = 0): void => say(() => (declared.keyBytes === 0 ? map!.push(value(number), flags) : map!.update(key(number), value(number), flags)));
      write(1);
      write(2);
      lab.attach(object.program('case'), { hook: 'xdp' });
      answers.push(all());
      write(3);
      lab.run(benchPacket());
      write(2, 1);
      write(9, 2);
      write(0);
      if (declared.keyBytes === 0) say(() => [map!.peek(), map!.pop()]);
      else say(() => [map!.lookup(key(1)), map!.lookup(key(2)), map!.lookup(key(7))]);
      if (declared.keyBytes > 0) for (const number of [2, 7]) say(() => map!.delete(key(number)));
      answers.push(map!.size, all());
      return answers;
    });
    expect(kernel).toEqual(here);
  });

  test.each(['wasm', 'kernel'] as const)('%s: programs find a map that was put into a map of maps, and what they write is read', (engine) => {
    const code = `
      *(u32 *)(r10 -4) = 0
      *(u64 *)(r10 -16) = 5
      r1 = map[outer]
      r2 = r10
      r2 += -4
      call 1
      if r0 == 0 goto +7
      r1 = r0
      r2 = r10
      r2 += -4
      r3 = r10
      r3 += -16
      r4 = 0
      call 2
      r0 = 2
      exit`;
    const inner = spec('inner', 'hash');
    const lab = xdpLab(engine, code, [inner, spec('outer', 'array_of_maps', { valueBytes: 4, inner })]);
    lab.map('inner').set(3, 1);
    lab.map('outer').set(0, 'inner');
    lab.run(benchPacket());
    expect([...lab.map('inner').entries()].toSorted()).toEqual([[0, 5], [3, 1]]);
  });

  test.each(['wasm', 'kernel'] as const)('%s: a program in a slot of a devmap runs on the way out', (engine) => {
    const out: ProgramSpec = { ...programSpec('r0 = 1\nexit', 'xdp', 'out'), attach: 'xdp_devmap' };
    const lab = xdpLab(engine, 'r1 = map[ports]\nr2 = 1\nr3 = 0\ncall 51\nexit', [spec('ports', 'devmap')], [out]);
    lab.map('ports').set(1, { ifindex: 'eth1', bpf_prog: 'out' });
    const { fate, verdicts } = lab.run(benchPacket());
    expect({ fate, verdicts: verdicts.map(({ program, verdict }) => [program, verdict]) }).toEqual({ fate: 'dropped', verdicts: [['case', 'XDP_REDIRECT'], ['out', 'XDP_DROP']] });
  });

  test.each(['wasm', 'kernel'] as const)('%s: a tail call goes to the program in the slot', (engine) => {
    const next = programSpec('r0 = 3\nexit', 'xdp', 'next');
    const lab = xdpLab(engine, 'r2 = map[programs]\nr3 = 2\ncall 12\nr0 = 1\nexit', [spec('programs', 'prog_array', { valueBytes: 4 })], [next]);
    expect(lab.run(benchPacket()).fate).toBe('dropped');
    lab.map('programs').set(2, 'next');
    expect(lab.run(benchPacket()).fate).toBe('transmitted');
  });

  test.each(['wasm', 'kernel'] as const)('%s: a packet that grew at its front is the next program\'s and the capture\'s', (engine) => {
    const lab = xdpLab(engine, 'r6 = r1\nr2 = -8\ncall 44\nr1 = *(u32 *)(r6 +0)\nr2 = *(u32 *)(r6 +4)\nr3 = r1\nr3 += 8\nif r3 > r2 goto +3\nr4 = 0x1122334455667788 ll\n*(u64 *)(r1 +0) = r4\nr0 = 3\nexit');
    const { fate, bytes } = lab.run(benchPacket());
    expect({ fate, length: bytes.length, first: bytes[0] }).toEqual({ fate: 'transmitted', length: 72, first: 0x88 });
    expect(bytes.slice(8)).toEqual(benchPacket());
  });

  test.each(['wasm', 'kernel'] as const)('%s: an skb keeps its mark from one program of a chain to the next', (engine) => {
    const lab = new Lab({ engine });
    labs.push(lab);
    lab.addDevice({ name: 'eth0' });
    const object = lab.load(collection([
      programSpec('r2 = 77\n*(u32 *)(r1 +8) = r2\nr0 = -1\nexit', 'sched_cls', 'first'),
      programSpec('r0 = 2\nr2 = *(u32 *)(r1 +8)\nif r2 != 77 goto +1\nr0 = 0\nexit', 'sched_cls', 'second'),
    ]), 'case');
    for (const name of ['first', 'second']) lab.attach(object.program(name), { hook: 'tc-ingress', mode: 'tcx' });
    expect(lab.run(benchPacket()).fate).toBe('stack');
  });

  test.each(['wasm', 'kernel'] as const)('%s: the wire length stays what it was, whatever a program does to the packet', (engine) => {
    const lab = new Lab({ engine });
    labs.push(lab);
    const object = lab.load(collection([programSpec('r6 = r1\nr2 = 100\nr3 = 0\ncall 38\nr0 = *(u32 *)(r6 +160)\nexit', 'sched_cls')]), 'case');
    const bench = new TestBench(lab.machine);
    const run = (context: Record<string, number>): object => {
      const { code, packet, context: after } = bench.run(object.program('case'), { packet: benchPacket(), context });
      return { code, length: packet.length, wire_len: after['wire_len'] };
    };
    expect(run({})).toEqual({ code: 64, length: 100, wire_len: 64 });
    expect(run({ wire_len: 200 })).toEqual({ code: 200, length: 100, wire_len: 200 });
  });

  test('a run that Linux refuses stops the program and is told of', () => {
    const lab = new Lab({ engine: 'kernel' });
    labs.push(lab);
    lab.attach(lab.load(collection([programSpec('r0 = 0\nexit', 'sched_cls')]), 'case').program('case'), { hook: 'tc-ingress' });
    const short = Uint8Array.from({ length: 20 }, (_, index) => (index === 12 ? 8 : 0));
    expect(lab.run(short)).toMatchObject({ fate: 'dropped', reason: 'PROGRAM_UNSUPPORTED' });
    lab.run(short.subarray(0, 19));
    expect(lab.engine.remarks?.slice(1)).toEqual(["2 runs of case stopped at once; the first: program 'case' in the kernel: a run on 20 bytes is refused (EINVAL)."]);
  });

  test('programs that would reach the devices of this machine, or of which a run does not show everything, are refused', () => {
    const lab = new Lab({ engine: 'kernel' });
    labs.push(lab);
    const object = lab.load(collection([programSpec('r2 = 1\nr3 = 0\ncall 13\nr0 = 0\nexit', 'sched_cls')]), 'case');
    expect(() => object.program('case')).toThrow(/calls clone_redirect, which sends packets through devices of this machine; use another engine/);
  });

  test('what the verifier refuses is refused in one line', () => {
    expect(() => xdpLab('kernel', 'r0 = *(u64 *)(r1 +0)\nexit')).toThrow(/^program 'case': Linux refuses it: .*bpf_context access.*\(EACCES\)$/);
  });

  test('says of nothing that it was not verified: Linux verifies what is loaded, whatever was wished', () => {
    const lab = new Lab({ engine: 'kernel', verify: false });
    labs.push(lab);
    lab.addDevice({ name: 'eth0' });
    const program = lab.load(collection([programSpec('r0 = 2\nexit', 'xdp')]), 'case', { verify: false }).program('case');
    lab.attach(program, { hook: 'xdp' });
    expect(program.proof).toBe('by-linux');
    expect(lab.verified).toBe(true);
    expect(lab.remarks.filter((line) => line.includes('not verified'))).toEqual([]);
  });

  test('more CPUs than the kernel has are refused', () => {
    expect(() => new Lab({ engine: 'kernel', cpus: 256 })).toThrow(/^cpus: found 256, but this kernel has \d+/);
  });
});
