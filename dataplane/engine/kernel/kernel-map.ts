/**
 * A map in the kernel, with the methods of BpfMap: keys and values are bytes, copied in and out, and a value of a
 * per-CPU map is the values of all possible CPUs, each padded to a multiple of 8 bytes.
 *
 * What holds references is written as file descriptors, as bpf() wants it, and read as ids.
 */
import type { MapSpec } from '../../bpf/spec.ts';
import { MAP_TYPES } from '../../maps/index.ts';
import { MAP_FLAG } from '../../maps/map-check.ts';
import { roundUp, valueStride } from '../../maps/map.ts';
import { errnoText, type PinnedMemory } from '../../system/native.ts';
import { MAP_INFO } from './bpf-attributes.ts';
import { KernelRefusal, type Linux } from './linux.ts';
import { RingbufReader } from './ringbuf-reader.ts';

export interface KernelMapOptions {
  /** Descriptor of the object's BTF, whose types the declaration's ids are. */
  readonly btfFd?: number;
}

export class KernelMap {
  readonly spec: MapSpec;
  readonly fd: number;
  readonly #linux: Linux;
  readonly #valueBytes: number;
  #records: RingbufReader | undefined;

  constructor(linux: Linux, spec: MapSpec, fd: number) {
    this.spec = spec;
    this.fd = fd;
    this.#linux = linux;
    const perCpu = MAP_TYPES.get(spec.type)?.perCpu === true;
    this.#valueBytes = perCpu ? valueStride(spec) * linux.possibleCpus : spec.valueBytes;
  }

  get name(): string {
    return this.spec.name;
  }

  /** As lookups of maps of maps, and bpftool, name it. */
  get id(): number {
    const info = this.#linux.scratch(MAP_INFO.sizeBytes);
    const result = this.#linux.bpf('obj_get_info_by_fd', { bpf_fd: this.fd, info_len: MAP_INFO.sizeBytes, info: info.address });
    if (result < 0) this.#fail('id', result);
    return info.view.getUint32(MAP_INFO.id, true);
  }

  lookup(key: Uint8Array): Uint8Array | undefined {
    return this.#read('map_lookup_elem', key);
  }

  /** `flags`: UPDATE of maps/map.ts. */
  update(key: Uint8Array, value: Uint8Array, flags = 0): void {
    const result = this.tryUpdate(key, value, flags);
    if (result < 0) this.#fail(`update of key ${Buffer.from(key).toString('hex')}`, result);
  }

  /** 0, or the negative errno. */
  tryUpdate(key: Uint8Array, value: Uint8Array, flags = 0): number {
    const { memory, valueAt } = this.#arguments(key);
    memory.bytes.set(value, valueAt);
    return this.#linux.bpf('map_update_elem', { map_fd: this.fd, key: keyAddress(memory, key), value: memory.address + valueAt, flags });
  }

  /** Whether the key was there. */
  delete(key: Uint8Array): boolean {
    const result = this.tryDelete(key);
    if (result < 0 && errnoText(result) !== 'ENOENT') this.#fail('delete', result);
    return result === 0;
  }

  /** 0, or the negative errno. */
  tryDelete(key: Uint8Array): number {
    const { memory } = this.#arguments(key);
    return this.#linux.bpf('map_delete_elem', { map_fd: this.fd, key: memory.address });
  }

  *keys(): Generator<Uint8Array, void, undefined> {
    let key = this.keyAfter(undefined);
    while (key !== undefined) {
      const following = this.keyAfter(key);
      yield key;
      key = following;
    }
  }

  /** The first key where none is given. */
  keyAfter(key: Uint8Array | undefined): Uint8Array | undefined {
    const { memory, valueAt } = this.#arguments(key ?? new Uint8Array());
    const result = this.#linux.bpf('map_get_next_key', { map_fd: this.fd, key: key === undefined ? 0 : memory.address, next_key: memory.address + valueAt });
    if (errnoText(result) === 'ENOENT') return undefined;
    if (result < 0) this.#fail('get_next_key', result);
    return memory.bytes.slice(valueAt, valueAt + this.spec.keyBytes);
  }

  *entries(): Generator<[key: Uint8Array, value: Uint8Array], void, undefined> {
    for (const key of this.keys()) {
      const value = this.lookup(key);
      if (value !== undefined) yield [key, value];
    }
  }

  /** From now on user space may only read; the verifier takes the values of such a map for constants. */
  freeze(): void {
    const result = this.#linux.bpf('map_freeze', { map_fd: this.fd });
    if (result < 0) this.#fail('freeze', result);
  }

  /** Of a QUEUE or STACK. */
  push(value: Uint8Array, flags = 0): void {
    this.update(new Uint8Array(), value, flags);
  }

  peek(): Uint8Array | undefined {
    return this.#read('map_lookup_elem', new Uint8Array());
  }

  pop(): Uint8Array | undefined {
    return this.#read('map_lookup_and_delete_elem', new Uint8Array());
  }

  /** Takes the records of a RINGBUF in order, up to one that is not committed yet. */
  records(): Uint8Array[] {
    return this.#reader().take();
  }

  /** Whether a RINGBUF has any; costs no system call. */
  get hasRecords(): boolean {
    return this.#reader().pending;
  }

  close(): void {
    this.#records?.close();
    this.#records = undefined;
    this.#linux.close(this.fd);
  }

  #reader(): RingbufReader {
    this.#records ??= new RingbufReader(this.#linux, this.fd, this.spec.maxEntries);
    return this.#records;
  }

  #read(command: 'map_lookup_elem' | 'map_lookup_and_delete_elem', key: Uint8Array): Uint8Array | undefined {
    const { memory, valueAt } = this.#arguments(key);
    const result = this.#linux.bpf(command, { map_fd: this.fd, key: keyAddress(memory, key), value: memory.address + valueAt });
    if (errnoText(result) === 'ENOENT') return undefined;
    if (result < 0) this.#fail('lookup', result);
    return memory.bytes.slice(valueAt, valueAt + this.#valueBytes);
  }

  /** The key where the kernel can read it, and room for a value or another key behind it. */
  #arguments(key: Uint8Array): { readonly memory: PinnedMemory; readonly valueAt: number } {
    const valueAt = roundUp(Math.max(this.spec.keyBytes, 8), 8);
    const memory = this.#linux.scratch(valueAt + Math.max(this.#valueBytes, valueAt));
    memory.bytes.set(key);
    return { memory, valueAt };
  }

  #fail(operation: string, result: number): never {
    throw new KernelRefusal('ERR_MAP', result, `map '${this.name}' in the kernel: ${operation} is refused`);
  }
}

/** Queues have no keys, and want NULL. */
function keyAddress({ address }: PinnedMemory, key: Uint8Array): number {
  return key.length === 0 ? 0 : address;
}

export function createKernelMap(linux: Linux, declared: MapSpec, { btfFd }: KernelMapOptions = {}): KernelMap {
  const spec = MAP_TYPES.get(declared.type)?.prepare?.(declared, { cpus: linux.possibleCpus }) ?? declared;
  const inner = spec.inner === undefined ? undefined : createKernelMap(linux, spec.inner, btfFd === undefined ? {} : { btfFd });
  const plain = {
    name: spec.name, map_type: spec.type, key_size: spec.keyBytes, value_size: spec.valueBytes, max_entries: spec.maxEntries, map_flags: spec.flags,
    inner_map_fd: inner?.fd ?? 0, numa_node: (spec.flags & MAP_FLAG.NUMA_NODE) === 0 ? 0 : spec.numaNode ?? 0, map_extra: spec.mapExtra ?? 0n,
  };
  const typed = btfFd !== undefined && spec.valueTypeId !== 0;
  let fd = typed ? linux.open('map_create', { ...plain, btf_fd: btfFd, btf_key_type_id: spec.keyTypeId, btf_value_type_id: spec.valueTypeId }) : -1;
  // As libbpf: many map types take no BTF, and an array takes none whose key is an enum.
  if (fd < 0) fd = linux.open('map_create', plain);
  inner?.close();
  if (fd < 0) throw new KernelRefusal('ERR_MAP', fd, `map '${spec.name}' (type ${spec.type}): Linux does not make it with key ${spec.keyBytes}, value ${spec.valueBytes}, max_entries ${spec.maxEntries}, flags 0x${spec.flags.toString(16)}`);
  return new KernelMap(linux, spec, fd);
}
