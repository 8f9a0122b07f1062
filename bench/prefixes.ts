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
    found.add(`${dotted((address & (-1 << (32 - length))) >>> 0)}/${length}`);
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
