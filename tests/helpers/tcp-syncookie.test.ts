import { describe, expect, test } from 'vitest';
import { Bench } from './bench.ts';

const MINUTE_NS = 60_000_000_000n;

interface Flow {
  readonly ip: Uint8Array;
  readonly tcp: Uint8Array;
}

function flow(version: 4 | 6, options: readonly number[] = []): Flow {
  const ip = Uint8Array.from({ length: version === 4 ? 20 : 40 }, (_, index) => index + 1);
  const tcp = new Uint8Array(20 + options.length);
  tcp.set([0x1f, 0x90, 0, 80, 0x12, 0x34, 0x56, 0x78]);
  tcp[12] = (tcp.length / 4) << 4;
  tcp.set(options, 20);
  return { ip, tcp };
}

/** The client's answer to a SYN-ACK with this cookie. */
function acknowledging({ ip, tcp }: Flow, cookie: number): Flow {
  const answer = tcp.slice(0, 20);
  const view = new DataView(answer.buffer);
  view.setUint32(4, view.getUint32(4) + 1);
  view.setUint32(8, cookie + 1);
  return { ip, tcp: answer };
}

describe.each([4, 6] as const)('SYN cookies of IPv%i', (version) => {
  const generate = (bench: Bench, { ip, tcp }: Flow): bigint => bench.call(`tcp_raw_gen_syncookie_ipv${version}`, bench.bytes(ip), bench.bytes(tcp), tcp.length) as bigint;
  const check = (bench: Bench, { ip, tcp }: Flow): unknown => bench.call(`tcp_raw_check_syncookie_ipv${version}`, bench.bytes(ip), bench.bytes(tcp));

  test('a cookie is good for its flow for two minutes', () => {
    const bench = new Bench('xdp');
    bench.machine.nowNs = 300n * MINUTE_NS;
    const syn = flow(version);
    const cookie = Number(generate(bench, syn) & 0xffff_ffffn);
    expect(check(bench, acknowledging(syn, cookie))).toBe(0);
    bench.machine.nowNs += MINUTE_NS;
    expect(check(bench, acknowledging(syn, cookie))).toBe(0);
    bench.machine.nowNs += MINUTE_NS;
    expect(check(bench, acknowledging(syn, cookie))).toBe('EACCES');
  });

  test('another cookie, or another flow, is not', () => {
    const bench = new Bench('xdp');
    const syn = flow(version);
    const cookie = Number(generate(bench, syn) & 0xffff_ffffn);
    expect(check(bench, acknowledging(syn, cookie ^ 0x8000))).toBe('EACCES');
    const other = flow(version);
    other.tcp[1]! ^= 1;
    expect(check(bench, acknowledging(other, cookie))).toBe('EACCES');
  });

  test('the segment size is rounded down to one of four', () => {
    const bench = new Bench('xdp');
    const sizes = [[], [2, 4, 0x05, 0xb4], [1, 1, 1, 1, 2, 4, 0x05, 0xa0], [2, 4, 0, 1], [0, 0, 0, 0], [3, 9, 9, 9]].map((options) => Number(generate(bench, flow(version, options)) >> 32n));
    expect(sizes).toEqual(version === 4 ? [536, 1460, 1440, 536, 536, 536] : [1220, 1440, 1440, 1220, 1220, 1220]);
  });

  test('a header of another length than it says is refused', () => {
    const bench = new Bench('xdp');
    const { ip, tcp } = flow(version);
    tcp[12] = 0x60;
    expect(BigInt.asIntN(64, generate(bench, { ip, tcp }))).toBe(-22n);
  });
});
