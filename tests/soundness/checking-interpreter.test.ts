/** What the checking interpreter finds: each test makes the verifier say something wrong, and expects to be told so. */
import { describe, expect, test } from 'vitest';
import { assemble } from '../../dataplane/bpf/assemble.ts';
import { Interpreter } from '../../dataplane/engine/interpreter.ts';
import { HELPER_NAMES } from '../../dataplane/helpers/index.ts';
import type { Machine } from '../../dataplane/machine/machine.ts';
import { createMap } from '../../dataplane/maps/bpf-map.ts';
import { createCheckingInterpreter } from '../../dataplane/soundness/checking-interpreter.ts';
import { Exploration } from '../../dataplane/soundness/exploration.ts';
import { RunCheck } from '../../dataplane/soundness/run-check.ts';
import { FactCollector } from '../../dataplane/verifier/facts.ts';
import { bothObserve, type VerificationObserver } from '../../dataplane/verifier/observer.ts';
import { constantRegister, withFacts, type RegisterState } from '../../dataplane/verifier/register.ts';
import type { State } from '../../dataplane/verifier/state.ts';
import { verifyProgram } from '../../dataplane/verifier/verify.ts';
import { BenchMachine } from '../engine/bench-machine.ts';

const MAPS = [
  { name: 'flows', type: 1, keyBytes: 4, valueBytes: 16 },
  { name: 'ring', type: 27, keyBytes: 0, valueBytes: 0 },
].map((spec) => ({ ...spec, maxEntries: 4096, flags: 0, pinning: 'none' as const, keyTypeId: 0, valueTypeId: 0, frozen: false }));

/** Runs a program on one packet, and hands what the verifier says through `lie`. */
function run(code: string, lie?: (exploration: VerificationObserver) => VerificationObserver): { readonly bench: BenchMachine; readonly outcome: unknown } {
  const bench = new BenchMachine((machine) => createCheckingInterpreter(machine, lie === undefined ? {} : { through: lie }));
  const maps = MAPS.map((spec) => createMap(bench.machine, spec));
  return { bench, outcome: bench.run(bench.load(code, { maps })) };
}

/** Says something else of the state before the instruction at `slot`, while it is kept. */
function changing(slot: number, change: (state: State) => () => void): (exploration: VerificationObserver) => VerificationObserver {
  return (exploration) => ({
    visited(state) {
      const restore = state.at === slot ? change(state) : undefined;
      exploration.visited(state);
      restore?.();
    },
    forked: (...args) => exploration.forked(...args),
    kept: (...args) => exploration.kept(...args),
    covered: (...args) => exploration.covered(...args),
  });
}

/** Says something else of the end of a path at an earlier state. */
function covering(change: (exploration: VerificationObserver, ...args: Parameters<VerificationObserver['covered']>) => void): (exploration: VerificationObserver) => VerificationObserver {
  return (exploration) => ({ ...changing(-1, () => () => {})(exploration), covered: (...args) => change(exploration, ...args) });
}

const saying = (slot: number, number: number, wrong: (register: RegisterState) => RegisterState) =>
  changing(slot, ({ current: { registers } }) => {
    const right = registers[number]!;
    registers[number] = wrong(right);
    return () => void (registers[number] = right);
  });

const PACKET_LOAD = `
  r2 = *(u32 *)(r1 +0)
  r3 = *(u32 *)(r1 +4)
  r4 = r2
  r4 += 34
  if r4 > r3 goto short
  r5 = *(u8 *)(r2 +33)
  r0 = r5
  exit
  short: r0 = 0
  exit`;

const LOOKUP = `
  *(u32 *)(r10 -4) = 1
  r2 = r10
  r2 += -4
  r1 = map[flows]
  call bpf_map_lookup_elem
  if r0 == 0 goto none
  r0 = *(u64 *)(r0 +8)
  none: exit`;

/** The way that is taken here ends where the other one has been: r6 matters from there on, r8 does not. */
const WAYS_MEET = `
  r6 = *(u32 *)(r1 +12)
  r6 &= 7
  r7 = *(u32 *)(r1 +16)
  ${'r8 = r6\n'.repeat(8)}
  if r7 == 0 goto first
  r8 = 1
  first: if r7 == 0 goto second
  r8 = 2
  second: r2 = r10
  r2 += r6
  r0 = r8
  exit`;

test('a program that does what the verifier says runs as in any interpreter, and its instructions are counted', () => {
  const { bench, outcome } = run(PACKET_LOAD);
  expect(outcome).toBe(33n);
  expect(bench.engine).toMatchObject({ name: 'interpreter', checked: 8, remarks: ['checked: 8 instructions did what the verifier had proven'] });
});

test('a program that the verifier refuses is not run', () => {
  expect(() => run('r0 = *(u64 *)(r2 +0)\nexit')).toThrow("program 'case': cannot be checked, since the verifier refuses it at instruction 0: R2 !read_ok; xdplab verify says why");
});

describe('is told', () => {
  test('that a number is larger than the verifier says', () => {
    const scalar = constantRegister(32n).scalar;
    const lie = saying(6, 5, (register) => withFacts(register, { scalar: { ...register.scalar, umax: scalar.umax, smax: scalar.smax, u32max: scalar.u32max, s32max: scalar.s32max } }));
    expect(() => run(PACKET_LOAD, lie)).toThrow(
      "program 'case': instruction 6 (r0 = r5): r5 is 33, but the verifier knew scalar(smin=smin32=0,smax=umax=smax32=umax32=32,var_off=(0x0; 0xff)); the verifier is wrong here, please report it with the object and the packet",
    );
  });

  test('that a bit is set which the verifier takes for clear', () => {
    expect(() => run(PACKET_LOAD, saying(6, 5, (register) => withFacts(register, { scalar: { ...register.scalar, mask: 0xfen } })))).toThrow('r5 is 33, but the verifier knew scalar(');
  });

  test('that no path of the verifier comes to an instruction', () => {
    const dropped = (exploration: VerificationObserver): VerificationObserver => ({ ...changing(-1, () => () => {})(exploration), visited: (state) => state.at === 6 || exploration.visited(state) });
    expect(() => run(PACKET_LOAD, dropped)).toThrow('instruction 6 (r0 = r5): no path that the verifier followed comes here from instruction 5');
  });

  test('that a pointer is NULL which the verifier takes for a value', () => {
    expect(() => run(LOOKUP, saying(6, 0, (register) => withFacts(register, { nullable: false })))).toThrow(/instruction 6 \(if r0 == 0x0 goto .*\): r0 is 0x0, but the verifier knew map_value\(id=\d+,map=flows,ks=4,vs=16\)/);
  });

  test('that the packet is shorter than the verifier says', () => {
    expect(() => run(PACKET_LOAD, saying(5, 2, (register) => withFacts(register, { range: 100 })))).toThrow('instruction 5 (r5 = *(u8 *)(r2 +33)): r2 is data+0 (of 64 bytes), but the verifier knew pkt(r=100)');
  });

  test('that a pointer is elsewhere in the packet', () => {
    expect(() => run(PACKET_LOAD, saying(4, 4, (register) => withFacts(register, { offset: 33 })))).toThrow('r4 is data+34 (of 64 bytes), but the verifier knew pkt(off=33,r=0)');
  });

  test('that another number was spilled', () => {
    const lie = changing(2, ({ current: { stack } }) => {
      const right = stack[0]!;
      stack[0] = { kinds: right.kinds, spilled: constantRegister(8n) };
      return () => void (stack[0] = right);
    });
    expect(() => run('r1 = 7\n*(u64 *)(r10 -8) = r1\nr0 = 0\nexit', lie)).toThrow('instruction 2 (r0 = 0): fp-8 is 7, but the verifier knew 8 bytes of 8');
  });

  test('that stack bytes are not zero', () => {
    const lie = changing(1, ({ current: { stack } }) => {
      const right = stack[0]!;
      stack[0] = { kinds: 0x3333_3333, spilled: right.spilled };
      return () => void (stack[0] = right);
    });
    expect(() => run('*(u64 *)(r10 -8) = 256\nr0 = 0\nexit', lie)).toThrow('fp-8 is 256, but the verifier knew zeroes in it');
  });

  test('that numbers of one id are not the same', () => {
    const lie = changing(3, ({ current: { registers } }) => {
      const right = [registers[3]!, registers[4]!];
      registers[3] = withFacts(right[0]!, { id: 5 });
      registers[4] = withFacts(right[1]!, { id: 5 });
      return () => void ([registers[3], registers[4]] = right as [RegisterState, RegisterState]);
    });
    const code = 'r3 = *(u32 *)(r1 +12)\nr4 = *(u32 *)(r1 +12)\nr4 += 1\nr0 = 0\nexit';
    expect(() => run(code, lie)).toThrow(/instruction 3 \(r0 = 0\): r3 is 1, which is not what r4 \(2\) says of numbers with the same id/);
  });

  test('that a reference is held which the verifier does not know of', () => {
    const lie = changing(7, (state) => {
      const right = state.references;
      state.references = undefined;
      return () => void (state.references = right);
    });
    const code = 'r1 = map[ring]\nr2 = 16\nr3 = 0\ncall bpf_ringbuf_reserve\nif r0 == 0 goto none\nr1 = r0\nr2 = 0\ncall bpf_ringbuf_submit\nnone: r0 = 0\nexit';
    expect(run(code).outcome).toBe(0n);
    expect(() => run(code, lie)).toThrow('instruction 7 (r2 = 0): references that are held: 1, but the verifier knew of 0');
  });

  test('that a register is read again which the verifier takes for done with', () => {
    expect(run(WAYS_MEET).outcome).toBe(1n);
    const nothingIsRead = covering((exploration, state, old, exactness) => exploration.covered(state, old, exactness, () => 0));
    expect(() => run(WAYS_MEET, nothingIsRead)).toThrow('(r2 += r6): r6 moves a pointer, but the verifier had ended a path as if r6 did not matter any more');
  });

  test('that a decision depends on a number of which the verifier took any', () => {
    const nothingMatters = covering((exploration, state, old, exactness, live) => {
      const right = old.current.preciseRegisters;
      old.current.preciseRegisters = 0;
      exploration.covered(state, old, exactness, live);
      old.current.preciseRegisters = right;
    });
    expect(() => run(WAYS_MEET, nothingMatters)).toThrow('(r2 += r6): r6 moves a pointer, but the verifier had ended a path as if r6 did not matter any more');
  });

  test('that the state which a path ended at is another one', () => {
    const elsewhere = saying(13, 6, () => constantRegister(5n));
    expect(() => run(WAYS_MEET, elsewhere)).toThrow('r6 is 1, but the verifier knew 5');
  });
});

describe('a program that does more than the one that was verified', () => {
  /** Runs `code` by what was explored of `verified`. */
  function runAs(verified: string, code: string): unknown {
    const spec = { name: 'case', section: 'xdp', type: 'xdp' as const, frags: false, functions: [], lines: [], license: 'GPL', instructions: assemble(verified, { helper: (name) => HELPER_NAMES.indexOf(name) }).instructions };
    const [exploration, facts] = [new Exploration(), new FactCollector(spec.instructions)];
    expect(verifyProgram(spec, { maps: new Map(), observer: bothObserve(exploration, facts) }).refusal).toBeUndefined();
    const found = { exploration, facts: facts.facts() };
    const bench = new BenchMachine((machine: Machine) => new Interpreter(machine, new RunCheck(machine, () => found)));
    return bench.run(bench.load(code));
  }

  test('reads beyond the end of the packet', () => {
    expect(() => runAs(PACKET_LOAD, PACKET_LOAD.replace('+33', '+64'))).toThrow('instruction 5 (r5 = *(u8 *)(r2 +64)): 1 bytes at data+64 are accessed, of 64 that are there');
  });

  test('writes below its frame', () => {
    expect(() => runAs('*(u64 *)(r10 -8) = 1\nr0 = 0\nexit', '*(u64 *)(r10 -520) = 1\nr0 = 0\nexit')).toThrow('8 bytes at the frame of 512-8 are accessed, of 512 that are there');
  });

  test('computes something else', () => {
    expect(() => runAs('r0 = 1\nr0 += 1\nexit', 'r0 = 1\nr0 += 2\nexit')).toThrow('instruction 2 (exit): r0 is 3, but the verifier knew 2');
  });
});
