import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { valueCodec } from '../../dataplane/bpf/btf-value.ts';
import type { Instruction } from '../../dataplane/bpf/isa.ts';
import { loadObject } from '../../dataplane/bpf/object.ts';
import type { ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { load, mapOf, programOf } from './test-object.ts';

function references(program: ProgramSpec): string[] {
  return program.instructions.flatMap((instruction) => {
    if (instruction.kind === 'load_imm64' && (instruction.value.kind === 'map' || instruction.value.kind === 'map_value')) return [instruction.value.map];
    return [];
  });
}

function calls(program: ProgramSpec): (readonly [slot: number, target: string])[] {
  const nameAt = (slot: number): string => program.functions.find((one) => one.slot === slot)?.name ?? `slot ${slot}`;
  return program.instructions.flatMap((instruction: Instruction, slot) => {
    if (instruction.kind === 'call' && instruction.target.kind === 'subprogram') return [[slot, nameAt(instruction.target.slot)] as const];
    if (instruction.kind === 'load_imm64' && instruction.value.kind === 'function') return [[slot, `&${nameAt(instruction.value.slot)}`] as const];
    return [];
  });
}

describe('maps declared by BTF', () => {
  const maps = load('maps');

  test('every attribute is read', () => {
    const flows = mapOf(maps, 'flows');
    expect(flows).toMatchObject({ type: 1, keyBytes: 8, valueBytes: 8, maxEntries: 1000, flags: 1, numaNode: 2, pinning: 'by_name', frozen: false });
    expect(flows.btf?.describe(flows.keyTypeId)).toBe('struct flow');
    expect(mapOf(maps, 'seen')).toMatchObject({ type: 30, keyBytes: 0, valueBytes: 4, mapExtra: 5n, pinning: 'none' });
  });

  test('a map of maps has its inner declaration and its initialisers', () => {
    const outer = mapOf(maps, 'outer');
    expect(outer).toMatchObject({ type: 12, keyBytes: 4, valueBytes: 4, inner: { name: 'outer.inner', type: 2, keyBytes: 4, valueBytes: 4, maxEntries: 8 } });
    expect([...outer.slots!]).toEqual([[1, 'first'], [3, 'second']]);
  });

  test('a program array is initialised with programs', () => {
    expect([...mapOf(maps, 'jumps').slots!]).toEqual([[2, 'next_program']]);
  });

  test('instructions refer to maps by name', () => {
    expect(references(programOf(maps, 'first_program'))).toEqual(['flows', 'outer', 'jumps']);
  });

  test('the section says type, attach type, multi-buffer and whether to load', () => {
    expect(programOf(maps, 'first_program')).toMatchObject({ type: 'xdp', attach: 'xdp', frags: false, license: 'Dual MIT/GPL' });
    expect(programOf(maps, 'first_program').autoload).toBeUndefined();
    expect(programOf(maps, 'next_program')).toMatchObject({ type: 'xdp', attach: 'xdp_devmap', frags: true, autoload: false, section: '?xdp.frags/devmap' });
  });
});

describe('global variables', () => {
  const data = load('data');

  test('each section is a map, named as libbpf names it', () => {
    expect([...data.maps.values()].map(({ name, section, flags, frozen }) => [name, section, flags, frozen])).toEqual([
      ['data.rodata', '.rodata', 0x480, true],
      ['data.data', '.data', 0x400, false],
      ['.data.counters', '.data.counters', 0x400, false],
      ['data.bss', '.bss', 0x400, false],
      ['data.kconfig', '.kconfig', 0x80, true],
    ]);
    expect(load('data', { name: 'some/where/a_long_name.x.bpf.o' }).maps.has('a_long_n.rodata')).toBe(true);
  });

  test('their first values are read by name', () => {
    const read = (name: string) => {
      const map = mapOf(data, name);
      return valueCodec(map.btf, map.valueTypeId, map.valueBytes).read(map.contents ?? new Uint8Array(map.valueBytes));
    };
    expect(read('data.rodata')).toEqual({ limit: 100, device: 'eth0', ports: [22, 80, 443] });
    expect(read('data.data')).toEqual({ balance: -5, mode: 3 });
    expect(read('.data.counters')).toEqual({ hits: 7 });
    expect(read('data.bss')).toEqual({ packets: 0, bytes: 0 });
  });

  test('writing one variable leaves the others', () => {
    const map = mapOf(data, 'data.rodata');
    const codec = valueCodec(map.btf, map.valueTypeId, map.valueBytes);
    expect(codec.read(codec.write({ limit: 7 }, 'data.rodata', map.contents))).toEqual({ limit: 7, device: 'eth0', ports: [22, 80, 443] });
  });

  test('instructions refer to variables by map and offset', () => {
    const values = programOf(data, 'variables').instructions.flatMap((one) => (one.kind === 'load_imm64' && one.value.kind === 'map_value' ? [`${one.value.map}+${one.value.offset}`] : []));
    // ports[2] stands behind limit and device; balance and mode are in .data, and both counters in .bss.
    expect(new Set(values)).toEqual(new Set(['data.bss+0', 'data.rodata+0', 'data.rodata+12', 'data.bss+8', 'data.data+4', 'data.data+0', '.data.counters+0', 'data.rodata+4']));
  });

  test('a license without NUL ends with its section', () => {
    expect(data.license).toBe('MIT');
  });
});

describe('what the kernel provides', () => {
  test('configuration is a frozen map, with defaults that can be set', () => {
    const kconfig = (config: Record<string, string>) => mapOf(load('data', { kernelConfig: config }), 'data.kconfig').contents!;
    // libbpf's order: CONFIG_NOT_THERE (8), CONFIG_HZ, CONFIG_IPV6, LINUX_KERNEL_VERSION (4), CONFIG_BPF, CONFIG_INET (1).
    const view = new DataView(kconfig({ CONFIG_NOT_THERE: '0x100000000', CONFIG_HZ: '1000', CONFIG_IPV6: 'm' }).buffer);
    expect([view.getBigUint64(0, true), view.getInt32(8, true), view.getInt32(12, true), view.getUint32(16, true)]).toEqual([0x100000000n, 1000, 1, (6 << 16) | (18 << 8)]);
    expect([...kconfig({}).subarray(20)]).toEqual([1, 'y'.charCodeAt(0)]);
    expect(() => kconfig({ CONFIG_HZ: 'fast' })).toThrow('data.bpf.o: kernel configuration CONFIG_HZ is fast, expected a number, y, m or n');
  });

  test('what is weak and missing is 0, what is needed and missing is unresolved, kernel functions are called by name', () => {
    const kernel = programOf(load('data'), 'kernel');
    const reasons = kernel.unresolved!.map(({ reason }) => reason);
    expect(reasons).toEqual(['kernel symbol needed_symbol does not exist', 'kernel function missing_function does not exist']);
    expect(kernel.instructions[kernel.unresolved![0]!.slot]).toEqual({ kind: 'call', target: { kind: 'helper', id: 0xbad2310 } });
    expect(kernel.instructions[kernel.unresolved![1]!.slot]).toEqual({ kind: 'call', target: { kind: 'helper', id: 2_002_000_000 } });
    const kfuncs = kernel.instructions.flatMap((one) => (one.kind === 'call' && one.target.kind === 'kfunc' ? [one.target.name] : []));
    expect(kfuncs).toEqual(['wanted_function']);
  });
});

describe('subprograms', () => {
  const subprograms = load('subprograms');

  test('are appended in the order libbpf meets them, each once', () => {
    const nested = programOf(subprograms, 'nested');
    expect(nested.functions.map(({ name, linkage }) => `${linkage} ${name}`)).toEqual(['global nested', 'global shared', 'static middle', 'static leaf', 'static hidden']);
    expect(calls(nested).map(([, target]) => target)).toEqual(['shared', 'hidden', 'middle', 'leaf', 'leaf']);
    for (const { slot } of nested.functions.slice(1)) expect(nested.instructions[slot - 1]).toEqual({ kind: 'exit' });
  });

  test('a callback is the address of a function', () => {
    const callback = programOf(subprograms, 'callback');
    expect(calls(callback).map(([, target]) => target)).toEqual(['&visit', 'leaf']);
    expect(callback.functions.map(({ name }) => name)).toEqual(['callback', 'visit', 'leaf']);
  });

  test('functions of .text are no programs of their own', () => {
    expect([...subprograms.programs.keys()]).toEqual(['nested', 'callback', 'alone']);
    expect(programOf(subprograms, 'alone').functions).toHaveLength(1);
  });

  test('lines and functions keep their place in the linked program', () => {
    const nested = programOf(subprograms, 'nested');
    const leaf = nested.functions.find(({ name }) => name === 'leaf')!;
    const line = nested.lines.find(({ slot, text }) => slot >= leaf.slot && text.startsWith('return value * 3'))!;
    expect(line).toMatchObject({ file: expect.stringMatching(/subprograms\.bpf\.c$/), text: 'return value * 3 + 1;' });
    expect(subprograms.btf?.type(leaf.typeId)).toMatchObject({ kind: 'func', name: 'leaf', linkage: 'static' });
    expect(nested.lines.map(({ slot }) => slot)).toEqual(nested.lines.map(({ slot }) => slot).toSorted((a, b) => a - b));
  });
});

describe('legacy maps', () => {
  test('five words as libbpf had them', () => {
    expect(mapOf(load('legacy'), 'inner')).toMatchObject({ type: 2, keyBytes: 4, valueBytes: 8, maxEntries: 16, flags: 0, pinning: 'none' });
    expect(references(programOf(load('legacy'), 'lookup'))).toEqual(['inner', 'outer']);
  });

  test('nine words as iproute2 has them, with pinning and inner maps', () => {
    const legacy = load('legacy-iproute2');
    expect(mapOf(legacy, 'outer')).toMatchObject({ pinning: 'by_name', inner: { name: 'inner', valueBytes: 8 } });
    expect([...mapOf(legacy, 'outer').slots!]).toEqual([[1, 'inner']]);
  });

  test('a program in a section id/slot goes into that program array', () => {
    const legacy = load('legacy-iproute2', { type: 'sched_cls' });
    expect([...mapOf(legacy, 'jumps').slots!]).toEqual([[3, 'tail']]);
    expect(programOf(legacy, 'tail')).toMatchObject({ section: '7/3', type: 'sched_cls' });
  });
});

test('a type from outside is for programs whose section does not say', () => {
  expect(programOf(load('legacy-iproute2'), 'tail').type).toBeUndefined();
  expect(programOf(load('subprograms', { type: 'socket_filter' }), 'alone').type).toBe('sched_cls');
});

test('nothing need be said of an object but its bytes; what is no bytes is refused in one line', () => {
  const bytes = readFileSync(new URL('objects/subprograms.bpf.o', import.meta.url));
  expect([...loadObject(bytes).programs.keys()]).toEqual([...load('subprograms').programs.keys()]);
  expect(() => loadObject(bytes.subarray(0, 10))).toThrow(/^object: /);
  expect(() => loadObject('firewall.bpf.o' as unknown as Uint8Array)).toThrow('loadObject: found string, expected the bytes of an object file, as readFile gives them');
});
