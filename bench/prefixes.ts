/** Prefixes for a firewall's list, as many as wanted: of 16 to 30 bits, half of them among the clients of the workloads. */
import { writeFileSync } from 'node:fs';
import { Random } from '../dataplane/random.ts';

const CLIENTS = { network: 0xc612_0000, bits: 15 };
const SEED = 7;

export function prefixes(count: number): string[] {
  const random = new Random(SEED);
  const found = new Set<string>();
  while (found.size < count) {
    const near = found.size % 2 === 0;
    const length = near ? random.between(26, 30) : random.between(16, 24);
    const address = near ? CLIENTS.network | (random.u32() >>> CLIENTS.bits) : random.between(1, 223) * 2 ** 24 + (random.u32() >>> 8);
    found.add(`${dotted(leading(address, length))}/${length}`);
  }
  return [...found];
}

/** As contents of a list of xdp_firewall: JSON, which reads faster than YAML. */
export function writePrefixes(path: string, count: number): string {
  writeFileSync(path, JSON.stringify(prefixes(count).map((key) => ({ key, value: 10 }))));
  return path;
}

function dotted(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.');
}

/** Lines of memory that a lookup of an address reads among prefixes, keys of an LPM trie: a cell for its first two bytes, one more for each byte that a longer prefix needs, and the entry where one covers it. The mean of all addresses. */
export function readsAmongPrefixes(keys: Iterable<Uint8Array>, addresses: readonly number[]): number {
  const longer = { 16: new Set<number>(), 24: new Set<number>() };
  const byLength = new Map<number, Set<number>>();
  for (const key of keys) {
    const view = new DataView(key.buffer, key.byteOffset);
    const [bits, address] = [view.getUint32(0, true), view.getUint32(4)];
    if (bits > 16) longer[16].add(leading(address, 16));
    if (bits > 24) longer[24].add(leading(address, 24));
    if (!byLength.has(bits)) byLength.set(bits, new Set());
    byLength.get(bits)!.add(leading(address, bits));
  }
  const reads = addresses.map((address) => {
    const tables = !longer[16].has(leading(address, 16)) ? 1 : !longer[24].has(leading(address, 24)) ? 2 : 3;
    return tables + ([...byLength].some(([bits, prefixes]) => prefixes.has(leading(address, bits))) ? 1 : 0);
  });
  return reads.reduce((sum, each) => sum + each, 0) / reads.length;
}

function leading(address: number, bits: number): number {
  return bits === 0 ? 0 : (address & (-1 << (32 - bits))) >>> 0;
}
