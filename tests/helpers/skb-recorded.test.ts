/**
 * Sequences of skb helpers with what Linux 6.18 answered and left behind, recorded with BPF_PROG_TEST_RUN: random
 * packets and arguments, chosen so that every helper, flag and errno comes up. One case per line of the file:
 * the packet, then for each call its answer, len, protocol, vlan_present, vlan_tci and pkt_type, and bytes it wrote.
 */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { SK_BUFF } from '../../dataplane/packet/frame.ts';
import { Bench } from './bench.ts';

type Step = readonly [helper: string, args: readonly (number | string)[], answer: number | string, state: readonly number[], written?: string];

interface Recorded {
  readonly packet: string;
  readonly type: number;
  readonly protocol: number;
  /** skb->csum covers the packet from its network header on. */
  readonly complete?: true;
  readonly memory?: string;
  readonly steps: readonly Step[];
  readonly after: string;
}

const OUT_BYTES = 64;
const CHECKSUM_COMPLETE = 2;
const OBSERVED = [SK_BUFF.len, SK_BUFF.protocol, SK_BUFF.vlan_present, SK_BUFF.vlan_tci, SK_BUFF.pkt_type] as const;

const cases = readFileSync(new URL('skb-recorded.ndjson', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Recorded);

function packetSum(packet: Uint8Array): number {
  return packet.reduce((sum, byte, index) => sum + (byte << (8 * (index & 1))), 0);
}

/** Answers are compared as Linux gives them; a ones-complement sum may stand for the same value in two ways. */
function comparable(helper: string, answer: number | string, complete: boolean): string {
  return helper === 'csum_update' && complete ? `${BigInt(answer) % 0xffffn}` : `${answer}`;
}

test.each(cases.map((recorded, index) => ({ title: `${index + 1}: ${recorded.steps.map(([helper]) => helper).join(', ')}`, recorded })))('$title', ({ recorded }) => {
  const packet = Buffer.from(recorded.packet, 'hex');
  const bench = new Bench('sched_cls', packet);
  const complete = recorded.complete === true;
  const memory = bench.bytes(Buffer.from(recorded.memory ?? '', 'hex'));
  const out = bench.bytes(new Uint8Array(OUT_BYTES));
  bench.set(SK_BUFF.pkt_type, recorded.type);
  bench.set(SK_BUFF.protocol, recorded.protocol);
  if (complete) {
    bench.set(SK_BUFF.ip_summed, CHECKSUM_COMPLETE);
    bench.set(SK_BUFF.csum, packetSum(packet.subarray(bench.get(SK_BUFF.network_offset))));
  }
  for (const [helper, args, answer, state, written] of recorded.steps) {
    const values = args.map((arg) => {
      if (typeof arg === 'number') return BigInt(arg);
      if (arg === 'out') return BigInt(out);
      return arg.startsWith('memory') ? BigInt(memory + Number(arg.slice('memory+'.length) || 0)) : BigInt(arg);
    });
    const result = bench.answer(helper, bench.ctx, ...values);
    expect(comparable(helper, `${BigInt.asIntN(64, BigInt(result as number))}`, complete), helper).toBe(comparable(helper, answer, complete));
    expect(OBSERVED.map((field) => bench.get(field)), helper).toEqual(state);
    if (written !== undefined) expect(Buffer.from(bench.read(out, written.length / 2)).toString('hex'), helper).toBe(written);
  }
  expect(Buffer.from(bench.packet).toString('hex')).toBe(recorded.after);
  if (complete && bench.get(SK_BUFF.ip_summed) === CHECKSUM_COMPLETE) {
    expect(bench.get(SK_BUFF.csum) % 0xffff).toBe(packetSum(bench.packet.subarray(bench.get(SK_BUFF.network_offset))) % 0xffff);
  }
});
