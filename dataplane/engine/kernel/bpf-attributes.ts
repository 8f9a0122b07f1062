/**
 * The bpf() system call as tables: its commands, and where each field of theirs is in `union bpf_attr`
 * (include/uapi/linux/bpf.h, Linux 6.18). Nothing else knows these offsets.
 */

interface Field {
  readonly offset: number;
  readonly bytes: 4 | 8;
}

const u32 = (offset: number): Field => ({ offset, bytes: 4 });
/** Addresses too. */
const u64 = (offset: number): Field => ({ offset, bytes: 8 });

const ELEMENT = { map_fd: u32(0), key: u64(8), value: u64(16), next_key: u64(16), flags: u64(24) };

/** `sizeBytes` is how much of the union the command uses: what an older kernel does not know must be zero. */
export const COMMANDS = {
  map_create: {
    number: 0,
    sizeBytes: 72,
    fields: {
      map_type: u32(0), key_size: u32(4), value_size: u32(8), max_entries: u32(12), map_flags: u32(16), inner_map_fd: u32(20), numa_node: u32(24),
      btf_fd: u32(48), btf_key_type_id: u32(52), btf_value_type_id: u32(56), map_extra: u64(64),
    },
    nameOffset: 28,
  },
  map_lookup_elem: { number: 1, sizeBytes: 32, fields: ELEMENT },
  map_update_elem: { number: 2, sizeBytes: 32, fields: ELEMENT },
  map_delete_elem: { number: 3, sizeBytes: 32, fields: ELEMENT },
  map_get_next_key: { number: 4, sizeBytes: 32, fields: ELEMENT },
  prog_load: {
    number: 5,
    sizeBytes: 144,
    fields: {
      prog_type: u32(0), insn_cnt: u32(4), insns: u64(8), license: u64(16), log_level: u32(24), log_size: u32(28), log_buf: u64(32), prog_flags: u32(44),
      expected_attach_type: u32(68), prog_btf_fd: u32(72), func_info_rec_size: u32(76), func_info: u64(80), func_info_cnt: u32(88),
      line_info_rec_size: u32(92), line_info: u64(96), line_info_cnt: u32(104), log_true_size: u32(140),
    },
    nameOffset: 48,
  },
  prog_test_run: {
    number: 10,
    sizeBytes: 80,
    fields: {
      prog_fd: u32(0), retval: u32(4), data_size_in: u32(8), data_size_out: u32(12), data_in: u64(16), data_out: u64(24), repeat: u32(32), duration: u32(36),
      ctx_size_in: u32(40), ctx_size_out: u32(44), ctx_in: u64(48), ctx_out: u64(56), flags: u32(64),
    },
  },
  obj_get_info_by_fd: { number: 15, sizeBytes: 16, fields: { bpf_fd: u32(0), info_len: u32(4), info: u64(8) } },
  btf_load: { number: 18, sizeBytes: 32, fields: { btf: u64(0), btf_log_buf: u64(8), btf_size: u32(16), btf_log_size: u32(20), btf_log_level: u32(24) } },
  map_lookup_and_delete_elem: { number: 21, sizeBytes: 32, fields: ELEMENT },
  link_create: { number: 28, sizeBytes: 64, fields: { prog_fd: u32(0), target_ifindex: u32(4), attach_type: u32(8), flags: u32(12) } },
  map_freeze: { number: 22, sizeBytes: 4, fields: { map_fd: u32(0) } },
} as const satisfies Record<string, { readonly number: number; readonly sizeBytes: number; readonly fields: Readonly<Record<string, Field>>; readonly nameOffset?: number }>;

export type CommandName = keyof typeof COMMANDS;
export type FieldName<C extends CommandName> = keyof (typeof COMMANDS)[C]['fields'];
/** Fields that are left out are 0. `name`: of a map or program. */
export type Attributes<C extends CommandName> = { readonly [F in FieldName<C>]?: number | bigint } & { readonly name?: string };

/** BPF_OBJ_NAME_LEN, the NUL included. */
const NAME_BYTES = 16;
export const ATTRIBUTE_BYTES = Math.max(...Object.values(COMMANDS).map(({ sizeBytes }) => sizeBytes));

/** Writes what the kernel reads at `offset` of `view`. */
export function writeAttributes<C extends CommandName>(view: DataView, offset: number, command: C, attributes: Attributes<C>): void {
  const { fields, sizeBytes, ...rest }: { readonly fields: Readonly<Record<string, Field>>; readonly sizeBytes: number; readonly nameOffset?: number } = COMMANDS[command];
  for (let at = 0; at < sizeBytes; at += 4) view.setUint32(offset + at, 0, true);
  for (const [name, value] of Object.entries(attributes) as [string, number | bigint | string | undefined][]) {
    if (typeof value === 'string') writeName(view, offset + (rest.nameOffset ?? 0), value);
    else if (value !== undefined) writeField(view, offset, fields[name]!, value);
  }
}

export function readAttribute<C extends CommandName>(view: DataView, offset: number, command: C, field: FieldName<C>): number {
  const fields: Readonly<Record<string, Field>> = COMMANDS[command].fields;
  return view.getUint32(offset + fields[field as string]!.offset, true);
}

function writeField(view: DataView, offset: number, field: Field, value: number | bigint): void {
  if (field.bytes === 4) view.setUint32(offset + field.offset, Number(value), true);
  else view.setBigUint64(offset + field.offset, BigInt(value), true);
}

/** Cut to what fits, and to the characters that the kernel takes. */
function writeName(view: DataView, offset: number, name: string): void {
  const known = name.replaceAll(/[^A-Za-z0-9_.]/g, '_').slice(0, NAME_BYTES - 1);
  for (let index = 0; index < known.length; index++) view.setUint8(offset + index, known.charCodeAt(index));
}

/** Where `struct bpf_prog_info` keeps what is read of it. */
export const PROG_INFO = { id: 4, tag: 8, tagBytes: 8, jitedBytes: 16, translatedBytes: 20, verifiedInstructions: 216, sizeBytes: 224 } as const;
/** `struct bpf_map_info`. */
export const MAP_INFO = { id: 4, sizeBytes: 80 } as const;
