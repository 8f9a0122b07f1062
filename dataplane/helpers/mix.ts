/** One round of a multiply-and-shift mixer (the finalizer of MurmurHash3) over 32-bit words, for hashes that Linux keys with secrets. */
export function mix(hash: number, word: number): number {
  let mixed = Math.imul(hash ^ word, 0x85eb_ca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2_ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
