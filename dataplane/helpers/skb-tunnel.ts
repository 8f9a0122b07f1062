/**
 * Tunnel metadata: what bpf_skb_set_tunnel_key says an encapsulating device shall write, and what bpf_skb_get_tunnel_key
 * reads of a packet that came out of a tunnel. Beside the skb, from SK_BUFF.tunnel_key_storage:
 *
 *    0 u32 tunnel id
 *    4     source address, 16 bytes; the first four for IPv4, as the program's u32
 *   20     destination address, likewise
 *   36 u8  tos, u8 ttl, u16 0
 *   40 u32 flow label
 *   44 u32 flags of the setting call
 *   48 u32 what it is: TUNNEL_MODE
 *
 * SK_BUFF.tunnel_key is that address while there is such metadata.
 */
import type { Machine } from '../machine/machine.ts';
import { ERRNO } from '../maps/map.ts';
import { SK_BUFF } from '../packet/frame.ts';
import { fillBytes, inMemory, moveBytes } from './bounds.ts';
import type { Helper, HelperFunction } from './helper.ts';
import { getField, setField } from './skb-buffer.ts';
import { tcHelper } from './tc-helper.ts';

export const TUNNEL_KEY = { id: 0, source: 4, destination: 20, tos: 36, ttl: 37, label: 40, flags: 44, mode: 48 } as const;
export const TUNNEL_MODE = { transmit: 1, ipv6: 2 } as const;

/** struct bpf_tunnel_key. */
const KEY = { id: 0, remote: 4, tos: 20, ttl: 21, flags: 22, label: 24, local: 28, size: 44 } as const;
/** What the struct measured in older versions: each a prefix of today's. */
const OLDER_SIZES: readonly number[] = [KEY.local, KEY.label, KEY.flags];
const OLDEST_SIZE = 8;
const ADDRESS_BYTES = 16;

/** Flags of the helpers. */
const TUNINFO_IPV6 = 1;
const ZERO_CSUM_TX = 2;
const DONT_FRAGMENT = 4;
const SEQ_NUMBER = 8;
const NO_TUNNEL_KEY = 16;
const SET_FLAGS = TUNINFO_IPV6 | ZERO_CSUM_TX | DONT_FRAGMENT | SEQ_NUMBER | NO_TUNNEL_KEY;
const TUNINFO_FLAGS = 16;
const GET_FLAGS = TUNINFO_IPV6 | TUNINFO_FLAGS;
/** TUNNEL_* of include/net/ip_tunnels.h as programs read them: network order in a little-endian word. `options` is of any kind. */
const TUNNEL_FLAG = { csum: 0x0100, key: 0x0400, seq: 0x0800, dontFragment: 0x0001, noCache: 0x0020, options: 0x00d8 } as const;
const FLOW_LABEL_MASK = 0xf_ffff;
const OPTIONS_MAX_BYTES = 255;

const setKey =
  (machine: Machine): HelperFunction =>
  (ctx, from, size, flags, flagsHigh) => {
    if ((flags! & ~SET_FLAGS) !== 0 || flagsHigh !== 0) return -ERRNO.EINVAL;
    const sizeBytes = size! >>> 0;
    if (sizeBytes !== KEY.size && sizeBytes !== OLDEST_SIZE && !OLDER_SIZES.includes(sizeBytes)) return -ERRNO.EINVAL;
    const { view } = machine.memory;
    const given = inMemory(machine.memory, from!, sizeBytes);
    const u32 = (offset: number): number => (offset + 4 <= sizeBytes ? view.getUint32(given + offset, true) : 0);
    const u8 = (offset: number): number => (offset < sizeBytes ? view.getUint8(given + offset) : 0);
    const ipv6 = (flags! & TUNINFO_IPV6) !== 0;
    if ((!ipv6 && u32(KEY.label) !== 0) || u8(KEY.flags) !== 0 || u8(KEY.flags + 1) !== 0) return -ERRNO.EINVAL;

    const key = (ctx! >>> 0) + SK_BUFF.tunnel_key_storage;
    view.setUint32(key + TUNNEL_KEY.id, u32(KEY.id), true);
    for (let word = 0; word < ADDRESS_BYTES; word += 4) {
      const belongs = ipv6 || word === 0;
      view.setUint32(key + TUNNEL_KEY.destination + word, belongs ? u32(KEY.remote + word) : 0, true);
      view.setUint32(key + TUNNEL_KEY.source + word, belongs ? u32(KEY.local + word) : 0, true);
    }
    view.setUint8(key + TUNNEL_KEY.tos, u8(KEY.tos));
    view.setUint8(key + TUNNEL_KEY.ttl, u8(KEY.ttl));
    view.setUint32(key + TUNNEL_KEY.label, ipv6 ? u32(KEY.label) & FLOW_LABEL_MASK : 0, true);
    view.setUint32(key + TUNNEL_KEY.flags, flags!, true);
    view.setUint32(key + TUNNEL_KEY.mode, TUNNEL_MODE.transmit | (ipv6 ? TUNNEL_MODE.ipv6 : 0), true);
    setField(machine, ctx!, SK_BUFF.tunnel_options, 0);
    setField(machine, ctx!, SK_BUFF.tunnel_key, key);
    return 0;
  };

/** Nothing comes back but zeros where there is an error. */
const getKey =
  (machine: Machine): HelperFunction =>
  (ctx, to, size, flags, flagsHigh) => {
    const sizeBytes = size! >>> 0;
    fillBytes(machine.memory, to!, sizeBytes);
    const key = getField(machine, ctx!, SK_BUFF.tunnel_key);
    if (key === 0 || (flags! & ~GET_FLAGS) !== 0 || flagsHigh !== 0) return -ERRNO.EINVAL;
    const { view } = machine.memory;
    const ipv6 = (view.getUint32(key + TUNNEL_KEY.mode, true) & TUNNEL_MODE.ipv6) !== 0;
    if (ipv6 !== ((flags! & TUNINFO_IPV6) !== 0)) return -ERRNO.EPROTO;
    if (sizeBytes !== KEY.size && !OLDER_SIZES.includes(sizeBytes) && (sizeBytes !== OLDEST_SIZE || ipv6)) return -ERRNO.EINVAL;

    const out = to! >>> 0;
    const u32 = (offset: number, value: number): void => {
      if (offset + 4 <= sizeBytes) view.setUint32(out + offset, value, true);
    };
    u32(KEY.id, view.getUint32(key + TUNNEL_KEY.id, true));
    for (let word = 0; word < ADDRESS_BYTES; word += 4) {
      u32(KEY.remote + word, view.getUint32(key + TUNNEL_KEY.source + word, true));
      u32(KEY.local + word, view.getUint32(key + TUNNEL_KEY.destination + word, true));
    }
    u32(KEY.label, view.getUint32(key + TUNNEL_KEY.label, true));
    if (sizeBytes > KEY.tos) {
      view.setUint8(out + KEY.tos, view.getUint8(key + TUNNEL_KEY.tos));
      view.setUint8(out + KEY.ttl, view.getUint8(key + TUNNEL_KEY.ttl));
    }
    if (sizeBytes > KEY.flags) view.setUint16(out + KEY.flags, (flags! & TUNINFO_FLAGS) !== 0 ? tunnelFlags(machine, ctx!, key) : 0, true);
    return 0;
  };

function tunnelFlags(machine: Machine, ctx: number, key: number): number {
  const set = machine.memory.view.getUint32(key + TUNNEL_KEY.flags, true);
  return (
    TUNNEL_FLAG.noCache |
    ((set & ZERO_CSUM_TX) === 0 ? TUNNEL_FLAG.csum : 0) |
    ((set & DONT_FRAGMENT) !== 0 ? TUNNEL_FLAG.dontFragment : 0) |
    ((set & SEQ_NUMBER) !== 0 ? TUNNEL_FLAG.seq : 0) |
    ((set & NO_TUNNEL_KEY) === 0 ? TUNNEL_FLAG.key : 0) |
    (getField(machine, ctx, SK_BUFF.tunnel_options) !== 0 ? TUNNEL_FLAG.options : 0)
  );
}

/** Options go with a key that was set before. */
const setOptions =
  (machine: Machine): HelperFunction =>
  (ctx, from, size) => {
    const sizeBytes = size! >>> 0;
    const key = getField(machine, ctx!, SK_BUFF.tunnel_key);
    const settable = key !== 0 && (machine.memory.view.getUint32(key + TUNNEL_KEY.mode, true) & TUNNEL_MODE.transmit) !== 0;
    if (!settable || sizeBytes % 4 !== 0) return -ERRNO.EINVAL;
    if (sizeBytes > OPTIONS_MAX_BYTES) return -ERRNO.ENOMEM;
    moveBytes(machine.memory, (ctx! >>> 0) + SK_BUFF.tunnel_options + 4, from!, sizeBytes);
    setField(machine, ctx!, SK_BUFF.tunnel_options, sizeBytes);
    return 0;
  };

/** Answers how many bytes the options have; what is left of the buffer is zero. */
const getOptions =
  (machine: Machine): HelperFunction =>
  (ctx, to, size) => {
    const sizeBytes = size! >>> 0;
    fillBytes(machine.memory, to!, sizeBytes);
    const optionBytes = getField(machine, ctx!, SK_BUFF.tunnel_options);
    if (getField(machine, ctx!, SK_BUFF.tunnel_key) === 0 || optionBytes === 0) return -ERRNO.ENOENT;
    if (sizeBytes < optionBytes) return -ERRNO.ENOMEM;
    moveBytes(machine.memory, to!, (ctx! >>> 0) + SK_BUFF.tunnel_options + 4, optionBytes);
    return optionBytes;
  };

export const SKB_TUNNEL_HELPERS: readonly Helper[] = [
  tcHelper(20, 'skb_get_tunnel_key', ['memory_out', 'size', 'u64'], getKey),
  tcHelper(21, 'skb_set_tunnel_key', ['memory', 'size', 'u64'], setKey),
  tcHelper(29, 'skb_get_tunnel_opt', ['memory_out', 'size'], getOptions),
  tcHelper(30, 'skb_set_tunnel_opt', ['memory', 'size'], setOptions),
];
