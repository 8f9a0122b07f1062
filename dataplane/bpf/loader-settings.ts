/**
 * What a program's own loader sets before it loads an object: constants (`const volatile` variables, in `.rodata`,
 * which is frozen afterwards) and the sizes of maps that depend on the machine. libbpf's skeleton->rodata and
 * bpf_map__set_max_entries, as a function from a Spec to a Spec.
 */
import { mapValueCodec } from './btf-value.ts';
import type { CollectionSpec, MapSpec } from './spec.ts';

export interface LoaderSettings {
  /** max_entries by map name. */
  readonly maxEntries?: Readonly<Record<string, number>>;
  /** Values by variable name, as their types write them. */
  readonly constants?: Readonly<Record<string, unknown>>;
}

/** Names that the object does not have are passed over: a lab sets them for all of its objects. `path` begins the errors. */
export function applySettings(spec: CollectionSpec, { maxEntries = {}, constants = {} }: LoaderSettings, path = ''): CollectionSpec {
  const maps = [...spec.maps].map(([key, map]): [string, MapSpec] => {
    const own = constantNames(map).filter((name) => Object.hasOwn(constants, name));
    if (own.length > 0) {
      const values = Object.fromEntries(own.map((name) => [name, constants[name]]));
      return [key, { ...map, contents: mapValueCodec(map).write(values, `${path}constants`, map.contents) }];
    }
    const entries = Object.hasOwn(maxEntries, map.name) ? maxEntries[map.name] : undefined;
    return [key, entries === undefined ? map : { ...map, maxEntries: entries }];
  });
  return { ...spec, maps: new Map(maps) };
}

/** The variables of a `.rodata` section; none of other maps. */
export function constantNames({ frozen, btf, valueTypeId }: MapSpec): readonly string[] {
  const section = frozen && valueTypeId !== 0 ? btf?.type(valueTypeId) : undefined;
  if (section?.kind !== 'datasec') return [];
  return section.variables.flatMap(({ type }) => {
    const variable = btf?.type(type);
    return variable?.kind === 'var' ? [variable.name] : [];
  });
}
