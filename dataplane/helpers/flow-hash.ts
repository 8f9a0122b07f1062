/**
 * The hash of a packet's flow, as bpf_get_hash_recalc answers it: the same for every packet of a flow in one
 * direction, from addresses, protocol and ports. Linux keys its hash anew at each boot, so only that is promised;
 * here it is the same on every run.
 *
 * Fragments and unknown protocols are hashed by addresses alone. Never 0, which stands for "not computed".
 */
import type { Machine } from '../machine/machine.ts';
import { SK_BUFF } from '../packet/frame.ts';
import { mix } from './mix.ts';
import { getField } from './skb-buffer.ts';

const ETH_P_IP = 0x0008;
const ETH_P_IPV6 = 0xdd86;
const ADDRESSES_IPV4 = 12;
const ADDRESSES_IPV6 = 8;
const IPV4_HEADER_BYTES = 20;
const IPV6_HEADER_BYTES = 40;
const FRAGMENT_MASK = 0x3fff;
/** Protocols that begin with two ports: TCP, UDP, DCCP, SCTP, UDP-Lite. */
const WITH_PORTS: ReadonlySet<number> = new Set([6, 17, 33, 132, 136]);

export function flowHash(machine: Machine, ctx: number): number {
  const { view } = machine.memory;
  const protocol = getField(machine, ctx, SK_BUFF.protocol);
  const at = getField(machine, ctx, SK_BUFF.data) + getField(machine, ctx, SK_BUFF.network_offset);
  const end = getField(machine, ctx, SK_BUFF.data_end);
  let hash = mix(0x9e37_79b9, protocol);
  let addresses = 0;
  let headerBytes = 0;
  let next = 0;
  if (protocol === ETH_P_IP && end - at >= IPV4_HEADER_BYTES) {
    addresses = at + ADDRESSES_IPV4;
    headerBytes = (view.getUint8(at) & 0xf) * 4;
    next = (view.getUint16(at + 6, false) & FRAGMENT_MASK) === 0 ? view.getUint8(at + 9) : 0;
    for (let word = 0; word < 2; word++) hash = mix(hash, view.getUint32(addresses + 4 * word, true));
  } else if (protocol === ETH_P_IPV6 && end - at >= IPV6_HEADER_BYTES) {
    addresses = at + ADDRESSES_IPV6;
    headerBytes = IPV6_HEADER_BYTES;
    next = view.getUint8(at + 6);
    for (let word = 0; word < 8; word++) hash = mix(hash, view.getUint32(addresses + 4 * word, true));
  }
  hash = mix(hash, next);
  if (WITH_PORTS.has(next) && at + headerBytes + 4 <= end) hash = mix(hash, view.getUint32(at + headerBytes, true));
  return hash === 0 ? 1 : hash;
}
