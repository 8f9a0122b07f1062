/**
 * Receive-side scaling: which of a device's queues a packet arrives at, as NICs choose it. The Toeplitz hash of the
 * addresses, and the ports of TCP and UDP packets that are not fragments, picks a slot of a 128-entry indirection
 * table, which is filled round robin ("Introduction to Receive Side Scaling", Microsoft; ethtool -x).
 *
 * Toeplitz is linear over XOR, so the hash is one table look-up per input byte: 36 tables of 256 words, for source
 * and destination address (2 × 16) and ports (2 × 2); IPv4 uses the first 8, and 4 after them for ports.
 */
import { call, i32, type Callee, type I32 } from '../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../wasm/function-builder.ts';
import type { ModuleBuilder } from '../wasm/module-builder.ts';

/** The key of the specification's verification suite, which most drivers default to. */
export const DEFAULT_KEY = Uint8Array.from(
  Buffer.from('6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa', 'hex'),
);

const INPUT_BYTES = 36;
const ROW_BYTES = 256 * 4;
const INDIRECTION_ENTRIES = 128;

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

/** `rss_hash(data, end) -> hash`, 0 for what is neither IPv4 nor IPv6. */
export function defineHash(module: ModuleBuilder, table: number): Callee<'i32'> {
  const f = module.function('rss_hash', ['i32', 'i32'], 'i32');
  const [data, end] = [f.param(0, 'i32'), f.param(1, 'i32')];
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

/** `queue(data, end, queues) -> queue`. */
export function defineQueueChoice(module: ModuleBuilder, table: number): Callee<'i32'> {
  const hash = defineHash(module, table);
  const f = module.function('rss_queue', ['i32', 'i32', 'i32'], 'i32');
  const slot = i32.and(call(hash, f.param(0, 'i32'), f.param(1, 'i32')), i32.const(INDIRECTION_ENTRIES - 1));
  f.return(i32.remU(slot, f.param(2, 'i32')));
  return f;
}

function mix(f: FunctionBuilder, hash: Local<'i32'>, table: number, at: I32, offset: number, position: number, lengthBytes: number): void {
  for (let byte = 0; byte < lengthBytes; byte++) {
    const entry = i32.add(i32.const(table + (position + byte) * ROW_BYTES), i32.shl(i32.load8U(at, offset + byte), i32.const(2)));
    f.set(hash, i32.xor(hash, i32.load(entry)));
  }
}

function mixPorts(f: FunctionBuilder, hash: Local<'i32'>, table: number, protocol: I32, ports: I32, end: Local<'i32'>, position: number): void {
  const number = f.let(protocol);
  const TCP = 6;
  const UDP = 17;
  const place = f.let(ports);
  const inside = i32.leU(i32.add(place, i32.const(4)), end);
  f.if(i32.and(inside, i32.or(i32.eq(number, i32.const(TCP)), i32.eq(number, i32.const(UDP)))), () => mix(f, hash, table, place, 0, position, 4));
}
