/** Maps and programs in the kernel: what is loaded, what comes back, and what is refused. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { loadObject } from '../../../dataplane/bpf/object.ts';
import { assemble } from '../../../dataplane/bpf/assemble.ts';
import type { CollectionSpec, MapSpec } from '../../../dataplane/bpf/spec.ts';
import { programTag } from '../../../dataplane/bpf/tag.ts';
import { BtfImage } from '../../../dataplane/engine/kernel/btf-image.ts';
import { createKernelMap, type KernelMap } from '../../../dataplane/engine/kernel/kernel-map.ts';
import { KernelOracle } from '../../../dataplane/engine/kernel/kernel-oracle.ts';
import { loadKernelProgram, LOG_LEVEL, type KernelProgram } from '../../../dataplane/engine/kernel/kernel-program.ts';
import { KernelRefusal, openLinux } from '../../../dataplane/engine/kernel/linux.ts';
import { loadBtf } from '../../../dataplane/engine/kernel/load-btf.ts';
import { TestBench } from '../../../dataplane/engine/test-run.ts';
import { Lab } from '../../../dataplane/pipeline/lab.ts';
import { MAP_TYPES } from '../../../dataplane/maps/index.ts';
import { unverified } from '../../../dataplane/program/program.ts';
import { benchPacket, programSpec } from './kernel-bench.ts';
import { kernelTitle, whyNoKernel } from './kernel-here.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const PROGRAMS = join(ROOT, 'programs');
const OBJECTS = join(ROOT, 'tests/bpf/objects');

function spec(name: string, fields: Partial<MapSpec> = {}): MapSpec {
  const type = [...MAP_TYPES.values()].find((each) => each.name === name)!;
  return { name: 'map', type: type.id, keyBytes: 4, valueBytes: 8, maxEntries: 4, flags: 0, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false, ...fields };
}

function object(path: string): CollectionSpec {
  return loadObject(readFileSync(path), { name: basename(path) });
}

const key = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);

describe.skipIf(whyNoKernel !== undefined)(kernelTitle('the kernel'), () => {
  const opened: { close(): void }[] = [];
  afterEach(() => opened.splice(0).forEach((each) => each.close()));

  function map(declared: MapSpec): KernelMap {
    const made = createKernelMap(openLinux(), declared);
    opened.push(made);
    return made;
  }

  function load(code: string, options: { readonly type?: 'xdp' | 'sched_cls'; readonly logLevel?: number } = {}): KernelProgram {
    const program = programSpec(code, options.type);
    const image = new BtfImage(undefined, [program]);
    const loaded = loadBtf(openLinux(), image, 'test', (fd) =>
      loadKernelProgram(openLinux(), program, { type: program.type!, map: () => 0, btf: { image, fd }, logLevel: options.logLevel ?? LOG_LEVEL.none }),
    );
    opened.push(loaded);
    return loaded;
  }

  function oracleOf(lab: Lab): KernelOracle {
    const oracle = new KernelOracle(lab.machine);
    opened.push(oracle);
    return oracle;
  }

  describe('maps', () => {
    test('entries come back as they were written', () => {
      const flows = map(spec('hash'));
      flows.update(key(1), Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
      flows.update(key(2), new Uint8Array(8).fill(9));
      expect(new Map(Array.from(flows.entries(), ([k, v]) => [k[0], [...v]]))).toEqual(new Map([[1, [1, 2, 3, 4, 5, 6, 7, 8]], [2, Array.from({ length: 8 }, () => 9)]]));
      expect([flows.delete(key(1)), flows.delete(key(1)), flows.lookup(key(1))]).toEqual([true, false, undefined]);
    });

    test('per-CPU values are those of every possible CPU', () => {
      const counters = map(spec('percpu_array', { valueBytes: 5 }));
      const { possibleCpus } = openLinux();
      const value = Uint8Array.from({ length: 8 * possibleCpus }, (_, index) => index);
      counters.update(key(3), value);
      expect(counters.lookup(key(3))).toEqual(value);
    });

    test.each([...MAP_TYPES.values()].filter(({ holds }) => holds !== 'maps').map(({ name }) => name))('a %s is made', (name) => {
      const sizes: Partial<Record<string, Partial<MapSpec>>> = {
        ringbuf: { keyBytes: 0, valueBytes: 0, maxEntries: 1 },
        queue: { keyBytes: 0 },
        stack: { keyBytes: 0 },
        lpm_trie: { keyBytes: 8, flags: 1 },
        perf_event_array: { valueBytes: 4, maxEntries: 0 },
        prog_array: { valueBytes: 4 },
        xskmap: { valueBytes: 4 },
      };
      expect(map(spec(name, sizes[name])).id).toBeGreaterThan(0);
    });

    test.each(['array_of_maps', 'hash_of_maps'])('a %s takes maps by descriptor and answers their ids', (name) => {
      const inner = map(spec('array'));
      const outer = map(spec(name, { valueBytes: 4, inner: spec('array') }));
      outer.update(key(2), key(inner.fd));
      expect(outer.lookup(key(2))).toEqual(key(inner.id));
    });

    test('a queue gives back in order', () => {
      const queue = map(spec('queue', { keyBytes: 0, valueBytes: 4 }));
      queue.push(key(7));
      queue.push(key(8));
      expect([queue.pop(), queue.pop(), queue.pop()]).toEqual([key(7), key(8), undefined]);
    });

    test('a refusal names the map and the errno', () => {
      expect(() => map(spec('array', { keyBytes: 8 }))).toThrow("map 'map' (type 2): Linux does not make it with key 8, value 8, max_entries 4, flags 0x0 (EINVAL)");
      const frozen = map(spec('array'));
      frozen.freeze();
      expect(() => frozen.update(key(0), new Uint8Array(8))).toThrow(/map 'map' in the kernel: update .* \(EPERM\)/);
    });
  });

  describe('programs', () => {
    test('a test run answers code, packet and metadata', () => {
      const program = load('r6 = r1\nr2 = -4\ncall bpf_xdp_adjust_head\nr1 = r6\nr2 = -8\ncall bpf_xdp_adjust_meta\nr0 = 3\nexit');
      const { code, packet, metadata } = program.run({ packet: benchPacket(), metadata: Uint8Array.of(1, 2, 3, 4) });
      expect([code, packet.length, metadata.length]).toEqual([3, 68, 12]);
      expect(packet.subarray(4)).toEqual(benchPacket());
      expect(metadata.subarray(8)).toEqual(Uint8Array.of(1, 2, 3, 4));
    });

    test('a context goes in and out', () => {
      const program = load('r2 = *(u32 *)(r1 +8)\nr2 += 1\n*(u32 *)(r1 +8) = r2\n*(u32 *)(r1 +48) = 77\nr0 = -1\nexit', { type: 'sched_cls' });
      const { code, context } = program.run({ packet: benchPacket(), context: { mark: 41, 'cb[1]': 5 } });
      expect(code).toBe(-1);
      expect(context).toMatchObject({ mark: 42, 'cb[0]': 77, 'cb[1]': 5, ifindex: 1, wire_len: 64 });
    });

    test('a refusal ends with what the verifier said, and keeps its log', () => {
      const attempt = (): unknown => load('r2 = *(u32 *)(r1 +0)\nr0 = *(u8 *)(r2 +0)\nexit');
      expect(attempt).toThrow(/^program 'case': Linux refuses it: R2 offset is outside of the packet \(EACCES\)$/);
      try {
        attempt();
      } catch (error) {
        expect((error as KernelRefusal).log).toContain('invalid access to packet');
        expect((error as KernelRefusal).errno).toBe('EACCES');
      }
    });

    test('the log is there for who asks', () => {
      expect(load('r0 = 2\nexit', { logLevel: LOG_LEVEL.states | LOG_LEVEL.statistics }).log).toMatch(/0: \(b7\) r0 = 2.*processed 2 insns/s);
    });

    test('its tag is the one computed here', () => {
      const program = load('r1 = 0x1122334455667788\nr0 = r1\nexit');
      const instructions = assemble('r1 = 0x1122334455667788\nr0 = r1\nexit').instructions;
      expect(program.info).toMatchObject({ tag: programTag(instructions), verifiedInstructions: 3 });
    });

    test('a subprogram may tail-call, and a callback be called, though the assembler knows no types', () => {
      expect(load('r2 = subprog[f]\nr1 = 5\nr3 = 0\nr4 = 0\ncall bpf_loop\nexit\nf: r0 = 0\nexit').run({ packet: benchPacket() }).code).toBe(5);
    });
  });

  describe('objects', () => {
    const bundled = ['flow_counter', 'xdp_firewall', 'xdp_lb', 'tc_firewall'];

    test.each(readdirSync(OBJECTS).filter((name) => name.endsWith('.bpf.o')))('the types of %s are taken', (name) => {
      const { btf, programs } = object(join(OBJECTS, name));
      expect(loadBtf(openLinux(), new BtfImage(btf, programs.values()), name, (fd) => fd)).toBeGreaterThan(0);
    });

    test.each(bundled)('every program of %s is taken, with its types and source lines', (name) => {
      // As the object says it: what was verified here jumps over ways that no path takes, which Linux refuses to see.
      const lab = new Lab({ cpus: openLinux().possibleCpus, verify: false });
      const collection = lab.load(object(join(PROGRAMS, `${name}.bpf.o`)), name);
      const oracle = oracleOf(lab);
      for (const program of collection.spec.programs.keys()) expect(oracle.load(collection.program(program)).info.id, program).toBeGreaterThan(0);
    });

    test('time and random numbers are the machine\'s', () => {
      const lab = new Lab({ cpus: openLinux().possibleCpus });
      const random = programSpec('call bpf_get_prandom_u32\nr6 = r0\ncall bpf_get_prandom_u32\nr0 ^= r6\nr6 = r0\ncall bpf_ktime_get_ns\nr0 ^= r6\nr6 = r0\ncall bpf_jiffies64\nr0 += r6\nr6 = r0\ncall bpf_ktime_get_coarse_ns\nr0 += r6\nexit');
      const program = { id: lab.machine.allocateProgramId(), spec: random, type: 'xdp' as const, maps: new Map() };
      lab.engine.load(unverified(program));
      lab.machine.nowNs = 1_700_000_000_123_456_789n;
      lab.machine.seed(5);
      const oracle = oracleOf(lab);
      const bench = new TestBench(lab.machine);
      for (let turn = 0; turn < 3; turn++) {
        const kernel = oracle.run(program, { packet: benchPacket() });
        expect(bench.run(program, { packet: benchPacket() })).toEqual(kernel);
      }
    });
  });
});
