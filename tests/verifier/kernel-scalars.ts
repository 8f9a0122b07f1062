/**
 * Random programs on numbers, and what Linux's log says of each register after each instruction, beside what the
 * domain makes of the same operands. A program ends in a read of a register that was never written: Linux refuses it,
 * so that nothing is loaded.
 *
 * Every step begins with what Linux said before it: one difference is not followed by others.
 */
import { assemble } from '../../dataplane/bpf/assemble.ts';
import { ALU_OPS, BRANCH_OPS, type AluOp, type BranchOp } from '../../dataplane/bpf/isa.ts';
import type { ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { ALU_TEXT, BRANCH_TEXT } from '../../dataplane/bpf/syntax.ts';
import { LOG_LEVEL, loadKernelProgram } from '../../dataplane/engine/kernel/kernel-program.ts';
import { KernelRefusal, openLinux } from '../../dataplane/engine/kernel/linux.ts';
import { constant, scalarsEqual, UNKNOWN, zeroExtend32, type Scalar } from '../../dataplane/verifier/scalar.ts';
import { alu, apart, byteSwap, negate, signExtend } from '../../dataplane/verifier/scalar-arithmetic.ts';
import { branchTaken, refine } from '../../dataplane/verifier/scalar-branch.ts';

const REGISTERS = [6, 7, 8] as const;
type Number3 = (typeof REGISTERS)[number];
type Source = { readonly register: Number3 } | { readonly immediate: number };
type Step =
  | { readonly kind: 'fresh' | 'zext'; readonly dst: Number3 }
  | { readonly kind: 'alu'; readonly op: AluOp; readonly width: 32 | 64; readonly dst: Number3; readonly source: Source }
  | { readonly kind: 'neg'; readonly width: 32 | 64; readonly dst: Number3 }
  | { readonly kind: 'movsx'; readonly width: 32 | 64; readonly bits: 8 | 16 | 32; readonly dst: Number3 }
  | { readonly kind: 'endian'; readonly op: 'le' | 'be' | 'bswap'; readonly bits: 16 | 32 | 64; readonly dst: Number3 }
  | { readonly kind: 'branch'; readonly op: BranchOp; readonly width: 32 | 64; readonly dst: Number3; readonly source: Source; readonly taken: boolean };

export type Random = () => number;

/** A small generator of uniform numbers in 0..1 (mulberry32). */
export function seeded(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

const EDGES = [0, 1, -1, 2, 3, 7, 8, 31, 32, 63, 0x7f, 0x80, -0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, -0x8000_0000, 0x7fff_0000, -256];

const pick = <T>(random: Random, from: readonly T[]): T => from[Math.floor(random() * from.length)]!;

function immediate(random: Random): number {
  const kind = random();
  if (kind < 0.45) return pick(random, EDGES);
  if (kind < 0.7) return Math.floor(random() * 512) - 128;
  return Math.floor(random() * 0x1_0000_0000) | 0;
}

const register = (source: Source): Number3 | undefined => ('register' in source ? source.register : undefined);
const SHIFTS: ReadonlySet<AluOp> = new Set(['lsh', 'rsh', 'arsh']);
const TRACKED = ALU_OPS.filter((op) => op !== 'mov');

function randomStep(random: Random): Step {
  const dst = pick(random, REGISTERS);
  const width = pick(random, [32, 64] as const);
  const kind = random();
  if (kind < 0.04) return { kind: 'fresh', dst };
  if (kind < 0.07) return { kind: 'zext', dst };
  if (kind < 0.1) return { kind: 'neg', width, dst };
  if (kind < 0.16) return { kind: 'movsx', width, bits: pick(random, width === 64 ? ([8, 16, 32] as const) : ([8, 16] as const)), dst };
  if (kind < 0.17) return { kind: 'endian', op: pick(random, ['le', 'be', 'bswap'] as const), bits: pick(random, [16, 32, 64] as const), dst };
  const source: Source = random() < 0.45 ? { register: pick(random, REGISTERS) } : { immediate: immediate(random) };
  if (kind < 0.58) {
    let op = pick(random, TRACKED);
    if ((op.endsWith('div') || op.endsWith('mod')) && random() < 0.8) op = 'and';
    if (SHIFTS.has(op) && ('immediate' in source || random() < 0.8)) return { kind: 'alu', op, width, dst, source: { immediate: width === 64 && random() < 0.25 ? 32 : Math.floor(random() * width) } };
    if ('immediate' in source && source.immediate === 0 && (op.endsWith('div') || op.endsWith('mod'))) return { kind: 'alu', op, width, dst, source: { immediate: 3 } };
    return { kind: 'alu', op, width, dst, source };
  }
  if (kind < 0.6) return { kind: 'alu', op: 'mov', width, dst, source: { immediate: immediate(random) } };
  // A register compared with itself says nothing here: whose operand changes is the walk's business.
  if (register(source) === dst) return { kind: 'branch', op: pick(random, BRANCH_OPS), width, dst, source: { immediate: immediate(random) }, taken: random() < 0.5 };
  return { kind: 'branch', op: pick(random, BRANCH_OPS), width, dst, source, taken: random() < 0.5 };
}

const name = (width: 32 | 64, number: number): string => `${width === 64 ? 'r' : 'w'}${number}`;

function text(step: Step): string[] {
  const { dst } = step;
  switch (step.kind) {
    case 'fresh':
      return ['call 7', `r${dst} = r0`, 'r0 = 0'];
    case 'zext':
      return [`w${dst} = w${dst}`];
    case 'neg':
      return [`${name(step.width, dst)} = -${name(step.width, dst)}`];
    case 'movsx':
      return [`${name(step.width, dst)} = (s${step.bits})${name(step.width, dst)}`];
    case 'endian':
      return [`r${dst} = ${step.op}${step.bits} r${dst}`];
    case 'alu':
    case 'branch': {
      const from = 'register' in step.source ? name(step.width, step.source.register) : String(step.source.immediate);
      if (step.kind === 'alu') return [`${name(step.width, dst)} ${ALU_TEXT[step.op]} ${from}`];
      const condition = `if ${name(step.width, dst)} ${BRANCH_TEXT[step.op]} ${from} goto`;
      return step.taken ? [`${condition} +2`, 'r0 = 0', 'exit'] : [`${condition} out`];
    }
  }
}

function parse(shown: string): Scalar {
  if (!shown.startsWith('scalar')) return constant(BigInt(shown));
  const found: Record<string, bigint> = {};
  for (const [, names, value] of shown.matchAll(/((?:[su](?:min|max)(?:32)?=)+)(-?(?:0x)?[0-9a-f]+)/g)) {
    for (const each of names!.split('=')) if (each !== '') found[each] = value!.startsWith('-') ? -BigInt(value!.slice(1)) : BigInt(value!);
  }
  const bits = /var_off=\((0x[0-9a-f]+); (0x[0-9a-f]+)\)/.exec(shown);
  const s32 = (value: bigint | undefined, otherwise: number): number => (value === undefined ? otherwise : Number(BigInt.asIntN(32, value)));
  return {
    value: bits === null ? 0n : BigInt(bits[1]!),
    mask: bits === null ? UNKNOWN.mask : BigInt(bits[2]!),
    smin: BigInt.asIntN(64, found['smin'] ?? UNKNOWN.smin),
    smax: BigInt.asIntN(64, found['smax'] ?? UNKNOWN.smax),
    umin: found['umin'] ?? UNKNOWN.umin,
    umax: found['umax'] ?? UNKNOWN.umax,
    s32min: s32(found['smin32'], UNKNOWN.s32min),
    s32max: s32(found['smax32'], UNKNOWN.s32max),
    u32min: Number(found['umin32'] ?? 0n),
    u32max: Number(found['umax32'] ?? 0xffff_ffffn),
  };
}

const STATE = /\bR(\d)(?:_[rwD]+)?=(scalar\((?:[^()]|\([^()]*\))*\)|-?(?:0x[0-9a-f]+|\d+))/g;

function registersOf(line: string): Map<number, Scalar> {
  const found = new Map<number, Scalar>();
  for (const [, number, shown] of line.matchAll(STATE)) found.set(Number(number), parse(shown!));
  return found;
}

/** What Linux's log says, by slot: the state after an instruction, the state at the begin of another path, and whether a branch was decided. */
function readLog(log: string): { after: Map<number, Map<number, Scalar>>; arrived: Map<number, Map<number, Scalar>>; decided: Set<number>; broken: Set<number> } {
  const after = new Map<number, Map<number, Scalar>>();
  const arrived = new Map<number, Map<number, Scalar>>();
  const decided = new Set<number>();
  const broken = new Set<number>();
  let last = -1;
  for (const line of log.split('\n')) {
    const instruction = /^(\d+): \([0-9a-f]{2}\)(.*)$/.exec(line);
    if (line.includes('VIOLATION')) broken.add(instruction === null ? last : Number(instruction[1]));
    const path = /^from (\d+) to \d+: (.*)$/.exec(line);
    if (instruction !== null) {
      last = Number(instruction[1]);
      after.set(last, registersOf(instruction[2]!));
    } else if (path !== null) {
      arrived.set(Number(path[1]), registersOf(path[2]!));
      last = -1;
    } else if (line.startsWith('mark_precise: frame0: last_idx') && last >= 0 && line.startsWith(`mark_precise: frame0: last_idx ${last} `)) decided.add(last);
  }
  return { after, arrived, decided, broken };
}

const ASKED_TOGETHER = 200;
const PAUSE_MS = 5;
const PAUSE = new Int32Array(new SharedArrayBuffer(4));
let asked = 0;

/** What Linux writes about all ways through a program that it refuses. */
function statesLog(code: string): string {
  if (++asked % ASKED_TOGETHER === 0) Atomics.wait(PAUSE, 0, 0, PAUSE_MS);
  const spec: ProgramSpec = {
    name: 'numbers', section: 'xdp', type: 'xdp', frags: false, license: 'GPL',
    instructions: assemble(code).instructions,
    functions: [{ name: 'numbers', slot: 0, typeId: 0, linkage: 'static' }],
    lines: [],
  };
  try {
    loadKernelProgram(openLinux(), spec, { type: 'xdp', map: () => 0, logLevel: LOG_LEVEL.states }).close();
  } catch (error) {
    if (error instanceof KernelRefusal) return error.log;
    throw error;
  }
  throw new Error(`Linux accepts what it was to refuse:\n${code}`);
}

function show(scalar: Scalar): string {
  const { value, mask, smin, smax, umin, umax, s32min, s32max, u32min, u32max } = scalar;
  return `s ${smin}..${smax} u ${umin}..${umax} s32 ${s32min}..${s32max} u32 ${u32min}..${u32max} bits (0x${value.toString(16)}; 0x${mask.toString(16)})`;
}

export interface Comparison {
  compared: number;
  readonly differences: string[];
}

/** One random program of so many steps. */
export function compareWithLinux(random: Random, steps: number, into: Comparison): void {
  // The first branch's other way is looked at last, and refused: so is every program, whichever way Linux goes before.
  const lines: string[] = ['call 7', 'if r0 == 5 goto out'];
  const placed: { readonly step: Step; readonly slot: number }[] = [];
  const guess = new Map<Number3, Scalar>();
  const emit = (step: Step): void => {
    placed.push({ step, slot: lines.length });
    lines.push(...text(step));
  };
  const operand = (state: ReadonlyMap<Number3, Scalar>, source: Source): Scalar => ('register' in source ? state.get(source.register)! : constant(BigInt(source.immediate)));
  const apply = (state: Map<Number3, Scalar>, step: Step): { decided: boolean | undefined; changed: [Number3, Scalar][] } => {
    const before = state.get(step.dst)!;
    const one = (scalar: Scalar): { decided: undefined; changed: [Number3, Scalar][] } => ({ decided: undefined, changed: [[step.dst, scalar]] });
    switch (step.kind) {
      case 'fresh':
        return one(UNKNOWN);
      case 'zext':
        return one(zeroExtend32(before));
      case 'neg':
        return one(negate(step.width, before));
      case 'movsx':
        return one(signExtend(step.width, step.bits, before));
      case 'endian':
        return one(byteSwap(step.op, step.bits, before));
      case 'alu':
        if (step.op === 'mov' && step.width === 32) return one(zeroExtend32(operand(state, step.source)));
        return one(alu(step.op, step.width, apart(step.op, before, operand(state, step.source))?.first ?? before, operand(state, step.source)));
      case 'branch': {
        const other = operand(state, step.source);
        const decided = branchTaken(step.op, step.width, before, other);
        if (decided !== undefined) return { decided, changed: [] };
        const [left, right] = refine(step.op, step.width, step.taken, before, other);
        const changed: [Number3, Scalar][] = [[step.dst, left]];
        const number = register(step.source);
        if (number !== undefined) changed.push([number, right]);
        return { decided, changed };
      }
    }
  };
  for (const dst of REGISTERS) {
    emit({ kind: 'fresh', dst });
    guess.set(dst, UNKNOWN);
  }
  while (placed.length < steps) {
    let step = randomStep(random);
    // Numbers of which nothing is known, or everything, say little.
    if (step.kind === 'alu' && random() < 0.3 && guess.get(step.dst)!.mask === 0n) step = { kind: 'fresh', dst: step.dst };
    let done = apply(guess, step);
    if (step.kind === 'branch' && done.decided !== undefined) {
      if (random() < 0.7) continue;
      step = { ...step, taken: done.decided };
      done = { decided: done.decided, changed: [] };
    }
    for (const [number, scalar] of done.changed) guess.set(number, scalar);
    emit(step);
  }
  const code = [...lines, 'out: r0 = r9', 'exit'].join('\n');
  const log = statesLog(code);
  const { after, arrived, decided, broken } = readLog(log);

  const state = new Map<Number3, Scalar>();
  for (const { step, slot } of placed) {
    const told = (problem: string): void => {
      const operands = step.kind === 'fresh' ? '' : ` with ${show(state.get(step.dst)!)}${'source' in step && 'register' in step.source ? ` and ${show(state.get(step.source.register)!)}` : ''}`;
      into.differences.push(`${lines[slot]}${operands}: ${problem}`);
    };
    if (step.kind === 'fresh') {
      state.set(step.dst, UNKNOWN);
      continue;
    }
    const ours = apply(state, step);
    if (!after.has(slot)) return;
    if (step.kind === 'branch' && decided.has(slot) !== (ours.decided !== undefined)) {
      told(`${decided.has(slot) ? 'Linux' : 'we'} decided`);
      into.compared++;
      return;
    }
    into.compared++;
    if (step.kind === 'branch' && ours.decided !== undefined) {
      // The program was written for a number that Linux sees otherwise: it ends here.
      if (ours.decided !== step.taken) return;
      continue;
    }
    const said = step.kind === 'branch' && step.taken ? arrived.get(slot) : after.get(slot);
    if (said === undefined) {
      told('not followed');
      return;
    }
    for (const [number, scalar] of ours.changed) {
      const linux = said.get(number);
      // The complaint about bounds without a number stands where the state would.
      if (linux === undefined && broken.has(slot)) return;
      if (linux === undefined) {
        told(`R${number} is not shown`);
        return;
      }
      // A known number is shown without its bounds.
      if (!(linux.mask === 0n && scalar.mask === 0n && linux.value === scalar.value) && !scalarsEqual(linux, scalar)) told(`R${number}\n  Linux ${show(linux)}\n  ours  ${show(scalar)}`);
      state.set(number, linux);
    }
  }
}
