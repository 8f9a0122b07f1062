/** Packets for probing helpers: the headers that helpers look at, and none. */
import * as fc from 'fast-check';
import { ethernet } from '../../../dataplane/packet/ethernet.ts';
import { ipv4 } from '../../../dataplane/packet/ipv4.ts';
import { ipv6 } from '../../../dataplane/packet/ipv6.ts';
import type { Payload } from '../../../dataplane/packet/layer.ts';
import { tcp, TCP_FLAG } from '../../../dataplane/packet/tcp.ts';
import { udp } from '../../../dataplane/packet/udp.ts';
import { vlan } from '../../../dataplane/packet/vlan.ts';

const LINK = { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' };
const V4 = { source: '192.0.2.1', destination: '198.51.100.2' };
const V6 = { source: '2001:db8::1', destination: '2001:db8::2' };
const PORTS = { sourcePort: 40000, destinationPort: 443 };

const SHAPES: Readonly<Record<string, (body: Uint8Array) => Payload>> = {
  'TCP in IPv4': (body) => ipv4(V4, tcp({ ...PORTS, flags: TCP_FLAG.ack }, body)),
  'UDP in IPv4': (body) => ipv4(V4, udp(PORTS, body)),
  'TCP in IPv6': (body) => ipv6(V6, tcp({ ...PORTS, flags: TCP_FLAG.ack }, body)),
  'UDP in IPv6': (body) => ipv6(V6, udp(PORTS, body)),
  'IPv4 behind a VLAN tag': (body) => vlan({ id: 100, priority: 5 }, ipv4(V4, udp(PORTS, body))),
  'IPv4 behind two VLAN tags': (body) => vlan({ id: 7 }, vlan({ id: 100 }, ipv4(V4, udp(PORTS, body)))),
  'no known protocol': (body) => body,
};

const packet = (length: fc.Arbitrary<number>): fc.Arbitrary<Uint8Array> =>
  fc.tuple(fc.constantFrom(...Object.values(SHAPES)), length).map(([shape, bytes]) => ethernet(LINK, shape(Uint8Array.from({ length: bytes }, (_, index) => index * 3))));

export const smallProbePacket = packet(fc.integer({ min: 0, max: 40 }));
export const probePacket = packet(fc.oneof(fc.integer({ min: 0, max: 80 }), fc.constantFrom(200, 1000, 1400, 1460, 3000)));
