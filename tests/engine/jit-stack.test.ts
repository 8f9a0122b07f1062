import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { EngineFactory } from '../../dataplane/engine/engine.ts';
import { createInterpreter } from '../../dataplane/engine/interpreter.ts';
import { createWasmEngine, type WasmEngine } from '../../dataplane/engine/wasm-engine.ts';
import { createMap } from '../../dataplane/maps/bpf-map.ts';
import { BenchMachine, type LoadOptions } from './bench-machine.ts';

const FRAME = 96;
const TYPES = { 1: 'u8', 2: 'u16', 4: 'u32', 8: 'u64' } as const;
type Bytes = keyof typeof TYPES;

/** r6: what was read so far, mixed; r7: the packet; r8, r9: for addresses. */
interface Statement {
  readonly text: (label: string) => string;
}

const bytes = fc.constantFrom<Bytes>(1, 2, 4, 8);
const slot = fc.integer({ min: 1, max: FRAME / 8 }).map((word) => -8 * word);
const place = fc.tuple(bytes, fc.nat(FRAME)).map(([size, at]) => ({ size, offset: -FRAME + Math.floor(Math.min(at, FRAME - size) / size) * size }));
const packetByte = fc.nat(63);
const mix = 'r6 *= 31\nr6 += r0';

const statement: fc.Arbitrary<Statement> = fc.oneof(
  fc.record({ at: place, value: fc.integer({ min: -1000, max: 1000 }) }).map(({ at, value }) => ({ text: () => `*(${TYPES[at.size]} *)(r10 ${at.offset}) = ${value}` })),
  fc.record({ at: place, from: packetByte }).map(({ at, from }) => ({ text: () => `r0 = *(u64 *)(r7 +${Math.min(from, 56)})\n*(${TYPES[at.size]} *)(r10 ${at.offset}) = r0` })),
  place.map(({ size, offset }) => ({ text: () => `r0 = *(${TYPES[size]} *)(r10 ${offset})\n${mix}` })),
  place.filter(({ size }) => size < 8).map(({ size, offset }) => ({ text: () => `r0 = *(s${size * 8} *)(r10 ${offset})\n${mix}` })),
  // Through another register.
  fc.record({ at: place, base: slot }).map(({ at, base }) => ({ text: () => `r8 = r10\nr8 += ${base}\n*(${TYPES[at.size]} *)(r8 ${sign(at.offset - base)}) = r6` })),
  // An address spilled and filled.
  fc.record({ at: place, base: slot, spill: slot }).map(({ at, base, spill }) => ({
    text: () => `r8 = r10\nr8 += ${base}\n*(u64 *)(r10 ${spill}) = r8\nr9 = *(u64 *)(r10 ${spill})\nr0 = *(${TYPES[at.size]} *)(r9 ${sign(at.offset - base)})\n*(u64 *)(r10 ${spill}) = r6\n${mix}`,
  })),
  // An address that only the packet knows.
  fc.record({ index: packetByte, size: bytes, base: fc.integer({ min: 4, max: FRAME / 8 }), writes: fc.boolean() }).map(({ index, size, base, writes }) => ({
    text: () =>
      `r9 = *(u8 *)(r7 +${index})\nr9 &= ${24 & -size}\nr8 = r10\nr8 += ${-8 * base}\nr8 += r9\n` +
      (writes ? `*(${TYPES[size]} *)(r8 +0) = r6` : `r0 = *(${TYPES[size]} *)(r8 +0)\n${mix}`),
  })),
  // A path decides which of two words is meant.
  fc.record({ index: packetByte, one: slot, two: slot, writes: fc.boolean() }).map(({ index, one, two, writes }) => ({
    text: (label: string) =>
      `r9 = *(u8 *)(r7 +${index})\nr8 = r10\nr8 += ${one}\nif r9 > 127 goto ${label}\nr8 = r10\nr8 += ${two}\n${label}:\n` +
      (writes ? '*(u64 *)(r8 +0) = r6' : `r0 = *(u64 *)(r8 +0)\n${mix}`),
  })),
  slot.map((offset) => ({ text: () => `r0 = 3\nlock *(u64 *)(r10 ${offset}) += r0` })),
  // The packet's byte decides how often a word is added to.
  fc.record({ index: packetByte, offset: slot }).map(({ index, offset }) => ({
    text: (label: string) => `r9 = *(u8 *)(r7 +${index})\nr9 &= 7\n${label}: r0 = *(u32 *)(r10 ${offset})\nr0 += r9\n*(u32 *)(r10 ${offset}) = r0\nr9 += -1\nif r9 s> 0 goto ${label}`,
  })),
  // Helpers that read and write the stack.
  fc.record({ key: slot, value: slot.filter((offset) => offset <= -16) }).map(({ key, value }) => ({
    text: () => `r1 = map[flows]\nr2 = r10\nr2 += ${key}\nr3 = r10\nr3 += ${value}\nr4 = 0\ncall bpf_map_update_elem\n${mix}`,
  })),
  fc.record({ map: fc.constantFrom('flows', 'counters'), key: slot, half: fc.constantFrom(0, 4) }).map(({ map, key, half }) => ({
    text: (label: string) => `r1 = map[${map}]\nr2 = r10\nr2 += ${key + (map === 'counters' ? half : 0)}\ncall bpf_map_lookup_elem\nif r0 == 0 goto ${label}\nr0 = *(u64 *)(r0 +0)\n${label}: ${mix}`,
  })),
  slot.filter((offset) => offset <= -16).map((offset) => ({ text: () => `r1 = map[queue]\nr2 = r10\nr2 += ${offset}\ncall bpf_map_pop_elem\n${mix}` })),
  slot.filter((offset) => offset <= -16).map((offset) => ({ text: () => `r1 = map[queue]\nr2 = r10\nr2 += ${offset}\nr3 = 0\ncall bpf_map_push_elem\n${mix}` })),
  // A loop over the stack, from another frame.
  fc.record({ count: fc.nat(5), at: slot.filter((offset) => offset <= -24), index: packetByte }).map(({ count, at, index }) => ({
    text: () => `r1 = *(u8 *)(r7 +${index})\nr1 &= ${count}\nr2 = subprog[turn]\nr3 = r10\nr3 += ${at}\nr4 = 0\ncall bpf_loop\n${mix}`,
  })),
  // Functions: one that reads and writes through its argument, one that keeps it, one that has none.
  fc.record({ name: fc.constantFrom('through', 'keeps', 'none'), at: slot.filter((offset) => offset <= -24) }).map(({ name, at }) => ({
    text: () => `r1 = r10\nr1 += ${at}\nr2 = r6\ncall ${name}\n${name === 'keeps' ? `r8 = *(u64 *)(r10 ${at + 8})\nr0 = *(u64 *)(r8 +0)\n*(u64 *)(r8 +0) = r6\n*(u64 *)(r10 ${at + 8}) = 5\n` : ''}${mix}`,
  })),
);

const FUNCTIONS = `
through: r3 = *(u32 *)(r1 +4)
         *(u64 *)(r10 -8) = r3
         *(u64 *)(r1 +8) = r2
         r0 = *(u64 *)(r10 -8)
         r3 = *(u8 *)(r1 +17)
         r0 += r3
         exit
keeps:   *(u64 *)(r1 +8) = r1
         r0 = 7
         exit
turn:    r3 = *(u64 *)(r2 +8)
         r3 += r1
         *(u64 *)(r2 +8) = r3
         r0 = r3
         r0 &= 1
         exit
none:    *(u64 *)(r10 -16) = 9
         r0 = *(u64 *)(r10 -8)
         exit`;

const sign = (offset: number): string => (offset < 0 ? `${offset}` : `+${offset}`);

function programOf(statements: readonly Statement[]): string {
  const body = statements.map(({ text }, index) => text(`l${index}`));
  const rest = Array.from({ length: FRAME / 8 }, (_, word) => `r0 = *(u64 *)(r10 ${-8 * (word + 1)})\n${mix}`);
  const called = body.join('\n').match(/call (through|keeps|none)|turn/) ? FUNCTIONS : '';
  // Linux refuses functions that nobody calls.
  const all = called === '' ? '' : 'if r7 != 0 goto start\nr1 = r10\nr1 += -64\nr2 = 0\ncall through\ncall none\nr1 = r10\nr1 += -64\ncall keeps\nr1 = subprog[turn]\n';
  return `r6 = 1\nr7 = *(u32 *)(r1 +0)\n${all}start:\n${body.join('\n')}\n${rest.join('\n')}\nr0 = r6\nexit\n${called}`;
}

function machineOf(factory: EngineFactory): { bench: BenchMachine; options: () => LoadOptions } {
  const bench = new BenchMachine(factory);
  const make = (name: string, type: number, keyBytes: number, valueBytes: number, maxEntries = 16) =>
    createMap(bench.machine, { name, type, keyBytes, valueBytes, maxEntries, flags: 0, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false });
  return { bench, options: () => ({ maps: [make('flows', 1, 8, 16, 64), make('counters', 2, 4, 8), make('queue', 22, 0, 16)] }) };
}

/** What it is compiled to, without the comments that say of what. */
async function wat(code: string): Promise<string> {
  const { bench, options } = machineOf(createWasmEngine);
  return (await (bench.engine as WasmEngine).wat(bench.load(code, options()))).replaceAll(/^ *;;.*\n/gm, '');
}

describe('the stack of a compiled program', () => {
  test('is what the interpreter has, however it is reached', () => {
    const [interpreter, compiler] = [machineOf(createInterpreter), machineOf(createWasmEngine)];
    fc.assert(
      fc.property(fc.array(statement, { minLength: 1, maxLength: 14 }), fc.uint8Array({ minLength: 64, maxLength: 64 }), (statements, packet) => {
        const code = programOf(statements);
        const [expected, found] = [interpreter, compiler].map(({ bench, options }) => bench.run(bench.load(code, options()), packet));
        // Addresses of the two machines differ only if their maps do.
        expect(found, code).toEqual(expected);
      }),
      { numRuns: 500 },
    );
  });

  test('a word that is only accessed directly is not in memory', async () => {
    const text = await wat('r6 = *(u32 *)(r1 +0)\nr0 = *(u64 *)(r6 +0)\n*(u64 *)(r10 -8) = r0\n*(u16 *)(r10 -8) = 7\nr0 = *(u32 *)(r10 -8)\nexit');
    expect(text).not.toContain('store');
    expect(text).toContain('$fp-8');
  });

  test('a key that is put together in pieces is written to memory as a whole', async () => {
    const text = await wat('*(u32 *)(r10 -8) = 1\n*(u16 *)(r10 -4) = 2\n*(u16 *)(r10 -2) = 3\nr1 = map[flows]\nr2 = r10\nr2 += -8\ncall bpf_map_delete_elem\nr0 = 0\nexit');
    const main = text.slice(text.indexOf('(func $case'), text.indexOf('(func $flows'));
    expect(main.match(/store/g)).toHaveLength(1);
  });

  test('the index of an array does not go through memory', async () => {
    const text = await wat('r6 = *(u32 *)(r1 +12)\n*(u32 *)(r10 -4) = r6\nr1 = map[counters]\nr2 = r10\nr2 += -4\ncall bpf_map_lookup_elem\nif r0 == 0 goto out\nr0 = *(u64 *)(r0 +0)\nout: exit');
    expect(text).not.toMatch(/i64\.store|call/);
  });
});
