import { expect, test } from 'vitest';
import { BPF_MAP_TYPE, isMapOfMaps, mapTypeName } from '../../dataplane/bpf/map-type.ts';
import { MAP_TYPES } from '../../dataplane/maps/index.ts';

test('numbers and names of map types are one table, without a gap', () => {
  expect(Object.values(BPF_MAP_TYPE)).toEqual(Array.from({ length: 34 }, (_, index) => index + 1));
  for (const [name, type] of Object.entries(BPF_MAP_TYPE)) expect(mapTypeName(type)).toBe(name);
  expect(mapTypeName(0)).toBeUndefined();
  expect(mapTypeName(35)).toBeUndefined();
});

test('each map type that is supported has the name of its number', () => {
  for (const { id, name } of MAP_TYPES.values()) expect(name).toBe(mapTypeName(id));
});

test('maps of maps are those whose rows say that they hold maps', () => {
  for (const { id, holds } of MAP_TYPES.values()) expect(isMapOfMaps(id)).toBe(holds === 'maps');
});
