/** Payload that nobody looks at: letters, so that it is told from headers in a dump. */
const FILLER = Uint8Array.from({ length: 65_536 }, (_, index) => 0x61 + (index % 26));

/** Borrowed: do not write into it. */
export function filler(lengthBytes: number): Uint8Array {
  return FILLER.subarray(0, Math.max(lengthBytes, 0));
}
