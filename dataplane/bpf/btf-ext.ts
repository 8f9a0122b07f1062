/**
 * What BTF says about instructions: the section `.BTF.ext` (Linux Documentation/bpf/btf.rst).
 *
 *   header   0 magic eb9f  2 version 1  4 hdr_len  8 func_info off,len  16 line_info off,len  24 core_relo off,len
 *   part     rec_size u32, then for each section: sec_name_off u32, num_info u32, records of rec_size bytes
 *
 * Records may be longer than what is known of them, never shorter. Offsets are bytes from the section's begin.
 */
import { XdplabError } from '../errors.ts';
import type { Btf } from './btf.ts';

const MAGIC = 0xeb9f;
const VERSION = 1;
/** Up to line_info; the core_relo part came later. */
const HEADER_BYTES = 24;
const HEADER_BYTES_WITH_CORE = 32;
const SLOT_BYTES = 8;

export interface FunctionRecord {
  readonly offset: number;
  /** Of a FUNC. */
  readonly typeId: number;
}

export interface LineRecord {
  readonly offset: number;
  readonly file: string;
  readonly text: string;
  readonly line: number;
  readonly column: number;
}

export interface CoreRecord {
  readonly offset: number;
  /** The root of the access, in the object's BTF. */
  readonly typeId: number;
  /** `0:1:2`: an index, then member by member. */
  readonly access: string;
  /** bpf_core_relo_kind. */
  readonly kind: number;
}

/** By section name, in the order of offsets. */
export interface BtfExt {
  readonly functions: ReadonlyMap<string, readonly FunctionRecord[]>;
  readonly lines: ReadonlyMap<string, readonly LineRecord[]>;
  readonly core: ReadonlyMap<string, readonly CoreRecord[]>;
}

export function parseBtfExt(bytes: Uint8Array, btf: Btf): BtfExt {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const u32 = (offset: number): number => view.getUint32(offset, true);
  const fail = (offset: number, problem: string): never => {
    throw new XdplabError('ERR_BTF', `${btf.where}: BTF.ext at offset ${offset}: ${problem}`);
  };
  const text = (at: number): string => btf.strings.at(u32(at)) ?? fail(at, `a string at ${u32(at)}, but there are ${btf.strings.lengthBytes} bytes of strings`);

  if (bytes.length < HEADER_BYTES) fail(bytes.length, `${bytes.length} bytes, but the header alone takes ${HEADER_BYTES}`);
  if (view.getUint16(0, true) !== MAGIC) fail(0, `magic 0x${view.getUint16(0, true).toString(16)}, expected 0xeb9f`);
  if (view.getUint8(2) !== VERSION) fail(2, `version ${view.getUint8(2)}, expected ${VERSION}`);
  const headerBytes = u32(4);
  if (headerBytes < HEADER_BYTES || headerBytes > bytes.length) fail(4, `a header of ${headerBytes} bytes, expected ${HEADER_BYTES} to ${bytes.length}`);

  const place = (at: number): number => (u32(at) % SLOT_BYTES === 0 ? u32(at) : fail(at, `an instruction at ${u32(at)}, expected a multiple of ${SLOT_BYTES}`));

  function readPart<T extends { readonly offset: number }>(headerAt: number, name: string, knownBytes: number, read: (at: number) => T): Map<string, T[]> {
    const records = new Map<string, T[]>();
    if (headerAt + 8 > headerBytes) return records;
    let at = headerBytes + u32(headerAt);
    const end = at + u32(headerAt + 4);
    if (end > bytes.length) fail(headerAt, `${name} ends at ${end}, but there are ${bytes.length} bytes`);
    if (at === end) return records;
    if (end - at < 4) fail(at, `${name} has ${end - at} bytes, expected 4 or more`);
    const recordBytes = u32(at);
    if (recordBytes < knownBytes || recordBytes % 4 !== 0) fail(at, `${name} records of ${recordBytes} bytes, expected ${knownBytes} or more, a multiple of 4`);
    at += 4;
    while (at < end) {
      if (end - at < 8) fail(at, `${name} is cut short at ${end}`);
      const section = text(at);
      const next = at + 8 + u32(at + 4) * recordBytes;
      if (next > end) fail(at + 4, `${u32(at + 4)} records of ${name} for section ${section} end at ${next}, but the part ends at ${end}`);
      const list = records.get(section) ?? [];
      for (let record = at + 8; record < next; record += recordBytes) list.push(read(record));
      records.set(section, list);
      at = next;
    }
    for (const list of records.values()) list.sort((a, b) => a.offset - b.offset);
    return records;
  }

  return {
    functions: readPart(8, 'func_info', 8, (at) => ({ offset: place(at), typeId: u32(at + 4) })),
    lines: readPart(16, 'line_info', 16, (at) => ({ offset: place(at), file: text(at + 4), text: text(at + 8).trimStart(), line: u32(at + 12) >>> 10, column: u32(at + 12) & 0x3ff })),
    core: headerBytes < HEADER_BYTES_WITH_CORE ? new Map() : readPart(24, 'core_relo', 16, (at) => ({ offset: place(at), typeId: u32(at + 4), access: text(at + 8), kind: u32(at + 12) })),
  };
}
