/** The graph of instructions: each fact in small, and all of them compared with what Linux 6.18 writes at log level 2. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { checkProgram } from '../../dataplane/bpf/check.ts';
import { loadObject } from '../../dataplane/bpf/object.ts';
import type { MapSpec, ProgramSpec, ProgramType } from '../../dataplane/bpf/spec.ts';
import { BtfImage } from '../../dataplane/engine/kernel/btf-image.ts';
import { createKernelMap, type KernelMap } from '../../dataplane/engine/kernel/kernel-map.ts';
import { LOG_LEVEL, loadKernelProgram } from '../../dataplane/engine/kernel/kernel-program.ts';
import { KernelRefusal, openLinux } from '../../dataplane/engine/kernel/linux.ts';
import { loadBtf } from '../../dataplane/engine/kernel/load-btf.ts';
import { calleeFacts } from '../../dataplane/verifier/calls.ts';
import { analyseControlFlow, POINT, type ControlFlow } from '../../dataplane/verifier/control-flow.ts';
import { CASE_TABLE } from '../engine/cases/index.ts';
import { kernelTitle, whyNoKernel } from '../engine/kernel/kernel-here.ts';
import { USERS } from '../../dataplane/verifier/user.ts';
import { programOf, readCases } from './case-file.ts';
import { CASE_MAPS } from './case-maps.ts';

function assembled(asm: string, type: ProgramType = 'xdp'): ProgramSpec {
  return programOf({ sentence: '', type, line: 0, attach: undefined, license: 'GPL', user: 'privileged', globals: [], exceptionCallbacks: [], asm, answer: undefined, elsewhere: undefined, text: [] });
}

function flowOf(program: ProgramSpec): ControlFlow {
  const ranges = checkProgram(program, { isHelper: () => true, packetLoads: true, verified: true });
  return analyseControlFlow(program.instructions, ranges, (target) => calleeFacts(target, program.type!, USERS.privileged));
}

/** Slots that have any of the bits. */
function slotsWith(asm: string, bits: number): number[] {
  return [...flowOf(assembled(asm)).points.entries()].filter(([, point]) => (point & bits) !== 0).map(([slot]) => slot);
}

/** As Linux writes it: a digit for a register that is alive, a point for one that is not. */
function liveText(registers: number): string {
  return Array.from({ length: 10 }, (_, register) => ((registers & (1 << register)) !== 0 ? register : '.')).join('');
}

function liveBefore(asm: string, slot: number, type: ProgramType = 'xdp'): string {
  return liveText(flowOf(assembled(asm, type)).liveRegisters[slot]!);
}

/** Counted with BPF_F_TEST_STATE_FREQ, which makes Linux 6.18 keep a state wherever it compares some. */
describe('states are compared', () => {
  test('nowhere in code without jumps and calls', () => expect(slotsWith('r0 = 0\nr0 = 1\nexit', POINT.prune)).toEqual([]));
  test('where a jump leads', () => expect(slotsWith('r0 = 0\ngoto pc+0\nexit', POINT.prune)).toEqual([2]));
  test('at a branch and where it leads, not where it falls through', () => {
    expect(slotsWith('r0 = 0\nif r0 == 0x1 goto pc+2\nr0 = 3\nr0 = 4\nexit', POINT.prune)).toEqual([1, 4]);
  });
  test('after the call of a helper', () => expect(slotsWith('call bpf_ktime_get_ns\nr0 = 0\nexit', POINT.prune)).toEqual([1]));
  test('at the call of a function, where that begins, and after it', () => {
    expect(slotsWith('r6 = 0\ncall f\nr6 = 1\nexit\nf: r1 = 0\nr0 = 0\nexit', POINT.prune)).toEqual([1, 2, 4]);
  });
  test('where the address of a callback is taken, behind that, and where the callback begins', () => {
    expect(slotsWith('r2 = subprog[f]\nr0 = 0\nexit\nf: r0 = 0\nexit', POINT.prune)).toEqual([0, 2, 4]);
  });
  test('at a helper that calls back, and at bpf_timer_set_callback', () => {
    expect(slotsWith('call bpf_loop\nr0 = 0\nexit', POINT.prune)).toEqual([0, 1]);
    expect(slotsWith('call bpf_timer_set_callback\nr0 = 0\nexit', POINT.prune)).toEqual([0, 1]);
  });
  test('not at a packet load of classic BPF', () => {
    expect([...flowOf(assembled('r6 = r1\nr0 = *(u16 *)skb[12]\nr0 = 0\nexit', 'sched_cls')).points]).toEqual([0, 0, 0, 0]);
  });
});

describe('the way is remembered', () => {
  test('where jumps and branches lead, and after calls', () => {
    expect(slotsWith('call bpf_ktime_get_ns\nif r0 == 0x1 goto pc+2\nr0 = 3\ngoto pc+0\nexit', POINT.jump)).toEqual([1, 4]);
  });
  test('where a function begins, not at its call', () => expect(slotsWith('call f\nexit\nf: r0 = 0\nexit', POINT.jump)).toEqual([1, 2]));
});

test('a state is always kept at a helper that calls back, and not at one that does later', () => {
  expect(slotsWith('call bpf_loop\ncall bpf_timer_set_callback\ncall bpf_ktime_get_ns\nr0 = 0\nexit', POINT.force)).toEqual([0]);
});

describe('a register is alive', () => {
  test('until its last read', () => {
    const asm = 'r6 = r1\nr7 = r6\nr0 = r7\nexit';
    expect([0, 1, 2, 3].map((slot) => liveBefore(asm, slot))).toEqual(['.1........', '......6...', '.......7..', '0.........']);
  });
  test('where one branch reads it', () => expect(liveBefore('if r1 == 0x0 goto pc+2\nr0 = r2\nexit\nr0 = 0\nexit', 0)).toBe('.12.......'));
  test('around a loop that reads it in its next round', () => {
    expect(liveBefore('r0 = 0\nr2 = 5\nagain: r0 += r3\nr2 += -1\nif r2 != 0x0 goto again\nexit', 4)).toBe('0.23......');
  });
  test('when it is an argument of a helper, as many as the helper takes', () => {
    expect(liveBefore('call bpf_ktime_get_ns\nexit', 0)).toBe('..........');
    expect(liveBefore('call bpf_map_lookup_elem\nexit', 0)).toBe('.12.......');
    expect(liveBefore('call bpf_map_update_elem\nexit', 0)).toBe('.1234.....');
  });
  test('before the call of a function when it is one of r1 to r5, whatever the function reads', () => {
    expect(liveBefore('call f\nexit\nf: r0 = 0\nexit', 0)).toBe('.12345....');
  });
  test('over a call when it is one of r6 to r9, and no other', () => {
    expect(liveBefore('call bpf_ktime_get_ns\nr0 = r1\nr0 = r6\nexit', 0)).toBe('......6...');
  });
  test('before a packet load of classic BPF, whichever it is', () => {
    expect(liveBefore('r0 = *(u16 *)skb[12]\nr0 = 0\nexit', 0, 'sched_cls')).toBe('0123456789');
  });
  test('as r0 before a compare-and-exchange, which replaces it', () => {
    const asm = 'r0 = atomic64_cmpxchg((u64 *)(r10 -8), r0, r3)\nexit';
    expect(liveBefore(asm, 0)).toBe('0..3......');
  });
  test('not behind an atomic operation that puts the old value there', () => {
    expect(liveBefore('r3 = atomic64_fetch_add((u64 *)(r2 +0), r3)\nr0 = r3\nexit', 0)).toBe('..23......');
    expect(liveBefore('r3 = atomic64_xchg((u64 *)(r2 +0), r3)\nr0 = r3\nexit', 1)).toBe('...3......');
  });
});

describe('loops are numbered', () => {
  const numbers = (asm: string): number[] => [...flowOf(assembled(asm)).scc];
  test('0 where there is none', () => expect(numbers('r0 = 0\nif r0 == 0x0 goto pc+1\nr0 = 1\nexit')).toEqual([0, 0, 0, 0]));
  test('once for all that go round together', () => {
    expect(numbers('r2 = 5\nagain: r2 += -1\nif r2 != 0x0 goto again\nr0 = 0\nexit')).toEqual([0, 1, 1, 0, 0]);
  });
  test('one instruction that jumps to itself is one', () => expect(numbers('r0 = 0\nself: if r0 != 0x0 goto self\nexit')).toEqual([0, 1, 0]));
  test('the inner one belongs to the outer one', () => {
    expect(numbers('outer: r2 = 5\ninner: r2 += -1\nif r2 != 0x0 goto inner\nif r1 != 0x0 goto outer\nr0 = 0\nexit')).toEqual([1, 1, 1, 1, 0, 0]);
  });
  test('those behind come first', () => {
    expect(numbers('a: if r1 != 0x0 goto a\nb: if r1 != 0x1 goto b\nr0 = 0\nexit')).toEqual([2, 1, 0, 0]);
  });
  test('of those behind the two ways of a branch, the one that is fallen through to comes first', () => {
    expect(numbers('if r1 == 0x7 goto other\na: if r1 != 0x0 goto a\nr0 = 0\nexit\nother: if r1 != 0x1 goto other\nr0 = 0\nexit')).toEqual([0, 1, 0, 0, 2, 0, 0]);
  });
  test('what stands between the two ends of a loop, and leaves it, is in none', () => {
    expect(numbers('top: if r1 == 0x0 goto stay\nr0 = 0\nexit\nstay: r1 += -1\ngoto top')).toEqual([1, 0, 0, 1, 1]);
  });
  test('a call is one instruction: the function that a loop calls is in none', () => {
    expect(numbers('again: call f\nif r0 != 0x0 goto again\nexit\nf: r0 = 0\nexit')).toEqual([1, 1, 0, 0, 0]);
  });
  test('a hundred thousand instructions deep', () => {
    const found = numbers('top: if r1 == 0x5 goto pc+1\ngoto pc+2\nr0 = 0\nexit\n[100000] r2 += 1\ngotol top');
    expect([0, 1, 2, 3, 4, 50_000, 100_003, 100_004].map((slot) => found[slot])).toEqual([1, 1, 0, 0, 1, 1, 1, 1]);
  });
});

describe('packets may be moved', () => {
  const moving = (asm: string): number[] => [...flowOf(assembled(asm)).changesPacket].toSorted((a, b) => a - b);
  test('by a helper that says so', () => {
    expect(moving('r2 = 0\ncall bpf_xdp_adjust_head\nr0 = 0\nexit')).toEqual([0]);
    expect(moving('call bpf_ktime_get_ns\nr0 = 0\nexit')).toEqual([]);
  });
  test('by who calls who calls it, and by no other function', () => {
    expect(moving('call a\ncall idle\nexit\na: call b\nexit\nb: call bpf_xdp_adjust_head\nexit\nidle: r0 = 0\nexit')).toEqual([0, 3, 5]);
  });
  test('by who passes on a callback that does', () => {
    expect(moving('r2 = subprog[f]\nr0 = 0\nexit\nf: call bpf_xdp_adjust_tail\nr0 = 0\nexit')).toEqual([0, 4]);
  });
});

/** BPF_LOG_FIXED: of a log that is too long the beginning, and the load fails by ENOSPC. */
const LOG_FIXED = 8;
const PROGRAMS = fileURLToPath(new URL('../../programs/', import.meta.url));
/** Of a table whose cases are much alike. */
const EVERY = 4;

/** What Linux found before it walked: a line for each instruction, `loop: registers`. Undefined where it refused the program earlier. */
class LinuxFlow {
  readonly #linux = openLinux();
  readonly #maps = new Map<MapSpec, KernelMap>();

  rows(program: ProgramSpec, maps: ReadonlyMap<string, MapSpec>, btf?: MapSpec['btf']): ReadonlyMap<number, string> | undefined {
    const image = new BtfImage(btf, [program]);
    const log = loadBtf(this.#linux, image, program.name, (fd) => {
      try {
        const loaded = loadKernelProgram(this.#linux, program, { type: program.type!, map: (name) => this.#map(maps.get(name)!).fd, logLevel: LOG_LEVEL.states | LOG_FIXED, btf: { image, fd } });
        loaded.close();
        return loaded.log;
      } catch (error) {
        if (error instanceof KernelRefusal && error.code === 'ERR_PROGRAM') return error.log;
        throw error;
      }
    });
    const [, found] = log.split('Live regs before insn:\n');
    if (found === undefined) return undefined;
    const rows = new Map<number, string>();
    for (const line of found.split('\n')) {
      const [, loop, slot, registers] = /^([ \d]{3,}?) +(\d+): ([\d.]{10}) \(/.exec(line) ?? [];
      if (registers === undefined) break;
      rows.set(Number(slot), `${Number(loop)}: ${registers}`);
    }
    return rows;
  }

  close(): void {
    for (const map of this.#maps.values()) map.close();
  }

  #map(spec: MapSpec): KernelMap {
    const found = this.#maps.get(spec);
    if (found !== undefined) return found;
    const create = (btfFd?: number): KernelMap => createKernelMap(this.#linux, spec, btfFd === undefined ? {} : { btfFd });
    const map = spec.btf === undefined ? create() : loadBtf(this.#linux, new BtfImage(spec.btf, []), spec.name, create);
    this.#maps.set(spec, map);
    return map;
  }
}

/** A call that runs a callback is in no loop of these lines, though Linux walks as if it were one by itself. */
function ourRows(program: ProgramSpec): ReadonlyMap<number, string> {
  const { scc, liveRegisters } = flowOf(program);
  const isLoop = (slot: number): boolean => scc.some((number, other) => number === scc[slot] && other !== slot) || program.instructions[slot]!.kind !== 'call';
  return new Map([...program.instructions.entries()].filter(([, { kind }]) => kind !== 'upper').map(([slot]) => [slot, `${isLoop(slot) ? scc[slot] : 0}: ${liveText(liveRegisters[slot]!)}`]));
}

describe.skipIf(whyNoKernel !== undefined)(kernelTitle('registers and loops are what Linux finds in'), () => {
  const linux = whyNoKernel === undefined ? new LinuxFlow() : undefined;
  afterAll(() => linux?.close());

  test.each(['xdp_firewall', 'xdp_lb', 'tc_firewall', 'flow_counter'])('%s', { timeout: 120_000 }, (name) => {
    const object = loadObject(readFileSync(join(PROGRAMS, `${name}.bpf.o`)), { name });
    for (const program of object.programs.values()) {
      expect(ourRows(program), program.name).toEqual(linux!.rows(program, object.maps, object.btf));
    }
  });

  test.each(Object.entries(CASE_TABLE))('the case table: %s', { timeout: 120_000 }, (_, cases) => {
    for (const { name, type, runs } of cases.filter((each, index) => index % EVERY === 0 && each.notOnLinux === undefined)) {
      const program = assembled(runs[0]!.code, type);
      expect(ourRows(program), name).toEqual(linux!.rows(program, new Map()));
    }
  });

  test.each(['control-flow.cases', 'pruning.cases', 'atomics.cases'])('%s', { timeout: 120_000 }, (file) => {
    // Those that are too large take Linux seconds to walk, after what is compared here.
    const cases = readCases(file).filter(({ user, answer }) => user === 'privileged' && !/too large/i.test(answer ?? ''));
    let compared = 0;
    for (const each of cases) {
      const program = programOf(each);
      const rows = linux!.rows(program, CASE_MAPS);
      if (rows === undefined) continue;
      compared++;
      expect(ourRows(program), each.sentence).toEqual(rows);
    }
    expect(compared).toBeGreaterThan(cases.length / 2);
  });
});
