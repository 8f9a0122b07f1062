import { describe, expect, test } from 'vitest';
import { EventLog } from '../../dataplane/pipeline/event-log.ts';
import type { Lab } from '../../dataplane/pipeline/lab.ts';
import { DESCRIPTOR, PacketBatch } from '../../dataplane/packet/packet-batch.ts';
import { ENGINE_NAMES, frame, mapSpec, smallLab } from './small-lab.ts';

const RING = mapSpec({ name: 'ring', type: 27, keyBytes: 0, valueBytes: 0, maxEntries: 4096 });
/** Sends the packet's first 64 bytes, and answers what bpf_ringbuf_output did. */
const SEND = 'r2 = *(u32 *)(r1 +0)\nr1 = map[ring]\nr3 = 64\nr4 = 0\ncall bpf_ringbuf_output\n';

/** Runs `count` packets as one batch; packet n came in at n nanoseconds. */
function runBatch(lab: Lab, count: number): void {
  const { memory } = lab.machine;
  const batch = new PacketBatch(memory, count);
  const at = memory.allocate(64, 64, 'packet');
  memory.u8.set(frame(), at);
  lab.pipeline.setInterface(0, lab.devices[0]);
  batch.count = count;
  for (let index = 0; index < count; index++) {
    memory.u32.set([at, 64, 64, 0], batch.descriptor(index) >>> 2);
    memory.view.setUint32(batch.descriptor(index) + DESCRIPTOR.timestampNs, index, true);
  }
  lab.pipeline.run(batch);
}

describe.each(ENGINE_NAMES)('the event log with the %s engine', (engine) => {
  test('a record has the time of the packet it was sent for, wherever its batch ends', () => {
    const lab = smallLab(engine, [{ hook: 'xdp', source: `${SEND}r0 = 2\nexit` }], { maps: [RING] });
    const times: unknown[] = [];
    new EventLog(lab, new Map(), (line) => times.push((JSON.parse(line) as { readonly time: unknown }).time));
    runBatch(lab, 3);
    expect(times).toEqual(['0.000000000', '0.000000001', '0.000000002']);
  });

  test('a small ring buffer takes every record of a large batch', () => {
    const lab = smallLab(engine, [{ hook: 'xdp', source: `${SEND}if r0 != 0 goto full\nr0 = 2\nexit\nfull: r0 = 1\nexit` }], { maps: [RING] });
    const log = new EventLog(lab, new Map());
    runBatch(lab, 500);
    expect(log.counts).toEqual([{ source: 'ring', count: 500 }]);
    expect(lab.statistics().fates.map(({ fate, packets }) => [fate, packets])).toEqual([['stack', 500]]);
  });

  test('what a program sent before it was stopped is not lost', () => {
    const lab = smallLab(engine, [{ hook: 'xdp', source: `${SEND}r2 = -16 ll\nr0 = *(u64 *)(r2 +0)\nexit` }], { maps: [RING] });
    const log = new EventLog(lab, new Map());
    expect(lab.run(frame()).reason).toBe('PROGRAM_TRAP');
    expect(log.counts).toEqual([{ source: 'ring', count: 1 }]);
  });

  test('without a log, records stay for whoever asks the map for them', () => {
    const lab = smallLab(engine, [{ hook: 'xdp', source: `${SEND}r0 = 2\nexit` }], { maps: [RING] });
    lab.run(frame());
    expect([...lab.map('ring').map.records()]).toEqual([frame()]);
  });
});
