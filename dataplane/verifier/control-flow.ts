/**
 * Facts about the instruction graph, found before any path is walked (Linux 6.18: check_cfg, compute_live_registers,
 * compute_scc): where states are compared, which registers are read again, which instructions are in loops, and which
 * functions may move packets. All but the last look at one function at a time: a call is one instruction.
 */
import { referencedFunction, type FunctionRange } from '../bpf/check.ts';
import { isJump, jumpTarget, type CallTarget, type Instruction, type Operand, type Register } from '../bpf/isa.ts';

/** Bits of `ControlFlow.points`. */
export const POINT = {
  /** States are compared here. */
  prune: 1,
  /** How a path came here is remembered. */
  jump: 2,
  /** A state is always kept here: what calls back has to meet itself. */
  force: 4,
} as const;

export interface ControlFlow {
  /** By slot: POINT, or-ed. */
  readonly points: Uint8Array;
  /** By slot: bit r is set when register r of r0..r9 may be read before it is replaced, from before the instruction on. */
  readonly liveRegisters: Uint16Array;
  /** By slot: number of the loop it is in (strongly connected component), 0 for none. Numbered as Linux does. */
  readonly scc: Uint32Array;
  /** Starts of functions that may move packets, by themselves or by what they call. */
  readonly changesPacket: ReadonlySet<number>;
}

/** Of what a program calls that is not its own. */
export interface CalleeFacts {
  readonly changesPacket?: true;
  /** Runs a callback before it returns. */
  readonly callsCallback?: boolean;
  /** Answers the next of an iterator's numbers: that is where its loop is known by. */
  readonly iterates?: boolean;
  /** How many registers it is passed, where its prototype is known. */
  readonly args?: number;
}

export type CalleeFactsOf = (target: CallTarget) => CalleeFacts | undefined;

/** Its callback runs later, as a path of its own. */
const TIMER_SET_CALLBACK = 170;
const TAIL_CALL = 12;
const MAX_ARGUMENTS = 5;
/** r0..r9: r10 is always alive, so nobody asks. */
const ALL_REGISTERS = 0x3ff;
const R0 = 1;
/** r0..r5. */
const CALLER_SAVED = 0x3f;
export const NONE = -1;

export function analyseControlFlow(instructions: readonly Instruction[], functions: readonly FunctionRange[], callee: CalleeFactsOf): ControlFlow {
  return {
    points: findPoints(instructions, callee),
    liveRegisters: findLiveRegisters(instructions, callee),
    scc: withCallbackLoops(findLoops(instructions), instructions, callee),
    changesPacket: findPacketChanges(instructions, functions, callee),
  };
}

/** The slot after the instruction, or none where control does not fall through. */
export function fallThrough(instruction: Instruction, slot: number): number {
  switch (instruction.kind) {
    case 'exit':
    case 'jump':
    case 'upper':
      return NONE;
    case 'load_imm64':
      return slot + 2;
    default:
      return slot + 1;
  }
}

/** The slot it jumps to within its function, or none. */
export function jumpsTo(instruction: Instruction, slot: number): number {
  return isJump(instruction) ? jumpTarget(slot, instruction.offset) : NONE;
}

export const isTailCall = (instruction: Instruction): boolean => instruction.kind === 'call' && instruction.target.kind === 'helper' && instruction.target.id === TAIL_CALL;

function findPoints(instructions: readonly Instruction[], calleeFacts: CalleeFactsOf): Uint8Array {
  const points = new Uint8Array(instructions.length);
  /** In code that never ends properly there may be no such slot. */
  const mark = (slot: number, bits: number): void => {
    if (slot < points.length) points[slot]! |= bits;
  };
  for (const [slot, instruction] of instructions.entries()) {
    const callee = referencedFunction(instruction);
    if (instruction.kind === 'branch') mark(slot, POINT.prune);
    if (instruction.kind === 'may_goto') mark(slot, POINT.prune | POINT.force);
    const target = jumpsTo(instruction, slot);
    if (target !== NONE) mark(target, POINT.prune | POINT.jump);
    // Paths come back from calls, and from callbacks to whoever took their address.
    if (instruction.kind === 'call' || callee !== undefined) mark(fallThrough(instruction, slot), POINT.prune | POINT.jump);
    if (callee !== undefined) {
      mark(slot, POINT.prune);
      mark(callee, POINT.prune | POINT.jump);
    }
    if (instruction.kind === 'call') {
      const { target: called } = instruction;
      const facts = calleeFacts(called);
      if (facts?.callsCallback === true) mark(slot, POINT.prune | POINT.jump | POINT.force);
      if (facts?.iterates === true) mark(slot, POINT.prune | POINT.force);
      // Else a loop that sets it would begin the callback's path anew each time around.
      if (called.kind === 'helper' && called.id === TIMER_SET_CALLBACK) mark(slot, POINT.prune);
    }
  }
  return points;
}

const bit = (register: Register): number => (1 << register) & ALL_REGISTERS;
const sourceBit = (source: Operand): number => (source.kind === 'register' ? bit(source.register) : 0);

/** A bit for each of r0 to r9. */
export function registersRead(instruction: Instruction, callee: CalleeFactsOf): number {
  switch (instruction.kind) {
    case 'alu':
      return (instruction.op === 'mov' ? 0 : bit(instruction.dst)) | sourceBit(instruction.source);
    case 'neg':
    case 'endian':
      return bit(instruction.dst);
    case 'movsx':
    case 'load':
      return bit(instruction.src);
    case 'store':
    case 'branch':
      return bit(instruction.dst) | sourceBit(instruction.source);
    case 'atomic':
      if (instruction.op === 'load_acquire') return bit(instruction.src);
      return bit(instruction.dst) | bit(instruction.src) | (instruction.op === 'cmpxchg' ? R0 : 0);
    case 'load_packet':
      // Linux leaves it at that for classic BPF.
      return ALL_REGISTERS;
    case 'call':
      return argumentRegisters(callee(instruction.target)?.args ?? MAX_ARGUMENTS);
    case 'exit':
      return R0;
    case 'load_imm64':
    case 'upper':
    case 'jump':
    case 'may_goto':
      return 0;
    default:
      return instruction satisfies never;
  }
}

/** r1 to r`count`. */
function argumentRegisters(count: number): number {
  return ((1 << count) - 1) << 1;
}

export function registersReplaced(instruction: Instruction): number {
  switch (instruction.kind) {
    case 'alu':
    case 'neg':
    case 'endian':
    case 'movsx':
    case 'load':
    case 'load_imm64':
      return bit(instruction.dst);
    case 'atomic':
      if (instruction.op === 'load_acquire') return bit(instruction.dst);
      if (instruction.op === 'cmpxchg') return R0;
      return instruction.fetch ? bit(instruction.src) : 0;
    case 'call':
      return CALLER_SAVED;
    case 'load_packet':
    case 'store':
    case 'branch':
    case 'jump':
    case 'may_goto':
    case 'exit':
    case 'upper':
      return 0;
    default:
      return instruction satisfies never;
  }
}

/** Backwards until nothing changes: twice, and once more for every loop within a loop. */
function findLiveRegisters(instructions: readonly Instruction[], callee: CalleeFactsOf): Uint16Array {
  const read = Uint16Array.from(instructions, (each) => registersRead(each, callee));
  const kept = Uint16Array.from(instructions, (each) => ~registersReplaced(each) & ALL_REGISTERS);
  const live = new Uint16Array(instructions.length);
  for (let changed = true; changed; ) {
    changed = false;
    for (let slot = instructions.length - 1; slot >= 0; slot--) {
      const instruction = instructions[slot]!;
      const after = (live[fallThrough(instruction, slot)] ?? 0) | (live[jumpsTo(instruction, slot)] ?? 0);
      const before = read[slot]! | (after & kept[slot]!);
      if (before !== live[slot]) {
        live[slot] = before;
        changed = true;
      }
    }
  }
  return live;
}

/**
 * Tarjan's algorithm with a stack of its own, since programs have up to a million instructions. A component gets a
 * number when it is a loop: more than one instruction, or one that jumps to itself.
 */
function findLoops(instructions: readonly Instruction[]): Uint32Array {
  const count = instructions.length;
  const DONE = 0xffff_ffff;
  const scc = new Uint32Array(count);
  /** When it was first met, from 1; and the earliest instruction that is reached from it and is not done. */
  const met = new Uint32Array(count);
  const earliest = new Uint32Array(count);
  /** Of an instruction whose edges are being followed: how many were. */
  const followed = new Uint8Array(count);
  const path: number[] = [];
  const open: number[] = [];
  let clock = 0;
  let loops = 0;
  const enter = (slot: number): void => {
    met[slot] = earliest[slot] = ++clock;
    path.push(slot);
    open.push(slot);
  };
  for (let root = 0; root < count; root++) {
    if (met[root] !== 0) continue;
    enter(root);
    while (path.length > 0) {
      const slot = path[path.length - 1]!;
      const edge = followed[slot]!;
      if (edge < 2) {
        followed[slot] = edge + 1;
        const next = edge === 0 ? fallThrough(instructions[slot]!, slot) : jumpsTo(instructions[slot]!, slot);
        if (next === NONE) continue;
        if (met[next] === 0) enter(next);
        else if (earliest[next]! < earliest[slot]!) earliest[slot] = earliest[next]!;
        continue;
      }
      path.pop();
      const caller = path[path.length - 1];
      if (caller !== undefined && earliest[slot]! < earliest[caller]!) earliest[caller] = earliest[slot]!;
      if (earliest[slot] !== met[slot]) continue;
      const isLoop = open[open.length - 1] !== slot || jumpsTo(instructions[slot]!, slot) === slot;
      if (isLoop) loops++;
      for (let member = NONE; member !== slot; ) {
        member = open.pop()!;
        scc[member] = isLoop ? loops : 0;
        earliest[member] = DONE;
      }
    }
  }
  return scc;
}

/** Callbacks count as called by whoever takes their address. */
function findPacketChanges(instructions: readonly Instruction[], functions: readonly FunctionRange[], callee: CalleeFactsOf): ReadonlySet<number> {
  const changing = new Set<number>();
  const callers = new Map<number, number[]>(functions.map(({ start }) => [start, []]));
  for (const { start, end } of functions) {
    for (let slot = start; slot < end; slot++) {
      const instruction = instructions[slot]!;
      const called = referencedFunction(instruction);
      if (called !== undefined) callers.get(called)?.push(start);
      if (instruction.kind === 'call' && callee(instruction.target)?.changesPacket === true) changing.add(start);
    }
  }
  // What is added on the way is visited as well.
  for (const start of changing) for (const caller of callers.get(start)!) changing.add(caller);
  return changing;
}

/** A call that runs a callback is a loop by itself: the callback comes back to it. */
function withCallbackLoops(scc: Uint32Array, instructions: readonly Instruction[], callee: CalleeFactsOf): Uint32Array {
  let loops = scc.reduce((most, number) => Math.max(most, number), 0);
  for (const [slot, instruction] of instructions.entries()) {
    if (scc[slot] !== 0 || instruction.kind !== 'call') continue;
    if (callee(instruction.target)?.callsCallback === true) scc[slot] = ++loops;
  }
  return scc;
}
