/**
 * How packets are built: inside out, each protocol's function wrapping what it carries.
 *
 *     ethernet({ source, destination }, ipv4({ source, destination }, tcp({ sourcePort, destinationPort }, payload)))
 *
 * A layer says what it is, so that the one around it fills in its type, and where its checksum stands, because
 * only the IP layer knows the addresses that the checksum covers. Any field that is given is taken as given:
 * that is how malformed packets are made.
 */
export interface Layer {
  readonly bytes: Uint8Array;
  /** ETHER_TYPE of a network layer. */
  readonly etherType?: number;
  /** IP_PROTOCOL of what IP carries. */
  readonly ipProtocol?: number;
  /** Offset of a transport checksum that is still to be computed. */
  readonly checksumAt?: number;
}

export type Payload = Layer | Uint8Array;

export const NO_PAYLOAD: Uint8Array = new Uint8Array(0);

export function asLayer(payload: Payload): Layer {
  return payload instanceof Uint8Array ? { bytes: payload } : payload;
}

/** `headerLength` zeroed bytes with `body` behind them. */
export function prepend(headerLength: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(headerLength + body.length);
  bytes.set(body, headerLength);
  return bytes;
}
