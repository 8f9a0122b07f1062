/** The maps of a lab for whoever asks over HTTP: described, and read and written in what JSON can hold. */
import { describeMap } from '../insight/describe-object.ts';
import type { BpfMap } from '../maps/bpf-map.ts';
import { MAP_FLAG } from '../maps/map-check.ts';
import { UPDATE } from '../maps/map.ts';
import { jsonText } from '../pipeline/json-text.ts';
import type { Lab } from '../pipeline/lab.ts';
import type { Collection } from '../program/collection.ts';
import type { TypedMap } from '../program/typed-map.ts';

export interface MapDescription {
  readonly id: number;
  readonly name: string;
  readonly type: string;
  /** Id of the object that declares it; of several that share it, one. */
  readonly object: string | null;
  readonly section?: string;
  readonly key: string;
  readonly value: string;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly maxEntries: number;
  readonly size: number;
  readonly perCpu: boolean;
  readonly readable: boolean;
  readonly writable: boolean;
}

export interface MapContents extends MapDescription {
  readonly entries: readonly MapEntry[];
  readonly more: boolean;
}

/** In what JSON can hold. */
export interface MapEntry {
  readonly key: unknown;
  readonly value: unknown;
}

/** As BPF_ANY, BPF_NOEXIST and BPF_EXIST. */
const UPDATE_FLAGS = { any: UPDATE.any, noexist: UPDATE.noExist, exist: UPDATE.exist } as const;
export type UpdateFlag = keyof typeof UPDATE_FLAGS;

/** Arrays that are longer show only what was written. */
const LONGEST_WHOLE_ARRAY = 4096;

export class LabMaps {
  readonly #lab: Lab;
  readonly #objectId: (collection: Collection) => string;

  constructor(lab: Lab, objectId: (collection: Collection) => string) {
    this.#lab = lab;
    this.#objectId = objectId;
  }

  all(): readonly MapDescription[] {
    return this.#lab.maps.map((map) => this.#describeMap(map));
  }

  read(id: number, offset: number, limit: number): MapContents | undefined {
    const map = this.#mapById(id);
    if (map === undefined) return undefined;
    const typed = this.#lab.typed(map);
    const description = this.#describeMap(map);
    const entries: MapEntry[] = [];
    let place = 0;
    let more = false;
    for (const [key, value] of description.readable ? (map.spec.maxEntries <= LONGEST_WHOLE_ARRAY ? typed.entries() : typed.writtenEntries()) : []) {
      if (place++ < offset) continue;
      if (entries.length === limit) {
        more = true;
        break;
      }
      entries.push(plainEntry(key, value));
    }
    return { ...description, entries, more };
  }

  lookup(id: number, key: unknown): MapEntry | undefined {
    const map = this.#typedById(id);
    const value = map?.get(key);
    return value === undefined ? undefined : plainEntry(key, value);
  }

  /** The entry as it now is; undefined without such a map. */
  update(id: number, key: unknown, value: unknown, flags: UpdateFlag): MapEntry | undefined {
    const map = this.#typedById(id);
    if (map === undefined) return undefined;
    map.set(key, value, UPDATE_FLAGS[flags]);
    return plainEntry(key, map.map.type.keys === 'none' ? value : (map.get(key) ?? null));
  }

  remove(id: number, key: unknown): boolean {
    return this.#typedById(id)?.delete(key) ?? false;
  }

  #mapById(id: number): BpfMap | undefined {
    return this.#lab.maps.find((map) => map.id === id);
  }

  #typedById(id: number): TypedMap | undefined {
    const map = this.#mapById(id);
    return map && this.#lab.typed(map);
  }

  #describeMap(map: BpfMap): MapDescription {
    const { type, spec } = map;
    const { key, value, keyBytes, valueBytes, maxEntries } = describeMap(spec);
    const owner = this.#lab.collections.find(({ maps }) => [...maps.values()].includes(map));
    const isStream = type.holds === 'records' || type.holds === 'events';
    return {
      id: map.id,
      name: this.#lab.mapName(map),
      type: type.name,
      object: owner === undefined ? null : this.#objectId(owner),
      ...(spec.section === undefined ? {} : { section: spec.section }),
      key,
      value,
      keyBytes,
      valueBytes,
      maxEntries,
      size: isStream ? 0 : map.size,
      perCpu: type.perCpu,
      readable: !isStream && type.references?.unreadable === undefined && (spec.flags & MAP_FLAG.WRONLY) === 0,
      writable: !isStream && !map.frozen && (spec.flags & MAP_FLAG.RDONLY) === 0,
    };
  }
}

function plainEntry(key: unknown, value: unknown): MapEntry {
  return plainValue({ key, value });
}

/** Numbers that JavaScript cannot hold exactly become text. */
export function plainValue<Value>(value: Value): Value {
  return JSON.parse(jsonText(value)) as Value;
}
