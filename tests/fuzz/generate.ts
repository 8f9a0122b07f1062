/**
 * Random programs with a structure: they know what is in each register and slot, so that Linux takes most of them,
 * and forget a rule now and then, so that it does not take all. The seed is printed by whoever uses this; a program is
 * a function of seed and index.
 */
import type { Instruction, Register } from '../../dataplane/bpf/isa.ts';
import type { FunctionSpec, ProgramSpec, ProgramType } from '../../dataplane/bpf/spec.ts';
import { anyHelper } from './any-helper.ts';
import { Code } from './code.ts';
import { changeMap, checksum, eitherWay, lookup, moveBounds, output, packetBytes, plain, record, subprogram, tailCall } from './call-units.ts';
import { Frame, REGISTERS, SCALAR, type Held } from './frame.ts';
import { access, accessAtCounter, atomic, copy, fill, moveAndAccess, packetLoad, provePacket, readContext, spill, stackPointer, walkPacket } from './memory-units.ts';
import { Random } from './random.ts';
import { alu, arithmetic, compare, constant, imm, leave, mov, ownScalar, reg, target, type Subprogram, type Writer } from './writer.ts';

export interface GeneratedProgram {
  readonly spec: ProgramSpec;
  /** Its answers do not depend on addresses or on what was on the stack, so that they can be compared. */
  readonly steady: boolean;
}

const CONTEXT: Held = { kind: 'context' };
const DEEPEST = 3;
const ANYBODYS_TYPES = ['socket_filter', 'cgroup_skb'] as const;

/** `unprivileged`: also of types that anybody may load, which have no functions and no loops. */
export function generateProgram(seed: number, index: number, unprivileged = false): GeneratedProgram {
  const random = new Random(seed, index);
  const privileged: ProgramType = random.chance(0.55) ? 'xdp' : 'sched_cls';
  const type = unprivileged && random.chance(0.6) ? random.pick(ANYBODYS_TYPES) : privileged;
  const code = new Code();
  const careless = random.chance(0.55) ? 0 : random.pick([0.01, 0.02, 0.05]);
  const planned = type === privileged && random.chance(0.35) ? random.between(1, 3) : 0;
  const subprograms: Subprogram[] = Array.from({ length: planned }, () => ({ label: code.label(), parameters: parameters(random) }));
  const functions: FunctionSpec[] = [];
  let steady = true;

  const write = (callees: readonly Subprogram[], parametersHere: readonly Held[], stackBytes: number, units: number, isMain: boolean): void => {
    functions.push({ name: `f${code.length}`, slot: code.length, typeId: 0, linkage: 'static' });
    const frame = new Frame(stackBytes);
    for (const [at, held] of parametersHere.entries()) frame.set((at + 1) as Register, held);
    const writer: Writer = { random, code, type, frame, subprograms: callees, careless, steady: true, owes: 0 };
    begin(writer);
    for (let unit = 0; unit < units; unit++) step(writer, 0);
    finish(writer, isMain);
    steady &&= writer.steady;
  };

  write(subprograms, [CONTEXT], 8 * random.between(4, 24), random.between(3, 26), true);
  for (const [at, each] of subprograms.entries()) {
    code.place(each.label);
    write(subprograms.slice(at + 1), each.parameters, 8 * random.between(1, 10), random.between(1, 8), false);
  }
  const instructions = callAll(code, subprograms, functions);
  return { spec: programSpecOf(instructions, type, functions, `fuzz_${index}`), steady };
}

/** What nobody calls is not there: Linux refuses functions that cannot be reached. */
function callAll(code: Code, subprograms: readonly Subprogram[], functions: FunctionSpec[]): readonly Instruction[] {
  const instructions = code.finish();
  const called = new Set<number>();
  const visit = (start: number): void => {
    const at = functions.findIndex(({ slot }) => slot === start);
    const end = functions[at + 1]?.slot ?? instructions.length;
    for (const each of instructions.slice(start, end)) {
      if (each.kind !== 'call' || each.target.kind !== 'subprogram' || called.has(each.target.slot)) continue;
      called.add(each.target.slot);
      visit(each.target.slot);
    }
  };
  visit(0);
  if (called.size === subprograms.length) return instructions;
  const kept = functions.filter(({ slot }) => slot === 0 || called.has(slot));
  const moved = new Map<number, number>();
  const result: Instruction[] = [];
  for (const { slot } of kept) {
    moved.set(slot, result.length);
    const following = functions.find((each) => each.slot > slot)?.slot ?? instructions.length;
    result.push(...instructions.slice(slot, following));
  }
  functions.splice(0, functions.length, ...kept.map(({ slot, ...rest }) => ({ ...rest, name: `f${moved.get(slot)!}`, slot: moved.get(slot)! })));
  return result.map((each) => (each.kind === 'call' && each.target.kind === 'subprogram' ? { kind: 'call', target: { kind: 'subprogram', slot: moved.get(each.target.slot)! } } : each));
}

export function programSpecOf(instructions: readonly Instruction[], type: ProgramType, functions: readonly FunctionSpec[], name = 'fuzz'): ProgramSpec {
  return { name, section: type === 'sched_cls' ? 'tc' : type, type, frags: false, instructions, functions, lines: [], license: 'GPL' };
}

function parameters(random: Random): Held[] {
  const choices: readonly Held[] = [
    SCALAR, SCALAR, SCALAR, CONTEXT,
    { kind: 'memory', region: 'stack', low: 0, high: random.pick([4, 8, 16, 24]) },
    { kind: 'memory', region: 'value', low: 0, high: random.pick([4, 8, 13, 16]) },
    { kind: 'memory', region: 'packet', low: 0, high: random.pick([4, 8, 14]) },
  ];
  return Array.from({ length: random.between(1, 5) }, () => random.pick(choices));
}

/** The context to r6, numbers to some registers and slots. */
function begin(writer: Writer): void {
  const { frame, code, random } = writer;
  const at = frame.having(({ kind }) => kind === 'context')[0];
  if (at !== undefined) {
    code.emit(mov(6, reg(at)));
    frame.set(6, CONTEXT);
    frame.reserved.add(6);
  }
  for (const register of frame.memories()) {
    const to = frame.writable().find((each) => each > 6 && frame.get(each).kind === 'nothing');
    if (to === undefined || random.chance(0.3)) continue;
    code.emit(mov(to, reg(register)));
    frame.set(to, frame.get(register));
  }
  for (const register of [7, 8, 9] as const) if (frame.get(register).kind === 'nothing' && random.chance(0.6)) constant(writer, register);
  const share = random.pick([0.2, 0.6, 1, 1]);
  for (const slot of frame.slots.keys()) {
    if (!random.chance(share)) continue;
    code.emit({ kind: 'store', bytes: 8, dst: 10, offset: frame.slotOffset(slot), source: imm(random.chance(0.5) ? 0 : random.u32() | 0) });
    frame.slots[slot] = SCALAR;
  }
}

/** Mixes the numbers it has into r0. */
function finish(writer: Writer, isMain: boolean): void {
  const { frame, code, random } = writer;
  if (frame.get(0).kind !== 'scalar') code.emit(mov(0, imm(1)));
  for (const register of frame.scalars()) if (register !== 0 && random.chance(0.8)) code.emit(alu('mul', 0, imm(31)), alu('add', 0, reg(register)));
  if (isMain) code.emit(mov(1, reg(0)), alu('rsh', 1, imm(32)), alu('xor', 0, reg(1)));
  code.emit({ kind: 'exit' });
}

type Unit = (writer: Writer, depth: number) => void;

function several(writer: Writer, depth: number, most: number): void {
  for (let left = writer.random.between(1, most); left > 0; left--) step(writer, depth + 1);
}

const numbers: Unit = (writer) => {
  const { random, code, frame } = writer;
  if (random.chance(0.25)) return constant(writer, target(writer));
  const register = ownScalar(writer);
  for (let left = random.between(1, 4); left > 0; left--) arithmetic(writer, register);
  // Pointers and numbers that are compared with themselves.
  if (random.chance(0.05)) code.emit(alu(random.pick(['xor', 'sub', 'or', 'and'] as const), register, reg(register)));
  frame.set(register, SCALAR);
};

const early: Unit = (writer) => {
  if (writer.owes > 0) return;
  const on = writer.code.label();
  compare(writer, on);
  leave(writer);
  writer.code.place(on);
};

const branches: Unit = (writer, depth) => eitherWay(writer, () => several(writer, depth, 4), () => several(writer, depth, 3));

/** A few turns; what the loop relies on it does not change. */
const loop: Unit = (writer, depth) => {
  const { frame, code, random, type } = writer;
  if (type === 'socket_filter' || type === 'cgroup_skb') return;
  const counters = frame.writable().filter((register) => register >= 6);
  if (depth > 1 || counters.length === 0) return;
  const counter = random.pick(counters);
  const turns = random.pick([1, 2, 3, 5, 8, 16]);
  const down = random.chance(0.4);
  code.emit(mov(counter, imm(down ? turns : 0)));
  const reservedBefore = [...frame.reserved];
  frame.set(counter, SCALAR);
  frame.reserved.add(counter);
  for (const register of REGISTERS) {
    const { kind } = frame.get(register);
    if (register === counter || frame.reserved.has(register)) continue;
    if (register >= 6 && kind !== 'nothing' && frame.writable().length > 4 && random.chance(0.7)) frame.reserved.add(register);
    else frame.set(register, { kind: 'nothing' });
  }
  for (const [slot, { kind }] of frame.slots.entries()) if (kind !== 'scalar') frame.slots[slot] = { kind: 'nothing' };
  const top = code.label();
  code.place(top);
  const atTop = frame.save();
  if (random.chance(0.4)) accessAtCounter(writer, counter, turns);
  several(writer, depth, 4);
  code.emit(alu(down ? 'sub' : 'add', counter, imm(1), random.chance(0.3) ? 32 : 64));
  const bits = random.chance(0.3) ? 32 : 64;
  if (down) code.branch(random.pick(['jne', 'jsgt'] as const), bits, counter, imm(0), top);
  else code.branch(random.pick(['jlt', 'jslt', 'jne'] as const), bits, counter, imm(turns), top);
  // The slots of a second turn are what the first one left.
  writer.steady &&= atTop.every((held, at) => held.kind !== 'scalar' || frame.save()[at]!.kind === 'scalar');
  frame.reserved.clear();
  for (const register of reservedBefore) frame.reserved.add(register);
};

const WEIGHTED: readonly (readonly [number, Unit])[] = [
  [14, numbers], [8, access], [5, spill], [7, fill], [7, lookup], [8, moveAndAccess], [5, provePacket], [4, walkPacket], [4, readContext], [5, early], [7, branches],
  [4, loop], [4, atomic], [3, copy], [3, stackPointer], [3, changeMap], [2, checksum], [3, packetBytes], [2, moveBounds], [2, output], [1, plain], [1, tailCall], [1, anyHelper], [6, subprogram], [2, packetLoad],
  [2, (writer, depth) => record(writer, () => several(writer, depth, 3))],
];
const TOTAL = WEIGHTED.reduce((sum, [weight]) => sum + weight, 0);

function step(writer: Writer, depth: number): void {
  let at = writer.random.below(TOTAL);
  const [, unit] = WEIGHTED.find(([weight]) => (at -= weight) < 0)!;
  if (depth > DEEPEST && (unit === branches || unit === loop)) return;
  unit(writer, depth);
}
