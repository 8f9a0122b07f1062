import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { valueCodec } from '../../dataplane/bpf/btf-value.ts';
import { loadObject } from '../../dataplane/bpf/object.ts';
import type { MapSpec } from '../../dataplane/bpf/spec.ts';
import { parseLabFile } from '../../dataplane/pipeline/lab-file.ts';
import { programSources, programsDirectory } from '../../programs/objects.ts';

const directory = programsDirectory();
const collections = programSources(directory).map((source) => {
  const name = source.replace(/c$/, 'o');
  return { name, ...loadObject(readFileSync(join(directory, name)), { name }) };
});
const maps = new Map<string, MapSpec>(collections.flatMap((collection) => [...collection.maps]));
const lab = parseLabFile(readFileSync(join(directory, 'demo.yaml'), 'utf8'), 'demo.yaml');

function keyOf(name: string, bytes: Uint8Array): unknown {
  const spec = maps.get(name)!;
  return valueCodec(spec.btf, spec.keyTypeId, spec.keyBytes).read(bytes);
}

describe('the demonstration lab', () => {
  it('names programs that the objects have', () => {
    const choices = lab.devices.flatMap(({ programs }) => programs);
    expect(choices.length).toBe(4);
    for (const { object, program } of choices) {
      const found = collections.find(({ name }) => name === object)!;
      expect([...found.programs.keys()]).toContain(program ?? [...found.programs.keys()][0]);
    }
  });

  it.each([...lab.maps])('fills %s with what its types can hold', (name, contents) => {
    const spec = maps.get(name)!;
    const key = valueCodec(spec.btf, spec.keyTypeId, spec.keyBytes);
    const value = valueCodec(spec.btf, spec.valueTypeId, spec.valueBytes);
    for (const item of contents as readonly ReadonlyMap<string, unknown>[]) {
      if (item.has('maglev')) continue;
      if (item.has('key')) key.write(plain(item.get('key')), name);
      value.write(plain(item.has('key') ? item.get('value') : item), name);
    }
  });

  it('shows maps and event types that exist', () => {
    for (const { map } of lab.show) expect(maps.has(map)).toBe(true);
    for (const [map, type] of lab.events) expect(maps.get(map)?.btf?.idsByName(type, 'struct')).toHaveLength(1);
  });
});

describe('the types of the programs', () => {
  it('name the indexes of counters', () => {
    expect(keyOf('fw_counters', Uint8Array.of(4, 0, 0, 0))).toBe('FW_SYN_RATE');
    expect(keyOf('lb_counters', Uint8Array.of(2, 0, 0, 0))).toBe('LB_ECHO_ANSWERED');
    expect(keyOf('ct_counters', Uint8Array.of(6, 0, 0, 0))).toBe('CT_DROP_NO_RULE');
  });

  it('show a connection as a person would write it', () => {
    const key = new Uint8Array(40);
    key.set([0xff, 0xff, 10, 0, 0, 1], 10);
    key.set([0xfd, 0], 16);
    key.set([0, 22, 0xc0, 0], 32);
    key[36] = 6;
    expect(keyOf('connections', key)).toEqual({ local: '10.0.0.1', remote: 'fd00::', local_port: 22, remote_port: 49152, protocol: 'tcp' });
  });

  it('give every map a name of its own and of no more than the 15 characters that Linux keeps', () => {
    const names = collections.flatMap((collection) => [...collection.maps.values()].filter(({ section }) => section === undefined).map(({ name }) => name));
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name.length).toBeLessThanOrEqual(15);
  });
});

function plain(value: unknown): unknown {
  return value instanceof Map ? Object.fromEntries([...value].map(([key, inner]) => [String(key), plain(inner)])) : value;
}
