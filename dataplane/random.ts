/**
 * Seeded random numbers (the sfc32 generator of PractRand), so that a trace is a function of its seed.
 *
 * Invariant: integer arithmetic and the four exact operations only. Engines may round `Math.log` or `**` each
 * in their own way, and then the same seed would give another trace.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    this.#a = seed >>> 0;
    this.#b = Math.floor(seed / 4_294_967_296) >>> 0;
    this.#c = 0x9e37_79b9;
    for (let round = 0; round < 16; round++) this.u32();
  }

  u32(): number {
    const sum = (this.#a + this.#b + this.#counter) >>> 0;
    this.#counter = (this.#counter + 1) >>> 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) >>> 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) >>> 0;
    return sum;
  }

  /** From 0 up to but not including `limit`. */
  below(limit: number): number {
    return Math.floor((this.u32() / 4_294_967_296) * limit);
  }

  /** Both ends included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  chance(probability: number): boolean {
    return this.u32() < probability * 4_294_967_296;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }
}
