/**
 * Which accesses of its context Linux 6.18 allows a program, field by field (net/core/filter.c: xdp_is_valid_access,
 * bpf_skb_is_valid_access and what socket filters, TC and control groups take away from it).
 * An access lies in one field, at a multiple of its size.
 */
import type { ProgramType } from '../bpf/spec.ts';
import { SK_BUFF, XDP_MD } from '../packet/frame.ts';

export interface ContextAccess {
  /** What a load gives; `socket_or_null` is a `struct bpf_sock` whose address was not compared with NULL yet. */
  readonly kind: 'scalar' | 'packet' | 'packet_meta' | 'packet_end' | 'socket_or_null' | 'flow_keys';
}

type Bytes = 1 | 2 | 4 | 8;

interface AccessRow {
  readonly name: string;
  readonly offset: number;
  /** Of the field, all elements of an array together. */
  readonly bytes: number;
  readonly kind: ContextAccess['kind'];
  /** Sizes of a load, and of a store. */
  readonly read: readonly Bytes[];
  readonly write: readonly Bytes[];
  readonly readers: readonly ProgramType[];
  readonly writers: readonly ProgramType[];
  /** The only way of attaching for which the field is there. */
  readonly attach?: string;
  /** Program types of which loads, or stores, are for whoever has CAP_BPF. */
  readonly readersWithBpf?: readonly ProgramType[];
  readonly writersWithBpf?: readonly ProgramType[];
}

const BYTE: readonly Bytes[] = [1];
const WORD: readonly Bytes[] = [4];
const LONG: readonly Bytes[] = [8];
/** Loads of a part of a word are rewritten to loads of all of it. */
const NARROW: readonly Bytes[] = [1, 2, 4];
const ANY_SIZE: readonly Bytes[] = [1, 2, 4, 8];

const NONE: readonly ProgramType[] = [];
const TC: readonly ProgramType[] = ['sched_cls', 'sched_act'];
const CGROUP: readonly ProgramType[] = ['cgroup_skb'];
const TC_AND_CGROUP: readonly ProgramType[] = [...TC, ...CGROUP];
const ALL_SKB: readonly ProgramType[] = ['socket_filter', ...TC_AND_CGROUP];

type More = Partial<Pick<AccessRow, 'bytes' | 'kind' | 'read' | 'write' | 'attach' | 'readersWithBpf' | 'writersWithBpf'>>;

const xdpField = (name: Exclude<keyof typeof XDP_MD, 'size'>, more: More = {}): AccessRow => ({
  name, offset: XDP_MD[name], bytes: 4, kind: 'scalar', read: WORD, write: WORD, readers: ['xdp'], writers: NONE, ...more,
});

const skbField = (name: Exclude<keyof typeof SK_BUFF, 'size' | 'publicSize'>, readers: readonly ProgramType[], writers: readonly ProgramType[], more: More = {}): AccessRow => ({
  name, offset: SK_BUFF[name], bytes: 4, kind: 'scalar', read: NARROW, write: WORD, readers, writers, ...more,
});

const XDP_ROWS: readonly AccessRow[] = [
  xdpField('data', { kind: 'packet' }),
  xdpField('data_end', { kind: 'packet_end' }),
  xdpField('data_meta', { kind: 'packet_meta' }),
  xdpField('ingress_ifindex'),
  // Programs that are offloaded to a device may write it; none here is.
  xdpField('rx_queue_index'),
  xdpField('egress_ifindex', { attach: 'xdp_devmap' }),
];

const SKB_ROWS: readonly AccessRow[] = [
  skbField('len', ALL_SKB, NONE),
  skbField('pkt_type', ALL_SKB, NONE),
  skbField('mark', ALL_SKB, TC_AND_CGROUP),
  skbField('queue_mapping', ALL_SKB, TC),
  skbField('protocol', ALL_SKB, NONE),
  skbField('vlan_present', ALL_SKB, NONE),
  skbField('vlan_tci', ALL_SKB, NONE),
  skbField('vlan_proto', ALL_SKB, NONE),
  skbField('priority', ALL_SKB, TC_AND_CGROUP),
  skbField('ingress_ifindex', ALL_SKB, NONE),
  skbField('ifindex', ALL_SKB, NONE),
  skbField('tc_index', ALL_SKB, TC),
  skbField('cb', ALL_SKB, ALL_SKB, { bytes: 20, read: ANY_SIZE, write: ANY_SIZE }),
  skbField('hash', ALL_SKB, NONE),
  skbField('tc_classid', TC, TC),
  skbField('data', TC_AND_CGROUP, NONE, { kind: 'packet', read: WORD, readersWithBpf: CGROUP }),
  skbField('data_end', TC_AND_CGROUP, NONE, { kind: 'packet_end', read: WORD, readersWithBpf: CGROUP }),
  skbField('napi_id', ALL_SKB, NONE),
  skbField('family', CGROUP, NONE),
  skbField('remote_ip4', CGROUP, NONE, { read: WORD }),
  skbField('local_ip4', CGROUP, NONE, { read: WORD }),
  skbField('remote_ip6', CGROUP, NONE, { bytes: 16, read: WORD }),
  skbField('local_ip6', CGROUP, NONE, { bytes: 16, read: WORD }),
  skbField('remote_port', CGROUP, NONE),
  skbField('local_port', CGROUP, NONE),
  skbField('data_meta', TC, NONE, { kind: 'packet_meta', read: WORD }),
  // For flow dissectors alone.
  skbField('flow_keys', NONE, NONE, { bytes: 8, kind: 'flow_keys', read: LONG }),
  skbField('tstamp', TC_AND_CGROUP, TC_AND_CGROUP, { bytes: 8, read: LONG, write: LONG, writersWithBpf: CGROUP }),
  skbField('wire_len', TC, NONE),
  skbField('gso_segs', ALL_SKB, NONE),
  skbField('sk', ALL_SKB, NONE, { bytes: 8, kind: 'socket_or_null', read: LONG }),
  skbField('gso_size', ALL_SKB, NONE),
  skbField('tstamp_type', TC, NONE, { bytes: 1, read: BYTE }),
  skbField('hwtstamp', TC_AND_CGROUP, NONE, { bytes: 8, read: LONG }),
];

/** The row of each byte of a context. */
function byOffset(rows: readonly AccessRow[], contextBytes: number): readonly (AccessRow | undefined)[] {
  const found: (AccessRow | undefined)[] = Array.from({ length: contextBytes }, () => undefined);
  for (const row of rows) found.fill(row, row.offset, row.offset + row.bytes);
  return found;
}

const XDP_FIELDS = byOffset(XDP_ROWS, XDP_MD.egress_ifindex + 4);
const SKB_FIELDS = byOffset(SKB_ROWS, SK_BUFF.publicSize);

/**
 * What an access of `bytes` at `offset` of the context gives; undefined where Linux refuses it ("invalid bpf_context
 * access off=%d size=%d"). `attach` is the program's attach type as bpftool spells it; `bpf`: whoever loads it has CAP_BPF.
 */
export function contextAccess(type: ProgramType, offset: number, bytes: Bytes, write: boolean, attach: string | undefined, bpf: boolean): ContextAccess | undefined {
  const row = (type === 'xdp' ? XDP_FIELDS : SKB_FIELDS)[offset];
  if (row === undefined || offset % bytes !== 0 || offset + bytes > row.offset + row.bytes) return undefined;
  if (!(write ? row.write : row.read).includes(bytes) || !(write ? row.writers : row.readers).includes(type)) return undefined;
  if (row.attach !== undefined && row.attach !== attach) return undefined;
  if (!bpf && (write ? row.writersWithBpf : row.readersWithBpf)?.includes(type) === true) return undefined;
  return row;
}

/** The field at an offset, and with how many bytes programs of the type may read and write it; undefined where there is none. */
export function contextField(type: ProgramType, offset: number): { readonly name: string; readonly offset: number; readonly kind: ContextAccess['kind']; readonly read: readonly number[]; readonly write: readonly number[] } | undefined {
  const row = (type === 'xdp' ? XDP_FIELDS : SKB_FIELDS)[offset];
  return row === undefined ? undefined : { name: row.name, offset: row.offset, kind: row.kind, read: row.readers.includes(type) ? row.read : [], write: row.writers.includes(type) ? row.write : [] };
}
