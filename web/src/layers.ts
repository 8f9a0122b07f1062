/**
 * A packet's protocol layers and fields, each with the bytes it stands in, for reading. A protocol is a table of
 * fields and a rule for what follows; what is not known is shown as data.
 */

export interface Field {
  readonly name: string;
  readonly text: string;
  /** Bytes from the packet's beginning, the end exclusive. */
  readonly from: number;
  readonly to: number;
}

export interface Layer {
  readonly name: string;
  readonly from: number;
  readonly to: number;
  readonly fields: readonly Field[];
}

interface FieldRow {
  readonly name: string;
  readonly at: number;
  readonly bytes: number;
  readonly show: (view: DataView, at: number) => string;
}

interface Protocol {
  readonly name: string;
  readonly headerBytes: (view: DataView, at: number) => number;
  readonly fields: readonly FieldRow[];
  readonly next: (view: DataView, at: number) => Protocol | undefined;
}

const hex = (value: number, digits: number): string => `0x${value.toString(16).padStart(digits, '0')}`;
const u8 = (view: DataView, at: number): string => String(view.getUint8(at));
const u16 = (view: DataView, at: number): string => String(view.getUint16(at));
const u32 = (view: DataView, at: number): string => String(view.getUint32(at));
const hex16 = (view: DataView, at: number): string => hex(view.getUint16(at), 4);
const bytesOf = (view: DataView, at: number, count: number): number[] => Array.from({ length: count }, (_, index) => view.getUint8(at + index));
const mac = (view: DataView, at: number): string => bytesOf(view, at, 6).map((byte) => byte.toString(16).padStart(2, '0')).join(':');
const ipv4Address = (view: DataView, at: number): string => bytesOf(view, at, 4).join('.');

/** RFC 5952: the longest run of zeros is left out. */
function ipv6Address(view: DataView, at: number): string {
  const groups = Array.from({ length: 8 }, (_, index) => view.getUint16(at + 2 * index).toString(16)).join(':');
  const zeros = [...groups.matchAll(/(?:\b0(?::|$)){2,}/g)].toSorted((a, b) => b[0].length - a[0].length)[0];
  if (zeros === undefined) return groups;
  const head = groups.slice(0, zeros.index).replace(/:$/, '');
  return `${head}::${groups.slice(zeros.index + zeros[0].length)}`;
}

function tcpFlags(view: DataView, at: number): string {
  const bits = view.getUint8(at);
  return ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR'].filter((_, bit) => (bits & (1 << bit)) !== 0).join(' ') || 'none';
}

const PORTS: readonly FieldRow[] = [
  { name: 'source port', at: 0, bytes: 2, show: u16 },
  { name: 'destination port', at: 2, bytes: 2, show: u16 },
];

const TCP: Protocol = {
  name: 'TCP',
  headerBytes: (view, at) => 4 * (view.getUint8(at + 12) >> 4),
  fields: [
    ...PORTS,
    { name: 'sequence number', at: 4, bytes: 4, show: u32 },
    { name: 'acknowledgment', at: 8, bytes: 4, show: u32 },
    { name: 'flags', at: 13, bytes: 1, show: tcpFlags },
    { name: 'window', at: 14, bytes: 2, show: u16 },
    { name: 'checksum', at: 16, bytes: 2, show: hex16 },
  ],
  next: () => undefined,
};

const UDP: Protocol = {
  name: 'UDP',
  headerBytes: () => 8,
  fields: [
    ...PORTS,
    { name: 'length', at: 4, bytes: 2, show: u16 },
    { name: 'checksum', at: 6, bytes: 2, show: hex16 },
  ],
  next: () => undefined,
};

const icmp = (name: string): Protocol => ({
  name,
  headerBytes: () => 8,
  fields: [
    { name: 'type', at: 0, bytes: 1, show: u8 },
    { name: 'code', at: 1, bytes: 1, show: u8 },
    { name: 'checksum', at: 2, bytes: 2, show: hex16 },
  ],
  next: () => undefined,
});

const IPV4: Protocol = {
  name: 'IPv4',
  headerBytes: (view, at) => 4 * (view.getUint8(at) & 0xf),
  fields: [
    { name: 'header length', at: 0, bytes: 1, show: (view, at) => `${4 * (view.getUint8(at) & 0xf)} bytes` },
    { name: 'traffic class', at: 1, bytes: 1, show: (view, at) => hex(view.getUint8(at), 2) },
    { name: 'total length', at: 2, bytes: 2, show: u16 },
    { name: 'identification', at: 4, bytes: 2, show: hex16 },
    { name: 'fragment', at: 6, bytes: 2, show: hex16 },
    { name: 'time to live', at: 8, bytes: 1, show: u8 },
    { name: 'protocol', at: 9, bytes: 1, show: u8 },
    { name: 'checksum', at: 10, bytes: 2, show: hex16 },
    { name: 'source', at: 12, bytes: 4, show: ipv4Address },
    { name: 'destination', at: 16, bytes: 4, show: ipv4Address },
  ],
  // Of a later fragment the transport header is in another packet.
  next: (view, at) => ((view.getUint16(at + 6) & 0x1fff) === 0 ? BY_IP_PROTOCOL[view.getUint8(at + 9)] : undefined),
};

const IPV6: Protocol = {
  name: 'IPv6',
  headerBytes: () => 40,
  fields: [
    { name: 'class and label', at: 0, bytes: 4, show: (view, at) => hex(view.getUint32(at) & 0xfff_ffff, 7) },
    { name: 'payload length', at: 4, bytes: 2, show: u16 },
    { name: 'next header', at: 6, bytes: 1, show: u8 },
    { name: 'hop limit', at: 7, bytes: 1, show: u8 },
    { name: 'source', at: 8, bytes: 16, show: ipv6Address },
    { name: 'destination', at: 24, bytes: 16, show: ipv6Address },
  ],
  next: (view, at) => BY_IP_PROTOCOL[view.getUint8(at + 6)],
};

const BY_IP_PROTOCOL: Readonly<Record<number, Protocol>> = { 1: icmp('ICMP'), 4: IPV4, 6: TCP, 17: UDP, 41: IPV6, 58: icmp('ICMPv6') };

const ARP: Protocol = {
  name: 'ARP',
  headerBytes: () => 28,
  fields: [
    { name: 'operation', at: 6, bytes: 2, show: u16 },
    { name: 'sender MAC', at: 8, bytes: 6, show: mac },
    { name: 'sender', at: 14, bytes: 4, show: ipv4Address },
    { name: 'target MAC', at: 18, bytes: 6, show: mac },
    { name: 'target', at: 24, bytes: 4, show: ipv4Address },
  ],
  next: () => undefined,
};

const VLAN: Protocol = {
  name: 'VLAN',
  headerBytes: () => 4,
  fields: [
    { name: 'VLAN', at: 0, bytes: 2, show: (view, at) => String(view.getUint16(at) & 0xfff) },
    { name: 'type', at: 2, bytes: 2, show: hex16 },
  ],
  next: (view, at) => BY_ETHER_TYPE[view.getUint16(at + 2)],
};

const BY_ETHER_TYPE: Readonly<Record<number, Protocol>> = { 0x0800: IPV4, 0x0806: ARP, 0x8100: VLAN, 0x88a8: VLAN, 0x86dd: IPV6 };

const ETHERNET: Protocol = {
  name: 'Ethernet',
  headerBytes: () => 14,
  fields: [
    { name: 'destination', at: 0, bytes: 6, show: mac },
    { name: 'source', at: 6, bytes: 6, show: mac },
    { name: 'type', at: 12, bytes: 2, show: hex16 },
  ],
  next: (view, at) => BY_ETHER_TYPE[view.getUint16(at + 12)],
};

/** Of an Ethernet frame, or its beginning. */
export function layersOf(bytes: Uint8Array): Layer[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const layers: Layer[] = [];
  let at = 0;
  let protocol: Protocol | undefined = ETHERNET;
  while (protocol !== undefined) {
    const last = Math.max(...protocol.fields.map((field) => field.at + field.bytes));
    if (at + last > bytes.length) break;
    const start = at;
    const to: number = Math.min(start + Math.max(protocol.headerBytes(view, start), last), bytes.length);
    layers.push({ name: protocol.name, from: start, to, fields: protocol.fields.map(({ name, at: offset, bytes: size, show }) => ({ name, text: show(view, start + offset), from: start + offset, to: start + offset + size })) });
    protocol = protocol.next(view, start);
    at = to;
  }
  if (at < bytes.length) layers.push({ name: 'Data', from: at, to: bytes.length, fields: [] });
  return layers;
}
