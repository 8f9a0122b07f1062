/** What an ELF file can say that is not so: each is one line with the offset. */
import { describe, expect, test } from 'vitest';
import { parseElf, SHN, STT } from '../../dataplane/bpf/elf.ts';
import { loadObject } from '../../dataplane/bpf/object.ts';
import { objectBytes, type ObjectName } from './test-object.ts';

const HEADER = { sectionTable: 0x28, headerBytes: 0x3a, count: 0x3c, names: 0x3e } as const;
/** Offsets in a section header. */
const SECTION = { name: 0, type: 4, flags: 8, offset: 24, size: 32, link: 40, info: 44 } as const;

/** One object to damage at places that are named rather than counted. */
class Patient {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly name: ObjectName;

  constructor(name: ObjectName) {
    this.name = name;
    this.bytes = objectBytes(name);
    this.view = new DataView(this.bytes.buffer);
  }

  get elf() {
    return parseElf(objectBytes(this.name), 'x');
  }

  /** Where a section's header is. */
  header(section: string): number {
    return Number(this.view.getBigUint64(HEADER.sectionTable, true)) + 64 * this.section(section).index;
  }

  section(name: string) {
    return this.elf.sections.find((section) => section.name === name) ?? expect.fail(`no section ${name}`);
  }

  /** Where a symbol's entry is. */
  symbol(name: string): number {
    const symbol = this.elf.symbols.find((candidate) => candidate.name === name && candidate.type !== STT.SECTION) ?? expect.fail(`no symbol ${name}`);
    return this.section('.symtab').offset + 24 * symbol.index;
  }

  u32(offset: number, value: number): this {
    this.view.setUint32(offset, value, true);
    return this;
  }

  u64(offset: number, value: bigint): this {
    this.view.setBigUint64(offset, value, true);
    return this;
  }

  u16(offset: number, value: number): this {
    this.view.setUint16(offset, value, true);
    return this;
  }

  problem(): string {
    try {
      loadObject(this.bytes, { name: 'x' });
    } catch (error) {
      return (error as Error).message;
    }
    return 'loaded';
  }
}

const damaged = (name: ObjectName, damage: (patient: Patient) => void): string => {
  const patient = new Patient(name);
  damage(patient);
  return patient.problem();
};

test('sections, symbols and relocations are what readelf shows', () => {
  const elf = parseElf(objectBytes('subprograms'), 'x');
  expect(elf.sections.map(({ name }) => name)).toEqual(expect.arrayContaining(['', '.text', 'xdp', '.relxdp', 'tc', '.maps', 'license', '.BTF', '.rel.BTF', '.BTF.ext', '.symtab', '.strtab']));
  const xdp = elf.sections.find(({ name }) => name === 'xdp')!;
  expect(elf.symbolsOf.get(xdp.index)?.filter(({ type }) => type === STT.FUNC).map(({ name, value, sizeBytes }) => [name, value, sizeBytes])).toEqual([['nested', 0, 64], ['callback', 64, 96]]);
  expect(elf.relocations.get(xdp.index)?.map(({ offset, symbol }) => [offset, symbol.name])).toEqual([[16, 'shared'], [40, 'hidden'], [96, 'counters'], [112, '.text']]);
});

test('as many sections as 16 bits cannot count stand in the first header', () => {
  const patient = new Patient('maps');
  const count = patient.view.getUint16(HEADER.count, true);
  const names = patient.view.getUint16(HEADER.names, true);
  const table = Number(patient.view.getBigUint64(HEADER.sectionTable, true));
  patient.u16(HEADER.count, 0).u16(HEADER.names, SHN.XINDEX).u64(table + SECTION.size, BigInt(count)).u32(table + SECTION.link, names);
  expect(patient.problem()).toBe('loaded');
  patient.u64(table + SECTION.size, 0xffffffffn);
  expect(patient.problem()).toMatch(/^x: at offset \d+: the table of 4294967295 section headers needs \d+ bytes/);
});

describe('headers', () => {
  test.each<[string, (patient: Patient) => void, RegExp]>([
    ['headers of another size', (patient) => patient.u16(HEADER.headerBytes, 40), /^x: at offset 58: section headers of 40 bytes, expected 64$/],
    ['a table past the end', (patient) => patient.u64(HEADER.sectionTable, 1n << 63n), /^x: at offset \d+: the section header table needs 64 bytes at 9223372036854776000/],
    ['no table', (patient) => patient.u64(HEADER.sectionTable, 0n), /^x: at offset 40: no section headers/],
    ['names in a section that is not there', (patient) => patient.u16(HEADER.names, 200), /^x: at offset 62: section names are in section 200, which is not a string table$/],
    ['a section past the end', (patient) => patient.u64(patient.header('xdp') + SECTION.size, 1n << 40n), /^x: at offset \d+: section \d+ spans \d+ to \d+, but the file ends at \d+/],
    ['a section whose end wraps around', (patient) => patient.u64(patient.header('xdp') + SECTION.offset, (1n << 64n) - 8n), /^x: at offset \d+: section \d+ spans /],
    ['a name past the names', (patient) => patient.u32(patient.header('xdp') + SECTION.name, 0xffffff), /^x: at offset \d+: the name of section \d+ is at 16777215, past the \d+ bytes of names$/],
    ['a compressed section', (patient) => patient.u64(patient.header('license') + SECTION.flags, 0x803n), /^x: at offset \d+: section license is compressed; compile without -gz$/],
    ['relocations with addends', (patient) => patient.u32(patient.header('.relxdp') + SECTION.type, 4), /^x: at offset \d+: section .relxdp holds RELA relocations, expected REL/],
    ['relocations of a section that is not there', (patient) => patient.u32(patient.header('.relxdp') + SECTION.info, 99), /^x: at offset \d+: section .relxdp relocates section 99, but there are \d+$/],
    ['half a relocation', (patient) => patient.u64(patient.header('.relxdp') + SECTION.size, 24n), /^x: at offset \d+: section .relxdp has 24 bytes, expected a multiple of 16$/],
    ['half a symbol', (patient) => patient.u64(patient.header('.symtab') + SECTION.size, 25n), /^x: at offset \d+: a symbol table of 25 bytes, expected a multiple of 24$/],
  ])('%s', (_, damage, message) => {
    expect(damaged('maps', damage)).toMatch(message);
  });
});

describe('symbols and relocations', () => {
  test.each<[string, ObjectName, (patient: Patient) => void, RegExp]>([
    ['a symbol in a section that is not there', 'maps', (patient) => patient.u16(patient.symbol('flows') + 6, 500), /^x: at offset \d+: symbol \d+ is in section 500, but there are \d+$/],
    ['a relocation by a symbol that is not there', 'maps', (patient) => patient.u32(patient.section('.relxdp').offset + 12, 9999), /^x: at offset \d+: a relocation by symbol 9999, but there are \d+$/],
    ['a relocation past its section', 'maps', (patient) => patient.u64(patient.section('.relxdp').offset, 1n << 20n), /^x: at offset \d+: a relocation at 1048576 of section xdp, which has \d+ bytes$/],
    ['a relocation of an instruction without reference', 'maps', (patient) => patient.u64(patient.section('.relxdp').offset, 0n), /^x: first_program: instruction 0 refers to flows, but is a \w+; expected a call or a 64-bit immediate load$/],
    ['a relocation between instructions', 'maps', (patient) => patient.u64(patient.section('.relxdp').offset, 20n), /^x: first_program: instruction 2.5 refers to flows, but is a half instruction/],
    ['a map that stands between maps', 'maps', (patient) => patient.u64(patient.symbol('flows') + 8, 3n), /^x: maps \w+ and \w+ overlap in section .maps$/],
    ['a function past its section', 'subprograms', (patient) => patient.u64(patient.symbol('leaf') + 16, 1n << 32n), /^x: function leaf spans \d+ to \d+ of section .text, which has \d+ bytes$/],
    ['functions that overlap', 'subprograms', (patient) => patient.u64(patient.symbol('shared') + 16, 64n), /^x: functions \w+ and \w+ overlap in section .text$/],
    ['a call into the middle of a function', 'subprograms', (patient) => patient.u64(patient.symbol('leaf') + 8, patient.view.getBigUint64(patient.symbol('leaf') + 8, true) + 8n).u64(patient.symbol('leaf') + 16, 8n), /^x: \w+: instruction \d+ calls offset \d+ of section .text, where no function begins$/],
    ['a function of half an instruction', 'subprograms', (patient) => patient.u64(patient.symbol('alone') + 16, 12n), /^x: alone: 12 bytes of instructions/],
    ['a map initialised with something else', 'maps', (patient) => patient.u16(patient.symbol('next_program') + 6, patient.section('license').index), /^x: section .maps: slot 2 is initialised with next_program, which is neither a map nor a function$/],
    ['an opcode that does not exist', 'maps', (patient) => patient.u32(patient.section('xdp').offset, 0xff), /^x: first_program: instruction 0: unknown opcode 0xff/],
  ])('%s', (_, name, damage, message) => {
    expect(damaged(name, damage)).toMatch(message);
  });
});

test('a symbol that nobody defines is unresolved where it is used', () => {
  const patient = new Patient('maps');
  patient.u16(patient.symbol('flows') + 6, SHN.UNDEF);
  const program = loadObject(patient.bytes, { name: 'x' }).programs.get('first_program');
  expect(program?.unresolved).toEqual([{ slot: expect.any(Number), reason: 'kernel symbol flows does not exist' }]);
});
