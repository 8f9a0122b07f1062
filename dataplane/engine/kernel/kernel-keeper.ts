/**
 * The kernel as what keeps a map's contents (maps/map-keeper.ts). Programs run on one CPU, so the values of CPUs that
 * the machine does not have are zero, and are left out.
 */
import type { BpfMap } from '../../maps/bpf-map.ts';
import type { MapKeeper } from '../../maps/map-keeper.ts';
import { valueStride } from '../../maps/map.ts';
import type { KernelMap } from './kernel-map.ts';

export interface KernelKeeperOptions {
  /** Of this machine, and of the kernel, which has as many at least. */
  readonly cpus: number;
  readonly possibleCpus: number;
  /** A value as bpf() wants it; undefined where the kernel is not to be told. */
  readonly written: (value: Uint8Array) => Uint8Array | undefined;
}

const NO_KEY = new Uint8Array();

export class KernelKeeper implements MapKeeper {
  readonly #map: BpfMap;
  readonly #twin: KernelMap;
  readonly #options: KernelKeeperOptions;

  constructor(map: BpfMap, twin: KernelMap, options: KernelKeeperOptions) {
    this.#map = map;
    this.#twin = twin;
    this.#options = options;
  }

  lookup(key: Uint8Array): Uint8Array | undefined {
    const value = this.#twin.lookup(key);
    return this.#map.type.perCpu ? value?.slice(0, valueStride(this.#map.spec) * this.#options.cpus) : value;
  }

  update(key: Uint8Array, value: Uint8Array, flags: number): number {
    const written = this.#options.written(value);
    return written === undefined ? 0 : this.#twin.tryUpdate(key, this.#map.type.perCpu ? this.#ofAllCpus(written) : written, flags);
  }

  delete(key: Uint8Array): number {
    return this.#twin.tryDelete(key);
  }

  next(key: Uint8Array | undefined): Uint8Array | undefined {
    return this.#twin.keyAfter(key);
  }

  push(value: Uint8Array, flags: number): number {
    return this.#twin.tryUpdate(NO_KEY, value, flags);
  }

  pop(): Uint8Array | undefined {
    return this.#twin.pop();
  }

  peek(): Uint8Array | undefined {
    return this.#twin.peek();
  }

  /** Linux cannot list them: they are taken out and put back. Nothing runs meanwhile. */
  values(): readonly Uint8Array[] {
    const values: Uint8Array[] = [];
    for (let value = this.pop(); value !== undefined; value = this.pop()) values.push(value);
    for (const value of this.#map.type.name === 'stack' ? values.toReversed() : values) this.#twin.push(value);
    return values;
  }

  records(): readonly Uint8Array[] {
    return this.#twin.records();
  }

  #ofAllCpus(value: Uint8Array): Uint8Array {
    const whole = new Uint8Array(valueStride(this.#map.spec) * this.#options.possibleCpus);
    whole.set(value);
    return whole;
  }
}
