import { describe, expect, test } from 'vitest';
import { dependenceText, queueSpread, type QueueSpreadOptions } from '../../dataplane/insight/queue-spread.ts';
import { makeTrace } from '../../dataplane/measure/workload.ts';
import { packetAt } from '../../dataplane/packet/packet-trace.ts';
import { Lab } from '../../dataplane/pipeline/lab.ts';
import { SYMMETRIC_KEY } from '../../dataplane/pipeline/receive-side-scaling.ts';

const FLOWS = 1000;
const trace = makeTrace({ name: '1k', flows: FLOWS, to: '10.0.0.100:80', mac: Uint8Array.of(2, 0, 0, 0, 0, 1) });
const packets = Array.from({ length: FLOWS }, (_, flow) => packetAt(trace, flow));
const flowOf = Int32Array.from(packets, (_, flow) => flow);
const sourcePort = (packet: Uint8Array): number => new DataView(packet.buffer, packet.byteOffset).getUint16(34);

/** All but one bit of the key are 0, so that the hash's lowest bit is that of the source port: bit 79 of the input, 31 further in the key. */
const PORT_KEY = new Uint8Array(40);
PORT_KEY[(79 + 31) >> 3] = 0x80 >> ((79 + 31) & 7);

function spread(options: Partial<QueueSpreadOptions> = {}) {
  const device = new Lab().addDevice({ name: 'eth0' });
  return queueSpread({ device, settings: {}, cpus: 1, packets, flowOf, found: new Int32Array(FLOWS), rings: [], ...options });
}

describe('flows are spread over', () => {
  test('as many queues as are asked for, each with its slots, and a CPU each where the lab has one', () => {
    const { queues, cpus, key, flows, chiSquare, maxOverIdeal } = spread({ settings: { queues: 4 } });
    expect(queues.map(({ queue, cpu, weight, idealFlows }) => [queue, cpu, weight, idealFlows])).toEqual([0, 1, 2, 3].map((queue) => [queue, queue, 32, 250]));
    expect(queues.reduce((sum, each) => sum + each.flows, 0)).toBe(flows);
    expect({ key, cpus, flows, degrees: chiSquare.degrees }).toEqual({ key: 'default', cpus: [], flows: FLOWS, degrees: 3 });
    expect(maxOverIdeal.flows).toBeLessThan(1.5);
  });

  test('the CPUs of the lab, queue modulo CPUs', () => {
    const { queues, cpus } = spread({ settings: { queues: 3 }, cpus: 2 });
    expect(queues.map(({ cpu }) => cpu)).toEqual([0, 1, 0]);
    expect(cpus.map(({ cpu, weight }) => [cpu, weight])).toEqual([[0, 43 + 42], [1, 43]]);
    expect(cpus[0]!.flows).toBe(queues[0]!.flows + queues[2]!.flows);
  });

  test('the queues of the lab’s device, with its key and its indirection table, unless others are named', () => {
    const device = new Lab().addDevice({ name: 'eth0', queues: 8, rssKey: SYMMETRIC_KEY, indirection: [5, 5, 5, 6] });
    const own = spread({ device });
    expect(own.key).toBe('symmetric');
    expect(own.queues.filter(({ weight }) => weight > 0).map(({ queue, weight }) => [queue, weight])).toEqual([[5, 96], [6, 32]]);
    expect(own.queues.filter(({ flows }) => flows > 0).every(({ queue }) => queue === 5 || queue === 6)).toBe(true);
    expect(spread({ device, settings: { queues: 2 } }).queues.map(({ weight }) => weight)).toEqual([64, 64]);
    expect(spread({ device, settings: { indirection: [0, 0, 1] } }).queues.map(({ weight }) => weight)).toEqual([86, 42]);
  });

  test('one queue, where nothing says more', () => {
    expect(spread().queues).toMatchObject([{ queue: 0, flows: FLOWS }]);
  });

  test('no queue that is not there', () => {
    expect(() => spread({ settings: { queues: 2, indirection: [0, 2] } })).toThrow("device 'eth0': indirection: found queue 2, but it has 2");
  });
});

describe('the queue of a flow', () => {
  const ring = { ring: 'ring', flows: new Set(flowOf), backends: new Map([[0, 'web-1'], [1, 'web-2']]) };
  /** A balancer that takes the lowest bit of the source port. */
  const byPort = Int32Array.from(packets, (packet) => sourcePort(packet) & 1);

  test('tells its backend where both are chosen by the same bit', () => {
    const [found] = spread({ settings: { queues: 2, rssKey: PORT_KEY }, found: byPort, rings: [ring] }).rings;
    expect(found!.dependence).toMatchObject({ isDependent: true });
    expect(found!.dependence!.strength).toBeCloseTo(1);
    expect(found!.dependence!.counts[0]![1]).toBe(0);
    expect(found!.dependence!.counts[1]![0]).toBe(0);
    expect(dependenceText(found!.dependence)).toMatch(/depend on each other.*Cramér's V 1\.00/);
  });

  test('does not with a key that mixes all bits', () => {
    const [found] = spread({ settings: { queues: 2 }, found: byPort, rings: [ring] }).rings;
    expect(found!.dependence).toMatchObject({ isDependent: false });
    expect(dependenceText(found!.dependence)).toMatch(/^a flow's queue does not tell its backend/);
  });

  test('says nothing where there is one', () => {
    const [found] = spread({ found: byPort, rings: [ring] }).rings;
    expect(found!.dependence).toBeUndefined();
    expect(dependenceText(found!.dependence)).toMatch(/^one queue or backend/);
  });
});
