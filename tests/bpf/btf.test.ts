import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Btf } from '../../dataplane/bpf/btf.ts';
import { parseBtfExt } from '../../dataplane/bpf/btf-ext.ts';
import { valueCodec } from '../../dataplane/bpf/btf-value.ts';
import { openObject } from '../../dataplane/bpf/object-file.ts';
import { XdplabError } from '../../dataplane/errors.ts';
import { buildBtf, int } from './btf-builder.ts';
import { objectBytes } from './test-object.ts';

function parse(types: Parameters<typeof buildBtf>[0]): Btf {
  return Btf.parse(buildBtf(types), 'x');
}

function problem(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(XdplabError);
    return (error as Error).message;
  }
  throw new Error('accepted');
}

describe('types', () => {
  test('of every kind are read', () => {
    const btf = parse([
      int('int', 4, 1),
      { kind: 'ptr', word: 1 },
      { kind: 'array', words: [1, 1, 5] },
      { kind: 'struct', name: 's', word: 8, words: ['a', 1, 0, 'b', 1, 32] },
      { kind: 'union', name: 'u', word: 4, flag: true, words: ['bits', 1, (5 << 24) | 3] },
      { kind: 'enum', name: 'e', word: 4, flag: true, words: ['MINUS', 0xffffffff] },
      { kind: 'fwd', name: 'f', flag: true },
      { kind: 'typedef', name: 't', word: 1 },
      { kind: 'volatile', word: 1 },
      { kind: 'const', word: 9 },
      { kind: 'restrict', word: 2 },
      { kind: 'func_proto', word: 1, words: ['x', 1, '', 0] },
      { kind: 'func', name: 'main', word: 12, vlen: 1 },
      { kind: 'var', name: 'v', word: 1, words: [1] },
      { kind: 'datasec', name: '.data', word: 4, words: [14, 0, 4] },
      { kind: 'float', name: 'double', word: 8 },
      { kind: 'decl_tag', name: 'tag', word: 4, words: [0xffffffff] },
      { kind: 'type_tag', name: 'user', word: 1 },
      { kind: 'enum64', name: 'e64', word: 8, words: ['LARGE', 1, 2] },
    ]);
    expect([...btf.types()].map(([, type]) => type)).toEqual([
      { kind: 'int', name: 'int', sizeBytes: 4, signed: true, char: false, bool: false, offsetBits: 0, bits: 32 },
      { kind: 'ptr', type: 1 },
      { kind: 'array', type: 1, indexType: 1, length: 5 },
      { kind: 'struct', name: 's', sizeBytes: 8, members: [{ name: 'a', type: 1, offsetBits: 0, bitfieldBits: 0 }, { name: 'b', type: 1, offsetBits: 32, bitfieldBits: 0 }] },
      { kind: 'union', name: 'u', sizeBytes: 4, members: [{ name: 'bits', type: 1, offsetBits: 3, bitfieldBits: 5 }] },
      { kind: 'enum', name: 'e', sizeBytes: 4, signed: true, values: [{ name: 'MINUS', value: -1n }] },
      { kind: 'fwd', name: 'f', of: 'union' },
      { kind: 'typedef', name: 't', type: 1 },
      { kind: 'volatile', name: '', type: 1 },
      { kind: 'const', name: '', type: 9 },
      { kind: 'restrict', name: '', type: 2 },
      { kind: 'func_proto', returnType: 1, parameters: [{ name: 'x', type: 1 }, { name: '', type: 0 }] },
      { kind: 'func', name: 'main', type: 12, linkage: 'global' },
      { kind: 'var', name: 'v', type: 1, linkage: 'global' },
      { kind: 'datasec', name: '.data', sizeBytes: 4, variables: [{ type: 14, offset: 0, sizeBytes: 4 }] },
      { kind: 'float', name: 'double', sizeBytes: 8 },
      { kind: 'decl_tag', name: 'tag', type: 4, component: -1 },
      { kind: 'type_tag', name: 'user', type: 1 },
      { kind: 'enum64', name: 'e64', sizeBytes: 8, signed: false, values: [{ name: 'LARGE', value: 0x2_0000_0001n }] },
    ]);
    expect([3, 4, 10, 11, 14, 16].map((id) => btf.sizeBytes(id))).toEqual([20, 8, 4, 8, 4, 8]);
    expect([3, 4, 10, 11].map((id) => btf.alignmentBytes(id))).toEqual([4, 4, 4, 8]);
    expect([2, 3, 4, 8, 10, 7].map((id) => btf.describe(id))).toEqual(['int *', 'int[5]', 'struct s', 't', 'const volatile int', 'union f']);
  });

  test('are found by name, kind and essential name', () => {
    const btf = parse([int('x', 4), { kind: 'struct', name: 'x', word: 0 }, { kind: 'struct', name: 'x___old', word: 0 }]);
    expect(btf.idsByName('x')).toEqual([1, 2]);
    expect(btf.idsByName('x', 'struct')).toEqual([2]);
    expect(btf.idsByName('x___old')).toEqual([3]);
    expect(btf.idsByEssentialName('x')).toEqual([1, 2, 3]);
    expect(btf.idsByName('toString')).toEqual([]);
    expect(btf.idsByName('__proto__')).toEqual([]);
  });

  test('a struct with a member out of place is packed', () => {
    const btf = parse([int('int', 4), { kind: 'struct', name: 's', word: 5, words: ['a', 1, 8] }]);
    expect(btf.alignmentBytes(2)).toBe(1);
  });
});

describe('damaged BTF', () => {
  const valid = buildBtf([int('int', 4)]);
  const changed = (offset: number, value: number): Uint8Array => {
    const bytes = valid.slice();
    new DataView(bytes.buffer).setUint32(offset, value, true);
    return bytes;
  };

  test.each<[string, Uint8Array, string]>([
    ['nothing', new Uint8Array(), 'x: BTF at offset 0: 0 bytes, but the header alone takes 24'],
    ['big-endian BTF', changed(0, 0x01009feb), 'x: BTF at offset 0: magic 0x9feb, expected 0xeb9f (little-endian BTF)'],
    ['another version', changed(0, 0x2eb9f), 'x: BTF at offset 2: version 2, expected 1'],
    ['a header past the end', changed(4, 0xffffffff), 'x: BTF at offset 4: a header of 4294967295 bytes, expected 24 to 45'],
    ['types past the end', changed(12, 0xffffffff), 'x: BTF at offset 8: types end at 4294967319, but there are 45 bytes'],
    ['strings past the end', changed(20, 6), 'x: BTF at offset 16: strings end at 46, but there are 45 bytes'],
    ['types cut short', changed(12, 15), 'x: BTF at offset 24: type 1 (int) ends at 40, but the types end at 39'],
    ['a name past the strings', changed(24, 5), 'x: BTF at offset 24: a name at 5, but there are 5 bytes of strings'],
    ['an unknown kind', changed(28, 20 << 24), 'x: BTF at offset 28: type 1 is of unknown kind 20'],
    ['a type that is not there', buildBtf([{ kind: 'ptr', word: 2 }]), 'x: BTF at offset 32: refers to type 2, but there are only 2'],
    ['more members than bytes', buildBtf([{ kind: 'struct', vlen: 65535 }]), 'x: BTF at offset 24: type 1 (struct) ends at 786456, but the types end at 36'],
  ])('%s is one line with the place', (_, bytes, message) => {
    expect(problem(() => Btf.parse(bytes, 'x'))).toBe(message);
  });

  test('a typedef, an array or a struct that contains itself is one line, when measured', () => {
    const btf = parse([
      { kind: 'typedef', name: 'loop', word: 1 },
      { kind: 'array', words: [2, 2, 3] },
      { kind: 'struct', name: 'matryoshka', word: 4, words: ['inner', 3, 0] },
      { kind: 'const', word: 5 },
      { kind: 'volatile', word: 4 },
    ]);
    expect(problem(() => btf.resolve(1))).toContain('x: BTF type 1: more than 64 typedefs and qualifiers, or one that refers to itself');
    expect(problem(() => btf.sizeBytes(2))).toContain('x: BTF type 2: an array of more than 64 dimensions, or one that contains itself');
    expect(problem(() => btf.alignmentBytes(3))).toContain('x: BTF type 3: contains itself');
    expect(problem(() => valueCodec(btf, 3, 4))).toContain('contains itself');
    expect(problem(() => valueCodec(btf, 1, 4))).toContain('refers to itself');
    expect(problem(() => btf.sizeBytes(4))).toContain('refers to itself');
    expect([...btf.types()].map(([id]) => btf.describe(id))).toHaveLength(5);
  });

  test('a type of few bytes that would give endless values is refused', () => {
    // 32 levels of a union of two of the level below, all in one byte; and four billion elements of no size.
    const levels = Array.from({ length: 32 }, (_, level) => ({ kind: 'union' as const, name: `l${level}`, word: 1, words: ['a', level + 1, 0, 'b', level + 1, 0] }));
    const btf = parse([int('u8', 1), ...levels, { kind: 'struct', name: 'none', word: 0 }, { kind: 'array', words: [34, 1, 0xffffffff] }, { kind: 'array', words: [1, 1, 0xffffffff] }, { kind: 'array', words: [36, 1, 0xffffffff] }]);
    expect(problem(() => valueCodec(btf, 33, 1))).toContain('values are too many to show');
    expect(valueCodec(btf, 35, 0).read(new Uint8Array())).toEqual([]);
    expect(problem(() => btf.sizeBytes(37))).toContain('more than 32 bits can say');
    expect(problem(() => valueCodec(btf, 36, 0xffffffff))).toContain('values are too many to show');
  });

  test('anonymous structs that double at every level are refused before they fill memory', () => {
    const levels = Array.from({ length: 40 }, (_, level) => ({ kind: 'struct' as const, word: 0, words: level === 0 ? [] : ['', level, 0, '', level, 0] }));
    const btf = parse([...levels, { kind: 'struct', name: 'top', word: 0, words: ['', 40, 0] }]);
    expect(problem(() => valueCodec(btf, 41, 0))).toContain('more than 65536 members');
  });

  test('what names the types of an object cannot be printed as control characters', () => {
    const btf = parse([{ kind: 'struct', name: 'a\u001b[31m\n', word: 0 }]);
    expect(btf.describe(1)).toBe('struct a\\x1b[31m\\x0a');
    const turned = parse([{ kind: 'struct', name: Buffer.from('a\u202e\u00e9').toString('latin1'), word: 0 }]);
    expect(turned.describe(1)).toBe('struct a\\u{202e}\u00e9');
  });

  test('any bytes give types or one line', () => {
    const original = buildBtf([int('int', 4, 1), { kind: 'struct', name: 's', word: 8, words: ['a', 1, 0, 'b', 3, 32] }, { kind: 'array', words: [1, 1, 5] }, { kind: 'enum', name: 'e', word: 4, words: ['A', 1] }]);
    fc.assert(fc.property(fc.array(fc.tuple(fc.nat(original.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }), (changes) => {
      const bytes = original.slice();
      for (const [at, value] of changes) bytes[at] = value;
      try {
        const btf = Btf.parse(bytes, 'x');
        for (const [id] of btf.types()) {
          btf.describe(id);
          valueCodec(btf, id, 4);
        }
      } catch (error) {
        expect(error).toBeInstanceOf(XdplabError);
        expect((error as Error).message).toMatch(/^x: BTF [^\p{Cc}\p{Cf}]*$/u);
      }
    }), { numRuns: 500 });
  });
});

describe('BTF.ext', () => {
  const file = openObject(objectBytes('subprograms'), 'x');
  const section = file.elf.sections.find(({ name }) => name === '.BTF.ext')!;
  const changed = (offset: number, value: number): Uint8Array => {
    const bytes = section.bytes.slice();
    new DataView(bytes.buffer).setUint32(offset, value, true);
    return bytes;
  };

  test('says where functions and lines begin', () => {
    const ext = parseBtfExt(section.bytes, file.btf!);
    expect([...ext.functions.keys()].toSorted()).toEqual(['.text', 'tc', 'xdp']);
    expect(ext.functions.get('xdp')!.map(({ offset, typeId }) => [offset, file.btf!.describe(typeId)])).toEqual([[0, 'nested'], [64, 'callback']]);
    expect(ext.lines.get('tc')![0]).toMatchObject({ offset: 0, line: expect.any(Number), text: 'return 0;' });
  });

  test.each<[string, Uint8Array, RegExp]>([
    ['too short', section.bytes.slice(0, 20), /^x: BTF.ext at offset 20: 20 bytes, but the header alone takes 24$/],
    ['a header past the end', changed(4, 0x7fffffff), /^x: BTF.ext at offset 4: a header of 2147483647 bytes/],
    ['a part past the end', changed(12, 0x7fffffff), /^x: BTF.ext at offset 8: func_info ends at \d+/],
    ['short records', changed(32, 4), /^x: BTF.ext at offset 32: func_info records of 4 bytes, expected 8 or more, a multiple of 4$/],
    ['records of no size', changed(32, 0), /^x: BTF.ext at offset 32: func_info records of 0 bytes/],
    ['too many records', changed(40, 0xffffffff), /^x: BTF.ext at offset 40: 4294967295 records of func_info/],
    ['a section without name', changed(36, 0xffffff), /^x: BTF.ext at offset 36: a string at 16777215/],
    ['half an instruction', changed(44, 4), /^x: BTF.ext at offset 44: an instruction at 4, expected a multiple of 8$/],
  ])('%s is one line with the place', (_, bytes, message) => {
    expect(problem(() => parseBtfExt(bytes, file.btf!))).toMatch(message);
  });
});
