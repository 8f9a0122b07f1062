/**
 * What an object file says, as plain data: a pure function of its bytes (and of the BTF it is relocated against).
 * Nothing here is live; linking a ProgramSpec to maps and a hook makes a Program.
 */
import type { Btf } from './btf.ts';
import type { Instruction } from './isa.ts';

/** A map's declaration. `type` is the number of enum bpf_map_type. */
export interface MapSpec {
  readonly name: string;
  readonly type: number;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly maxEntries: number;
  readonly flags: number;
  /** `by_name`: maps of this name are one map across the objects of a lab (LIBBPF_PIN_BY_NAME). */
  readonly pinning: 'none' | 'by_name';
  readonly numaNode?: number;
  readonly mapExtra?: bigint;
  /** For maps of maps: what the inner maps look like. */
  readonly inner?: MapSpec;
  /** BTF type ids of key and value in the object's BTF, 0 where unknown. */
  readonly keyTypeId: number;
  readonly valueTypeId: number;
  /** The section whose variables this map holds: `.rodata`, `.data.counters`. Its `name` is what libbpf makes of it: `xdp_lb.rodata`. */
  readonly section?: string;
  /** `.rodata`, `.data`: the value of the only entry. Absent for `.bss`, which is zero. */
  readonly contents?: Uint8Array;
  /** `.rodata` is frozen: neither program nor user writes it once loaded. */
  readonly frozen: boolean;
  /** Static initialisers of PROG_ARRAY and maps of maps: slot to the name of a program or map. */
  readonly slots?: ReadonlyMap<number, string>;
  /** The object's BTF, for reading and writing keys and values by field. */
  readonly btf?: Btf;
}

/** A map as it is declared, without what is in it and what its types are called: plain data, of which a digest can be made. */
export function declarationOf({ btf: _btf, contents: _contents, inner, ...declared }: MapSpec): object {
  return { ...declared, inner: inner && declarationOf(inner) };
}

/** A function of a program: the entry function is first, its subprograms follow. */
export interface FunctionSpec {
  readonly name: string;
  readonly slot: number;
  /** BTF id of its FUNC, 0 where unknown. */
  readonly typeId: number;
  readonly linkage: 'static' | 'global' | 'extern';
}

/** An instruction that refers to something the kernel does not have: running or verifying it is an error, skipping it is not. */
export interface UnresolvedReference {
  readonly slot: number;
  readonly reason: string;
}

/** A C source line that begins at `slot`. */
export interface LineInfo {
  readonly slot: number;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly text: string;
}

export interface ProgramSpec {
  readonly name: string;
  /** The section it is in, as spelled there: `xdp`, `tc/ingress`, … */
  readonly section: string;
  /** Program type as libbpf derives it from the section, undefined for names it does not know. */
  readonly type: ProgramType | undefined;
  /** The section asks for multi-buffer packets: `xdp.frags`. */
  readonly frags: boolean;
  /** Attach type of the section, as bpftool spells it: `xdp_devmap`, `tcx_ingress`. */
  readonly attach?: string;
  /** False for sections that begin with `?`. */
  readonly autoload?: boolean;
  readonly instructions: readonly Instruction[];
  readonly functions: readonly FunctionSpec[];
  /** Where the function begins that runs when the program throws. */
  readonly exceptionCallback?: number;
  readonly lines: readonly LineInfo[];
  /** In slot order. A call of a helper that does not exist stands at each: poison.ts. */
  readonly unresolved?: readonly UnresolvedReference[];
  readonly license: string;
}

/** Names as bpftool spells program types. */
export const PROGRAM_TYPES = ['socket_filter', 'sched_cls', 'sched_act', 'xdp', 'cgroup_skb'] as const;
export type ProgramType = (typeof PROGRAM_TYPES)[number];

export interface CollectionSpec {
  readonly programs: ReadonlyMap<string, ProgramSpec>;
  readonly maps: ReadonlyMap<string, MapSpec>;
  readonly btf: Btf | undefined;
  readonly license: string;
}
