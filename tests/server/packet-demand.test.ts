/** Packets are copied into the ring only where somebody wants their bytes. */
import { expect, test } from 'vitest';
import { PacketDemand } from '../../dataplane/server/packet-demand.ts';
import { decodeVerdicts } from '../../dataplane/server/verdict-decoder.ts';
import { VerdictSubscription, type VerdictRequest } from '../../dataplane/server/verdict-subscription.ts';
import { frame, smallLab } from '../pipeline/small-lab.ts';
import { ringLab, takeAll } from './ring-lab.ts';

/** Drops packets of an odd length, lets the others through; what is let through meets a second program. */
const PARITY = 'r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr3 -= r2\nr3 &= 1\nr0 = 2\nif r3 == 0 goto +1\nr0 = 1\nexit';
const passed = frame({ length: 64 });
const lost = frame({ length: 65 });

function demanding(...requests: readonly VerdictRequest[]) {
  const of = ringLab(smallLab('wasm', [{ hook: 'xdp', source: PARITY }, { hook: 'tc-ingress', source: 'r0 = 0\nexit' }]), 64);
  // The first packet makes the attachments known.
  of.run([lost]);
  const clients = requests.map((request) => new VerdictSubscription(of.ring, of.names, 'binary', request));
  const demand = new PacketDemand(of.ring);
  demand.set(clients, of.names);
  return { ...of, clients, demand, kept: (...sequences: readonly number[]) => sequences.map((sequence) => of.ring.packet(sequence) !== undefined) };
}

test('of verdicts that a filter is for, and of their packet with all that ran on it', () => {
  const drops = demanding({ filter: { verdict: ['XDP_DROP'] }, packet: { snap: 64 } });
  drops.run([passed, lost]);
  expect(drops.kept(1, 2, 3)).toEqual([false, false, true]);
  const tc = demanding({ filter: { hook: ['tc-ingress'] }, packet: { snap: 64 } });
  tc.run([passed, lost]);
  expect(tc.kept(1, 2, 3)).toEqual([true, true, false]);
});

test('as many of a verdict as a rate allows, and then again a little later', () => {
  const { run, kept, demand, clients, names } = demanding({ packet: { snap: 64 }, sample: { perSecond: 2 } });
  run([lost, lost, lost]);
  expect(kept(1, 2, 3)).toEqual([true, true, false]);
  demand.refill(1000);
  run([lost]);
  expect(kept(4)).toEqual([true]);
  const [frames] = takeAll(clients[0]!, names).map((message) => decodeVerdicts(message as Buffer));
  expect(frames).toMatchObject({ count: 2, produced: 4, sent: 2, skipped: 2 });
  expect([...frames!.packets()]).toMatchObject([{ number: 2, sequence: 1 }, { number: 3, sequence: 2 }]);
});

test('what somebody wants all of is not limited by who wants few', () => {
  const { run, kept } = demanding({ packet: { snap: 64 }, sample: { perSecond: 1 } }, { packet: { snap: 20 }, filter: { verdict: ['XDP_DROP'] } });
  run([lost, lost, passed, passed]);
  expect(kept(1, 2, 3, 5)).toEqual([true, true, true, false]);
});

test('all where a filter looks into packets, and none where only verdicts are wanted', () => {
  const looking = demanding({ filter: { fate: ['stack'] }, sample: { perSecond: 1 } });
  looking.run([passed, passed, passed]);
  expect(looking.kept(1, 3, 5)).toEqual([true, true, true]);
  const verdicts = demanding({});
  verdicts.run([passed]);
  expect(verdicts.kept(1)).toEqual([false]);
});

test('a rate with packets passes over verdicts whose packets were not kept', () => {
  const { ring, names } = demanding();
  const late = new VerdictSubscription(ring, names, 'binary', { from: 'oldest', packet: { snap: 64 }, sample: { perSecond: 5 } });
  expect(takeAll(late, names)).toEqual([]);
  expect(late.account).toMatchObject({ produced: 1, sent: 0, skipped: 1 });
});
