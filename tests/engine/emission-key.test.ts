/** What was compiled before is what would be compiled now. */
import { describe, expect, test } from 'vitest';
import { createWasmEngine } from '../../dataplane/engine/wasm-engine.ts';
import { CPU_BLOCK } from '../../dataplane/machine/cpu.ts';
import { Machine } from '../../dataplane/machine/machine.ts';
import { createMap } from '../../dataplane/maps/bpf-map.ts';
import { Lab, type LabOptions } from '../../dataplane/pipeline/lab.ts';
import type { Proof } from '../../dataplane/program/program.ts';
import type { Cache } from '../../dataplane/system/cache-folder.ts';
import { frame, mapSpec } from '../pipeline/small-lab.ts';
import { programSpec } from '../programs/program-lab.ts';
import { Bench, type Source } from './jit-fixture.ts';

const PROGRAMS = [
  ['flow_counter', 'flow_counter', 'xdp'],
  ['xdp_firewall', 'xdp_firewall', 'xdp'],
  ['xdp_lb', 'xdp_lb', 'xdp'],
  ['tc_firewall', 'tc_fw_ingress', 'tc-ingress'],
  ['tc_firewall', 'tc_fw_egress', 'tc-egress'],
] as const;
const DESCRIBED = PROGRAMS.map(([object, program, hook]) => ({ object, program, hook }));

/** What it is given for one key is always the same. */
class Modules implements Cache {
  readonly kept = new Map<string, Uint8Array<ArrayBuffer>>();
  readonly #forgets: boolean;
  found = 0;

  constructor({ forgets = false } = {}) {
    this.#forgets = forgets;
  }

  get(key: string): Uint8Array<ArrayBuffer> | undefined {
    const bytes = this.#forgets ? undefined : this.kept.get(key);
    if (bytes !== undefined) this.found++;
    return bytes;
  }

  add(key: string, bytes: Uint8Array): void {
    const before = this.kept.get(key);
    if (before !== undefined) expect(Buffer.compare(before, bytes)).toBe(0);
    this.kept.set(key, Uint8Array.from(bytes));
  }
}

type Described = (typeof DESCRIBED)[number];

/** `before`: an object that is loaded first. */
function labWith({ object, program, hook }: Described, options: LabOptions, before?: string): Lab {
  const lab = new Lab({ tier: 'quick', ...options });
  if (before !== undefined) lab.load(programSpec(before), before);
  lab.attach(lab.load(programSpec(object), object).program(program), { hook });
  return lab;
}

const placeOf = ({ machine }: Lab): number => machine.memory.allocate(1, 1, 'what comes next');

describe.each(DESCRIBED)('$program', (one) => {
  test('is found compiled, byte for byte as it is compiled anew, and does the same', () => {
    const modules = new Modules();
    const first = labWith(one, { modules });
    expect([modules.found, modules.kept.size]).toEqual([0, 1]);
    const second = labWith(one, { modules });
    expect([modules.found, modules.kept.size]).toEqual([1, 1]);
    const anew = new Modules({ forgets: true });
    labWith(one, { modules: anew });
    expect([...anew.kept.keys()]).toEqual([...modules.kept.keys()]);
    expect(Buffer.compare([...anew.kept.values()][0]!, [...modules.kept.values()][0]!)).toBe(0);
    for (const length of [20, 64, 200]) expect(second.run(frame({ length }))).toEqual(first.run(frame({ length })));
    expect(placeOf(second)).toBe(placeOf(first));
  });

  test('is not found where its code would be another', () => {
    const modules = new Modules({ forgets: true });
    const maxEntries = Object.fromEntries([...programSpec(one.object).maps.values()].filter(({ section }) => section === undefined).slice(0, 1).map(({ name }) => [name, 64]));
    labWith(one, { modules });
    labWith(one, { modules, seed: 7 });
    expect(modules.kept.size).toBe(1);
    labWith(one, { modules, cpus: 2 });
    labWith(one, { modules, cpus: 2, parallel: false });
    labWith(one, { modules, maxEntries });
    labWith(one, { modules }, one.object === 'xdp_lb' ? 'flow_counter' : 'xdp_lb');
    expect(modules.kept.size).toBe(5);
  });
});

test('constants of a program are in its code, so they are in the key', () => {
  const modules = new Modules({ forgets: true });
  const [ingress] = DESCRIBED.filter(({ program }) => program === 'tc_fw_ingress');
  labWith(ingress!, { modules });
  labWith(ingress!, { modules, constants: { timeout_seconds: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] } });
  expect(modules.kept.size).toBe(2);
});

const SUM = `
        r1 = map[values]
        r2 = subprog[each]
        r3 = r10
        r3 += -8
        r4 = 0
        *(u64 *)(r10 -8) = 0
        call bpf_for_each_map_elem
        r0 = *(u64 *)(r10 -8)
        exit
  each: r1 = *(u64 *)(r3 +0)
        r2 = *(u64 *)(r4 +0)
        r2 += r1
        *(u64 *)(r4 +0) = r2
        r0 = 0
        exit`;

/** Runs each source in one machine; the map holds 7. */
function results(modules: Cache, sources: readonly Source[], proof: Proof = 'verified'): readonly (bigint | undefined)[] {
  const bench = new Bench(new Machine({ instructionBudget: 1 << 20, tier: 'quick', modules }));
  const values = createMap(bench.machine, mapSpec({ name: 'values' }));
  values.update(new Uint8Array(4), Uint8Array.of(7, 0, 0, 0, 0, 0, 0, 0));
  const engine = createWasmEngine(bench.machine);
  return sources.map((source) => {
    const program = bench.program(source, { maps: [values] });
    engine.load({ ...program, proof });
    return bench.run(program).r0;
  });
}

test('functions that helpers call back are called in code that was kept', () => {
  const modules = new Modules();
  expect(results(modules, [SUM])).toEqual([7n]);
  expect(results(modules, [SUM])).toEqual([7n]);
  expect(modules.found).toBe(1);
});

test('callbacks of two programs have their own values, whichever was kept', () => {
  const modules = new Modules();
  const twice = SUM.replace('r2 += r1', 'r2 += r1\nr2 += r1');
  expect(results(modules, [twice])).toEqual([14n]);
  for (let time = 0; time < 2; time++) expect(results(modules, [SUM, twice, SUM])).toEqual([7n, 14n, 7n]);
  expect(modules.found).toBe(3);
});

test.each<Proof>(['none', 'by-linux'])('what nobody here verified (%s) is compiled each time', (proof) => {
  const modules = new Modules();
  expect(results(modules, [SUM], proof)).toEqual([7n]);
  expect(modules.kept.size).toBe(0);
});

test('the key names all that the compiler reads of a machine', () => {
  const machine = new Machine({ instructionBudget: 1 << 20, tier: 'quick' });
  const read = new Set<string>();
  for (const [name, { get }] of Object.entries(Object.getOwnPropertyDescriptors(Machine.prototype))) {
    if (get !== undefined) Object.defineProperty(machine, name, { get: () => (read.add(name), get.call(machine)) });
  }
  for (const name of Object.getOwnPropertyNames(machine).filter((own) => Object.getOwnPropertyDescriptor(machine, own)!.get === undefined)) {
    const value: unknown = Reflect.get(machine, name);
    Object.defineProperty(machine, name, { get: () => (read.add(name), value) });
  }
  const bench = new Bench(machine);
  const values = createMap(machine, mapSpec({ name: 'values' }));
  read.clear();
  bench.load(SUM, { maps: [values] });
  bench.load('call bpf_get_prandom_u32\nexit');
  expect(machine.cell(CPU_BLOCK.fault)).toBe(0);
  const named = ['cpu', 'cpus', 'cpuBlock', 'parallel'];
  // The top of the stack is in the CPU's block; with memory and tables code is instantiated; the tier is what V8 makes of it.
  const others = ['stackTop', 'memory', 'programTable', 'mapTable', 'modules', 'tier'];
  expect([...read].filter((name) => !named.includes(name) && !others.includes(name))).toEqual([]);
  expect([...read]).toContain('cpuBlock');
});
