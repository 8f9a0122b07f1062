/**
 * The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
 *
 * A *sum* here is the ones-complement sum of big-endian 16-bit words before folding; `finish` folds it and
 * takes the complement, which is what stands in a header. Invariant: a sum stays below 2^53, so that it is an
 * exact number for any stretch of bytes the machine can hold.
 */

/** Adds `bytes[start, end)` to `sum`. An odd last byte counts as the upper half of a word. */
export function checksumAdd(sum: number, bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  for (; at + 1 < end; at += 2) sum += (bytes[at]! << 8) | bytes[at + 1]!;
  return at < end ? sum + (bytes[at]! << 8) : sum;
}

/** Folds a sum to 16 bits and complements it: the value for the header. */
export function checksumFinish(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x1_0000) + Math.floor(folded / 0x1_0000);
  return ~folded & 0xffff;
}

/** The checksum of `bytes[start, end)`; 0 where the stretch already holds its own valid checksum. */
export function checksum(bytes: Uint8Array, start = 0, end: number = bytes.length): number {
  return checksumFinish(checksumAdd(0, bytes, start, end));
}

/** RFC 1624 equation 3: the checksum after one 16-bit word changed, without reading the rest. */
export function checksumUpdate(before: number, oldWord: number, newWord: number): number {
  return checksumFinish((~before & 0xffff) + (~oldWord & 0xffff) + newWord);
}

/**
 * The sum of the pseudo header that TCP, UDP and ICMPv6 cover (RFC 9293 §3.1, RFC 8200 §8.1): the addresses,
 * the protocol and the length. `addresses` is where source and destination stand next to each other, as they
 * do in both IP headers.
 */
export function pseudoHeaderSum(
  bytes: Uint8Array,
  addresses: number,
  addressesEnd: number,
  protocol: number,
  lengthBytes: number,
): number {
  return checksumAdd(protocol, bytes, addresses, addressesEnd) + (lengthBytes >>> 16) + (lengthBytes & 0xffff);
}

/** Where in an IP packet the parts are that a transport checksum covers. */
interface TransportPlace {
  readonly addresses: number;
  /** Of the transport header. */
  readonly start: number;
  readonly protocol: number;
  readonly checksumAt: number;
}

const PROTOCOL_UDP = 17;

/** Computes the transport checksum of an IP packet whose checksum field is still zero, and stores it. */
export function finishTransport(packet: Uint8Array, place: TransportPlace): void {
  const { addresses, start, protocol, checksumAt } = place;
  const addressesEnd = addresses + (packet[0]! >>> 4 === 4 ? 8 : 32);
  const pseudo = pseudoHeaderSum(packet, addresses, addressesEnd, protocol, packet.length - start);
  let value = checksumFinish(checksumAdd(pseudo, packet, start, packet.length));
  // In UDP 0 says that there is none (RFC 768).
  if (value === 0 && protocol === PROTOCOL_UDP) value = 0xffff;
  packet[checksumAt] = value >>> 8;
  packet[checksumAt + 1] = value;
}
