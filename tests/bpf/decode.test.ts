import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeInstructions } from '../../dataplane/bpf/decode.ts';
import { encodeInstructions } from '../../dataplane/bpf/encode.ts';
import type { Instruction } from '../../dataplane/bpf/isa.ts';
import { XdplabError } from '../../dataplane/errors.ts';
import { instructions } from './arbitrary-instruction.ts';

/** One slot from its fields, as they stand in the bytes. */
function slot(opcode: number, dst = 0, src = 0, offset = 0, immediate = 0): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  bytes[0] = opcode;
  bytes[1] = (src << 4) | dst;
  view.setInt16(2, offset, true);
  view.setInt32(4, immediate, true);
  return bytes;
}

function join(...slots: Uint8Array[]): Uint8Array {
  return Uint8Array.from(slots.flatMap((bytes) => [...bytes]));
}

function mostlyZero(values: fc.Arbitrary<number>): fc.Arbitrary<number> {
  return fc.oneof(fc.constant(0), values);
}

function decodeOne(...slots: Uint8Array[]): Instruction {
  return decodeInstructions(join(...slots), 'test')[0]!;
}

describe('decoding', () => {
  test.each<[string, Uint8Array, Instruction]>([
    ['r1 += -2', slot(0x07, 1, 0, 0, -2), { kind: 'alu', op: 'add', width: 64, dst: 1, source: { kind: 'immediate', value: -2 } }],
    ['w1 += w2', slot(0x0c, 1, 2), { kind: 'alu', op: 'add', width: 32, dst: 1, source: { kind: 'register', register: 2 } }],
    ['division is unsigned with offset 0', slot(0x3f, 3, 4), { kind: 'alu', op: 'div', width: 64, dst: 3, source: { kind: 'register', register: 4 } }],
    ['division is signed with offset 1', slot(0x34, 3, 0, 1, 5), { kind: 'alu', op: 'sdiv', width: 32, dst: 3, source: { kind: 'immediate', value: 5 } }],
    ['a move with offset 16 sign-extends', slot(0xbf, 3, 4, 16), { kind: 'movsx', width: 64, bits: 16, dst: 3, src: 4 }],
    ['be64', slot(0xdc, 9, 0, 0, 64), { kind: 'endian', op: 'be', bits: 64, dst: 9 }],
    ['bswap16', slot(0xd7, 9, 0, 0, 16), { kind: 'endian', op: 'bswap', bits: 16, dst: 9 }],
    ['ldsx', slot(0x91, 1, 2, -4), { kind: 'load', bytes: 1, signed: true, dst: 1, src: 2, offset: -4 }],
    ['gotol', slot(0x06, 0, 0, 0, 70_000), { kind: 'jump', offset: 70_000, long: true }],
    ['may_goto', slot(0xe5, 0, 0, -3), { kind: 'may_goto', offset: -3 }],
    ['a 32-bit branch', slot(0xce, 1, 2, -3), { kind: 'branch', op: 'jslt', width: 32, dst: 1, source: { kind: 'register', register: 2 }, offset: -3 }],
    ['atomic_fetch_add', slot(0xc3, 1, 2, 4, 0x01), { kind: 'atomic', op: 'add', fetch: true, bytes: 4, dst: 1, src: 2, offset: 4 }],
    ['load_acquire of a byte', slot(0xd3, 1, 2, 4, 0x100), { kind: 'atomic', op: 'load_acquire', fetch: true, bytes: 1, dst: 1, src: 2, offset: 4 }],
    ['LD_IND', slot(0x48, 0, 6, 0, 12), { kind: 'load_packet', bytes: 2, offset: 12, index: 6 }],
    ['a kernel function', slot(0x85, 0, 2, 3, 9), { kind: 'call', target: { kind: 'kfunc', btfId: 9, module: 3 } }],
    ['a subprogram, at an absolute slot', slot(0x85, 0, 1, 0, 9), { kind: 'call', target: { kind: 'subprogram', slot: 10 } }],
  ])('%s', (_, bytes, expected) => {
    expect(decodeOne(bytes)).toEqual(expected);
  });

  test('a 64-bit immediate load takes two slots', () => {
    expect(decodeInstructions(join(slot(0x18, 1, 0, 0, -1), slot(0, 0, 0, 0, 0x1234_5678)), 'test')).toEqual([
      { kind: 'load_imm64', dst: 1, value: { kind: 'constant', value: 0x1234_5678_ffff_ffffn } },
      { kind: 'upper' },
    ]);
  });
});

describe('what Linux refuses is one error line that names the slot', () => {
  test.each<[string, RegExp, Uint8Array]>([
    ['an opcode nobody knows', /unknown opcode 0x8f/, slot(0x8f)],
    ['a 64-bit END to big-endian', /unknown opcode 0xdf/, slot(0xdf, 1, 0, 0, 16)],
    ['a sign-extending load of 8 bytes', /unknown opcode 0x99/, slot(0x99, 1, 2)],
    ['a call through a register', /unknown opcode 0x8d/, slot(0x8d, 1)],
    ['a may_goto of another kind', /source register is 1, but is reserved/, slot(0xe5, 0, 1, 1)],
    ['a 32-bit may_goto', /unknown opcode 0xe6/, slot(0xe6, 0, 0, 1)],
    ['register 11', /destination register is r11/, slot(0xb7, 11)],
    ['source register 15', /source register is r15/, slot(0xbf, 1, 15)],
    ['an offset in ADD', /offset is 1, but is reserved/, slot(0x0f, 1, 2, 1)],
    ['an offset of 2 in DIV', /offset is 2/, slot(0x3f, 1, 2, 2)],
    ['an offset of -1 in DIV', /offset is -1/, slot(0x3f, 1, 2, -1)],
    ['an immediate beside a source register', /immediate is 7, but is reserved/, slot(0x0f, 1, 2, 0, 7)],
    ['a source register beside an immediate', /source register is 2, but is reserved/, slot(0x07, 1, 2, 0, 7)],
    ['a 32-bit move that sign-extends 32 bits', /offset is 32/, slot(0xbc, 1, 2, 32)],
    ['a move of an immediate that sign-extends', /offset is 8, but is reserved/, slot(0xb7, 1, 0, 8, 1)],
    ['a byte swap of 8 bits', /byte swap of 8 bits/, slot(0xd4, 1, 0, 0, 8)],
    ['an immediate in NEG', /immediate is 1/, slot(0x87, 1, 0, 0, 1)],
    ['an immediate in goto', /immediate is 1/, slot(0x05, 0, 0, 0, 1)],
    ['an offset in gotol', /offset is 1/, slot(0x06, 0, 0, 1, 0)],
    ['an offset in a helper call', /offset is 1/, slot(0x85, 0, 0, 1, 1)],
    ['a call of kind 3', /call of kind 3/, slot(0x85, 0, 3, 0, 1)],
    ['an immediate in exit', /immediate is 1/, slot(0x95, 0, 0, 0, 1)],
    ['an immediate in a load', /immediate is 1/, slot(0x61, 1, 2, 0, 1)],
    ['an immediate in a register store', /immediate is 1/, slot(0x63, 1, 2, 0, 1)],
    ['an atomic add of 2 bytes', /atomic add of 2 bytes/, slot(0xcb, 1, 2, 0, 0)],
    ['an exchange without FETCH', /unknown atomic operation 0xe0/, slot(0xdb, 1, 2, 0, 0xe0)],
    ['LD_ABS with a destination', /destination register is 1/, slot(0x30, 1)],
    ['LD_ABS with a source', /source register is 1/, slot(0x30, 0, 1)],
    ['LD_ABS of 8 bytes', /unknown opcode 0x38/, slot(0x38)],
    ['a 64-bit immediate load at the end', /without its second slot/, slot(0x18, 1)],
    ['a 64-bit immediate load whose second slot is an instruction', /second slot is an instruction/, join(slot(0x18, 1), slot(0x95))],
    ['a 64-bit immediate load of kind 7', /64-bit immediate of kind 7/, join(slot(0x18, 1, 7), slot(0))],
    ['a map reference with an upper immediate', /upper immediate is 1/, join(slot(0x18, 1, 1), slot(0, 0, 0, 0, 1))],
  ])('%s', (_, message, bytes) => {
    const good = slot(0xb7);
    const decode = (): unknown => decodeInstructions(join(good, bytes), 'a.bpf.o:prog');
    expect(decode).toThrow(XdplabError);
    expect(decode).toThrow(message);
    expect(decode).toThrow(/^a\.bpf\.o:prog: instruction 1: [^\n]+$/);
    expect(decode).toThrow(expect.objectContaining({ code: 'ERR_INSTRUCTION' }));
  });

  test('bytes that end within a slot', () => {
    expect(() => decodeInstructions(new Uint8Array(12), 'a.bpf.o:prog')).toThrow(/^a\.bpf\.o:prog: 12 bytes of instructions; expected a multiple of 8/);
  });
});

describe('decoding and encoding are inverse', () => {
  test('instructions come back from their bytes', () => {
    fc.assert(
      fc.property(instructions, (list) => {
        expect(decodeInstructions(encodeInstructions(list), 'test')).toEqual(list);
      }),
    );
  });

  test('bytes that decode come back from their instructions; others give one error line', () => {
    const anySlot = fc
      .tuple(
        fc.integer({ min: 0, max: 255 }),
        mostlyZero(fc.integer({ min: 0, max: 15 })),
        mostlyZero(fc.integer({ min: 0, max: 15 })),
        mostlyZero(fc.oneof(fc.constantFrom(1, 8, 16, 32), fc.integer({ min: -32_768, max: 32_767 }))),
        mostlyZero(fc.oneof(fc.constantFrom(1, 0x10, 0x20, 0x40, 0x41, 0x50, 0x51, 0xa0, 0xa1, 0xe1, 0xf1, 0x100, 0x110), fc.integer())),
      )
      .map((fields) => slot(...fields));
    let decoded = 0;
    fc.assert(
      fc.property(fc.array(anySlot, { minLength: 1, maxLength: 2 }), (slots) => {
        const bytes = join(...slots);
        let list: Instruction[];
        try {
          list = decodeInstructions(bytes, 'test');
        } catch (error) {
          expect(error).toBeInstanceOf(XdplabError);
          expect((error as XdplabError).message).not.toContain('\n');
          return;
        }
        decoded++;
        expect(encodeInstructions(list)).toEqual(bytes);
      }),
      { numRuns: 5000 },
    );
    expect(decoded).toBeGreaterThan(100);
  });

  test('a map by name has no bytes until a file descriptor is given for it', () => {
    const list: Instruction[] = [{ kind: 'load_imm64', dst: 1, value: { kind: 'map', map: 'counters' } }, { kind: 'upper' }];
    expect(() => encodeInstructions(list)).toThrow(/map counters has no file descriptor/);
    expect(decodeInstructions(encodeInstructions(list, () => 7), 'test')[0]).toEqual({ kind: 'load_imm64', dst: 1, value: { kind: 'map_fd', fd: 7 } });
  });
});
