/** Constants and map sizes that a program's own loader would set. */
import { describe, expect, test } from 'vitest';
import { mapValueCodec } from '../../dataplane/bpf/btf-value.ts';
import { applySettings, constantNames } from '../../dataplane/bpf/loader-settings.ts';
import { load, mapOf } from './test-object.ts';

const DATA = load('data');
const RODATA = mapOf(DATA, 'data.rodata');
const constantsOf = (spec: typeof DATA): unknown => {
  const map = mapOf(spec, 'data.rodata');
  return mapValueCodec(map).read(map.contents!);
};

describe('constants', () => {
  test('are the variables of .rodata, not those that programs write', () => {
    expect(constantNames(RODATA)).toEqual(['limit', 'device', 'ports']);
    expect(constantNames(mapOf(DATA, 'data.data'))).toEqual([]);
  });

  test('that are named change, and only in the new spec', () => {
    expect(constantsOf(applySettings(DATA, { constants: { limit: 7, device: 'wan' } }))).toEqual({ limit: 7, device: 'wan', ports: [22, 80, 443] });
    expect(constantsOf(DATA)).toEqual({ limit: 100, device: 'eth0', ports: [22, 80, 443] });
  });

  test('must fit their types', () => {
    expect(() => applySettings(DATA, { constants: { limit: 'many' } }, 'data.bpf.o: ')).toThrow(/^data\.bpf\.o: constants\.limit: found "many", expected 0 to 4294967295$/);
  });
});

test('a map is as large as was said, and others stay', () => {
  const maps = load('maps');
  const [first, second] = [...maps.maps.values()].map(({ name }) => name);
  const sized = applySettings(maps, { maxEntries: { [first!]: 12_345, elsewhere: 1 } });
  expect(mapOf(sized, first!).maxEntries).toBe(12_345);
  expect(mapOf(sized, second!)).toEqual(mapOf(maps, second!));
});
