/**
 * Maglev hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, §3.4):
 * fills a ring of slots with backends so that each gets its share within a slot or so, and so that a change of the
 * backends moves few slots that need not move.
 *
 * A backend's name gives it a permutation of all slots, (offset + n * skip) mod ringSize, which needs a prime
 * ringSize. In rounds, each backend takes the next free slot of its permutation. With weights, a backend joins only
 * weight / largest weight of the rounds.
 *
 * The ring is a function of the set of backends: their order in the list does not matter.
 */
import { XdplabError } from '../errors.ts';

export interface MaglevBackend {
  /** What the ring's slots hold: above 0, since 0 says that a slot has no backend. */
  readonly id: number;
  /** Decides the permutation: the same on every load balancer and over every restart. An address does well. */
  readonly name: string;
  /** Share relative to the others; 1 if not given, 0 takes no slots. */
  readonly weight?: number;
}

interface Candidate {
  readonly id: number;
  readonly weight: number;
  readonly skip: number;
  /** The slot to try next. */
  next: number;
  /** The backend takes a slot when its weight, summed over the rounds, has reached this. */
  due: number;
}

/** The backend's id of every slot; all 0 where no backend has weight. */
export function maglevRing(backends: readonly MaglevBackend[], ringSize: number): Uint32Array {
  if (!isPrime(ringSize)) throw new XdplabError('ERR_VALUE', `maglev: ring size ${ringSize} is not a prime number`);
  const ring = new Uint32Array(ringSize);
  const candidates = sortByName(backends).filter(({ weight }) => weight !== 0).map((backend) => candidate(backend, ringSize));
  if (candidates.length === 0) return ring;

  const largestWeight = Math.max(...candidates.map(({ weight }) => weight));
  let free = ringSize;
  for (let round = 1; ; round++) {
    for (const backend of candidates) {
      if (round * backend.weight < backend.due) continue;
      backend.due += largestWeight;
      while (ring[backend.next] !== 0) backend.next = (backend.next + backend.skip) % ringSize;
      ring[backend.next] = backend.id;
      if (--free === 0) return ring;
    }
  }
}

function candidate({ id, name, weight = 1 }: MaglevBackend, ringSize: number): Candidate {
  if (!Number.isInteger(id) || id < 1) throw new XdplabError('ERR_VALUE', `maglev: backend ${name} has id ${id}; expected 1 or more`);
  if (!(weight > 0 && Number.isFinite(weight))) {
    throw new XdplabError('ERR_VALUE', `maglev: backend ${name} has weight ${weight}; expected 0 or more`);
  }
  return { id, weight, next: hash(name, 0x811c9dc5) % ringSize, skip: (hash(name, 0x9e3779b9) % (ringSize - 1)) + 1, due: 0 };
}

function sortByName(backends: readonly MaglevBackend[]): MaglevBackend[] {
  const sorted = backends.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  sorted.forEach(({ name }, index) => {
    if (name === sorted[index + 1]?.name) throw new XdplabError('ERR_VALUE', `maglev: backend ${name} is listed twice`);
  });
  return sorted;
}

/** FNV-1a over UTF-16 units, then a finaliser, so that names that differ in one digit share no pattern. */
function hash(text: string, seed: number): number {
  let value = seed;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}

function isPrime(n: number): boolean {
  if (!Number.isInteger(n) || n < 2) return false;
  for (let divisor = 2; divisor * divisor <= n; divisor++) if (n % divisor === 0) return false;
  return true;
}
