import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { dataCaches } from '../../dataplane/measure/caches.ts';

const folder = mkdtempSync(join(tmpdir(), 'xdplab-caches-'));
afterAll(() => rmSync(folder, { recursive: true }));

function cache(index: number, facts: Readonly<Record<string, string>>): void {
  mkdirSync(join(folder, `index${index}`));
  for (const [name, text] of Object.entries(facts)) writeFileSync(join(folder, `index${index}`, name), `${text}\n`);
}

test('caches for data are told from the smallest on; those for instructions, and what cannot be read, are left out', () => {
  cache(0, { level: '3', type: 'Unified', size: '32M' });
  cache(1, { level: '1', type: 'Data', size: '48K' });
  cache(2, { level: '1', type: 'Instruction', size: '32K' });
  cache(3, { level: '2', type: 'Unified', size: '1024K' });
  cache(4, { level: '4', type: 'Unified' });
  cache(5, { level: '5', type: 'Unified', size: 'much' });
  expect(dataCaches(folder)).toEqual([
    { level: 1, bytes: 48 << 10 },
    { level: 2, bytes: 1 << 20 },
    { level: 3, bytes: 32 << 20 },
  ]);
});

test('where the system does not tell, there are none', () => {
  expect(dataCaches(join(folder, 'nowhere'))).toEqual([]);
});
