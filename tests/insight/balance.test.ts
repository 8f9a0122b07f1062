import { join } from 'node:path';
import { expect, test } from 'vitest';
import { measureBalance } from '../../dataplane/insight/balance.ts';
import { makeTrace } from '../../dataplane/measure/workload.ts';
import { programsDirectory } from '../../programs/objects.ts';

const DEMO = join(programsDirectory(), 'demo.yaml');
const trace = (to: string) => makeTrace({ name: '1k', flows: 300, to, mac: Uint8Array.of(2, 0, 0, 0, 0, 1) });

test('the flows of a ring go to its backends, near their weights, and stay where they are when one leaves', async () => {
  const balance = await measureBalance({ sources: { file: DEMO, only: 'xdp_lb' }, trace: trace('10.0.0.100:80') });
  const [group] = balance!.groups;
  expect(balance).toMatchObject({ elsewhere: 0, affinity: { kept: 300, flows: 300 } });
  expect(group).toMatchObject({ ring: 'lb_rings[0 to 4092]', flows: 300 });
  expect(group!.backends.map(({ backend, weight, idealFlows }) => [backend, weight, idealFlows])).toEqual([
    ['10.1.0.1', 1, 75],
    ['10.1.0.2', 1, 75],
    ['10.1.0.3', 2, 150],
  ]);
  expect(group!.backends.reduce((sum, { flows }) => sum + flows, 0)).toBe(300);
  const [leaves, joins] = group!.movements;
  expect(leaves).toMatchObject({ change: '10.1.0.1 leaves', newFlows: { unavoidable: group!.backends[0]!.flows }, establishedFlows: { moved: 0 } });
  expect(leaves!.newFlows.moved).toBeGreaterThanOrEqual(leaves!.newFlows.unavoidable);
  expect(joins!.establishedFlows.moved).toBe(0);
});

test('a service without a connection table moves its flows under way', async () => {
  // lb.yaml of the demonstration keeps no table for DNS, but that is UDP; affinity by source is kept by the ring alone.
  const balance = await measureBalance({ sources: { file: DEMO, only: 'xdp_lb', maxEntries: { lb_flows: 1 } }, trace: trace('10.0.0.100:80') });
  const [leaves] = balance!.groups[0]!.movements;
  expect(leaves!.establishedFlows.moved).toBeGreaterThan(0);
});

test('where the queues are asked for, they are looked at beside the backends, ring by ring', async () => {
  const balance = await measureBalance({ sources: { file: DEMO, only: 'xdp_lb' }, trace: trace('10.0.0.100:80'), rss: { queues: 4 } });
  const { queues, groups } = balance!;
  expect(queues).toMatchObject({ device: 'eth0', flows: 300 });
  expect(queues!.rings).toMatchObject([{ ring: 'lb_rings[0 to 4092]', backends: groups[0]!.backends.map(({ backend }) => backend), dependence: { isDependent: false } }]);
  const { counts } = queues!.rings[0]!.dependence!;
  expect(counts.map((row) => row.reduce((sum, each) => sum + each, 0))).toEqual(queues!.queues.map(({ flows }) => flows));
  expect(groups[0]!.backends.map((_, column) => counts.reduce((sum, row) => sum + row[column]!, 0))).toEqual(groups[0]!.backends.map(({ flows }) => flows));
});

test('and of what is no load balancer too', async () => {
  const balance = await measureBalance({ sources: { file: DEMO, only: 'xdp_firewall' }, trace: trace('10.0.0.100:80'), rss: { queues: 4 } });
  expect(balance).toMatchObject({ groups: [], queues: { flows: 300, rings: [] } });
});

test('what sends packets nowhere else is no load balancer', async () => {
  expect(await measureBalance({ sources: { file: DEMO, only: 'xdp_firewall' }, trace: trace('10.0.0.100:80') })).toBeUndefined();
});
