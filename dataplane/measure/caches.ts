/** The caches that data goes through on its way to a core, as Linux tells them (Documentation/ABI/testing/sysfs-devices-system-cpu). */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Cache {
  readonly level: number;
  readonly bytes: number;
}

const FOLDER = '/sys/devices/system/cpu/cpu0/cache';
const UNITS: Readonly<Record<string, number>> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/** The smallest first; none where the system does not tell. */
export function dataCaches(folder: string = FOLDER): Cache[] {
  let names: string[];
  try {
    names = readdirSync(folder).filter((name) => name.startsWith('index'));
  } catch {
    return [];
  }
  return names.flatMap((name) => cacheAt(join(folder, name))).toSorted((one, other) => one.level - other.level);
}

function cacheAt(folder: string): Cache[] {
  try {
    const [level, type, size] = ['level', 'type', 'size'].map((fact) => readFileSync(join(folder, fact), 'latin1').trim()) as [string, string, string];
    const [, count, unit] = /^(\d+)([KMG]?)$/.exec(size) ?? [];
    if (type === 'Instruction' || count === undefined) return [];
    return [{ level: Number(level), bytes: Number(count) * (UNITS[unit ?? ''] ?? 1) }];
  } catch {
    return [];
  }
}
