import { describe, expect, test } from 'vitest';
import { CPU_BLOCK, FAULT } from '../../dataplane/machine/cpu.ts';
import { Machine } from '../../dataplane/machine/machine.ts';
import { createMap, type BpfMap } from '../../dataplane/maps/bpf-map.ts';
import { MAP_DESCRIPTOR } from '../../dataplane/maps/map.ts';
import { SK_BUFF } from '../../dataplane/packet/frame.ts';
import { Bench, evaluate } from './jit-fixture.ts';

const HASH = 1;
const ARRAY = 2;

function map(machine: Machine, name: string, type: number, valueBytes = 8, more: Partial<Parameters<typeof createMap>[1]> = {}): BpfMap {
  return createMap(machine, { name, type, keyBytes: 4, valueBytes, maxEntries: 4, flags: 0, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false, ...more });
}

const u32 = (value: number): Uint8Array => new Uint8Array(new Uint32Array([value]).buffer);
const u64 = (value: bigint): Uint8Array => new Uint8Array(new BigUint64Array([value]).buffer);

/** A program whose chain of calls is that long. */
const down = (frames: number): string => `
            r1 = ${frames - 1}
            call down
            exit
      down: r0 = r1
            if r1 == 1 goto out
            r1 += -1
            *(u64 *)(r10 -512) = 1
            call down
      out:  exit`;

const tailCall = (descriptor: number, slot: number): string => `r2 = ${descriptor} ll\n r3 = ${slot}\n call bpf_tail_call`;

describe('subprograms', () => {
  test('have a frame and registers of their own; r6 to r9 survive', () => {
    const source = `
            r6 = 7
            *(u64 *)(r10 -8) = 1
            r1 = 30
            r2 = r10
            call add
            r0 += r6
            r1 = *(u64 *)(r10 -8)
            r0 += r1
            exit
      add:  r6 = 1000
            *(u64 *)(r10 -8) = 500
            r3 = *(u64 *)(r2 -8)
            r0 = r1
            r0 += r3
            exit`;
    expect(evaluate(source)).toBe(39n);
  });

  test('eight frames run, the ninth is a fault', () => {
    const bench = new Bench();
    expect(bench.run(bench.load(down(8)))).toMatchObject({ r0: 1n, fault: FAULT.none });
    expect(bench.run(bench.load(down(9)))).toMatchObject({ r0: undefined, fault: FAULT.depth });
  });

  test('a callback takes its frame from the CPU block and leaves that as it was', () => {
    const bench = new Bench();
    const { machine } = bench;
    const program = bench.load(`
            r0 = subprog[body]
            exit
      body: *(u64 *)(r10 -8) = r1
            r0 = r10
            exit`);
    const callback = machine.callback(Number(bench.run(program).r0))!;
    const fp = machine.stackTop - 1024;
    machine.setCell(CPU_BLOCK.framePointer, fp);
    expect(callback(77n, 0n, 0n, 0n, 0n)).toBe(BigInt(fp));
    expect(machine.memory.view.getBigUint64(fp - 8, true)).toBe(77n);
    expect(machine.cell(CPU_BLOCK.framePointer)).toBe(fp);
  });
});

/** Sums the indexes on the caller's stack. */
const looping = (rest: string): string => `
            *(u64 *)(r10 -8) = 0
            r6 = r1
            r1 = r6
            r2 = subprog[body]
            r3 = r10
            r3 += -8
            ${rest}
      body: r3 = *(u64 *)(r2 +0)
            r3 += r1
            *(u64 *)(r2 +0) = r3
            r0 = 0
            if r1 != 9 goto more
            r0 = 1
      more: exit`;

describe('bpf_loop', () => {
  const sum = 'r4 = 0\n call bpf_loop\n r1 = *(u64 *)(r10 -8)\n r0 <<= 32\n r0 |= r1\n exit';

  test.each([
    ['runs its function as often as it is told', 5, (5n << 32n) | 10n],
    ['ends when the function says so', 100, (10n << 32n) | 45n],
    ['does nothing for a count of 0', 0, 0n],
  ])('%s, without a call to JavaScript', async (_, count, expected) => {
    const bench = new Bench();
    const loaded = bench.load(looping(sum));
    expect(bench.run(loaded, count).r0).toBe(expected);
    expect(await bench.wat(loaded)).not.toContain('helper.loop');
  });

  test('answers -E2BIG for too many iterations and -EINVAL for flags', () => {
    const bench = new Bench();
    expect(bench.run(bench.load(looping('r1 = 8388609\n r4 = 0\n call bpf_loop\n exit'))).r0).toBe(BigInt.asUintN(64, -7n));
    expect(bench.run(bench.load(looping('r4 = 1\n call bpf_loop\n exit'))).r0).toBe(BigInt.asUintN(64, -22n));
  });

  test('each iteration costs one instruction of the budget', () => {
    const bench = new Bench();
    expect(bench.run(bench.load(looping(sum)), 5).charged).toBe(5);
  });
});

describe('helpers and the stack', () => {
  test('a printed string may be on the stack', () => {
    const bench = new Bench();
    const lines: string[] = [];
    bench.machine.onEvent = ({ bytes }) => lines.push(new TextDecoder().decode(bytes).replace(/\0$/, ''));
    bench.run(
      bench.load(`
            *(u32 *)(r10 -8) = 29477
            *(u16 *)(r10 -16) = 26984
            *(u16 *)(r10 -14) = 0
            r1 = r10
            r1 += -8
            r2 = 3
            r3 = r10
            r3 += -16
            call bpf_trace_printk
            exit`),
    );
    expect(lines.join()).toContain('hi');
  });

  test('what a helper wrote is read back, what was there before is kept where it wrote nothing', () => {
    const bench = new Bench();
    const { memory } = bench.machine;
    const context = memory.allocate(SK_BUFF.size, 8, 'test');
    const packet = memory.allocate(64, 8, 'test');
    memory.u8.set([1, 2, 3, 4, 5, 6, 7, 8], packet);
    memory.view.setUint32(context + SK_BUFF.len, 64, true);
    memory.view.setUint32(context + SK_BUFF.data, packet, true);
    memory.view.setUint32(context + SK_BUFF.data_end, packet + 64, true);
    const program = bench.load(
      `     *(u64 *)(r10 -16) = -1
            *(u16 *)(r10 -8) = 257
            r2 = 1
            r3 = r10
            r3 += -13
            r4 = 6
            call bpf_skb_load_bytes
            if r0 != 0 goto out
            r0 = *(u64 *)(r10 -16)
            r1 = *(u16 *)(r10 -8)
            r0 ^= r1
      out:  exit`,
      { type: 'sched_cls' },
    );
    // Bytes -16 to -14 stay 0xff, -13 to -8 are 2 to 7, -7 stays 1.
    expect(bench.run(program, context).r0).toBe(0x0605_0403_02ff_ffffn ^ 0x0107n);
  });

  test('a helper that reads beside what a store wrote finds zeros there', () => {
    const bench = new Bench();
    const program = bench.load(`
            r6 = *(u32 *)(r10 -4)
            *(u32 *)(r10 -8) = 65537
            r1 = 0
            r2 = 0
            r3 = r10
            r3 += -12
            r4 = 12
            r5 = 0
            call bpf_csum_diff
            exit`);
    expect(bench.run(program).r0).toBe(2n);
  });
});

describe('maps', () => {
  const lookup = (load: string, type = ARRAY) => {
    const bench = new Bench();
    const counters = map(bench.machine, 'counters', type);
    for (let index = 0; index < 4; index++) counters.update(u32(index), u64(BigInt(index * 11)));
    const program = bench.load(
      `     r6 = r1
            *(u32 *)(r10 -4) = r6
            r2 = r10
            r2 += -4
            ${load}
            call bpf_map_lookup_elem
            if r0 == 0 goto none
            r0 = *(u64 *)(r0 +0)
            exit
      none: r0 = -1
            exit`,
      { maps: [counters] },
    );
    return { bench, program };
  };

  test.each([
    ['an array', ARRAY],
    ['a hash', HASH],
  ])('%s is looked up through code specialised to it', async (_, type) => {
    const { bench, program } = lookup('r1 = map[counters]', type);
    expect(bench.run(program, 3).r0).toBe(33n);
    expect(bench.run(program, 4).r0).toBe(0xffff_ffff_ffff_ffffn);
    expect(await bench.wat(program)).not.toContain('call_indirect');
  });

  describe.each([
    ['an array', ARRAY],
    ['a hash', HASH],
  ])('whether %s has a key', (_, type) => {
    /** Behind the lookup; the key is the context, there are values for 0 to 3. */
    const answers = (behind: string): (bigint | undefined)[] => {
      const bench = new Bench();
      const table = map(bench.machine, 'table', type);
      for (let key = 0; key < 4; key++) table.update(u32(key), u64(BigInt(key * 11)));
      const program = bench.load(`*(u32 *)(r10 -4) = r1\nr7 = 7\nr1 = map[table]\nr2 = r10\nr2 += -4\ncall bpf_map_lookup_elem\n${behind}`, { maps: [table] });
      return [3, 4].map((key) => bench.run(program, key).r0);
    };

    test.each([
      ['nobody reads the answer where there is none', 'if r0 == 0 goto none\nr0 = *(u64 *)(r0 +0)\nexit\nnone: r0 = -1\nexit', [33n, 0xffff_ffff_ffff_ffffn]],
      ['it is asked the other way round', 'if r0 != 0 goto some\nr0 = -1\nexit\nsome: r0 = *(u64 *)(r0 +0)\nexit', [33n, 0xffff_ffff_ffff_ffffn]],
      ['its low half is asked', 'if w0 == 0 goto none\nr0 = *(u64 *)(r0 +0)\nexit\nnone: r0 = 1\nexit', [33n, 1n]],
      ['the answer is returned where there is none', 'if r0 != 0 goto some\nexit\nsome: r0 = *(u64 *)(r0 +0)\nexit', [33n, 0n]],
      ['it is read later, on both ways', 'if r0 == 0 goto both\nr0 = *(u64 *)(r0 +0)\nboth: r0 += r7\nexit', [40n, 7n]],
      ['it is read in a loop behind', 'if r0 == 0 goto loop\nr0 = *(u64 *)(r0 +0)\nloop: r7 += -1\nif r7 != 0 goto loop\nexit', [33n, 0n]],
      ['another register has it too', 'r6 = r0\nif r0 == 0 goto none\nr0 = *(u64 *)(r6 +0)\nexit\nnone: r0 = r6\nexit', [33n, 0n]],
      ['something comes between', 'r7 += 1\nif r0 == 0 goto none\nr0 = *(u64 *)(r0 +0)\nexit\nnone: r0 = r7\nexit', [33n, 8n]],
      ['it is compared with something else', 'if r0 == 5 goto none\nif r0 == 0 goto none\nr0 = *(u64 *)(r0 +0)\nexit\nnone: r0 = 1\nexit', [33n, 1n]],
    ])('%s', (_case, behind, expected) => {
      expect(answers(behind)).toEqual(expected);
    });
  });

  test.each([
    ['stored in pieces', '*(u32 *)(r10 -16) = r1\n*(u32 *)(r10 -12) = 0x50005\n*(u64 *)(r10 -8) = r6', true],
    ['stored as a whole, and then a piece', '*(u64 *)(r10 -16) = 0\n*(u32 *)(r10 -12) = 0x50005\n*(u64 *)(r10 -8) = r6\n*(u16 *)(r10 -16) = r1', true],
    ['a piece, and then stored as a whole', '*(u16 *)(r10 -10) = 99\nr8 = 0x5000500000000 ll\nr8 |= r1\n*(u64 *)(r10 -16) = r8\n*(u64 *)(r10 -8) = r6', true],
    ['a piece on one way only', 'r8 = 0x5000500000000 ll\nr8 |= r1\n*(u64 *)(r10 -16) = r8\n*(u64 *)(r10 -8) = r6\nif r1 != 1 goto past\n*(u16 *)(r10 -16) = 3\npast:', [3, 3, 5]],
    ['over an address that only the packet knows', '*(u64 *)(r10 -16) = 0\n*(u32 *)(r10 -12) = 0x50005\n*(u64 *)(r10 -8) = r6\nr8 = r10\nr8 += -16\nr9 = r1\nr9 &= 0\nr9 += r8\n*(u16 *)(r9 +0) = r1', true],
  ])('a key of 16 bytes is found: %s', (_, store, found) => {
    const bench = new Bench();
    const table = map(bench.machine, 'table', HASH, 8, { keyBytes: 16, maxEntries: 8 });
    const key = (first: number): Uint8Array => Uint8Array.from([...u64(0x5_0005_0000_0000n | BigInt(first)), ...u64(9n)]);
    for (const first of [1, 3, 5]) table.update(key(first), u64(BigInt(first)));
    const program = bench.load(
      `     r6 = 9
            ${store}
            r1 = map[table]
            r2 = r10
            r2 += -16
            call bpf_map_lookup_elem
            if r0 == 0 goto none
            r0 = *(u64 *)(r0 +0)
            exit
      none: r0 = -1
            exit`,
      { maps: [table] },
    );
    expect([1, 3, 5].map((context) => Number(bench.run(program, context).r0))).toEqual(found === true ? [1, 3, 5] : found);
  });

  test('a map whose address went over the stack is still known', async () => {
    const { bench, program } = lookup(`r3 = map[counters]
            *(u64 *)(r10 -16) = r3
            r1 = *(u64 *)(r10 -16)`);
    expect(bench.run(program, 2).r0).toBe(22n);
    expect(await bench.wat(program)).not.toContain('call_indirect');
  });

  test('a map that differs by path is called through its descriptor', async () => {
    const bench = new Bench();
    const [one, two] = [map(bench.machine, 'one', ARRAY), map(bench.machine, 'two', HASH)];
    one.update(u32(0), u64(1n));
    two.update(u32(0), u64(2n));
    const program = bench.load(
      `     *(u32 *)(r10 -4) = 0
            r2 = r10
            r2 += -4
            r3 = r1
            r1 = map[one]
            if r3 == 0 goto call
            r1 = map[two]
      call: call bpf_map_lookup_elem
            r0 = *(u64 *)(r0 +0)
            exit`,
      { maps: [one, two] },
    );
    expect(bench.run(program, 0).r0).toBe(1n);
    expect(bench.run(program, 1).r0).toBe(2n);
    expect(await bench.wat(program)).toContain('call_indirect');
  });

  test('global variables are addresses; constants of a frozen section are values', async () => {
    const bench = new Bench();
    const data = map(bench.machine, 'test.data', ARRAY, 16, { maxEntries: 1, contents: u64(5n) });
    const rodata = map(bench.machine, 'test.rodata', ARRAY, 16, { maxEntries: 1, contents: Uint8Array.of(0, 0, 0, 0, 0xfe, 0xff, 0, 0), frozen: true });
    const program = bench.load(
      `     r1 = map[test.data][0]+8
            r2 = 40
            lock *(u64 *)(r1 +0) += r2
            r0 = *(u64 *)(r1 +0)
            r1 = map[test.rodata][0]+4
            r3 = *(s16 *)(r1 +0)
            r0 += r3
            exit`,
      { maps: [data, rodata] },
    );
    expect(bench.run(program).r0).toBe(38n);
    expect(bench.run(program).r0).toBe(78n);
    expect(data.lookup(u32(0))!.at(8)).toBe(80);
    expect(await bench.wat(program)).not.toContain('load16_s');
  });

  test('updates and deletes answer an errno, sign-extended', () => {
    const bench = new Bench();
    const flows = map(bench.machine, 'flows', HASH);
    const program = bench.load(
      `     *(u32 *)(r10 -4) = 9
            r1 = map[flows]
            r2 = r10
            r2 += -4
            call bpf_map_delete_elem
            exit`,
      { maps: [flows] },
    );
    expect(bench.run(program).r0).toBe(BigInt.asUintN(64, -2n));
    flows.update(u32(9), u64(1n));
    expect(bench.run(program).r0).toBe(0n);
    expect(flows.lookup(u32(9))).toBeUndefined();
  });
});

describe('tail calls', () => {
  const SLOTS = 4;

  /** A descriptor of a program array, without the map around it. */
  function programArray(machine: Machine): { readonly descriptor: number; set(slot: number, id: number): void } {
    const descriptor = machine.memory.allocate(MAP_DESCRIPTOR.size, 8, 'test');
    const storage = machine.memory.allocate(SLOTS * 4, 8, 'test');
    machine.memory.view.setUint32(descriptor + MAP_DESCRIPTOR.maxEntries, SLOTS, true);
    machine.memory.view.setUint32(descriptor + MAP_DESCRIPTOR.storage, storage, true);
    return { descriptor, set: (slot, id) => machine.memory.view.setUint32(storage + 4 * slot, id, true) };
  }

  test('the successor gets the context, and its answer is the answer', () => {
    const bench = new Bench();
    const array = programArray(bench.machine);
    array.set(2, bench.load('r0 = r1\n r0 += 1\n exit').id);
    const first = bench.load(`${tailCall(array.descriptor, 2)}\n r0 = 5\n exit`);
    expect(bench.run(first, 41).r0).toBe(42n);
  });

  test.each([
    ['an empty slot', 1],
    ['an index past the end', SLOTS],
    ['an index whose upper half is set is taken by its lower half', 0x1_0000_0001],
  ])('%s falls through', (_, slot) => {
    const bench = new Bench();
    const array = programArray(bench.machine);
    array.set(0, bench.load('r0 = 1\n exit').id);
    expect(bench.run(bench.load(`r2 = ${array.descriptor} ll\n r3 = ${slot} ll\n call bpf_tail_call\n r0 = 5\n exit`)).r0).toBe(5n);
  });

  test('a program that calls itself runs 34 times', () => {
    const bench = new Bench();
    const array = programArray(bench.machine);
    const counter = bench.machine.memory.allocate(8, 8, 'test');
    const program = bench.load(`r6 = ${counter} ll\n r7 = 1\n lock *(u64 *)(r6 +0) += r7\n ${tailCall(array.descriptor, 0)}\n r0 = *(u64 *)(r6 +0)\n exit`);
    array.set(0, program.id);
    expect(bench.run(program)).toMatchObject({ r0: 34n, fault: FAULT.none });
  });

  test('from a subprogram it ends only that subprogram, and leaves the caller its stack', () => {
    const bench = new Bench();
    const array = programArray(bench.machine);
    array.set(1, bench.load('*(u64 *)(r10 -8) = 99\n r0 = 30\n exit').id);
    const program = bench.load(`
            *(u64 *)(r10 -8) = 5
            call sub
            r1 = *(u64 *)(r10 -8)
            r0 += r1
            exit
      sub:  ${tailCall(array.descriptor, 1)}
            r0 = 1000
            exit`);
    expect(bench.run(program).r0).toBe(35n);
  });
});

describe('what stops a program', () => {
  test('a call that the object left unresolved, only when it is reached', () => {
    const bench = new Bench();
    const program = bench.load('r0 = 1\n if r1 == 0 goto out\n call 195896080\n out: exit', { spec: { unresolved: [{ slot: 2, reason: 'no such field' }] } });
    expect(bench.run(program, 0).r0).toBe(1n);
    expect(bench.run(program, 1)).toMatchObject({ r0: undefined, fault: FAULT.unsupported });
  });

  test('a helper that is not there is refused in one line', () => {
    expect(() => new Bench().load('call 211\n exit')).toThrow(/^test: instruction 0 calls helper 211, which is not supported/);
  });

  test('an access past the end of memory', () => {
    const bench = new Bench();
    expect(bench.run(bench.load('r1 = -4\n r0 = *(u64 *)(r1 +0)\n exit'))).toMatchObject({ r0: undefined, fault: FAULT.memory });
  });
});

describe('packet loads', () => {
  const bench = new Bench();
  const { memory } = bench.machine;
  const context = memory.allocate(SK_BUFF.publicSize, 8, 'test');
  const packet = memory.allocate(64, 8, 'test');
  memory.u8.set([1, 2, 3, 4, 5, 6, 7, 8], packet);
  memory.view.setUint32(context + SK_BUFF.data, packet, true);
  memory.view.setUint32(context + SK_BUFF.data_end, packet + 8, true);
  const run = (load: string): bigint | undefined => bench.run(bench.load(`r6 = r1\n r7 = 2\n r8 = 0x100000000\n r0 = 77\n ${load}\n r0 += r8\n exit`, { type: 'sched_cls' }), context).r0;

  test.each([
    ['r0 = *(u8 *)skb[7]', 0x08],
    ['r0 = *(u16 *)skb[0]', 0x0102],
    ['r0 = *(u32 *)skb[4]', 0x0506_0708],
    ['r0 = *(u16 *)skb[r7 + 1]', 0x0405],
  ])('%s reads network order', (load, expected) => {
    expect(run(load)).toBe(0x1_0000_0000n + BigInt(expected));
  });

  test.each(['r0 = *(u8 *)skb[8]', 'r0 = *(u32 *)skb[5]', 'r0 = *(u32 *)skb[r7 + 3]', 'r0 = *(u16 *)skb[-4096]', 'r0 = *(u8 *)skb[-1]'])('%s ends the program with 0', (load) => {
    expect(run(load)).toBe(0n);
  });
});

test('a function that throws does not return, also where the program does not say its functions', () => {
  expect(evaluate('call f\nr0 = 99\nexit\nf: r1 = 7\ncall bpf_throw\nr0 = 2\nexit')).toBe(7n);
});
