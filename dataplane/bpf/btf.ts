/**
 * The type information of an object or a kernel: the section `.BTF` (Linux Documentation/bpf/btf.rst).
 *
 *   header   0 magic eb9f  2 version 1  3 flags  4 hdr_len  8 type_off  12 type_len  16 str_off  20 str_len
 *   type     0 name_off  4 info: vlen in bits 0-15, kind in 24-28, kind_flag in 31  8 size or type   12 kind's own
 *
 * Extents, names and ids are checked when it is parsed; a type that contains itself is found when it is measured.
 * Types are decoded when asked for: a kernel has 126,000, of which a program names ten, and checking those takes 15 ms.
 */
import { XdplabError } from '../errors.ts';
import type { BtfKind, BtfType } from './btf-type.ts';
import { BTF_KINDS, BTF_LINKAGE, btfName, isModifier } from './btf-type.ts';
import { StringTable } from './string-table.ts';

const MAGIC = 0xeb9f;
const VERSION = 1;
const HEADER_BYTES = 24;
const TYPE_BYTES = 12;
const POINTER_BYTES = 8;
/** Chains of modifiers and arrays longer than this do not occur; Linux's own limit is 32. */
const MAX_CHAIN = 64;
/** Stands for the alignment of a type that is being measured. */
const MEASURING = -1;

/** Bytes that follow a type's first 12: fixed, and for each of its vlen entries. `reference`: where an id is. */
interface Layout {
  readonly fixedBytes: number;
  readonly entryBytes: number;
  /** The word at 8 is a type id rather than a size. */
  readonly refersAt8: boolean;
  /** Offsets of names and ids within the fixed part or each entry. */
  readonly nameAt?: number;
  readonly idAt?: readonly number[];
}

const PLAIN: Layout = { fixedBytes: 0, entryBytes: 0, refersAt8: false };
const REFERENCE: Layout = { fixedBytes: 0, entryBytes: 0, refersAt8: true };
const MEMBERS: Layout = { fixedBytes: 0, entryBytes: 12, refersAt8: false, nameAt: 0, idAt: [4] };

const LAYOUTS = {
  void: PLAIN,
  int: { fixedBytes: 4, entryBytes: 0, refersAt8: false },
  ptr: REFERENCE,
  array: { fixedBytes: 12, entryBytes: 0, refersAt8: false, idAt: [0, 4] },
  struct: MEMBERS,
  union: MEMBERS,
  enum: { fixedBytes: 0, entryBytes: 8, refersAt8: false, nameAt: 0 },
  fwd: PLAIN,
  typedef: REFERENCE,
  volatile: REFERENCE,
  const: REFERENCE,
  restrict: REFERENCE,
  func: REFERENCE,
  func_proto: { fixedBytes: 0, entryBytes: 8, refersAt8: true, nameAt: 0, idAt: [4] },
  var: { fixedBytes: 4, entryBytes: 0, refersAt8: true },
  datasec: { fixedBytes: 0, entryBytes: 12, refersAt8: false, idAt: [0] },
  float: PLAIN,
  decl_tag: { fixedBytes: 4, entryBytes: 0, refersAt8: true },
  type_tag: REFERENCE,
  enum64: { fixedBytes: 0, entryBytes: 12, refersAt8: false, nameAt: 0 },
} as const satisfies Record<BtfKind, Layout>;

/** By kind number. FUNC's vlen is its linkage, not a count. */
const LAYOUT_OF_KIND: readonly Layout[] = BTF_KINDS.map((kind) => LAYOUTS[kind]);

/** Where the linker would have put the variables of a section: compilers leave sizes, and without relocations offsets, at 0. */
export interface SectionPlacement {
  readonly sizeBytes: number;
  /** By variable name; absent when the BTF itself has been relocated. */
  readonly offsets?: ReadonlyMap<string, number>;
}

export class Btf {
  /** Begins each error: a file's name. */
  readonly where: string;
  /** Of type ids, void included: ids are 0 to count − 1. */
  readonly typeCount: number;
  readonly strings: StringTable;
  readonly #view: DataView;
  /** Of each type in the section, by id; that of void is unused. */
  readonly #offsets: Uint32Array;
  readonly #decoded: (BtfType | undefined)[] = [];
  readonly #alignments = new Map<number, number>();
  #idsOfNames: Map<string, number[]> | undefined;

  readonly #placements: ReadonlyMap<string, SectionPlacement>;

  private constructor(where: string, view: DataView, strings: StringTable, offsets: Uint32Array, placements: ReadonlyMap<string, SectionPlacement>) {
    this.where = where;
    this.#view = view;
    this.strings = strings;
    this.#offsets = offsets;
    this.#placements = placements;
    this.typeCount = offsets.length;
  }

  /** Borrows `bytes`, which must not change. `where` names the file in errors. */
  static parse(bytes: Uint8Array, where: string, placements: ReadonlyMap<string, SectionPlacement> = new Map()): Btf {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const fail = (offset: number, problem: string): never => {
      throw new XdplabError('ERR_BTF', `${where}: BTF at offset ${offset}: ${problem}`);
    };
    if (bytes.length < HEADER_BYTES) fail(bytes.length, `${bytes.length} bytes, but the header alone takes ${HEADER_BYTES}`);
    const magic = view.getUint16(0, true);
    if (magic !== MAGIC) fail(0, `magic 0x${magic.toString(16)}, expected 0xeb9f (little-endian BTF)`);
    if (view.getUint8(2) !== VERSION) fail(2, `version ${view.getUint8(2)}, expected ${VERSION}`);
    const headerBytes = view.getUint32(4, true);
    if (headerBytes < HEADER_BYTES || headerBytes > bytes.length) fail(4, `a header of ${headerBytes} bytes, expected ${HEADER_BYTES} to ${bytes.length}`);
    const start = headerBytes + view.getUint32(8, true);
    const end = start + view.getUint32(12, true);
    const stringsStart = headerBytes + view.getUint32(16, true);
    const stringsEnd = stringsStart + view.getUint32(20, true);
    if (end > bytes.length) fail(8, `types end at ${end}, but there are ${bytes.length} bytes`);
    if (stringsEnd > bytes.length) fail(16, `strings end at ${stringsEnd}, but there are ${bytes.length} bytes`);
    const strings = new StringTable(bytes.subarray(stringsStart, stringsEnd));
    return new Btf(where, view, strings, scanTypes(view, start, end, strings.lengthBytes, fail), placements);
  }

  /** As they were parsed. Borrowed. */
  get bytes(): Uint8Array {
    return new Uint8Array(this.#view.buffer, this.#view.byteOffset, this.#view.byteLength);
  }

  fail(id: number, problem: string): never {
    throw new XdplabError('ERR_BTF', `${this.where}: BTF type ${id}: ${problem}`);
  }

  /** The type of an id; ids past the last are an error. */
  type(id: number): BtfType {
    const known = this.#decoded[id];
    if (known !== undefined) return known;
    if (id === 0) return { kind: 'void' };
    if (!(id > 0 && id < this.typeCount)) this.fail(id, `there are only ${this.typeCount} types`);
    const type = this.#decode(id);
    this.#decoded[id] = type;
    return type;
  }

  /** Behind typedef, const, volatile, restrict and type_tag. */
  resolve(id: number): { readonly id: number; readonly type: BtfType } {
    let current = id;
    for (let steps = 0; steps < MAX_CHAIN; steps++) {
      const type = this.type(current);
      if (!isModifier(type)) return { id: current, type };
      current = type.type;
    }
    return this.fail(id, `more than ${MAX_CHAIN} typedefs and qualifiers, or one that refers to itself`);
  }

  /** What sizeof says; void, functions and forward declarations have none. */
  sizeBytes(id: number): number {
    let current = id;
    let count = 1;
    for (let steps = 0; steps < MAX_CHAIN; steps++) {
      const { type } = this.resolve(current);
      if (type.kind === 'array') {
        count *= type.length;
        current = type.type;
      } else if (type.kind === 'var') {
        current = type.type;
      } else {
        const size = count * (type.kind === 'ptr' ? POINTER_BYTES : 'sizeBytes' in type ? type.sizeBytes : this.fail(id, `a ${type.kind} has no size`));
        return size <= 0xffffffff ? size : this.fail(id, `${size} bytes, more than 32 bits can say`);
      }
    }
    return this.fail(id, `an array of more than ${MAX_CHAIN} dimensions, or one that contains itself`);
  }

  /** What _Alignof says. A struct is packed when a member stands unaligned, then 1. */
  alignmentBytes(id: number): number {
    const known = this.#alignments.get(id);
    if (known === MEASURING) this.fail(id, 'contains itself');
    if (known !== undefined) return known;
    this.#alignments.set(id, MEASURING);
    const alignment = this.#measureAlignment(id);
    this.#alignments.set(id, alignment);
    return alignment;
  }

  #measureAlignment(id: number): number {
    const { type } = this.resolve(id);
    switch (type.kind) {
      case 'ptr':
        return POINTER_BYTES;
      case 'int':
      case 'enum':
      case 'enum64':
      case 'float':
        return Math.min(POINTER_BYTES, type.sizeBytes) || 1;
      case 'array':
      case 'var':
        return this.alignmentBytes(type.type);
      case 'struct':
      case 'union': {
        let largest = 1;
        for (const member of type.members) {
          const alignment = this.alignmentBytes(member.type);
          if (member.bitfieldBits === 0 && member.offsetBits % (alignment * 8) !== 0) return 1;
          largest = Math.max(largest, alignment);
        }
        return type.sizeBytes % largest === 0 ? largest : 1;
      }
      default:
        return 1;
    }
  }

  /** Ids of the types of exactly this name, in order; of one kind where given. */
  idsByName(name: string, kind?: BtfKind): readonly number[] {
    return this.idsByEssentialName(essentialName(name)).filter((id) => this.nameOf(id) === name && (kind === undefined || this.kindOf(id) === kind));
  }

  /** Ids of the types of this name, with any flavour or none: `task_struct` also finds `task_struct___old`. */
  idsByEssentialName(name: string): readonly number[] {
    this.#idsOfNames ??= this.#indexNames();
    return this.#idsOfNames.get(name) ?? [];
  }

  #indexNames(): Map<string, number[]> {
    const index = new Map<string, number[]>();
    for (let id = 1; id < this.typeCount; id++) {
      const nameOffset = this.#view.getUint32(this.#offsets[id]!, true);
      if (nameOffset === 0) continue;
      const name = essentialName(this.strings.raw(nameOffset));
      const ids = index.get(name);
      if (ids === undefined) index.set(name, [id]);
      else ids.push(id);
    }
    return index;
  }

  /** Without decoding the type. */
  nameOf(id: number): string {
    return id === 0 ? '' : this.strings.at(this.#view.getUint32(this.#offsets[id]!, true)) ?? '';
  }

  /** Without decoding the type. */
  kindOf(id: number): BtfKind {
    return id === 0 ? 'void' : BTF_KINDS[this.#view.getUint8(this.#offsets[id]! + 7) & 0x1f]!;
  }

  /** Every type with its id, void left out. */
  *types(): Generator<readonly [number, BtfType]> {
    for (let id = 1; id < this.typeCount; id++) yield [id, this.type(id)];
  }

  /** A C-like spelling of a type, for people: `struct flow_key`, `__be32`, `char[16]`. */
  describe(id: number, depth = 0): string {
    if (depth > MAX_CHAIN) return '…';
    const type = this.type(id);
    switch (type.kind) {
      case 'void':
        return 'void';
      case 'ptr':
        return `${this.describe(type.type, depth + 1)} *`;
      case 'array':
        return `${this.describe(type.type, depth + 1)}[${type.length}]`;
      case 'struct':
      case 'union':
        return `${type.kind} ${type.name || '(anonymous)'}`;
      case 'enum':
      case 'enum64':
        return `enum ${type.name || '(anonymous)'}`;
      case 'fwd':
        return `${type.of} ${type.name}`;
      case 'volatile':
      case 'const':
        return `${type.kind} ${this.describe(type.type, depth + 1)}`;
      case 'restrict':
      case 'type_tag':
        return this.describe(type.type, depth + 1);
      case 'func_proto':
        return 'function';
      default:
        return btfName(type);
    }
  }

  #decode(id: number): BtfType {
    const at = this.#offsets[id]!;
    const u32 = (offset: number): number => this.#view.getUint32(offset, true);
    const text = (offset: number): string => this.strings.at(u32(offset)) ?? '';
    const info = u32(at + 4);
    const vlen = info & 0xffff;
    const flag = info >>> 31 === 1;
    const kind = BTF_KINDS[(info >>> 24) & 0x1f]!;
    const name = text(at);
    const word = u32(at + 8);
    const own = at + TYPE_BYTES;
    const entries = <T>(entryBytes: number, read: (offset: number) => T): T[] => Array.from({ length: vlen }, (_, index) => read(own + index * entryBytes));
    switch (kind) {
      case 'void':
        return { kind };
      case 'int': {
        const encoding = u32(own);
        return { kind, name, sizeBytes: word, signed: (encoding & 0x1000000) !== 0, char: (encoding & 0x2000000) !== 0, bool: (encoding & 0x4000000) !== 0, offsetBits: (encoding >>> 16) & 0xff, bits: encoding & 0xff };
      }
      case 'ptr':
        return { kind, type: word };
      case 'array':
        return { kind, type: u32(own), indexType: u32(own + 4), length: u32(own + 8) };
      case 'struct':
      case 'union':
        return {
          kind, name, sizeBytes: word,
          members: entries(12, (offset) => {
            const place = u32(offset + 8);
            return { name: text(offset), type: u32(offset + 4), offsetBits: flag ? place & 0xffffff : place, bitfieldBits: flag ? place >>> 24 : 0 };
          }),
        };
      case 'enum':
        return { kind, name, sizeBytes: word, signed: flag, values: entries(8, (offset) => ({ name: text(offset), value: BigInt(flag ? this.#view.getInt32(offset + 4, true) : u32(offset + 4)) })) };
      case 'enum64':
        return { kind, name, sizeBytes: word, signed: flag, values: entries(12, (offset) => ({ name: text(offset), value: flag ? this.#view.getBigInt64(offset + 4, true) : this.#view.getBigUint64(offset + 4, true) })) };
      case 'fwd':
        return { kind, name, of: flag ? 'union' : 'struct' };
      case 'typedef':
      case 'volatile':
      case 'const':
      case 'restrict':
      case 'type_tag':
        return { kind, name, type: word };
      case 'func':
        return { kind, name, type: word, linkage: BTF_LINKAGE[vlen] ?? 'static' };
      case 'func_proto':
        return { kind, returnType: word, parameters: entries(8, (offset) => ({ name: text(offset), type: u32(offset + 4) })) };
      case 'var':
        return { kind, name, type: word, linkage: BTF_LINKAGE[u32(own)] ?? 'static' };
      case 'datasec': {
        const placement = word === 0 ? this.#placements.get(name) : undefined;
        const variables = entries(12, (offset) => {
          const variable = u32(offset);
          return { type: variable, offset: placement?.offsets?.get(this.nameOf(variable)) ?? u32(offset + 4), sizeBytes: u32(offset + 8) };
        });
        return { kind, name, sizeBytes: placement?.sizeBytes ?? word, variables };
      }
      case 'float':
        return { kind, name, sizeBytes: word };
      case 'decl_tag':
        return { kind, name, type: word, component: this.#view.getInt32(own, true) };
      default:
        return kind satisfies never;
    }
  }
}

/** Without what follows the last `___`: programs name other versions of a kernel's type by such flavours. */
export function essentialName(name: string): string {
  const flavour = /^(.*[^_])___[^_]/.exec(name);
  return flavour === null ? name : flavour[1]!;
}

/** Finds where each type begins and checks names and ids on the way. */
function scanTypes(view: DataView, start: number, end: number, stringBytes: number, fail: (offset: number, problem: string) => never): Uint32Array {
  let offsets = new Uint32Array(Math.max(16, Math.ceil((end - start) / 24)));
  let count = 1;
  let largestId = 0;
  let largestIdAt = start;
  const checkName = (at: number): void => {
    const name = view.getUint32(at, true);
    if (name >= stringBytes && name !== 0) fail(at, `a name at ${name}, but there are ${stringBytes} bytes of strings`);
  };
  const noteId = (at: number): void => {
    const id = view.getUint32(at, true);
    if (id > largestId) [largestId, largestIdAt] = [id, at];
  };
  for (let at = start; at < end; count++) {
    if (at + TYPE_BYTES > end) fail(at, `type ${count} is cut short at ${end}`);
    const info = view.getUint32(at + 4, true);
    const kind = (info >>> 24) & 0x1f;
    const layout = LAYOUT_OF_KIND[kind];
    if (layout === undefined || kind === 0) return fail(at + 4, `type ${count} is of unknown kind ${kind}`);
    const own = at + TYPE_BYTES;
    const next = own + layout.fixedBytes + layout.entryBytes * (info & 0xffff);
    if (next > end) fail(at, `type ${count} (${BTF_KINDS[kind]}) ends at ${next}, but the types end at ${end}`);
    checkName(at);
    if (layout.refersAt8) noteId(at + 8);
    const stride = layout.entryBytes || layout.fixedBytes;
    if (stride > 0) {
      for (let entry = own; entry < next; entry += stride) {
        if (layout.nameAt !== undefined) checkName(entry + layout.nameAt);
        if (layout.idAt !== undefined) for (const idAt of layout.idAt) noteId(entry + idAt);
      }
    }
    if (count === offsets.length) {
      const larger = new Uint32Array(offsets.length * 2);
      larger.set(offsets);
      offsets = larger;
    }
    offsets[count] = at;
    at = next;
  }
  if (largestId >= count) fail(largestIdAt, `refers to type ${largestId}, but there are only ${count}`);
  return offsets.subarray(0, count);
}
