/** Addresses as builders of packets take them: text, or the bytes themselves. */
import { parseAddress, parseMac } from '../address.ts';
import { XdplabError } from '../errors.ts';

/** Four or sixteen bytes. Throws ERR_VALUE. */
export function addressBytes(address: string | Uint8Array): Uint8Array {
  return bytesOf(address, parseAddress, 'an IPv4 or IPv6 address');
}

/** Six bytes. Throws ERR_VALUE. */
export function macBytes(address: string | Uint8Array): Uint8Array {
  return bytesOf(address, parseMac, 'a MAC address');
}

function bytesOf(value: string | Uint8Array, parse: (text: string) => Uint8Array | undefined, expected: string): Uint8Array {
  if (typeof value !== 'string') return value;
  const bytes = parse(value);
  if (bytes === undefined) throw new XdplabError('ERR_VALUE', `found "${value}", expected ${expected}`);
  return bytes;
}
