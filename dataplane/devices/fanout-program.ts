/**
 * Which socket of a fanout group a packet comes to, as the queues of a lab's device are chosen
 * (pipeline/receive-side-scaling.ts): the Toeplitz hash of addresses, and of ports of TCP and UDP packets that are not
 * fragments, picks one of the indirection table's slots. A classic BPF program (PACKET_FANOUT_CBPF in packet(7)), since
 * that takes no right that a packet socket does not take.
 *
 * Classic BPF has no tables: each bit of the input that is set adds its part of the key. M[0] and on are the words of
 * the input, 0 where there are no ports; X is the hash; a tree of comparisons finds the slot's socket.
 */
import { ETHER_TYPE, ETHERNET } from '../packet/ethernet.ts';
import { IP_PROTOCOL } from '../packet/ipv4.ts';
import { VLAN } from '../packet/vlan.ts';
import { PACKET_OUTGOING, SKF_PACKET_TYPE } from './packet-filter.ts';

const LOAD = { word: 0x40, half: 0x48, byte: 0x50 } as const;
const OP = { loadAbsoluteHalf: 0x28, loadAbsoluteByte: 0x30, loadLength: 0x80, loadImmediate: 0x00, loadMemory: 0x60, loadXImmediate: 0x01, loadXMemory: 0x61, store: 0x02, jump: 0x05, ifEqual: 0x15, ifGreaterOrEqual: 0x35, ifGreaterOrEqualX: 0x3d, ifBits: 0x45, add: 0x04, addX: 0x0c, and: 0x54, shiftLeft: 0x64, xor: 0xa4, toX: 0x07, fromX: 0x87, answer: 0x06 } as const;
/** What the kernel knows of a packet beside its bytes. */
const PROTOCOL = 0xffff_f000;
const FRAGMENT_BITS = 0x3fff;
const SCRATCH = 9;
const INSTRUCTION_BYTES = 8;
const FARTHEST_BRANCH = 255;

interface Step {
  readonly code: number;
  readonly k?: number;
  /** Where it goes on if the comparison holds, and if it does not: the next instruction unless said. */
  readonly to?: string;
  readonly otherwise?: string;
}

/** `sockets[slot]`: the place in the group of the socket that the slot's packets come to. There are as many slots as a power of two. */
export function fanoutProgram(key: Uint8Array, sockets: readonly number[]): Uint8Array {
  const steps: (Step | string)[] = [
    // Packets that came in begin behind their Ethernet header, those that are sent with it.
    { code: OP.loadXImmediate, k: 0 },
    { code: OP.loadAbsoluteByte, k: SKF_PACKET_TYPE },
    { code: OP.ifEqual, k: PACKET_OUTGOING, otherwise: 'received' },
    { code: OP.loadXImmediate, k: ETHERNET.headerLength },
    { code: OP.loadAbsoluteHalf, k: PROTOCOL },
    ...throughTag('first'),
    { code: OP.jump, to: 'untagged' },
    'received',
    // Of what came in the kernel has taken the first VLAN tag off.
    { code: OP.loadAbsoluteHalf, k: PROTOCOL },
    'untagged',
    ...throughTag('second'),
    { code: OP.ifEqual, k: ETHER_TYPE.ipv4, to: 'ipv4' },
    { code: OP.ifEqual, k: ETHER_TYPE.ipv6, otherwise: 'other' },
    { code: OP.jump, to: 'ipv6' },
    'other',
    { code: OP.loadXImmediate, k: 0 },
    { code: OP.jump, to: 'hashed' },
    'ipv4',
    ...words([12, 16]),
    { code: LOAD.half, k: 6 },
    { code: OP.ifBits, k: FRAGMENT_BITS, to: 'ipv4-hash' },
    ...ifPorts(9, 'ipv4-ports', 'ipv4-hash'),
    'ipv4-ports',
    { code: LOAD.byte, k: 0 },
    { code: OP.and, k: 15 },
    { code: OP.shiftLeft, k: 2 },
    ...ports(2, 'ipv4'),
    'ipv4-hash',
    ...hash(key, 3),
    { code: OP.jump, to: 'hashed' },
    'ipv6',
    ...words([8, 12, 16, 20, 24, 28, 32, 36]),
    ...ifPorts(6, 'ipv6-ports', 'ipv6-hash'),
    'ipv6-ports',
    { code: OP.loadImmediate, k: 40 },
    ...ports(8, 'ipv6'),
    'ipv6-hash',
    ...hash(key, 9),
    'hashed',
    { code: OP.fromX },
    { code: OP.and, k: sockets.length - 1 },
    ...choose(sockets, 0, sockets.length),
  ];
  return assembled(steps);
}

/** A is the type of what is at X: if that is a VLAN tag, both go on behind it. */
function throughTag(name: string): (Step | string)[] {
  return [
    { code: OP.ifEqual, k: ETHER_TYPE.vlan, to: `${name}-tag` },
    { code: OP.ifEqual, k: ETHER_TYPE.qinq, otherwise: `${name}-done` },
    `${name}-tag`,
    { code: OP.fromX },
    { code: OP.add, k: VLAN.headerLength },
    { code: OP.toX },
    // The type is before what the tag is in front of.
    { code: OP.store, k: SCRATCH },
    { code: OP.add, k: -2 },
    { code: OP.toX },
    { code: LOAD.half, k: 0 },
    { code: OP.loadXMemory, k: SCRATCH },
    `${name}-done`,
  ];
}

/** Words of the header at X, and a word without ports behind them. */
function words(offsets: readonly number[]): Step[] {
  return [...offsets.flatMap((k, index): Step[] => [{ code: LOAD.word, k }, { code: OP.store, k: index }]), { code: OP.loadImmediate, k: 0 }, { code: OP.store, k: offsets.length }];
}

function ifPorts(protocolAt: number, to: string, otherwise: string): Step[] {
  return [{ code: LOAD.byte, k: protocolAt }, { code: OP.ifEqual, k: IP_PROTOCOL.tcp, to }, { code: OP.ifEqual, k: IP_PROTOCOL.udp, to }, { code: OP.jump, to: otherwise }];
}

/** The ports, A behind X, if they are there. */
function ports(word: number, name: string): (Step | string)[] {
  return [
    { code: OP.addX },
    { code: OP.store, k: SCRATCH },
    { code: OP.add, k: 4 },
    { code: OP.toX },
    { code: OP.loadLength },
    { code: OP.ifGreaterOrEqualX, to: `${name}-inside` },
    { code: OP.jump, to: `${name}-hash` },
    `${name}-inside`,
    { code: OP.loadXMemory, k: SCRATCH },
    { code: LOAD.word, k: 0 },
    { code: OP.store, k: word },
  ];
}

function hash(key: Uint8Array, wordCount: number): Step[] {
  const view = new DataView(new ArrayBuffer(key.length + 8));
  key.forEach((byte, index) => view.setUint8(index, byte));
  const window = (bit: number): number => Number((view.getBigUint64(bit >>> 3) >> BigInt(32 - (bit & 7))) & 0xffff_ffffn);
  const steps: Step[] = [{ code: OP.loadXImmediate, k: 0 }];
  for (let word = 0; word < wordCount; word++) {
    steps.push({ code: OP.loadMemory, k: word });
    for (let bit = 0; bit < 32; bit++) {
      steps.push({ code: OP.ifBits, k: 2 ** (31 - bit), otherwise: '+4' }, { code: OP.fromX }, { code: OP.xor, k: window(32 * word + bit) }, { code: OP.toX }, { code: OP.loadMemory, k: word });
    }
  }
  return steps;
}

/** The answer for the slots from `first` to `end`. */
function choose(sockets: readonly number[], first: number, end: number): (Step | string)[] {
  if (sockets.slice(first, end).every((socket) => socket === sockets[first])) return [{ code: OP.answer, k: sockets[first]! }];
  const middle = (first + end) / 2;
  const right = `from-${middle}-to-${end}`;
  return [{ code: OP.ifGreaterOrEqual, k: middle, to: right }, ...choose(sockets, first, middle), right, ...choose(sockets, middle, end)];
}

/** As `struct sock_filter`s: u16 code, u8 jt, u8 jf, u32 k. A name is a place, `+4` is four instructions further. */
function assembled(parts: readonly (Step | string)[]): Uint8Array {
  const places = new Map<string, number>();
  const steps: Step[] = [];
  for (const part of parts) {
    if (typeof part === 'string') places.set(part, steps.length);
    else steps.push(part);
  }
  const view = new DataView(new ArrayBuffer(steps.length * INSTRUCTION_BYTES));
  steps.forEach(({ code, k = 0, to, otherwise }, index) => {
    const distance = (name: string | undefined): number => (name === undefined ? 0 : name.startsWith('+') ? Number(name) : places.get(name)! - index - 1);
    const at = index * INSTRUCTION_BYTES;
    view.setUint16(at, code, true);
    if (code === OP.jump) {
      view.setUint32(at + 4, distance(to), true);
      return;
    }
    if (Math.max(distance(to), distance(otherwise)) > FARTHEST_BRANCH) throw new RangeError(`fanout program: instruction ${index} branches too far`);
    view.setUint8(at + 2, distance(to));
    view.setUint8(at + 3, distance(otherwise));
    view.setInt32(at + 4, k | 0, true);
  });
  return new Uint8Array(view.buffer);
}
