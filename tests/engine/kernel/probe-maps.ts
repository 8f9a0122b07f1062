/** The maps that probes call helpers on: small, so that they fill, and each of another type. */
import { u32Bytes } from '../../../dataplane/maps/slot-array.ts';
import type { MapSpec } from '../../../dataplane/bpf/spec.ts';
import type { BpfMap } from '../../../dataplane/maps/bpf-map.ts';
import { MAP_TYPES } from '../../../dataplane/maps/index.ts';

export interface ProbeMap {
  readonly spec: MapSpec;
  /** Helpers that Linux lets programs call on a map of this type. */
  readonly helpers: RegExp;
  /** What it holds at first. */
  readonly fill?: (map: BpfMap) => void;
}

const ELEMENTS = /^map_(lookup|update|delete)_elem$/;
const PER_CPU = /^map_(lookup|update|delete|lookup_percpu)_elem$/;
const QUEUE = /^map_(push|pop|peek)_elem$/;
const DEVICES = /^redirect_map$/;
const LOOPBACK_IFINDEX = 1;
const BPF_F_NO_PREALLOC = 1;

const row = (type: string, helpers: RegExp, fields: Partial<MapSpec> = {}, fill?: ProbeMap['fill']): ProbeMap => ({
  spec: {
    name: type, type: [...MAP_TYPES.values()].find(({ name }) => name === type)!.id, keyBytes: 8, valueBytes: 8, maxEntries: 2, flags: 0, pinning: 'none',
    keyTypeId: 0, valueTypeId: 0, frozen: false, ...fields,
  },
  helpers,
  ...(fill === undefined ? {} : { fill }),
});

export const PROBE_MAPS: readonly ProbeMap[] = [
  row('hash', ELEMENTS),
  row('array', ELEMENTS, { keyBytes: 4 }),
  row('percpu_hash', PER_CPU),
  row('percpu_array', PER_CPU, { keyBytes: 4 }),
  // Small ones evict as they please; these hold every key that a probe has.
  row('lru_hash', ELEMENTS, { maxEntries: 64 }),
  row('lru_percpu_hash', PER_CPU, { maxEntries: 64 }),
  row('lpm_trie', ELEMENTS, { flags: BPF_F_NO_PREALLOC }),
  row('queue', QUEUE, { keyBytes: 0 }),
  row('stack', QUEUE, { keyBytes: 0 }),
  row('ringbuf', /^ringbuf_/, { keyBytes: 0, valueBytes: 0, maxEntries: 4096 }),
  row('devmap', DEVICES, { keyBytes: 4, valueBytes: 4 }, (map) => map.update(u32Bytes(1), u32Bytes(LOOPBACK_IFINDEX))),
  row('devmap_hash', DEVICES, { keyBytes: 4, valueBytes: 4 }, (map) => map.update(u32Bytes(14), u32Bytes(LOOPBACK_IFINDEX))),
];

interface Contents {
  entries(): Iterable<[Uint8Array, Uint8Array]>;
  pop(): Uint8Array | undefined;
  records(): Iterable<Uint8Array>;
}

/** What a map holds, as text; what is in queues and ring buffers is taken out. */
export function contentsOf({ spec, helpers }: ProbeMap, map: Contents): string {
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
  if (helpers === QUEUE) {
    const values: string[] = [];
    for (let value = map.pop(); value !== undefined; value = map.pop()) values.push(hex(value));
    return values.join(' ');
  }
  if (spec.keyBytes === 0) return Array.from(map.records(), hex).join(' ');
  return Array.from(map.entries(), ([key, value]) => `${hex(key)}=${hex(value)}`).filter((text) => !/=0*$/.test(text)).toSorted().join(' ');
}
