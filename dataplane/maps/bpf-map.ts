/**
 * A live map: what programs reach through its descriptor, and user space through these methods, which behave like the
 * bpf() system call. Keys and values are bytes, copied in and out; a value of a per-CPU map is the concatenation of the
 * values of all possible CPUs, each padded to a multiple of 8 bytes.
 */
import { mapKeyCodec } from '../bpf/btf-value.ts';
import type { MapSpec } from '../bpf/spec.ts';
import type { Machine } from '../machine/machine.ts';
import type { Callee } from '../wasm/expression.ts';
import type { ModuleBuilder } from '../wasm/module-builder.ts';
import { MAP_TYPES } from './index.ts';
import { MAP_FLAG } from './map-check.ts';
import { MapError, errnoName } from './map-error.ts';
import type { MapKeeper } from './map-keeper.ts';
import { MapModule, instantiateOperations, lateOperations, operationsModule, tabulate, type MapOperations } from './map-module.ts';
import { mapsOf, type MapRegistry, type ProgramReference } from './map-registry.ts';
import { MAP_DESCRIPTOR, UPDATE, roundUp, valueStride, type ErrnoName, type MapCode, type MapGeometry, type MapOperation, type MapType } from './map.ts';
import { consumeRingbuf } from './ringbuf.ts';
import { readU32, u32Bytes } from './slot-array.ts';
import { specialFields, type SpecialField } from './special-fields.ts';

const REFERRED: { readonly [Held in MapType['holds']]?: string } = { programs: 'program', maps: 'map', sockets: 'socket', events: 'event' };

/** What helps, for each errno of a user's operation. */
const REMEDY: { readonly [Name in ErrnoName]?: (map: BpfMap) => string } = {
  EBADF: ({ type }) => `there is no such ${REFERRED[type.holds] ?? 'file'}: load it first, and give its id`,
  E2BIG: (map) => (map.type.keys === 'indexes' ? `its indexes end at ${map.spec.maxEntries - 1}: use a smaller one, or declare a larger max_entries` : fullRemedy(map)),
  EEXIST: () => 'the key is there already, as it always is in an array: drop BPF_NOEXIST',
  ENOENT: () => 'there is no such entry: add it first, or drop BPF_EXIST',
  EINVAL: ({ type }) => `a ${type.name} map does not take this key, value or flag`,
  ENOSPC: fullRemedy,
  EOPNOTSUPP: ({ type }) => `a ${type.name} map has no such operation`,
};

function fullRemedy({ type, spec, size }: BpfMap): string {
  return `it holds ${size} of ${spec.maxEntries} entries: ${type.keys === 'none' ? 'pop' : 'delete'} one first, or declare a larger max_entries`;
}

/** As its type reads: `7`, `10.0.0.0/8`. */
function describeKey(spec: MapSpec, key: Uint8Array): string {
  const value = mapKeyCodec(spec).read(key);
  return typeof value === 'object' ? JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? String(part) : part)) : String(value);
}

/** To call `set` takes longer than a loop over this many bytes. */
const LOOPED_BYTES = 64;

function copyIn(to: Uint8Array, at: number, from: Uint8Array, start: number, lengthBytes: number): void {
  if (lengthBytes > LOOPED_BYTES) to.set(from.subarray(start, start + lengthBytes), at);
  else for (let index = 0; index < lengthBytes; index++) to[at + index] = from[start + index]!;
}

export class BpfMap {
  readonly id: number;
  readonly spec: MapSpec;
  readonly type: MapType;
  readonly geometry: MapGeometry;
  readonly #machine: Machine;
  readonly #registry: MapRegistry;
  readonly #special: readonly SpecialField[];
  /** Of what operations are given: the bytes from the key to the value, and all of them. */
  readonly #valueOffset: number;
  readonly #scratchBytes: number;
  readonly #modules = new WeakMap<ModuleBuilder, MapModule>();
  #operations: MapOperations | undefined;
  #frozen = false;
  #keeper: MapKeeper | undefined;

  /** `operations` where they are compiled already. */
  constructor(id: number, geometry: MapGeometry, type: MapType, operations?: MapOperations) {
    this.id = id;
    this.spec = geometry.spec;
    this.type = type;
    this.geometry = geometry;
    this.#operations = operations;
    this.#machine = geometry.machine;
    this.#registry = mapsOf(geometry.machine);
    this.#special = specialFields(geometry.spec);
    this.#valueOffset = roundUp(this.spec.keyBytes, 8);
    this.#scratchBytes = this.#valueOffset * 2 + Math.max(valueStride(this.spec), 8);
  }

  /** On machine addresses, as engines and helpers call them. Compiled when first wanted: a program that knows the map has them in its own code. */
  get operations(): MapOperations {
    if (this.#operations === undefined) {
      const machine = this.#machine;
      this.#operations = instantiateOperations(machine.memory, machine.onCpu(0, () => operationsModule(this.geometry, this.type)));
      tabulate(machine, machine.memory.view.getUint32(this.descriptor + MAP_DESCRIPTOR.operations, true), this.#operations);
    }
    return this.#operations;
  }

  get name(): string {
    return this.spec.name;
  }

  get descriptor(): number {
    return this.geometry.descriptor;
  }

  /** Entries it has now. */
  get size(): number {
    if (this.#kept === undefined || this.type.keys === 'indexes') return this.type.size(this.geometry);
    if (this.type.keys === 'none') return this.#kept.values().length;
    let count = 0;
    for (const _ of this.keys()) count++;
    return count;
  }

  /** From now on `keeper` has the contents; it must have been given what the map holds. */
  keepIn(keeper: MapKeeper): void {
    this.#keeper = keeper;
  }

  /** The machine has the contents again, as its keeper has them now; what user space may not write stays as it was before. */
  takeBack(): void {
    const isWritten = this.#keeper !== undefined && this.type.holds === 'bytes' && !this.#frozen && (this.spec.flags & (MAP_FLAG.RDONLY | MAP_FLAG.WRONLY)) === 0;
    let entries: [Uint8Array, Uint8Array][] | undefined;
    try {
      if (isWritten) entries = [...this.entries()];
    } finally {
      this.#keeper = undefined;
    }
    if (entries === undefined) return;
    if (this.type.keys === 'none') {
      while (this.pop() !== undefined);
      for (const [, value] of this.type.name === 'stack' ? entries.toReversed() : entries) this.push(value);
      return;
    }
    if (this.type.keys === 'bytes') for (const key of this.keys()) this.delete(key);
    for (const [key, value] of entries) this.update(key, value);
  }

  /** What is to be asked instead of the machine's memory. */
  get #kept(): MapKeeper | undefined {
    return this.type.holds === 'bytes' || this.type.holds === 'records' ? this.#keeper : undefined;
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  /** From now on user space may only read. */
  freeze(): void {
    this.#frozen = true;
  }

  /** Bytes of a value as user space sees it. */
  get userValueBytes(): number {
    return this.type.perCpu ? valueStride(this.spec) * this.#machine.cpus : this.spec.valueBytes;
  }

  /** An operation's function in `module`, specialised to this map; defined there when first asked for. */
  define(module: ModuleBuilder, operation: MapOperation): Callee<'i32'> {
    return this.codeIn(module).operation(operation);
  }

  /** What of its code is in `module`. */
  codeIn(module: ModuleBuilder): MapCode {
    let code = this.#modules.get(module);
    if (code === undefined) this.#modules.set(module, (code = new MapModule(module, this.geometry, this.type)));
    return code;
  }

  lookup(key: Uint8Array): Uint8Array | undefined {
    this.#permit('lookup', MAP_FLAG.WRONLY);
    const keyAt = this.#place('lookup', key);
    if (this.#kept !== undefined) return this.#kept.lookup(key);
    const unreadable = this.type.references?.unreadable;
    if (unreadable !== undefined) this.#fail('lookup', unreadable, `user space cannot read what a ${this.type.name} holds`);
    return this.#read(keyAt);
  }

  /** `flags`: UPDATE of map.ts. */
  update(key: Uint8Array, value: Uint8Array, flags = 0): void {
    this.#permitWrite('update');
    const { valueBytes } = this.spec;
    if ((flags & UPDATE.lock) !== 0 && !this.#special.some(({ type }) => type === 'bpf_spin_lock')) this.#fail('update', 'EINVAL', 'BPF_F_LOCK was given, but its value has no struct bpf_spin_lock');
    if (value.length !== this.userValueBytes) {
      const expected = this.type.perCpu ? `${this.userValueBytes}: ${valueBytes} padded to ${valueStride(this.spec)}, for each of ${this.#machine.cpus} CPUs` : `${valueBytes}`;
      this.#fail('update', 'EINVAL', `a value of ${value.length} bytes was given, expected ${expected}`);
    }
    const keyAt = this.#place('update', key);
    if (this.#kept !== undefined) return this.#expectOk('update', this.#kept.update(key, value, flags), key);
    const slot = this.type.references?.write(this.geometry, key, value, flags) ?? value;
    if (typeof slot === 'number') return this.#expectOk('update', slot, key);
    const { memory, cpu, cpus } = this.#machine;
    const stride = this.type.perCpu ? valueStride(this.spec) : 0;
    copyIn(memory.u8, keyAt + this.#valueOffset, slot, cpu * stride, this.type.perCpu ? valueBytes : slot.length);
    this.#expectOk('update', this.operations.update(keyAt, keyAt + this.#valueOffset, flags), key);
    this.#expectOk('update', this.#keeper?.update(key, value, flags) ?? 0, key);
    if (!this.type.perCpu) return;
    for (let other = 0; other < cpus; other++) {
      memory.u8.set(value.subarray(other * stride, (other + 1) * stride), this.operations.lookup_percpu(keyAt, other) >>> 0);
    }
  }

  /** Whether the key was there. */
  delete(key: Uint8Array): boolean {
    this.#permitWrite('delete');
    const keyAt = this.#place('delete', key);
    const result = this.#kept?.delete(key) ?? this.operations.delete(keyAt);
    if (errnoName(result) === 'ENOENT') return false;
    this.#expectOk('delete', result, key);
    if (this.#kept === undefined) this.#keeper?.delete(key);
    return true;
  }

  /** Entries may be updated and deleted between steps. */
  *keys(): Generator<Uint8Array, void, undefined> {
    let key = this.#keyAfter(undefined);
    while (key !== undefined) {
      const following = this.#keyAfter(key);
      yield key;
      key = following;
    }
  }

  /** What can be read: nothing of a ring buffer, or where slots are files of other processes. A QUEUE or STACK has empty keys. */
  *entries(): Generator<[key: Uint8Array, value: Uint8Array], void, undefined> {
    if (this.type.values) {
      for (const value of this.#kept?.values() ?? this.type.values(this.geometry)) yield [new Uint8Array(0), value];
    }
    if (this.type.values || this.type.holds === 'records' || this.type.references?.unreadable !== undefined) return;
    for (const key of this.keys()) {
      const value = this.lookup(key);
      if (value !== undefined) yield [key, value];
    }
  }

  /** Of arrays, the entries that are not all zero; all entries of other maps. */
  *writtenEntries(): Generator<[key: Uint8Array, value: Uint8Array], void, undefined> {
    const { nonZero } = this.type;
    if (nonZero === undefined) return yield* this.entries();
    const indexes = this.#kept === undefined ? nonZero(this.geometry) : Array.from({ length: this.spec.maxEntries }).keys();
    for (const index of indexes) {
      const key = u32Bytes(index);
      const value = this.lookup(key);
      if (value?.some((byte) => byte !== 0)) yield [key, value];
    }
  }

  /** Puts a map into a map of maps, by index or key. */
  setMap(key: number | Uint8Array, map: BpfMap): void {
    this.update(this.#keyOf(key), u32Bytes(map.id));
  }

  /** The map in a slot of a map of maps. */
  innerMap(key: number | Uint8Array): BpfMap | undefined {
    const id = this.type.holds === 'maps' ? this.lookup(this.#keyOf(key)) : undefined;
    return id && mapsOf(this.#machine).byId(readU32(id));
  }

  /** Puts a program into a PROG_ARRAY, by index. An id alone has to be of a program in the registry. */
  setProgram(key: number | Uint8Array, program: ProgramReference | number): void {
    if (typeof program !== 'number') mapsOf(this.#machine).addProgram(program);
    this.update(this.#keyOf(key), u32Bytes(typeof program === 'number' ? program : program.id));
  }

  /** Of a QUEUE or STACK. `flags`: UPDATE.exist drops the oldest value where the map is full. */
  push(value: Uint8Array, flags = 0): void {
    this.#permitWrite('push');
    if (value.length !== this.spec.valueBytes) this.#fail('push', 'EINVAL', `a value of ${value.length} bytes was given, expected ${this.spec.valueBytes}`);
    if (this.#kept !== undefined) return this.#expectOk('push', this.#kept.push(value, flags), undefined);
    const at = this.#scratch();
    this.#machine.memory.u8.set(value, at);
    this.#expectOk('push', this.operations.push(at, flags), undefined);
  }

  /** Takes the value that is next to leave. */
  pop(): Uint8Array | undefined {
    this.#permitWrite('pop');
    return this.#take('pop');
  }

  peek(): Uint8Array | undefined {
    return this.#take('peek');
  }

  /** Takes the records of a RINGBUF in the order they were reserved, up to one that is not committed yet. */
  records(): Iterable<Uint8Array> {
    if (this.type.holds !== 'records') this.#fail('records', 'EOPNOTSUPP', 'it is not a ring buffer');
    return this.#kept?.records() ?? consumeRingbuf(this.geometry);
  }

  #take(operation: 'pop' | 'peek'): Uint8Array | undefined {
    this.#permit(operation, MAP_FLAG.WRONLY);
    if (this.#kept !== undefined) return this.#kept[operation]();
    const at = this.#scratch();
    const result = this.operations[operation](at);
    if (errnoName(result) === 'ENOENT') return undefined;
    this.#expectOk(operation, result, undefined);
    return this.#machine.memory.u8.slice(at, at + this.spec.valueBytes);
  }

  #keyOf(key: number | Uint8Array): Uint8Array {
    return typeof key === 'number' ? u32Bytes(key) : key;
  }

  #keyAfter(key: Uint8Array | undefined): Uint8Array | undefined {
    this.#permit('get_next_key', MAP_FLAG.WRONLY);
    const keyAt = key === undefined ? 0 : this.#place('get_next_key', key);
    if (this.#kept !== undefined && this.type.keys !== 'none') return this.#kept.next(key);
    const out = key === undefined ? this.#scratch() : keyAt + this.#valueOffset;
    const result = this.operations.next(keyAt, out);
    if (errnoName(result) === 'ENOENT') return undefined;
    this.#expectOk('get_next_key', result, key);
    return this.#machine.memory.u8.slice(out, out + this.spec.keyBytes);
  }

  /** Copies the value of the key at `keyAt`; does not count as a use of it. */
  #read(keyAt: number): Uint8Array | undefined {
    const { memory, cpus } = this.#machine;
    const first = this.operations.lookup_percpu(keyAt, 0) >>> 0;
    if (first === 0) return undefined;
    if (this.type.references?.read) return this.type.references.read(this.geometry, first);
    if (!this.type.perCpu) {
      const value = memory.u8.slice(first, first + this.spec.valueBytes);
      for (const { offset, lengthBytes } of this.#special) value.fill(0, offset, offset + lengthBytes);
      return value;
    }
    const stride = valueStride(this.spec);
    const value = new Uint8Array(stride * cpus);
    for (let cpu = 0; cpu < cpus; cpu++) value.set(memory.bytes(this.operations.lookup_percpu(keyAt, cpu) >>> 0, stride), cpu * stride);
    return value;
  }

  #scratch(): number {
    return this.#registry.scratch(this.#scratchBytes);
  }

  /** Copies a key to where operations can read it. */
  #place(operation: string, key: Uint8Array): number {
    if (key.length !== this.spec.keyBytes) this.#fail(operation, 'EINVAL', `a key of ${key.length} bytes was given, expected ${this.spec.keyBytes}`);
    const at = this.#scratch();
    copyIn(this.#machine.memory.u8, at, key, 0, key.length);
    return at;
  }

  #permitWrite(operation: string): void {
    this.#permit(operation, MAP_FLAG.RDONLY);
    if (this.#frozen) this.#fail(operation, 'EPERM', 'it is frozen, as .rodata is: set it before it is loaded, under constants in the lab file');
  }

  #permit(operation: string, forbidding: number): void {
    if ((this.spec.flags & forbidding) === 0) return;
    this.#fail(operation, 'EPERM', `its flags make it ${forbidding === MAP_FLAG.RDONLY ? 'read-only' : 'write-only'} for user space`);
  }

  #expectOk(operation: string, result: number, key: Uint8Array | undefined): void {
    if (result === 0) return;
    const errno = errnoName(result) ?? 'EIO';
    const of = key === undefined ? '' : `of key ${describeKey(this.spec, key)}: `;
    this.#fail(operation, errno, `${of}${REMEDY[errno]?.(this) ?? 'refused'}`);
  }

  #fail(operation: string, errno: ErrnoName, problem: string): never {
    throw new MapError(errno, `map '${this.name}' (${this.type.name}): ${operation} ${problem}`);
  }
}

export function createMap(machine: Machine, declared: MapSpec): BpfMap {
  const type = typeOf(declared);
  const spec = prepareSpec(type, declared, machine);
  if (spec.inner !== undefined) prepareSpec(typeOf(spec.inner), spec.inner, machine);
  const storage = type.allocate(machine, spec);
  const { memory } = machine;
  const descriptor = memory.allocate(MAP_DESCRIPTOR.size, MAP_DESCRIPTOR.size, `map '${spec.name}'`);
  const geometry: MapGeometry = { spec, machine, descriptor, storage };

  const registry = mapsOf(machine);
  const map = new BpfMap(registry.allocateId(), geometry, type);
  const operations = machine.mapTable.length;
  tabulate(machine, operations, lateOperations(() => map.operations));
  const fields = { operations, id: map.id, type: spec.type, keyBytes: spec.keyBytes, valueBytes: spec.valueBytes, maxEntries: spec.maxEntries, storage, flags: spec.flags };
  for (const [name, value] of Object.entries(fields)) memory.view.setUint32(descriptor + MAP_DESCRIPTOR[name as keyof typeof fields], value, true);
  registry.add(map);

  if (spec.contents !== undefined) memory.u8.set(spec.contents.subarray(0, spec.valueBytes), storage);
  if (spec.frozen) map.freeze();
  return map;
}

function typeOf(spec: MapSpec): MapType {
  const type = MAP_TYPES.get(spec.type);
  if (type === undefined) throw new MapError('EINVAL', `map '${spec.name}' is of type ${spec.type}, which is not supported: expected one of ${[...MAP_TYPES.values()].map(({ id, name }) => `${id} (${name})`).join(', ')}`);
  return type;
}

/** The declaration as Linux would take it. */
function prepareSpec(type: MapType, declared: MapSpec, machine: Machine): MapSpec {
  const spec = type.prepare?.(declared, machine) ?? declared;
  type.check(spec);
  return spec;
}
