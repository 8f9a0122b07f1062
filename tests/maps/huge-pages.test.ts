/** Which tables are on pages of 2 MiB: as the running Linux says of the memory that this process has. */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';

import { HASH } from '../../dataplane/maps/hash.ts';
import type { BpfMap } from '../../dataplane/maps/bpf-map.ts';
import { openNative } from '../../dataplane/system/native.ts';
import { makeMap } from './map-fixtures.ts';

const missing = !existsSync('/sys/kernel/mm/transparent_hugepage/enabled') ? 'this system has no huge pages' : openNative() === undefined ? 'koffi is not installed' : undefined;

/** Flags of the mapping that has the middle of the map's storage, as /proc/self/smaps spells them. */
function flagsAt({ geometry: { machine, storage } }: BpfMap, offset: number): readonly string[] {
  const address = openNative()!.addressOf(machine.memory.bytes(storage + offset, 1));
  let within = false;
  for (const line of readFileSync('/proc/self/smaps', 'latin1').split('\n')) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line);
    if (range !== null) within = address >= parseInt(range[1]!, 16) && address < parseInt(range[2]!, 16);
    else if (within && line.startsWith('VmFlags:')) return line.split(' ').slice(1);
  }
  throw new Error(`no mapping has ${address}`);
}

describe.skipIf(missing !== undefined)(`large tables${missing === undefined ? '' : ` (${missing})`}`, () => {
  test('a table of a million entries asks for huge pages', () => {
    const map = makeMap(HASH, { keyBytes: 16, valueBytes: 32, maxEntries: 1_000_000 });
    expect(flagsAt(map, 40 << 20)).toContain('hg');
  });

  test('one of a thousand entries, which would take more memory and gain nothing, does not', () => {
    const map = makeMap(HASH, { keyBytes: 16, valueBytes: 32, maxEntries: 1000 });
    expect(flagsAt(map, 40_000)).not.toContain('hg');
  });
});
