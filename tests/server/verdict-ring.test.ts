/** What the ring says of records that nobody has looked at. */
import { afterAll, expect, test } from 'vitest';
import { verdictIndex, RECORD_WORDS, type VerdictRing } from '../../dataplane/server/verdict-ring.ts';
import { VERDICT_SLOTS } from '../../dataplane/hooks/hook.ts';
import { frame, smallLab } from '../pipeline/small-lab.ts';
import { ringLab } from './ring-lab.ts';

/** Drops packets whose last byte is odd and faults at those whose last byte is 0; what is let through meets a second program. */
const BY_LAST_BYTE = 'r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr2 = r3\nr2 += -1\nr4 = *(u8 *)(r2 +0)\nif r4 != 0 goto +2\nr5 = -8\nr5 = *(u8 *)(r5 +0)\nr0 = 2\nr4 &= 1\nif r4 == 0 goto +1\nr0 = 1\nexit';

const [XDP_ABORTED, XDP_DROP, XDP_PASS] = [1, 2, 3];
const TC_PASS = VERDICT_SLOTS + 1;
const NEVER = 9;

const labs = [1, 2].map((cpus) => smallLab('wasm', [{ hook: 'xdp', source: BY_LAST_BYTE }, { hook: 'tc-ingress', source: 'r0 = 0\nexit' }], { cpus }));
afterAll(() => labs.forEach((lab) => lab.close()));

/** IPv4 enough for a NIC to choose the queue by its source. */
function packet(source: number, last: number): Uint8Array {
  const bytes = frame();
  bytes.set([0x45, 0, 0, 50, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, source, 10, 0, 0, 1], 14);
  bytes[bytes.length - 1] = last;
  return bytes;
}

const indexes = ({ words, head }: VerdictRing): number[] => Array.from({ length: head }, (_, sequence) => verdictIndex(words, sequence * RECORD_WORDS));

const NOTICED = [XDP_ABORTED, XDP_DROP, XDP_PASS, TC_PASS, NEVER];

const blocks = ({ head, blockRecords }: VerdictRing): number[] => Array.from({ length: Math.ceil(head / blockRecords) }, (_, block) => block * blockRecords);
const saidOf = (ring: VerdictRing, block: number): number[] => NOTICED.filter((wanted) => ring.mayBeWanted(block, ring.verdictBits((index) => index === wanted)));
const thereIn = (all: readonly number[], from: number, end: number): number[] => NOTICED.filter((wanted) => all.slice(from, end).includes(wanted));

test.each([['one CPU', labs[0]!], ['two CPUs', labs[1]!]])('what verdicts came is known of each block without a look at the records: %s', (_what, lab) => {
  const of = ringLab(lab, 1 << 14, { batchPackets: 4000 });
  const { ring } = of;
  of.run(Array.from({ length: 4000 }, (_, number) => packet(number, 2 * (number % 100) + 2)));
  of.run([packet(1, 0)]);
  of.run(Array.from({ length: 2000 }, (_, number) => packet(number, 1)));
  expect(ring.head).toBe(10001);
  const all = indexes(ring);
  for (const block of blocks(ring)) expect([block, saidOf(ring, block)]).toEqual([block, thereIn(all, block, block + ring.blockRecords)]);
  expect(saidOf(ring, 7 * ring.blockRecords)).toEqual([XDP_ABORTED, XDP_DROP, XDP_PASS, TC_PASS]);
  expect(saidOf(ring, 8 * ring.blockRecords)).toEqual([XDP_DROP]);
});

test('nothing is missed while two CPUs run a batch in pieces', () => {
  const lab = labs[1]!;
  const of = ringLab(lab, 1 << 15, { batchPackets: 4000 });
  const { ring } = of;
  const looks: { readonly from: number; readonly until: number; readonly said: readonly number[] }[] = [];
  let from = 0;
  const look = (): void => {
    const { head, blockRecords } = ring;
    for (let block = from - (from % blockRecords); block < head; block += blockRecords) looks.push({ from: Math.max(from, block), until: Math.min(head, block + blockRecords), said: saidOf(ring, block) });
    from = head;
  };
  for (let turn = 0; turn < 3; turn++) of.run(Array.from({ length: 4000 }, (_, number) => packet(number, number % 1000 === 0 ? 0 : number < 1500 * turn ? 1 : 2)), look);
  expect(looks.length).toBeGreaterThan(12);
  const all = indexes(ring);
  for (const { from: begin, until, said } of looks) expect(said).toEqual(expect.arrayContaining(thereIn(all, begin, until)));
});

test('of a block that is being overwritten nothing is said', () => {
  const of = ringLab(labs[0]!, 1 << 10);
  const { ring } = of;
  of.run(Array.from({ length: 100 }, () => packet(1, 2)));
  of.run(Array.from({ length: 1000 }, () => packet(1, 1)));
  expect([ring.head, ring.oldest, ring.blockRecords]).toEqual([1200, 176, 256]);
  expect(saidOf(ring, 0)).toEqual(NOTICED);
  expect(saidOf(ring, 256)).toEqual([XDP_DROP]);
});
