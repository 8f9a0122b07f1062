/**
 * bpf_tcp_raw_gen_syncookie_ipv4 and _ipv6, and their checks: SYN cookies without a socket, built as Linux builds them.
 * Only the hash under them differs: Linux keys it anew at each boot, here it is the same on every run.
 *
 *   cookie = hash(flow) + seq + (minute << 24) + ((hash(flow, minute) + index into the MSS table) & 0xffffff)
 *
 * A cookie is good for two minutes.
 */
import type { Machine } from '../machine/machine.ts';
import { ERRNO } from '../maps/map.ts';
import { inMemory } from './bounds.ts';
import type { Helper, HelperFunction } from './helper.ts';
import { mix } from './mix.ts';
import { TC_AND_XDP_PROGRAMS } from './program-sets.ts';

const COOKIE_BITS = 24;
const COOKIE_MASK = (1 << COOKIE_BITS) - 1;
const MINUTE_MASK = 0xff;
const MAX_AGE_MINUTES = 2;
const MINUTE_NS = 60_000_000_000n;

const TCP = { source: 0, sequence: 4, acknowledgement: 8, offset: 12, headerBytes: 20 } as const;
const OPTION = { end: 0, nop: 1, mss: 2, mssBytes: 4 } as const;

interface Family {
  readonly version: 4 | 6;
  /** Where source and destination address stand, one behind the other. */
  readonly addresses: number;
  readonly addressWords: number;
  readonly headerBytes: number;
  /** What a cookie can say of the peer's segment size, by two bits. */
  readonly segmentSizes: readonly number[];
}

const IPV4: Family = { version: 4, addresses: 12, addressWords: 2, headerBytes: 20, segmentSizes: [536, 1300, 1440, 1460] };
const IPV6: Family = { version: 6, addresses: 8, addressWords: 8, headerBytes: 40, segmentSizes: [1220, 1420, 1440, 8940] };

function hashOf({ memory }: Machine, family: Family, ip: number, tcp: number, minute: number, which: number): number {
  const { view } = memory;
  let hash = mix(mix(0x510e_527f, which), minute);
  for (let word = 0; word < family.addressWords; word++) hash = mix(hash, view.getUint32(ip + family.addresses + 4 * word, false));
  return mix(hash, view.getUint32(tcp + TCP.source, false));
}

/** Minutes of virtual time, of which a cookie has the low eight bits. */
function minuteOf(machine: Machine): number {
  return Number(BigInt.asUintN(32, machine.nowNs / MINUTE_NS));
}

/** The segment size a SYN announces, 0 if it does not. */
function announcedSegmentSize({ memory }: Machine, tcp: number, lengthBytes: number): number {
  const { view } = memory;
  for (let at = tcp + TCP.headerBytes; at < tcp + lengthBytes; ) {
    const kind = view.getUint8(at);
    if (kind === OPTION.end) return 0;
    if (kind === OPTION.nop) {
      at++;
      continue;
    }
    if (at + 2 > tcp + lengthBytes) return 0;
    const optionBytes = view.getUint8(at + 1);
    if (optionBytes < 2 || at + optionBytes > tcp + lengthBytes) return 0;
    if (kind === OPTION.mss && optionBytes === OPTION.mssBytes) return view.getUint16(at + 2, false);
    at += optionBytes;
  }
  return 0;
}

/** Answers the cookie, with the segment size it stands for in the upper half. */
const generate =
  (family: Family) =>
  (machine: Machine): HelperFunction =>
  (ipHeader, tcpHeader, size) => {
    const { view } = machine.memory;
    const lengthBytes = size! >>> 0;
    const ip = inMemory(machine.memory, ipHeader!, family.headerBytes);
    const tcp = inMemory(machine.memory, tcpHeader!, lengthBytes);
    if (lengthBytes < TCP.headerBytes || lengthBytes !== (view.getUint8(tcp + TCP.offset) >> 4) * 4) return -BigInt(ERRNO.EINVAL);
    const announced = announcedSegmentSize(machine, tcp, lengthBytes) || family.segmentSizes[0]!;
    const index = Math.max(family.segmentSizes.findLastIndex((segmentSize) => announced >= segmentSize), 0);
    const minute = minuteOf(machine);
    const low = (hashOf(machine, family, ip, tcp, minute, 1) + index) & COOKIE_MASK;
    const cookie = (hashOf(machine, family, ip, tcp, 0, 0) + view.getUint32(tcp + TCP.sequence, false) + ((minute & MINUTE_MASK) << COOKIE_BITS) + low) >>> 0;
    return (BigInt(family.segmentSizes[index]!) << 32n) | BigInt(cookie);
  };

/** Whether the segment acknowledges a cookie of its flow that is not too old. */
const check =
  (family: Family) =>
  (machine: Machine): HelperFunction =>
  (ipHeader, tcpHeader) => {
    const { view } = machine.memory;
    const ip = inMemory(machine.memory, ipHeader!, family.headerBytes);
    const tcp = inMemory(machine.memory, tcpHeader!, TCP.headerBytes);
    const cookie = view.getUint32(tcp + TCP.acknowledgement, false) - 1;
    const sequence = view.getUint32(tcp + TCP.sequence, false) - 1;
    const rest = (cookie - hashOf(machine, family, ip, tcp, 0, 0) - sequence) >>> 0;
    const minute = minuteOf(machine);
    const age = (minute - (rest >>> COOKIE_BITS)) & MINUTE_MASK;
    if (age >= MAX_AGE_MINUTES) return -ERRNO.EACCES;
    const index = (rest - hashOf(machine, family, ip, tcp, minute - age, 1)) & COOKIE_MASK;
    return index < family.segmentSizes.length ? 0 : -ERRNO.EACCES;
  };

const generator = (id: number, family: Family): Helper => ({
  id,
  name: `tcp_raw_gen_syncookie_ipv${family.version}`,
  args: ['memory', 'memory', 'size_or_zero'],
  sizes: [family.headerBytes],
  returns: 'u64',
  programs: TC_AND_XDP_PROGRAMS,
  gplOnly: true,
  packetAccess: true,
  implementation: { kind: 'js', bind: generate(family) },
});

const checker = (id: number, family: Family): Helper => ({
  id,
  name: `tcp_raw_check_syncookie_ipv${family.version}`,
  args: ['memory', 'memory'],
  sizes: [family.headerBytes, TCP.headerBytes],
  returns: 'int',
  programs: TC_AND_XDP_PROGRAMS,
  gplOnly: true,
  packetAccess: true,
  implementation: { kind: 'js', bind: check(family) },
});

export const TCP_SYNCOOKIE_HELPERS: readonly Helper[] = [generator(204, IPV4), generator(205, IPV6), checker(206, IPV4), checker(207, IPV6)];
