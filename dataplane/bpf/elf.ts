/**
 * ELF64 little-endian relocatable files (System V ABI; machine EM_BPF), as far as BPF objects use them.
 *
 *   ┌────────────┬──────────┬───┬──────────┬──────────────────────────┐
 *   │ header 64  │ contents of sections   │ section headers, 64 each  │
 *   └────────────┴──────────┴───┴──────────┴──────────────────────────┘
 *   e_shoff 0x28   e_shentsize 0x3a   e_shnum 0x3c   e_shstrndx 0x3e
 *
 * Every offset and size is checked here against the bytes there are, so that readers of a parsed file need not.
 * Contents are views of the input, never copies.
 */
import { XdplabError } from '../errors.ts';
import { StringTable } from './string-table.ts';

/** sh_type. */
export const SHT = { NULL: 0, PROGBITS: 1, SYMTAB: 2, STRTAB: 3, RELA: 4, NOBITS: 8, REL: 9 } as const;
/** sh_flags. */
export const SHF = { WRITE: 1, ALLOC: 2, EXECINSTR: 4, COMPRESSED: 0x800 } as const;
/** Symbol types, the low four bits of st_info. */
export const STT = { NOTYPE: 0, OBJECT: 1, FUNC: 2, SECTION: 3, FILE: 4 } as const;
/** Symbol bindings, the high four bits of st_info. */
export const STB = { LOCAL: 0, GLOBAL: 1, WEAK: 2 } as const;
/** Symbol visibility, the low two bits of st_other. */
export const STV = { DEFAULT: 0, INTERNAL: 1, HIDDEN: 2 } as const;
/** Section indices that are not sections. */
export const SHN = { UNDEF: 0, LORESERVE: 0xff00, COMMON: 0xfff2, XINDEX: 0xffff } as const;

const MAGIC = 0x464c457f;
const CLASS_64 = 2;
const DATA_LITTLE_ENDIAN = 1;
const TYPE_RELOCATABLE = 1;
const MACHINE_BPF = 247;
const MACHINE_NONE = 0;
const HEADER_BYTES = 64;
const SECTION_HEADER_BYTES = 64;
const SYMBOL_BYTES = 24;
const RELOCATION_BYTES = 16;

export interface ElfSection {
  readonly index: number;
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  /** In the file. */
  readonly offset: number;
  /** Size in memory: what `.bss` takes, though it has no bytes. */
  readonly sizeBytes: number;
  /** Borrowed from the input; empty for NOBITS. */
  readonly bytes: Uint8Array;
  readonly link: number;
  readonly info: number;
}

export interface ElfSymbol {
  readonly index: number;
  readonly name: string;
  readonly type: number;
  readonly binding: number;
  readonly visibility: number;
  /** Index of the section it is in, or one of SHN. */
  readonly section: number;
  /** Offset in its section. */
  readonly value: number;
  readonly sizeBytes: number;
}

/** One REL entry; the addend is in the place it relocates. */
export interface ElfRelocation {
  /** Offset in the section that is relocated. */
  readonly offset: number;
  readonly type: number;
  readonly symbol: ElfSymbol;
}

export interface Elf {
  readonly sections: readonly ElfSection[];
  readonly symbols: readonly ElfSymbol[];
  /** By index of the section they are in. */
  readonly symbolsOf: ReadonlyMap<number, readonly ElfSymbol[]>;
  /** By index of the section they apply to, in the order of their offsets. */
  readonly relocations: ReadonlyMap<number, readonly ElfRelocation[]>;
}

/** A reader of one file: it knows the file's name and length, for the errors. */
class ElfReader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #where: string;

  constructor(bytes: Uint8Array, where: string) {
    // A Buffer's slice() would share memory where a Uint8Array's copies.
    this.bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#where = where;
  }

  fail(offset: number, problem: string): never {
    throw new XdplabError('ERR_ELF', `${this.#where}: at offset ${offset}: ${problem}`);
  }

  /** Checks that `lengthBytes` are there. */
  need(offset: number, lengthBytes: number, what: string): void {
    if (offset + lengthBytes > this.bytes.length) {
      this.fail(Math.min(offset, this.bytes.length), `${what} needs ${lengthBytes} bytes at ${offset}, but the file ends at ${this.bytes.length}; it is cut short or damaged`);
    }
  }

  u8(offset: number): number {
    return this.#view.getUint8(offset);
  }

  u16(offset: number): number {
    return this.#view.getUint16(offset, true);
  }

  u32(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  /** As a number: one too large to be exact is too large for any check that follows. */
  u64(offset: number): number {
    return this.#view.getUint32(offset + 4, true) * 2 ** 32 + this.#view.getUint32(offset, true);
  }
}

function checkHeader(file: ElfReader): void {
  if (file.bytes.length < 4 || file.u32(0) !== MAGIC) file.fail(0, 'not an ELF file; expected an object compiled with clang -target bpf');
  file.need(0, HEADER_BYTES, 'the ELF header');
  if (file.u8(4) !== CLASS_64) file.fail(4, `ELF class ${file.u8(4)}, expected 2 (64 bits)`);
  if (file.u8(5) !== DATA_LITTLE_ENDIAN) file.fail(5, `data encoding ${file.u8(5)}, expected 1 (little-endian); compile with -target bpfel`);
  if (file.u16(16) !== TYPE_RELOCATABLE) file.fail(16, `ELF type ${file.u16(16)}, expected 1 (a relocatable object, as clang -c writes it)`);
  const machine = file.u16(18);
  if (machine !== MACHINE_BPF && machine !== MACHINE_NONE) file.fail(18, `compiled for machine ${machine}, expected 247 (BPF); compile with clang -target bpf`);
}

interface RawHeader {
  readonly at: number;
  readonly nameOffset: number;
  readonly section: Omit<ElfSection, 'name'>;
}

function readSectionHeader(file: ElfReader, table: number, index: number): RawHeader {
  const at = table + index * SECTION_HEADER_BYTES;
  const type = file.u32(at + 4);
  const flags = file.u32(at + 8);
  const offset = file.u64(at + 24);
  const sizeBytes = file.u64(at + 32);
  const absent = type === SHT.NOBITS || type === SHT.NULL;
  if (!absent && offset + sizeBytes > file.bytes.length) {
    file.fail(at, `section ${index} spans ${offset} to ${offset + sizeBytes}, but the file ends at ${file.bytes.length}; it is cut short or damaged`);
  }
  if (!Number.isSafeInteger(sizeBytes)) file.fail(at + 32, `section ${index} has ${sizeBytes} bytes`);
  const bytes = absent ? new Uint8Array(0) : file.bytes.subarray(offset, offset + sizeBytes);
  return { at, nameOffset: file.u32(at), section: { index, type, flags, offset, sizeBytes, bytes, link: file.u32(at + 40), info: file.u32(at + 44) } };
}

function readSections(file: ElfReader): ElfSection[] {
  const table = file.u64(0x28);
  if (table === 0) file.fail(0x28, 'no section headers; expected a relocatable object');
  if (file.u16(0x3a) !== SECTION_HEADER_BYTES) file.fail(0x3a, `section headers of ${file.u16(0x3a)} bytes, expected ${SECTION_HEADER_BYTES}`);
  file.need(table, SECTION_HEADER_BYTES, 'the section header table');
  // Counts that do not fit 16 bits stand in the first header.
  const count = file.u16(0x3c) || file.u64(table + 32);
  const namesIndex = file.u16(0x3e) === SHN.XINDEX ? file.u32(table + 40) : file.u16(0x3e);
  file.need(table, count * SECTION_HEADER_BYTES, `the table of ${count} section headers`);
  const headers: RawHeader[] = [];
  for (let index = 0; index < count; index++) headers.push(readSectionHeader(file, table, index));
  const namesSection = headers[namesIndex];
  if (namesSection === undefined || namesSection.section.type !== SHT.STRTAB) file.fail(0x3e, `section names are in section ${namesIndex}, which is not a string table`);
  const names = new StringTable(namesSection.section.bytes);
  return headers.map(({ at, nameOffset, section }) => {
    const name = names.at(nameOffset) ?? file.fail(at, `the name of section ${section.index} is at ${nameOffset}, past the ${names.lengthBytes} bytes of names`);
    return { ...section, name };
  });
}

function readSymbols(file: ElfReader, sections: readonly ElfSection[]): ElfSymbol[] {
  const tables = sections.filter((section) => section.type === SHT.SYMTAB);
  const table = tables[0];
  if (table === undefined) return [];
  if (tables.length > 1) file.fail(tables[1]!.offset, 'a second symbol table; expected one');
  const strings = sections[table.link];
  if (strings === undefined || strings.type !== SHT.STRTAB) file.fail(table.offset, `the symbol table links to section ${table.link}, which is not a string table`);
  if (table.sizeBytes % SYMBOL_BYTES !== 0) file.fail(table.offset, `a symbol table of ${table.sizeBytes} bytes, expected a multiple of ${SYMBOL_BYTES}`);
  const names = new StringTable(strings.bytes);
  const symbols: ElfSymbol[] = [];
  for (let index = 0; index < table.sizeBytes / SYMBOL_BYTES; index++) {
    const at = table.offset + index * SYMBOL_BYTES;
    const section = file.u16(at + 6);
    if (section >= sections.length && section < SHN.LORESERVE) file.fail(at + 6, `symbol ${index} is in section ${section}, but there are ${sections.length}`);
    const type = file.u8(at + 4) & 0xf;
    const nameOffset = file.u32(at);
    const ownName = names.at(nameOffset) ?? file.fail(at, `the name of symbol ${index} is at ${nameOffset}, past the ${names.lengthBytes} bytes of names`);
    symbols.push({
      index,
      name: type === STT.SECTION && ownName === '' ? (sections[section]?.name ?? '') : ownName,
      type,
      binding: file.u8(at + 4) >> 4,
      visibility: file.u8(at + 5) & 3,
      section,
      value: file.u64(at + 8),
      sizeBytes: file.u64(at + 16),
    });
  }
  return symbols;
}

function readRelocations(file: ElfReader, sections: readonly ElfSection[], symbols: readonly ElfSymbol[]): Map<number, ElfRelocation[]> {
  const relocations = new Map<number, ElfRelocation[]>();
  for (const table of sections) {
    if (table.type === SHT.RELA && (sections[table.info]?.flags ?? 0) & SHF.EXECINSTR) file.fail(table.offset, `section ${table.name} holds RELA relocations, expected REL as clang writes them`);
    if (table.type !== SHT.REL) continue;
    const target = sections[table.info];
    if (target === undefined) file.fail(table.offset, `section ${table.name} relocates section ${table.info}, but there are ${sections.length}`);
    if (table.sizeBytes % RELOCATION_BYTES !== 0) file.fail(table.offset, `section ${table.name} has ${table.sizeBytes} bytes, expected a multiple of ${RELOCATION_BYTES}`);
    const entries = relocations.get(target.index) ?? [];
    for (let at = table.offset; at < table.offset + table.sizeBytes; at += RELOCATION_BYTES) {
      const offset = file.u64(at);
      if (offset >= target.sizeBytes) file.fail(at, `a relocation at ${offset} of section ${target.name}, which has ${target.sizeBytes} bytes`);
      const symbol = symbols[file.u32(at + 12)] ?? file.fail(at + 8, `a relocation by symbol ${file.u32(at + 12)}, but there are ${symbols.length}`);
      entries.push({ offset, type: file.u32(at + 8), symbol });
    }
    relocations.set(target.index, entries.toSorted((a, b) => a.offset - b.offset));
  }
  return relocations;
}

function bySection(symbols: readonly ElfSymbol[]): Map<number, ElfSymbol[]> {
  const groups = new Map<number, ElfSymbol[]>();
  for (const symbol of symbols) {
    const group = groups.get(symbol.section);
    if (group === undefined) groups.set(symbol.section, [symbol]);
    else group.push(symbol);
  }
  return groups;
}

/** `where` begins each error: the file's name. */
export function parseElf(bytes: Uint8Array, where: string): Elf {
  const file = new ElfReader(bytes, where);
  checkHeader(file);
  const sections = readSections(file);
  const symbols = readSymbols(file, sections);
  return { sections, symbols, symbolsOf: bySection(symbols), relocations: readRelocations(file, sections, symbols) };
}
