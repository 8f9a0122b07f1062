/** A lab of several CPUs against a lab of one. */
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { EventLog } from '../../../dataplane/pipeline/event-log.ts';
import type { EngineName } from '../../../dataplane/engine/engine.ts';
import type { Lab } from '../../../dataplane/pipeline/lab.ts';
import { openLab } from '../../../dataplane/pipeline/open-lab.ts';
import { replay } from '../../../dataplane/pipeline/replay.ts';
import { VerdictLog } from '../../../dataplane/pipeline/verdict-log.ts';
import { mapSpec, programSpec, smallLab } from '../small-lab.ts';
import { runFlows, udp } from './flows.ts';

const ROOT = join(import.meta.dirname, '../../..');

const labs: Lab[] = [];
afterEach(() => labs.splice(0).forEach((lab) => lab.close()));

function kept(lab: Lab): Lab {
  labs.push(lab);
  return lab;
}

/** Verdicts, statistics and maps of a capture. */
async function outcome(cpus: number, capture: string, programs: readonly string[]) {
  const lab = kept((await openLab({ cpus, programs: programs.map((program) => ({ hook: 'xdp', program: join(ROOT, 'programs', program) })) })).lab);
  const lines: string[] = [];
  const names: string[] = [];
  await replay(lab, join(ROOT, 'traces', capture), {
    observer: new VerdictLog(lab.pipeline, (index) => names[index] ?? '', (text) => void lines.push(text)),
    onInterface: (index, device) => void (names[index] = device?.name ?? ''),
  });
  const flows = lab.maps.flatMap((map) => (map.type.perCpu ? [] : lab.typed(map).dump().entries)).map((entry) => JSON.stringify(entry, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)));
  const { hooks, ...statistics } = lab.statistics();
  return { verdicts: lines.join(''), statistics, hooks: hooks.map(({ packets, bytes, verdicts }) => ({ packets, bytes, verdicts })), flows: flows.toSorted() };
}

test.each([
  ['mixed.pcap', 'flow_counter.bpf.o'],
  ['imix.pcap', 'flow_counter.bpf.o'],
])('%s through %s: verdicts, counters and flows are the same with one, two and four CPUs', async (capture, program) => {
  const one = await outcome(1, capture, [program]);
  expect(one.verdicts.split('\n').length).toBeGreaterThan(100);
  for (const cpus of [2, 4]) expect(await outcome(cpus, capture, [program])).toEqual(one);
});

const COUNT_ON_CPU = `call bpf_get_smp_processor_id
*(u32 *)(r10 -8) = r0
*(u32 *)(r10 -4) = 0
r2 = r10
r2 += -4
r1 = map[counts]
call bpf_map_lookup_elem
if r0 == 0 goto out
r1 = *(u64 *)(r0 +0)
r1 += 1
*(u64 *)(r0 +0) = r1
r1 = *(u32 *)(r10 -8)
*(u32 *)(r0 +8) = r1
out: r0 = 2
exit`;
const COUNTS = mapSpec({ name: 'counts', type: 6, valueBytes: 16 });

/** Packets on each CPU, and which it said it was. */
function counts(lab: Lab): readonly (readonly [packets: number, cpu: number])[] {
  const value = lab.map('counts').map.lookup(new Uint8Array(4))!;
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  return Array.from({ length: value.byteLength / 16 }, (_, cpu) => [view.getUint32(cpu * 16, true), view.getUint32(cpu * 16 + 8, true)] as const);
}

describe('packets are spread', () => {
  test('over all CPUs by their flows, and each counts in its own value', () => {
    const lab = kept(smallLab('wasm', [{ hook: 'xdp', source: COUNT_ON_CPU }], { cpus: 3, maps: [COUNTS] }));
    runFlows(lab, 3000, 300);
    const found = counts(lab);
    expect(found.map(([, cpu]) => cpu)).toEqual([0, 1, 2]);
    expect(found.reduce((sum, [packets]) => sum + packets, 0)).toBe(3000);
    for (const [packets] of found) expect(packets).toBeGreaterThan(600);
  });

  test('where the indirection table says', () => {
    const lab = kept(smallLab('wasm', [{ hook: 'xdp', source: COUNT_ON_CPU }], { cpus: 2, maps: [COUNTS], devices: [{ name: 'eth0', indirection: [1] }] }));
    runFlows(lab, 100, 100);
    expect(counts(lab)).toEqual([[0, 0], [100, 1]]);
  });

  test('not at all from a device with one queue', () => {
    const lab = kept(smallLab('wasm', [{ hook: 'xdp', source: COUNT_ON_CPU }], { cpus: 2, maps: [COUNTS], devices: [{ name: 'eth0', queues: 1 }] }));
    runFlows(lab, 100, 100);
    expect(counts(lab)).toEqual([[100, 0], [0, 0]]);
  });

  test('and an indirection table that names a queue too many is refused', () => {
    const lab = smallLab('wasm', [], { cpus: 2, devices: [{ name: 'eth0', indirection: [0, 2] }] });
    expect(() => lab.pipeline).toThrow("device 'eth0': indirection: found queue 2, but it has 2, from 0; give it more queues");
  });
});

test('one packet alone runs on the CPU of its flow', () => {
  const lab = kept(smallLab('wasm', [{ hook: 'xdp', source: COUNT_ON_CPU }], { cpus: 2, maps: [COUNTS] }));
  const results = Array.from({ length: 8 }, (_, flow) => lab.run(udp(flow)));
  expect(results.map(({ fate, verdicts }) => [fate, verdicts[0]!.verdict])).toEqual(results.map(() => ['stack', 'XDP_PASS']));
  expect(results[3]!.bytes).toEqual(udp(3));
  expect(counts(lab).every(([packets]) => packets > 0)).toBe(true);
});

test('between packets, programs and maps change for all CPUs', () => {
  const lab = kept(smallLab('wasm', [{ hook: 'xdp', source: COUNT_ON_CPU }], { cpus: 2, maps: [COUNTS] }));
  runFlows(lab, 100, 100);
  lab.map('counts').map.update(new Uint8Array(4), new Uint8Array(32));
  lab.detach(lab.pipeline.attached[0]!);
  runFlows(lab, 100, 100);
  expect(counts(lab)).toEqual([[0, 0], [0, 0]]);
  lab.attach(lab.collections[0]!.program('program_0'), { hook: 'xdp' });
  runFlows(lab, 100, 100);
  expect(counts(lab).reduce((sum, [packets]) => sum + packets, 0)).toBe(100);
  expect(lab.statistics().packets).toBe(300);
});

test('what programs send arrives in the order of packets, with their times', () => {
  // Room for all: what one CPU has reserved holds up the reading of what the others wrote behind it.
  const ring = mapSpec({ name: 'ring', type: 27, keyBytes: 0, valueBytes: 0, maxEntries: 1 << 18 });
  const source = 'r6 = r1\nr2 = *(u32 *)(r1 +0)\nr1 = map[ring]\nr3 = 64\nr4 = 0\ncall bpf_ringbuf_output\nr0 = 2\nexit';
  const lab = kept(smallLab('wasm', [{ hook: 'xdp', source }], { cpus: 2, maps: [ring] }));
  const times: string[] = [];
  new EventLog(lab, new Map(), (line) => times.push((JSON.parse(line) as { readonly time: string }).time));
  runFlows(lab, 2000, 100);
  expect(times).toEqual(Array.from({ length: 2000 }, (_, index) => `0.${String(index).padStart(9, '0')}`));
});

describe('a cpumap', () => {
  const TO_SLOT = 'r1 = map[cpus]\nr2 = 1\nr3 = 0\ncall bpf_redirect_map\nexit';
  const CPUS = mapSpec({ name: 'cpus', type: 16, valueBytes: 8, maxEntries: 2 });
  const slot = (program: number): Uint8Array => Uint8Array.of(64, 0, 0, 0, program, 0, 0, 0);

  test('hands packets to its CPU, where they meet TC, in the order of the capture', () => {
    const lab = kept(smallLab('wasm', [{ hook: 'xdp', source: TO_SLOT }, { hook: 'tc-ingress', source: COUNT_ON_CPU.replace('r0 = 2', 'r0 = 0') }], { cpus: 2, maps: [CPUS, COUNTS] }));
    lab.map('cpus').map.update(Uint8Array.of(1, 0, 0, 0), slot(0));
    const seen: [bigint, number][] = [];
    const fates: number[] = [];
    runFlows(lab, 1500, 100, {
      finished: (batch, first, count, records, recordCount) => {
        for (let index = 0; index < recordCount; index++) seen.push([records.getBigUint64(index * 32, true), records.getUint8(index * 32 + 30)]);
        for (let index = first; index < first + count; index++) fates.push(batch.memory.view.getUint16(batch.descriptor(index) + 56, true));
      },
    });
    // Of each packet the record of XDP, then that of TC.
    expect(seen).toEqual(Array.from({ length: 3000 }, (_, index) => [BigInt((index >> 1) + 1), index & 1]));
    expect(new Set(fates).size).toBe(1);
    expect(counts(lab)).toEqual([[0, 0], [1500, 1]]);
    expect(lab.statistics().fates.map(({ fate, packets }) => [fate, packets])).toEqual([['stack', 1500]]);
  });

  test('runs the program of its slot there, and what traps there ends there', () => {
    const trap = 'r2 = -16 ll\nr0 = *(u64 *)(r2 +0)\nexit';
    const inSlot = (source: string) => ({ ...programSpec('in_slot', 'xdp', source, 'xdp/cpumap'), attach: 'xdp_cpumap' });
    const run = (source: string): Lab => {
      const lab = kept(smallLab('wasm', [{ hook: 'xdp', source: TO_SLOT }], { cpus: 2, maps: [CPUS, COUNTS], more: [inSlot(source)] }));
      lab.map('cpus').map.update(Uint8Array.of(1, 0, 0, 0), slot(lab.collections[0]!.program('in_slot').id));
      runFlows(lab, 500, 100);
      return lab;
    };
    const dropping = run(COUNT_ON_CPU.replace('r0 = 2', 'r0 = 1'));
    expect(counts(dropping)).toEqual([[0, 0], [500, 1]]);
    expect(dropping.statistics().programs.map(({ program, packets }) => [program, packets])).toEqual([['program_0', 500], ['in_slot', 500]]);
    expect(run(trap).statistics().reasons).toMatchObject([{ reason: 'PROGRAM_TRAP', packets: 500 }]);
  });
});

test('a program that traps on a CPU ends its packet there, and no lock stays behind', () => {
  const source = `*(u32 *)(r10 -4) = 0
r2 = r10
r2 += -4
r1 = map[words]
call bpf_map_lookup_elem
r6 = r0
r1 = r6
call bpf_spin_lock
r2 = -16 ll
r0 = *(u64 *)(r2 +0)
exit`;
  const lab = kept(smallLab('wasm', [{ hook: 'xdp', source }], { cpus: 2, maps: [mapSpec({ name: 'words' })] }));
  runFlows(lab, 200, 100);
  expect(lab.statistics().reasons).toMatchObject([{ reason: 'PROGRAM_TRAP', packets: 200 }]);
});

describe('what several CPUs change is said', () => {
  const remarksOf = (source: string, engine: EngineName = 'wasm'): readonly string[] => {
    const lab = kept(smallLab(engine, [{ hook: 'xdp', source }], { cpus: 2, verify: true }));
    return lab.remarks;
  };

  test('random numbers are each CPU\'s own', () => {
    expect(remarksOf('call bpf_get_prandom_u32\nr0 = 2\nexit')).toEqual(['program_0 calls bpf_get_prandom_u32: each CPU has random numbers of its own.']);
  });

  test('the interpreter runs one', () => {
    expect(remarksOf('r0 = 2\nexit', 'interpreter')).toEqual(['CPU 0 ran all packets, and the others are there for the layout of per-CPU maps: the engine interpreter runs one.']);
  });

  test('nothing, where nothing differs', () => {
    expect(remarksOf('r0 = 2\nexit')).toEqual([]);
  });
});

test('all packets run on the first CPU where a program uses timers', () => {
  const source = `${COUNT_ON_CPU.replace(/exit$/, '')}r1 = r0\ncall bpf_timer_cancel\nr0 = 2\nexit`;
  const lab = kept(smallLab('wasm', [{ hook: 'xdp', source }], { cpus: 2, maps: [COUNTS] }));
  runFlows(lab, 100, 100);
  expect(counts(lab)).toEqual([[100, 0], [0, 0]]);
  expect(lab.remarks[0]).toBe('CPU 0 ran all packets, and the others are there for the layout of per-CPU maps: program_0 uses bpf_timer, and timers run on one.');
});

test('a lab of one CPU compiles no atomics', async () => {
  const source = '*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map[words]\ncall bpf_map_lookup_elem\nif r0 == 0 goto out\nr1 = 1\nlock *(u64 *)(r0 +0) += r1\nlock *(u64 *)(r10 -16) += r1\nout: r0 = 2\nexit';
  const text = async (cpus: number): Promise<string> => {
    const lab = kept(smallLab('wasm', [{ hook: 'xdp', source: `*(u64 *)(r10 -16) = 0\n${source}` }], { cpus, maps: [mapSpec({ name: 'words' })] }));
    return (lab.engine as unknown as { wat(program: unknown): Promise<string> }).wat(lab.pipeline.attached[0]!.program);
  };
  expect(await text(1)).not.toContain('atomic');
  // The stack is the CPU's own.
  expect((await text(2)).match(/atomic/g)).toHaveLength(1);
});
