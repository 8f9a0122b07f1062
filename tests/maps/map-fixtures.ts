/** Declarations and keys for the map tests. */
import type { MapSpec } from '../../dataplane/bpf/spec.ts';
import { Machine } from '../../dataplane/machine/machine.ts';
import { createMap, type BpfMap } from '../../dataplane/maps/bpf-map.ts';
import { MapError } from '../../dataplane/maps/map-error.ts';
import type { MapType } from '../../dataplane/maps/map.ts';

export function mapSpec(type: MapType, fields: Partial<MapSpec> = {}): MapSpec {
  return {
    name: 'test', type: type.id, keyBytes: 4, valueBytes: 8, maxEntries: 4, flags: 0, pinning: 'none',
    keyTypeId: 0, valueTypeId: 0, frozen: false, ...fields,
  };
}

export function makeMap(type: MapType, fields: Partial<MapSpec> = {}, machine = new Machine()): BpfMap {
  return createMap(machine, mapSpec(type, fields));
}

export function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

export function u64(value: number | bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
}

/** The errno a call is refused with, or 0. */
export function errnoOf(action: () => unknown): string | 0 {
  try {
    action();
    return 0;
  } catch (error) {
    if (error instanceof MapError) return error.errno;
    throw error;
  }
}

export const hex = (bytes: Uint8Array | undefined): string | undefined => (bytes === undefined ? undefined : Buffer.from(bytes).toString('hex'));
