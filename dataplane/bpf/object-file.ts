/**
 * An object file opened but not yet interpreted: its ELF sections and, where it has them, `.BTF` and `.BTF.ext`.
 *
 * Compilers leave the offsets of variables in `.BTF` to relocations, and the sizes of its sections to the loader;
 * both are filled in here, so that what reads types need not know.
 */
import { XdplabError } from '../errors.ts';
import { Btf, type SectionPlacement } from './btf.ts';
import { parseBtfExt, type BtfExt } from './btf-ext.ts';
import { parseElf, SHF, SHN, SHT, STT, type Elf, type ElfRelocation, type ElfSection, type ElfSymbol } from './elf.ts';
import { readString } from './string-table.ts';

export interface ObjectFile {
  /** Begins each error. */
  readonly where: string;
  /** The object's name as libbpf takes it from the file's: without folders and from the first dot on. */
  readonly prefix: string;
  readonly elf: Elf;
  readonly btf: Btf | undefined;
  readonly btfExt: BtfExt | undefined;
  readonly license: string;
}

export function failObject(file: ObjectFile, problem: string): never {
  throw new XdplabError('ERR_OBJECT', `${file.where}: ${problem}`);
}

/** The section of this name that holds something. */
export function sectionNamed(elf: Elf, name: string): ElfSection | undefined {
  return elf.sections.find((section) => section.name === name && section.type !== SHT.NULL && section.sizeBytes > 0);
}

export function isCode(section: ElfSection): boolean {
  return section.type === SHT.PROGBITS && (section.flags & SHF.EXECINSTR) !== 0 && section.sizeBytes > 0;
}

/** The section a symbol is in; undefined for undefined, absolute and common symbols. */
export function sectionOf(elf: Elf, symbol: ElfSymbol): ElfSection | undefined {
  return symbol.section === SHN.UNDEF || symbol.section >= SHN.LORESERVE ? undefined : elf.sections[symbol.section];
}

/** The 32-bit word at the place a relocation names, which is its addend. Zero past the section's end. */
export function addendAt(section: ElfSection, relocation: ElfRelocation): number {
  const { bytes } = section;
  if (relocation.offset + 4 > bytes.length) return 0;
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(relocation.offset, true);
}

/** The records with `from ≤ offset < to` of a list in the order of offsets. */
export function recordsWithin<T extends { readonly offset: number }>(records: readonly T[] | undefined, from: number, to: number): readonly T[] {
  if (records === undefined) return [];
  const firstAtLeast = (offset: number): number => {
    let low = 0;
    let high = records.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (records[middle]!.offset < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  return records.slice(firstAtLeast(from), firstAtLeast(to));
}

function relocatedBtf(elf: Elf, section: ElfSection): Uint8Array {
  const relocations = elf.relocations.get(section.index);
  if (relocations === undefined) return section.bytes;
  const bytes = section.bytes.slice();
  const view = new DataView(bytes.buffer);
  for (const relocation of relocations) {
    if (relocation.offset + 4 <= bytes.length) view.setUint32(relocation.offset, addendAt(section, relocation) + relocation.symbol.value, true);
  }
  return bytes;
}

function placements(elf: Elf, btfSection: ElfSection): Map<string, SectionPlacement> {
  const relocated = elf.relocations.has(btfSection.index);
  const placed = new Map<string, SectionPlacement>();
  for (const section of elf.sections) {
    if ((section.flags & SHF.ALLOC) === 0 || isCode(section) || placed.has(section.name)) continue;
    if (relocated) {
      placed.set(section.name, { sizeBytes: section.sizeBytes });
      continue;
    }
    const offsets = new Map<string, number>();
    for (const symbol of elf.symbolsOf.get(section.index) ?? []) if (symbol.type === STT.OBJECT) offsets.set(symbol.name, symbol.value);
    placed.set(section.name, { sizeBytes: section.sizeBytes, offsets });
  }
  return placed;
}

/** `name` is the file's, with or without folders. */
export function openObject(bytes: Uint8Array, name: string): ObjectFile {
  const elf = parseElf(bytes, name);
  for (const section of elf.sections) {
    if ((section.flags & SHF.COMPRESSED) !== 0 && section.type !== SHT.NULL) {
      throw new XdplabError('ERR_ELF', `${name}: at offset ${section.offset}: section ${section.name} is compressed; compile without -gz`);
    }
  }
  const btfSection = sectionNamed(elf, '.BTF');
  const extSection = sectionNamed(elf, '.BTF.ext');
  const btf = btfSection && Btf.parse(relocatedBtf(elf, btfSection), name, placements(elf, btfSection));
  const license = sectionNamed(elf, 'license');
  return {
    where: name,
    prefix: name.replace(/^.*[/\\]/, '').replace(/\..*$/, ''),
    elf,
    btf,
    btfExt: btf && extSection && parseBtfExt(extSection.bytes, btf),
    license: license ? readString(license.bytes) : '',
  };
}
