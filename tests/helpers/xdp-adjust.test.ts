import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FRAME, XDP_MD } from '../../dataplane/packet/frame.ts';
import { Bench } from './bench.ts';

const PACKET = Uint8Array.from({ length: 64 }, (_, index) => index);

interface Step {
  readonly helper: 'xdp_adjust_head' | 'xdp_adjust_tail' | 'xdp_adjust_meta';
  readonly delta: number;
  readonly answer: number | string;
  readonly lengthBytes: number;
  readonly metadataBytes: number;
}

const head = (delta: number, answer: number | string, lengthBytes: number, metadataBytes = 0): Step => ({ helper: 'xdp_adjust_head', delta, answer, lengthBytes, metadataBytes });
const tail = (delta: number, answer: number | string, lengthBytes: number, metadataBytes = 0): Step => ({ helper: 'xdp_adjust_tail', delta, answer, lengthBytes, metadataBytes });
const meta = (delta: number, answer: number | string, metadataBytes: number, lengthBytes = 64): Step => ({ helper: 'xdp_adjust_meta', delta, answer, lengthBytes, metadataBytes });

// Answers and lengths of Linux 6.18 for the same steps on a 64-byte packet with 256 bytes of headroom.
const CASES: readonly [sentence: string, ...steps: Step[]][] = [
  ['the packet starts up to 216 bytes earlier', head(-216, 0, 280)],
  ['xdp_frame is out of reach', head(-217, 'EINVAL', 64)],
  ['14 bytes must remain when the head moves in', head(50, 0, 14), head(1, 'EINVAL', 14)],
  ['the head moves in and out again', head(8, 0, 56), head(-8, 0, 64)],
  ['the head moves out and in again', head(-8, 0, 72), head(8, 0, 64)],
  ['no head delta is too large to be refused', head(-0x8000_0000, 'EINVAL', 64), head(0x7fff_ffff, 'EINVAL', 64)],
  ['metadata takes its place before xdp_frame', meta(-8, 0, 8), head(-208, 0, 272, 8), head(-4, 'EINVAL', 272, 8)],
  ['metadata moves in with the head', meta(-8, 0, 8), head(50, 0, 14, 8), head(-50, 0, 64, 8)],
  ['14 bytes must remain when the tail is cut', tail(-50, 0, 14), tail(-1, 'EINVAL', 14)],
  ['the tail grows to skb_shared_info', tail(3456, 0, 3520), tail(1, 'EINVAL', 3520)],
  ['one byte past the tailroom is refused', tail(3457, 'EINVAL', 64)],
  ['a tail delta of 0 is fine', tail(0, 0, 64)],
  ['no tail delta is too large to be refused', tail(-0x8000_0000, 'EINVAL', 64), tail(0x7fff_ffff, 'EINVAL', 64)],
  ['metadata may fill the headroom', meta(-216, 0, 216), meta(-4, 'EINVAL', 216)],
  ['metadata is a multiple of 4', meta(-6, 'EACCES', 0)],
  // As net/core/filter.c has it, not recorded: skb_shared_info keeps the length in a byte.
  ['metadata has at most 252 bytes, whatever room there is', head(40, 0, 24), meta(-256, 'EACCES', 0, 24), meta(-252, 0, 252, 24)],
  ['space is checked before alignment', meta(-217, 'EINVAL', 0)],
  ['metadata does not start inside the packet', meta(4, 'EINVAL', 0), meta(1, 'EINVAL', 0)],
  ['metadata grows and shrinks', meta(-8, 0, 8), meta(-4, 0, 12), meta(12, 0, 0), meta(0, 0, 0)],
  ['metadata cannot shrink below nothing', meta(-8, 0, 8), meta(12, 'EINVAL', 8)],
  ['no metadata delta is too large to be refused', meta(-0x8000_0000, 'EINVAL', 0), meta(0x7fff_ffff, 'EINVAL', 0)],
];

function observe(bench: Bench): { lengthBytes: number; metadataBytes: number } {
  return { lengthBytes: bench.get(XDP_MD.data_end) - bench.get(XDP_MD.data), metadataBytes: bench.get(XDP_MD.data) - bench.get(XDP_MD.data_meta) };
}

describe('moving the bounds of an XDP packet', () => {
  test.each(CASES.map(([sentence, ...steps]) => ({ sentence, steps })))('$sentence', ({ steps }) => {
    const bench = new Bench('xdp', PACKET);
    for (const { helper, delta, answer, lengthBytes, metadataBytes } of steps) {
      expect(bench.call(helper, bench.ctx, delta)).toBe(answer);
      expect(observe(bench)).toEqual({ lengthBytes, metadataBytes });
    }
  });

  test('bytes in front of the packet are zero when first shown, and kept afterwards', () => {
    const bench = new Bench('xdp', PACKET);
    bench.call('xdp_adjust_head', bench.ctx, -4);
    expect([...bench.packet.subarray(0, 5)]).toEqual([0, 0, 0, 0, 0]);
    bench.machine.memory.u8[bench.get(XDP_MD.data)] = 7;
    bench.call('xdp_adjust_head', bench.ctx, 4);
    bench.call('xdp_adjust_head', bench.ctx, -6);
    expect([...bench.packet.subarray(0, 7)]).toEqual([0, 0, 7, 0, 0, 0, 0]);
  });

  test('what is cut off and grown again is zero', () => {
    const bench = new Bench('xdp', PACKET);
    bench.call('xdp_adjust_tail', bench.ctx, -20);
    bench.call('xdp_adjust_tail', bench.ctx, 10);
    expect([...bench.packet.subarray(42)]).toEqual([42, 43, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  });

  test('metadata keeps its bytes when the head moves', () => {
    const bench = new Bench('xdp', PACKET);
    bench.call('xdp_adjust_meta', bench.ctx, -4);
    bench.machine.memory.view.setUint32(bench.get(XDP_MD.data_meta), 0x1122_3344, true);
    bench.call('xdp_adjust_head', bench.ctx, -20);
    expect(bench.machine.memory.view.getUint32(bench.get(XDP_MD.data_meta), true)).toBe(0x1122_3344);
    bench.call('xdp_adjust_head', bench.ctx, 30);
    expect(bench.machine.memory.view.getUint32(bench.get(XDP_MD.data_meta), true)).toBe(0x1122_3344);
  });

  test('fragments are cut before the linear part', () => {
    // Linux 6.18, xdp.frags, 6000 bytes of which 3520 are linear: lengths after each cut.
    const bench = new Bench('xdp', new Uint8Array(3000));
    const linear = 1000;
    bench.set(XDP_MD.data_end, bench.get(XDP_MD.data) + linear);
    expect(bench.call('xdp_adjust_tail', bench.ctx, -10)).toBe(0);
    expect(observe(bench).lengthBytes).toBe(linear);
    expect(bench.call('xdp_adjust_tail', bench.ctx, 5)).toBe(0);
    expect(bench.call('xdp_adjust_tail', bench.ctx, -2000)).toBe(0);
    expect(observe(bench).lengthBytes).toBe(995);
    expect(bench.get(XDP_MD.packet_end)).toBe(bench.get(XDP_MD.data_end));
  });

  test('any sequence keeps the packet inside its frame', () => {
    const step = fc.record({ helper: fc.constantFrom('xdp_adjust_head', 'xdp_adjust_tail', 'xdp_adjust_meta'), delta: fc.oneof(fc.integer({ min: -300, max: 300 }), fc.integer()) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const bench = new Bench('xdp', PACKET);
        const hardStart = bench.get(XDP_MD.hard_start);
        const hardEnd = bench.get(XDP_MD.hard_end);
        for (const { helper, delta } of steps) {
          bench.call(helper, bench.ctx, delta);
          const [start, data, end] = [bench.get(XDP_MD.data_meta), bench.get(XDP_MD.data), bench.get(XDP_MD.data_end)];
          expect(start).toBeGreaterThanOrEqual(hardStart + FRAME.xdpFrame);
          expect(data).toBeGreaterThanOrEqual(start);
          expect(end - data).toBeGreaterThanOrEqual(FRAME.minimumLength);
          expect(end).toBeLessThanOrEqual(hardEnd);
          expect(bench.get(XDP_MD.packet_end)).toBe(end);
          expect(bench.get(XDP_MD.exposed)).toBeLessThanOrEqual(start);
        }
        // Whatever surrounds the frame's usable part is as it was.
        expect(bench.read(hardStart, FRAME.xdpFrame).every((byte) => byte === 0xa5)).toBe(true);
        expect(bench.read(hardEnd, FRAME.sharedInfo).every((byte) => byte === 0xa5)).toBe(true);
      }),
    );
  });
});
