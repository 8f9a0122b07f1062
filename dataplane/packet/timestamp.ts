/**
 * Capture timestamps as unsigned 64-bit nanoseconds since 1970, stored as two u32 words, lower first.
 *
 * Nanoseconds since 1970 need 61 bits and a number is exact to 53, so the product is put together from halves.
 * No BigInt on the way: one would be allocated for each packet.
 */
const TWO_32 = 4_294_967_296;
const BILLION = 1_000_000_000;
export const LARGEST_NS: bigint = (1n << 64n) - 1n;

/** Stores `seconds` (u32) and `nanoseconds` (below 2^43, so 2^32 microseconds fit) at `u32[word]`. */
export function storeSeconds(u32: Uint32Array, word: number, seconds: number, nanoseconds: number): void {
  const upper = (seconds >>> 16) * BILLION; // counts 65,536 ns: below 2^46
  const carry = Math.floor(upper / 65_536); // counts 2^32 ns
  const lower = (upper - carry * 65_536) * 65_536 + (seconds & 0xffff) * BILLION + nanoseconds;
  u32[word] = lower;
  u32[word + 1] = carry + Math.floor(lower / TWO_32);
}

/**
 * How the units of a pcapng interface become nanoseconds. `multiplier` is what almost every capture needs
 * (if_tsresol 0 to 9 and no offset); where it is 0 the exact BigInt road is taken.
 */
export interface TimestampScale {
  readonly multiplier: number;
  readonly numerator: bigint;
  readonly denominator: bigint;
  readonly offsetNs: bigint;
}

/** From the octet of if_tsresol (bit 7: power of two rather than ten) and the seconds of if_tsoffset. */
export function timestampScale(resolution: number, offsetSeconds: bigint): TimestampScale {
  const exponent = resolution & 0x7f;
  const binary = (resolution & 0x80) !== 0;
  const denominator = binary ? 1n << BigInt(exponent) : 10n ** BigInt(exponent);
  const plain = !binary && exponent <= 9 && offsetSeconds === 0n;
  return {
    multiplier: plain ? 10 ** (9 - exponent) : 0,
    numerator: BigInt(BILLION),
    denominator,
    offsetNs: offsetSeconds * BigInt(BILLION),
  };
}

/** Stores the time of `high`:`low` units. What lies before 1970 or after 2554 is stored as the nearest end. */
export function storeUnits(u32: Uint32Array, word: number, high: number, low: number, scale: TimestampScale): void {
  const { multiplier } = scale;
  if (multiplier === 1) {
    u32[word] = low;
    u32[word + 1] = high;
    return;
  }
  if (multiplier !== 0) {
    const lower = (low & 0xffff) * multiplier; // below 2^46
    const upper = (low >>> 16) * multiplier; // counts 2^16: below 2^46
    const carry = Math.floor(upper / 65_536);
    const sum = lower + (upper - carry * 65_536) * 65_536;
    const top = high * multiplier + carry + Math.floor(sum / TWO_32);
    const fits = top < TWO_32;
    u32[word] = fits ? sum : 0xffff_ffff;
    u32[word + 1] = fits ? top : 0xffff_ffff;
    return;
  }
  const units = (BigInt(high) << 32n) | BigInt(low);
  const exact = (units * scale.numerator) / scale.denominator + scale.offsetNs;
  const held = exact < 0n ? 0n : exact > LARGEST_NS ? LARGEST_NS : exact;
  u32[word] = Number(held & 0xffff_ffffn);
  u32[word + 1] = Number(held >> 32n);
}

/**
 * Whole seconds (u32) of a time of `high`:`low` nanoseconds. Exact although the product is rounded: an estimate
 * off by one is corrected by what it leaves over.
 */
export function secondsOf(low: number, high: number): number {
  const estimate = Math.floor((high * TWO_32 + low) / BILLION);
  // The remainder lies in [-2^11, BILLION + 2^11), well inside an i32.
  const rest = (low - Math.imul(estimate, BILLION)) | 0;
  if (rest < 0) return estimate - 1;
  return rest >= BILLION ? estimate + 1 : estimate;
}
