/** Filters of packet sockets, run on bytes: what each expression of libpcap says of packets, and what cannot run at all. */
import { describe, expect, test } from 'vitest';
import { ClassicFilter } from '../../dataplane/devices/classic-filter.ts';
import { byteFilter, whyNoFilters } from '../../dataplane/devices/packet-filter.ts';
import { ethernet } from '../../dataplane/packet/ethernet.ts';
import { ipv4 } from '../../dataplane/packet/ipv4.ts';
import { udp } from '../../dataplane/packet/udp.ts';

/** Instructions as tcpdump -ddd prints them: code, jt, jf, k. */
function program(...instructions: readonly (readonly [number, number, number, number])[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(8 * instructions.length));
  instructions.forEach(([code, whenTrue, whenFalse, k], index) => {
    view.setUint16(8 * index, code, true);
    view.setUint8(8 * index + 2, whenTrue);
    view.setUint8(8 * index + 3, whenFalse);
    view.setUint32(8 * index + 4, k, true);
  });
  return new Uint8Array(view.buffer);
}

const LD_IMM = [0x00, 0, 0] as const;
const RET_A = [0x16, 0, 0, 0] as const;
const answers = (...instructions: readonly (readonly [number, number, number, number])[]): number => new ClassicFilter(program(...instructions)).run(Uint8Array.of(0x45, 1, 2, 3, 4), 1000);

test.each([
  ['ld [1]', [0x20, 0, 0, 1], 0x01020304],
  ['ldh [1]', [0x28, 0, 0, 1], 0x0102],
  ['ldb [1]', [0x30, 0, 0, 1], 1],
  ['ld [2], past the end', [0x20, 0, 0, 2], 0],
  ['ld [4294967295], far past it', [0x20, 0, 0, 0xffff_ffff], 0],
  ['ld #len', [0x80, 0, 0, 0], 1000],
  ['ld M[3], never written', [0x60, 0, 0, 3], 0],
] as const)('%s', (_text, load, expected) => {
  expect(answers(load, RET_A)).toBe(expected);
});

test.each([
  ['add', 0x04, 7, 1, 8],
  ['sub, below zero', 0x14, 1, 2, 0xffff_ffff],
  ['mul, more than 32 bits', 0x24, 0xffff_ffff, 0xffff_ffff, 1],
  ['div', 0x34, 0xffff_fffe, 2, 0x7fff_ffff],
  ['mod', 0x94, 7, 4, 3],
  ['or', 0x44, 0x8000_0000, 1, 0x8000_0001],
  ['and', 0x54, 0xffff_ffff, 0x8000_0000, 0x8000_0000],
  ['xor', 0xa4, 3, 1, 2],
  ['lsh', 0x64, 1, 31, 0x8000_0000],
  ['lsh by all', 0x64, 1, 32, 0],
  ['rsh', 0x74, 0x8000_0000, 31, 1],
  ['neg', 0x84, 1, 0, 0xffff_ffff],
])('%s', (_name, code, a, k, expected) => {
  expect(answers([...LD_IMM, a], [code, 0, 0, k], RET_A)).toBe(expected);
});

test('X is a header length, a cell or A, and is an offset, a length and an operand', () => {
  expect(answers([0xb1, 0, 0, 0], [0x87, 0, 0, 0], RET_A)).toBe(20);
  expect(answers([0x01, 0, 0, 3], [0x50, 0, 0, 1], RET_A)).toBe(4);
  expect(answers([...LD_IMM, 9], [0x02, 0, 0, 15], [0x61, 0, 0, 15], [0x0c, 0, 0, 0], RET_A)).toBe(18);
  expect(answers([...LD_IMM, 9], [0x01, 0, 0, 0], [0x3c, 0, 0, 0], [0x06, 0, 0, 1])).toBe(0);
});

test.each([
  ['nothing', [], 'has no instructions'],
  ['no end', [[0x00, 0, 0, 1]], 'instruction 0 of 1: the program does not end'],
  ['a jump past the end', [[0x15, 1, 0, 1], [0x06, 0, 0, 1]], 'instruction 0 of 2: jumps back or past the end'],
  ['a jump back', [[0x00, 0, 0, 1], [0x05, 0, 0, 0xffff_fffe], [0x06, 0, 0, 1]], 'instruction 1 of 3: jumps back or past the end'],
  ['a division by zero', [[0x34, 0, 0, 0], [0x06, 0, 0, 1]], 'divides by zero'],
  ['a cell that is not there', [[0x02, 0, 0, 16], [0x06, 0, 0, 1]], 'there is no cell 16'],
  ['an unknown operation', [[0xb4, 0, 0, 0], [0x06, 0, 0, 1]], 'code 180 is no operation'],
] as const)('a program of %s is refused', (_what, instructions, message) => {
  expect(() => new ClassicFilter(program(...(instructions as readonly (readonly [number, number, number, number])[])))).toThrow(message);
});

const why = whyNoFilters();
describe.skipIf(why !== undefined)(`expressions of libpcap${why === undefined ? '' : ` (${why})`}`, () => {
  const packet = ethernet({ source: '02:00:00:00:00:02', destination: '02:00:00:00:00:01' }, ipv4({ source: '192.0.2.1', destination: '198.51.100.2' }, udp({ sourcePort: 1000, destinationPort: 53 }, Uint8Array.of(1, 2, 3, 4))));
  const tagged = Uint8Array.of(...packet.subarray(0, 12), 0x81, 0, 0, 7, ...packet.subarray(12));
  const filter = (text: string): ClassicFilter => new ClassicFilter(byteFilter(text, 65_535));

  test.each([
    ['udp port 53', true],
    ['tcp port 53', false],
    ['src host 192.0.2.1 and dst net 198.51.100.0/24', true],
    ['ether src 02:00:00:00:00:02', true],
    ['ip6', false],
    ['udp[8] == 1 and udp[9:2] == 0x0203', true],
    ['udp[8 + udp[8]] == 2', true],
    ['greater 1000', false],
    ['less 60', true],
    ['vlan 7', false],
    ['portrange 50-60 and not host 10.0.0.1', true],
  ])('%s', (text, fits) => {
    expect(filter(text).run(packet, packet.length) !== 0).toBe(fits);
  });

  test('see VLAN tags, a packet that was cut as one that is too short, and its length as it was on the wire', () => {
    expect(filter('vlan 7 and udp port 53').run(tagged, tagged.length)).not.toBe(0);
    expect(filter('udp port 53').run(packet.subarray(0, 30), packet.length)).toBe(0);
    expect(filter('greater 1000').run(packet, 1000)).not.toBe(0);
  });

  test('say how far they look', () => {
    expect(filter('ip').reachBytes).toBe(14);
    expect(filter('udp port 53').reachBytes).toBeLessThanOrEqual(14 + 60 + 4);
    expect(filter('udp[8 + udp[8]] == 2').reachBytes).toBe(Number.POSITIVE_INFINITY);
  });
});
