/**
 * A map as JavaScript values: keys and values by the BTF types of the object that declared it, programs, maps and
 * devices by name.
 *
 *   lab.map('vips').set({ address: '10.0.0.1', port: 80, protocol: 'tcp' }, { id: 0, flags: 0 });
 *   lab.map('deny').set('192.0.2.0/24', 1);
 *
 * Values of per-CPU maps are lists, one item per CPU; setting one value sets it on every CPU, as bpftool does.
 */
import { mapKeyCodec, mapValueCodec, type BtfValue, type ValueCodec } from '../bpf/btf-value.ts';
import { XdplabError } from '../errors.ts';
import type { BpfMap } from '../maps/bpf-map.ts';
import { valueStride } from '../maps/map.ts';
import { maglevRing } from './maglev.ts';
import { readSlot, writeSlot, type NameScope } from './named-slot.ts';

export interface MapDump {
  readonly name: string;
  readonly type: string;
  readonly maxEntries: number;
  readonly entries: readonly { readonly key: BtfValue; readonly value: BtfValue }[];
}

export class TypedMap {
  readonly map: BpfMap;
  readonly #scope: NameScope;
  readonly #key: ValueCodec;
  readonly #value: ValueCodec;

  constructor(map: BpfMap, scope: NameScope) {
    this.map = map;
    this.#scope = scope;
    this.#key = mapKeyCodec(map.spec);
    this.#value = mapValueCodec(map.spec);
  }

  get name(): string {
    return this.map.name;
  }

  get perCpu(): boolean {
    return this.map.type.perCpu;
  }

  /** Entries it has; all of them for arrays. */
  get size(): number {
    return this.map.size;
  }

  /** The value of `key`, undefined where there is none. Does not count as a use of an LRU entry. */
  get(key: unknown): BtfValue | undefined {
    const bytes = this.map.lookup(this.#keyBytes(key, this.name));
    return bytes === undefined ? undefined : this.#read(bytes);
  }

  /** `flags`: UPDATE.any, noExist or exist. Errors are Linux's: ERR_MAP with the errno. */
  set(key: unknown, value: unknown, flags?: number): void {
    this.#set(key, value, this.name, flags);
  }

  /** Whether the key was there. */
  delete(key: unknown): boolean {
    return this.map.delete(this.#keyBytes(key, this.name));
  }

  *entries(): Generator<[key: BtfValue, value: BtfValue], void, undefined> {
    for (const [key, value] of this.map.entries()) yield [this.#key.read(key), this.#read(value)];
  }

  /** The same without the entries of arrays that are all zero: quick where an array declares millions. */
  *writtenEntries(): Generator<[key: BtfValue, value: BtfValue], void, undefined> {
    for (const [key, value] of this.map.writtenEntries()) yield [this.#key.read(key), this.#read(value)];
  }

  /** Everything in it; entries of arrays that are all zero are left out. */
  dump(): MapDump {
    const { name, type, spec } = this.map;
    const isReadable = type.holds !== 'records' && type.holds !== 'events';
    const entries = isReadable ? Array.from(this.writtenEntries(), ([key, value]) => ({ key, value })) : [];
    return { name, type: type.name, maxEntries: spec.maxEntries, entries };
  }

  /**
   * Writes contents as they stand in a file: a list of `{ key, value }`, a list of values (by index; for a queue or
   * stack, pushed in that order), a mapping from key to value, `{ maglev: … }` among a list's items, or all that
   * `dump` gave. `path` begins the errors.
   */
  fill(contents: unknown, path: string): void {
    const mapping = mappingOf(contents);
    if (mapping) {
      const saved = savedEntries(mapping);
      // A stack is read from its top, and written from its bottom.
      if (saved) return this.fill(this.map.type.name === 'stack' ? saved.toReversed() : saved, `${path}.entries`);
      if (this.map.spec.section !== undefined) this.#setGlobals(mapping, path);
      else for (const [key, value] of mapping) this.#put(plain(key), plain(value), `${path}.${String(key)}`);
      return;
    }
    if (!Array.isArray(contents)) {
      throw new XdplabError('ERR_VALUE', `${path}: found ${contents === null ? 'nothing' : typeof contents}, expected a list of { key, value }, a list of values, or key: value`);
    }
    contents.forEach((item: unknown, index) => {
      const at = `${path}[${index}]`;
      const entry = mappingOf(item);
      if (entry?.has('maglev')) this.#fillRing(plain(entry.get('maglev')), `${at}.maglev`);
      else if (entry?.has('key')) this.#put(plain(entry.get('key')), plain(entry.get('value')), at);
      else if (this.map.type.keys === 'bytes') throw new XdplabError('ERR_VALUE', `${at}: found a value without its key, expected { key, value } in a ${this.map.type.name} map`);
      else this.#put(index, plain(item), at);
    });
  }

  /** `#set`, with the place in the file before what names and maps refuse. */
  #put(key: unknown, value: unknown, path: string): void {
    try {
      this.#set(key, value, path);
    } catch (error) {
      if (!(error instanceof XdplabError) || error.message.startsWith(path)) throw error;
      throw new XdplabError(error.code, `${path}: ${error.message}`, { cause: error });
    }
  }

  #set(key: unknown, value: unknown, path: string, flags?: number): void {
    if (this.map.type.keys === 'none') return this.map.push(this.#valueBytes(value, path), flags);
    this.map.update(this.#keyBytes(key, path), this.#valueBytes(value, path), flags);
  }

  #keyBytes(key: unknown, path: string): Uint8Array {
    return this.#key.write(key, `${path}: key`);
  }

  #valueBytes(value: unknown, path: string): Uint8Array {
    const { type, spec } = this.map;
    const slot = writeSlot(this.map, value, this.#scope, `${path}: value`);
    if (slot) return slot;
    if (!type.perCpu) return this.#value.write(value, `${path}: value`);
    const stride = valueStride(spec);
    const cpus = this.map.userValueBytes / stride;
    const bytes = new Uint8Array(this.map.userValueBytes);
    const each = Array.isArray(value) ? value : Array.from({ length: cpus }, (): unknown => value);
    if (each.length !== cpus) throw new XdplabError('ERR_VALUE', `${path}: value: found ${each.length} values, expected one, or one for each of ${cpus} CPUs`);
    each.forEach((one, cpu) => bytes.set(this.#value.write(one, `${path}: value[${cpu}]`), cpu * stride));
    return bytes;
  }

  #read(bytes: Uint8Array): BtfValue {
    const slot = readSlot(this.map, bytes, this.#scope);
    if (slot !== undefined) return slot;
    if (!this.map.type.perCpu) return this.#value.read(bytes);
    const stride = valueStride(this.map.spec);
    return Array.from({ length: bytes.length / stride }, (_, cpu) => this.#value.read(bytes, cpu * stride));
  }

  /** Variables of `.data` and `.bss`: those that are not named keep what they have. */
  #setGlobals(contents: ReadonlyMap<unknown, unknown>, path: string): void {
    const key = new Uint8Array(4);
    this.map.update(key, this.#value.write(plain(contents), path, this.map.lookup(key)!));
  }

  /** `maglev: { from: 0, slots: 4093, backends: { 1: 1, 2: 3 } }`: a ring of `slots` elements; backends by number, with weights. */
  #fillRing(ring: unknown, path: string): void {
    if (typeof ring !== 'object' || ring === null) throw new XdplabError('ERR_VALUE', `${path}: expected { from, slots, backends }`);
    const { from = 0, slots, backends } = ring as Record<string, unknown>;
    if (typeof from !== 'number' || !Number.isInteger(from) || typeof slots !== 'number' || typeof backends !== 'object' || backends === null) {
      throw new XdplabError('ERR_VALUE', `${path}: expected { from: <index>, slots: <prime>, backends: { <number>: <weight> } }`);
    }
    const members = Object.entries(backends).map(([id, weight]) => ({ id: Number(id), name: id, weight: Number(weight) }));
    // Rings are long and name few backends: each is encoded once.
    const values = new Map([0, ...members.map(({ id }) => id)].map((id) => [id, this.#valueBytes(id, path)]));
    const index = new Uint32Array(1);
    const indexBytes = new Uint8Array(index.buffer);
    const hasIndexes = this.map.type.keys === 'indexes';
    maglevRing(members, slots).forEach((backend, slot) => {
      index[0] = from + slot;
      this.map.update(hasIndexes ? indexBytes : this.#keyBytes(from + slot, path), values.get(backend)!);
    });
  }
}

/** Adds what each CPU counted, field by field; whatever is no number is the first CPU's. */
export function sumCpus(perCpu: BtfValue): BtfValue {
  if (!Array.isArray(perCpu)) return perCpu;
  const values = perCpu as readonly BtfValue[];
  const [first] = values;
  if (typeof first === 'number' || typeof first === 'bigint') {
    const total = values.reduce<bigint>((sum, value) => sum + BigInt(value as number | bigint), 0n);
    return total <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(total) : total;
  }
  if (typeof first !== 'object' || Array.isArray(first)) return first ?? 0;
  const fields = first as Readonly<Record<string, BtfValue>>;
  return Object.fromEntries(Object.keys(fields).map((name) => [name, sumCpus(values.map((value) => (value as typeof fields)[name]!))]));
}

/** A file's mapping is a Map, since its keys may be anything; a program's is an object. */
function mappingOf(value: unknown): ReadonlyMap<unknown, unknown> | undefined {
  if (value instanceof Map) return value;
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? new Map(Object.entries(value)) : undefined;
}

/** The entries of what `dump` gave, read back from a file. */
function savedEntries(contents: ReadonlyMap<unknown, unknown>): readonly unknown[] | undefined {
  const entries = contents.get('entries');
  return contents.size === 4 && ['name', 'type', 'maxEntries'].every((fact) => contents.has(fact)) && Array.isArray(entries) ? entries : undefined;
}

/** Mappings of a YAML file as objects that have no prototype to write to. */
export function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (!(value instanceof Map)) return value;
  const object: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const [key, inner] of value) object[String(key)] = plain(inner);
  return object;
}
