/** Pairs of intervals by their digests: of each class how far all results go, and the pair that came first. */
import { DIGEST, type Digest } from './digest.ts';
import { HULL, join, noHulls } from './numbers.ts';

export function hashOf(digest: Digest): number {
  let hash = 0;
  for (let index = 0; index < DIGEST; index++) {
    hash = Math.imul(hash ^ digest[index]!, 0x9e37_79b1);
    hash ^= hash >>> 15;
  }
  return hash >>> 0;
}

export class Classes {
  count = 0;
  /** By class. */
  hulls: Int32Array;
  firsts: Uint32Array;
  #digests: Int32Array;
  /** A class and 1 where its hash says, or behind; 0 where none is. Half of them are. */
  #slots: Int32Array;

  constructor(room = 1 << 16) {
    this.hulls = noHulls(room);
    this.firsts = new Uint32Array(room);
    this.#digests = new Int32Array(DIGEST * room);
    this.#slots = new Int32Array(2 * room);
  }

  /** Adds a pair with the hull of its results, and answers which class it is in. */
  add(digest: Digest, hash: number, pair: number, hull: Int32Array): number {
    let slot = this.#slotOf(digest, hash);
    if (this.#slots[slot] === 0) {
      if (this.count === this.firsts.length) {
        this.#grow();
        slot = this.#slotOf(digest, hash);
      }
      this.#digests.set(digest, this.count * DIGEST);
      this.hulls.set(hull, this.count * HULL);
      this.firsts[this.count] = pair;
      this.#slots[slot] = ++this.count;
    }
    const number = this.#slots[slot]! - 1;
    join(this.hulls, number * HULL, hull, 0);
    return number;
  }

  /** Where the class is, or would be. */
  #slotOf(digest: Digest, hash: number): number {
    const digests = this.#digests;
    const last = this.#slots.length - 1;
    let slot = hash & last;
    for (; this.#slots[slot] !== 0; slot = (slot + 1) & last) {
      const at = (this.#slots[slot]! - 1) * DIGEST;
      if (digests[at] === digest[0] && digests[at + 1] === digest[1] && digests[at + 2] === digest[2] && digests[at + 3] === digest[3] && digests[at + 4] === digest[4]) break;
    }
    return slot;
  }

  #grow(): void {
    const { count, hulls, firsts } = this;
    const digests = this.#digests;
    const more = new Classes(2 * count);
    more.hulls.set(hulls);
    more.firsts.set(firsts);
    more.#digests.set(digests);
    for (let number = 0; number < count; number++) {
      const digest = digests.subarray(number * DIGEST, (number + 1) * DIGEST);
      more.#slots[more.#slotOf(digest, hashOf(digest))] = number + 1;
    }
    Object.assign(this, { hulls: more.hulls, firsts: more.firsts });
    this.#digests = more.#digests;
    this.#slots = more.#slots;
  }
}
