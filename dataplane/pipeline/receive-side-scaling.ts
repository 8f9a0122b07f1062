/**
 * Receive-side scaling: which of a device's queues a packet arrives at, as NICs choose it. The Toeplitz hash of the
 * addresses, and the ports of TCP and UDP packets that are not fragments, picks a slot of a 128-entry indirection
 * table, which is filled round robin unless the device says otherwise ("Introduction to Receive Side Scaling",
 * Microsoft; ethtool -x).
 *
 * Toeplitz is linear over XOR, so the hash is one table look-up per input byte: 36 tables of 256 words, for source
 * and destination address (2 × 16) and ports (2 × 2); IPv4 uses the first 8, and 4 after them for ports.
 *
 *   RSS     0 u32 table        address of the words
 *           4 u16[128] queue   the indirection table
 */
import { XdplabError } from '../errors.ts';
import { MachineMemory } from '../machine/memory.ts';
import type { NetworkDevice } from '../machine/network.ts';
import { call, i32, type Callee, type I32 } from '../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../wasm/function-builder.ts';
import { ModuleBuilder } from '../wasm/module-builder.ts';

/** The key of the specification's verification suite, which most drivers default to. */
export const DEFAULT_KEY = Uint8Array.from(
  Buffer.from('6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa', 'hex'),
);

/** Both directions of a flow hash alike: the key repeats every 16 bits ("Scalable TCP Session Monitoring with Symmetric Receive-side Scaling", Woo and Park). */
export const SYMMETRIC_KEY = Uint8Array.from({ length: DEFAULT_KEY.length }, (_, index) => (index % 2 === 0 ? 0x6d : 0x5a));

/** Keys by the names that users give. */
export const RSS_KEYS: Readonly<Record<string, Uint8Array>> = { default: DEFAULT_KEY, symmetric: SYMMETRIC_KEY };

/** A key by its name, or as hexadecimal with or without colons, as ethtool prints it. */
export function parseRssKey(text: string): Uint8Array | undefined {
  if (Object.hasOwn(RSS_KEYS, text)) return RSS_KEYS[text];
  const digits = text.replaceAll(':', '');
  return /^[0-9a-f]+$/i.test(digits) && digits.length === 2 * DEFAULT_KEY.length ? Uint8Array.from(Buffer.from(digits, 'hex')) : undefined;
}

/** As `parseRssKey` reads it. */
export function rssKeyText(key: Uint8Array = DEFAULT_KEY): string {
  const text = Buffer.from(key).toString('hex');
  return Object.entries(RSS_KEYS).find(([, named]) => Buffer.from(named).toString('hex') === text)?.[0] ?? text;
}

const RSS = { table: 0, queue: 4, size: 4 + 2 * 128 } as const;
const INPUT_BYTES = 36;
const ROW_BYTES = 256 * 4;
export const INDIRECTION_ENTRIES = 128;

/** Ethernet, two VLAN tags, and the longest IP header with ports. */
const MOST_HEADER_BYTES = 128;

export const TOEPLITZ_TABLE_BYTES = INPUT_BYTES * ROW_BYTES;

/** Word `position * 256 + byte`: what that byte at that place of the input adds to the hash. */
export function toeplitzTable(key: Uint8Array): Uint32Array {
  const table = new Uint32Array(INPUT_BYTES * 256);
  const bit = (index: number): number => (key[index >> 3]! >> (7 - (index & 7))) & 1;
  for (let position = 0; position < INPUT_BYTES; position++) {
    for (let inputBit = 0; inputBit < 8; inputBit++) {
      let window = 0;
      for (let offset = 0; offset < 32; offset++) window = (window << 1) | bit(position * 8 + inputBit + offset);
      for (let byte = 0; byte < 256; byte++) if ((byte >> (7 - inputBit)) & 1) table[position * 256 + byte]! ^= window;
    }
  }
  return table;
}

/** What of a device says how its packets are spread. */
export type ScaledDevice = Pick<NetworkDevice, 'name' | 'queues' | 'rssKey' | 'indirection'>;

/** Makes what the queues of devices are chosen by: each device's address of an RSS, 0 where it has one queue. */
export function writeReceiveSideScaling(memory: MachineMemory, devices: readonly ScaledDevice[], queuesUnlessSaid: number): readonly number[] {
  const tables = new Map<string, number>();
  return devices.map((device) => {
    const { queues = queuesUnlessSaid, rssKey = DEFAULT_KEY } = device;
    const slots = indirectionTable(device, queues);
    if (queues === 1) return 0;
    const key = Buffer.from(rssKey).toString('hex');
    let table = tables.get(key);
    if (table === undefined) {
      table = memory.allocate(TOEPLITZ_TABLE_BYTES, 64, 'receive-side scaling');
      memory.u32.set(toeplitzTable(rssKey), table >>> 2);
      tables.set(key, table);
    }
    const address = memory.allocate(RSS.size, 4, 'receive-side scaling');
    memory.view.setUint32(address + RSS.table, table, true);
    slots.forEach((queue, slot) => memory.view.setUint16(address + RSS.queue + 2 * slot, queue, true));
    return address;
  });
}

/** The queue of each slot. */
export function indirectionTable({ name, indirection }: ScaledDevice, queues: number): readonly number[] {
  const turns = indirection ?? [...Array(queues).keys()];
  const absent = turns.find((queue) => queue >= queues);
  if (absent !== undefined) throw new XdplabError('ERR_LAB', `device '${name}': indirection: found queue ${absent}, but it has ${queues}, from 0; give it more queues`);
  return Array.from({ length: INDIRECTION_ENTRIES }, (_, slot) => turns[slot % turns.length]!);
}

/** How packets of a device come to CPUs: by the hash of the key, from each slot of the indirection table to one. */
export function spreadOf(device: NetworkDevice, cpus: number): { readonly key: Uint8Array; readonly cpuOfSlot: readonly number[]; readonly queues: number } {
  const { queues = cpus, rssKey = DEFAULT_KEY } = device;
  return { key: rssKey, queues, cpuOfSlot: indirectionTable(device, queues).map((queue) => queue % cpus) };
}

/** The queue that a packet comes to, for who asks without a lab. What is longer is cut: only headers count. */
export function queueChooser(device: ScaledDevice, queues: number): (packet: Uint8Array) => number {
  const memory = new MachineMemory();
  const [rss] = writeReceiveSideScaling(memory, [device], queues) as [number];
  if (rss === 0) return () => 0;
  const packetAt = memory.allocate(MOST_HEADER_BYTES, 64, 'packet');
  const module = new ModuleBuilder();
  module.importMemory('machine', 'memory', memory.shared);
  module.export('queue', defineQueueChoice(module));
  const { queue } = new WebAssembly.Instance(new WebAssembly.Module(module.assemble()), { machine: { memory: memory.wasm } }).exports as { queue(data: number, end: number, rss: number): number };
  return (packet) => {
    const headers = packet.subarray(0, MOST_HEADER_BYTES);
    memory.u8.set(headers, packetAt);
    return queue(packetAt, packetAt + headers.length, rss);
  };
}

/** `rss_hash(data, end, table) -> hash`, 0 for what is neither IPv4 nor IPv6. */
export function defineHash(module: ModuleBuilder): Callee<'i32'> {
  const f = module.function('rss_hash', ['i32', 'i32', 'i32'], 'i32');
  const [data, end, table] = [f.param(0, 'i32'), f.param(1, 'i32'), f.param(2, 'i32')];
  const at = f.let(i32.add(data, i32.const(14)), 'header');
  const type = f.let(i32.load16U(data, 12), 'type');
  // Up to two VLAN tags, 0x8100 or 0x88a8 as a little-endian load reads them.
  for (let tags = 0; tags < 2; tags++) {
    f.if(i32.or(i32.eq(type, i32.const(0x0081)), i32.eq(type, i32.const(0xa888))), () => {
      f.if(i32.gtU(i32.add(at, i32.const(4)), end), () => f.return(i32.const(0)));
      f.set(type, i32.load16U(at, 2));
      f.set(at, i32.add(at, i32.const(4)));
    });
  }
  const hash = f.local('i32', 'hash');
  f.if(i32.eq(type, i32.const(0x0008)), () => {
    f.if(i32.gtU(i32.add(at, i32.const(20)), end), () => f.return(i32.const(0)));
    mix(f, hash, table, at, 12, 0, 8);
    const notFragment = i32.eqz(i32.and(i32.load16U(at, 6), i32.const(0xff3f)));
    const ports = i32.add(at, i32.shl(i32.and(i32.load8U(at), i32.const(15)), i32.const(2)));
    f.if(notFragment, () => mixPorts(f, hash, table, i32.load8U(at, 9), ports, end, 8));
    f.return(hash);
  });
  f.if(i32.eq(type, i32.const(0xdd86)), () => {
    f.if(i32.gtU(i32.add(at, i32.const(40)), end), () => f.return(i32.const(0)));
    mix(f, hash, table, at, 8, 0, 32);
    mixPorts(f, hash, table, i32.load8U(at, 6), i32.add(at, i32.const(40)), end, 32);
    f.return(hash);
  });
  f.return(i32.const(0));
  return f;
}

/** `rss_queue(data, end, rss) -> queue`. */
export function defineQueueChoice(module: ModuleBuilder): Callee<'i32'> {
  const hash = defineHash(module);
  const f = module.function('rss_queue', ['i32', 'i32', 'i32'], 'i32');
  const rss = f.param(2, 'i32');
  const slot = i32.and(call(hash, f.param(0, 'i32'), f.param(1, 'i32'), i32.load(rss, RSS.table)), i32.const(INDIRECTION_ENTRIES - 1));
  f.return(i32.load16U(i32.add(rss, i32.shl(slot, i32.const(1))), RSS.queue));
  return f;
}

function mix(f: FunctionBuilder, hash: Local<'i32'>, table: I32, at: I32, offset: number, position: number, lengthBytes: number): void {
  for (let byte = 0; byte < lengthBytes; byte++) {
    const entry = i32.add(table, i32.shl(i32.load8U(at, offset + byte), i32.const(2)));
    f.set(hash, i32.xor(hash, i32.load(entry, (position + byte) * ROW_BYTES)));
  }
}

function mixPorts(f: FunctionBuilder, hash: Local<'i32'>, table: I32, protocol: I32, ports: I32, end: Local<'i32'>, position: number): void {
  const number = f.let(protocol);
  const TCP = 6;
  const UDP = 17;
  const place = f.let(ports);
  const inside = i32.leU(i32.add(place, i32.const(4)), end);
  f.if(i32.and(inside, i32.or(i32.eq(number, i32.const(TCP)), i32.eq(number, i32.const(UDP)))), () => mix(f, hash, table, place, 0, position, 4));
}
