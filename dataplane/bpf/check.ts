/**
 * The structure of a program, as Linux checks it before its verifier walks any path (check_subprogs, check_cfg and
 * the immediate operands): what holds for every instruction whatever the registers contain. Engines rely on it:
 *
 *   - a function is a run of slots that control enters at the first and leaves only by exit; none runs into the next
 *   - jumps stay in their function and never land in the second slot of a 64-bit immediate load
 *   - every instruction can be reached, and nothing writes the frame pointer
 *   - functions do not call themselves, and no chain of calls is longer than MAX_FRAMES
 *   - immediate divisors are not 0, immediate shifts are narrower than their operand
 */
import { XdplabError } from '../errors.ts';
import { MAX_FRAMES } from '../machine/cpu.ts';
import { disassembleInstruction, type Names } from './disassemble.ts';
import { isJump, jumpTarget, type Instruction, type Register } from './isa.ts';
import type { ProgramSpec } from './spec.ts';

/** Slots `start` to `end`, exclusive. */
export interface FunctionRange {
  readonly start: number;
  readonly end: number;
}

export interface CheckOptions {
  /** Whether a helper exists and may be called by programs of this type. */
  readonly isHelper: (id: number) => boolean;
  /** Whether a kernel function of that name may be called by programs of this type; none unless said. */
  readonly isKfunc?: (name: string) => boolean;
  /** LD_ABS and LD_IND: programs on an skb may have them. */
  readonly packetLoads: boolean;
  /** The verifier walks the program next, and says what is wrong on the paths that are walked: writes of r10, calls, divisors, shifts, and how deep calls go. */
  readonly verified?: true;
  /** Whether jumps may go back to where control came from; they may unless said. */
  readonly loops?: boolean;
  /** Its name without `bpf_`, for error lines. */
  readonly helperName?: (id: number) => string | undefined;
}

const MAX_SLOTS = 1_000_000;
const FRAME_POINTER: Register = 10;
const LAST = 'last insn is not an exit or jmp';

/** What is checked of a ProgramSpec. Unresolved references may stand in code that never runs. */
export type CheckedProgram = Pick<ProgramSpec, 'name' | 'instructions' | 'unresolved' | 'exceptionCallback'>;

/** What is wrong with a program's structure. */
export class StructureError extends XdplabError {
  readonly slot: number;
  /** As Linux spells it. */
  readonly terse: string;

  constructor(message: string, slot: number, terse: string) {
    super('ERR_PROGRAM', message);
    this.slot = slot;
    this.terse = terse;
  }
}

/** Checks `program` and returns its functions in order, the entry function first. Throws ERR_PROGRAM. */
export function checkProgram(program: CheckedProgram, options: CheckOptions): readonly FunctionRange[] {
  return new Check(program, options).run();
}

class Check {
  readonly #program: string;
  readonly #instructions: readonly Instruction[];
  /** Where what nothing calls begins: the entry function, and the exception callback. */
  readonly #roots: readonly number[];
  readonly #options: CheckOptions;
  readonly #names: Names;
  readonly #unresolved: ReadonlySet<number>;
  #functions: readonly FunctionRange[] = [];

  constructor(program: CheckedProgram, options: CheckOptions) {
    this.#program = program.name;
    this.#instructions = program.instructions;
    this.#roots = program.exceptionCallback === undefined ? [0] : [0, program.exceptionCallback];
    this.#options = options;
    this.#names = options.helperName ? { helper: options.helperName } : {};
    this.#unresolved = new Set(program.unresolved?.map(({ slot }) => slot));
  }

  run(): readonly FunctionRange[] {
    const count = this.#instructions.length;
    if (count === 0 || count > MAX_SLOTS) {
      throw new XdplabError('ERR_PROGRAM', `${this.#program}: has ${count} instructions; Linux takes 1 to ${MAX_SLOTS}`);
    }
    for (const [slot, instruction] of this.#instructions.entries()) this.#checkOperands(slot, instruction);
    this.#functions = this.#findFunctions();
    for (const range of this.#functions) this.#checkEnds(range);
    this.#checkReached(this.#reach());
    if (this.#options.verified !== true) this.#checkCalls();
    return this.#functions;
  }

  /** `terse`: Linux's words. */
  #fail(slot: number, problem: string, terse = problem): never {
    const instruction = this.#instructions[slot]!;
    const text = instruction.kind === 'upper' ? 'second slot of a 64-bit immediate load' : disassembleInstruction(instruction, slot, this.#names);
    throw new StructureError(`${this.#program}: instruction ${slot} (${text}): ${problem}`, slot, terse);
  }

  #checkOperands(slot: number, instruction: Instruction): void {
    if (writtenRegister(instruction) === FRAME_POINTER && this.#options.verified !== true) {
      this.#fail(slot, 'writes r10, but the frame pointer is read only; copy it to another register first');
    }
    if (instruction.kind === 'load_packet' && !this.#options.packetLoads) {
      this.#fail(slot, 'packet loads of classic BPF need an skb; in an XDP program compare with data_end and load', 'BPF_LD_[ABS|IND] instructions not allowed for this program type');
    }
    switch (instruction.kind) {
      case 'alu': {
        const { op, width, source } = instruction;
        if (source.kind === 'register' || this.#options.verified === true) return;
        if ((op === 'div' || op === 'mod' || op === 'sdiv' || op === 'smod') && source.value === 0) {
          this.#fail(slot, 'division by the constant 0, which Linux refuses; divide by a register or leave it out', 'div by zero');
        }
        if ((op === 'lsh' || op === 'rsh' || op === 'arsh') && (source.value < 0 || source.value >= width)) {
          this.#fail(slot, `shift by ${source.value}, which Linux refuses; a ${width}-bit operand shifts by 0 to ${width - 1}`, `invalid shift ${source.value}`);
        }
        return;
      }
      case 'load_imm64':
        this.#checkReference(slot, instruction);
        return;
      case 'call':
        if (this.#unresolved.has(slot)) return;
        if (instruction.target.kind === 'helper' && !this.#options.isHelper(instruction.target.id)) {
          this.#fail(slot, 'no such helper, or not for programs of this type; docs/SUPPORTED.md lists them');
        }
        if (instruction.target.kind === 'kfunc' && this.#options.verified !== true && !this.#isKfunc(instruction.target.name)) {
          this.#fail(slot, 'no such kernel function (kfunc) here, or not for programs of this type; docs/SUPPORTED.md lists them');
        }
        return;
      default:
    }
  }

  #isKfunc(name: string | undefined): boolean {
    return name !== undefined && this.#options.isKfunc?.(name) === true;
  }

  #checkReference(slot: number, { value }: Extract<Instruction, { kind: 'load_imm64' }>): void {
    switch (value.kind) {
      case 'constant':
      case 'map':
      case 'map_value':
      case 'function':
        return;
      default:
        if (value.kind === 'btf_id' && this.#isKfunc(value.name)) return;
        this.#fail(slot, 'refers to something of a running kernel by number; load the object file, which names it');
    }
  }

  /** Functions begin at slot 0, at the exception callback, and wherever a call or a callback's address points. */
  #findFunctions(): readonly FunctionRange[] {
    const starts = new Set(this.#roots);
    for (const [slot, instruction] of this.#instructions.entries()) {
      const target = referencedFunction(instruction);
      if (target !== undefined) {
        this.#checkLanding(slot, target, 0, this.#instructions.length, 'calls');
        starts.add(target);
      }
    }
    const sorted = [...starts].toSorted((a, b) => a - b);
    return sorted.map((start, index) => ({ start, end: sorted[index + 1] ?? this.#instructions.length }));
  }

  #checkLanding(slot: number, target: number, start: number, end: number, verb: string): void {
    if (target >= start && target < end) return;
    this.#fail(slot, `${verb} slot ${target}, which is outside of ${verb === 'calls' ? 'the program' : 'its function'} (slots ${start} to ${end - 1})`, verb === 'calls' ? 'call to invalid destination' : `jump out of range from insn ${slot} to ${target}`);
  }

  /** Of every instruction, whether it can be reached or not. */
  #checkEnds({ start, end }: FunctionRange): void {
    for (let slot = start; slot < end; slot++) {
      const instruction = this.#instructions[slot]!;
      if (isJump(instruction)) this.#checkLanding(slot, jumpTarget(slot, instruction.offset), start, end, 'jumps to');
    }
    const { kind } = this.#instructions[end - 1]!;
    if (kind === 'load_imm64') this.#failSecond(end, 'calls', LAST);
    if (kind !== 'exit' && kind !== 'jump') this.#fail(end - 1, 'the function ends here without exit or jump; the next instruction would belong to no function or another', LAST);
  }

  /** By slot, 1 where control may come from the entry function or the exception callback, calls included. A jump may come to the second slot of a 64-bit load, which is told later. */
  #reach(): Uint8Array {
    const reached = new Uint8Array(this.#instructions.length);
    const pending: number[] = [];
    const reach = (slot: number): void => {
      if (reached[slot] !== 0) return;
      reached[slot] = 1;
      pending.push(slot);
    };
    for (const root of this.#roots) reach(root);
    for (let slot = pending.pop(); slot !== undefined; slot = pending.pop()) {
      const instruction = this.#instructions[slot]!;
      const callee = referencedFunction(instruction);
      if (callee !== undefined) reach(callee);
      if (isJump(instruction)) reach(jumpTarget(slot, instruction.offset));
      if (instruction.kind === 'exit' || instruction.kind === 'jump') continue;
      reach(slot + (instruction.kind === 'load_imm64' ? 2 : 1));
    }
    return reached;
  }

  /** Control comes to the second slot of a 64-bit immediate load, where no instruction is. */
  #failSecond(second: number, verb: 'jumps to' | 'calls', terse: string): never {
    const from = this.#instructions.findIndex((each, slot) => (verb === 'calls' ? referencedFunction(each) === second : isJump(each) && jumpTarget(slot, each.offset) === second));
    this.#fail(from < 0 ? second - 1 : from, `${verb} slot ${second}, which is the second slot of a 64-bit immediate load`, terse);
  }

  #checkReached(reached: Uint8Array): void {
    if (this.#options.loops === false) for (const { start } of this.#functions) this.#checkNoLoops(start);
    for (const [slot, instruction] of this.#instructions.entries()) {
      const isSecond = instruction.kind === 'upper' && this.#instructions[slot - 1]?.kind === 'load_imm64';
      if (isSecond && reached[slot] !== 0) this.#failSecond(slot, 'jumps to', `jump into the middle of ldimm64 insn ${slot - 1}`);
      if (!isSecond && reached[slot] === 0) this.#fail(slot, 'cannot be reached; Linux refuses programs with such instructions', `unreachable insn ${slot}`);
    }
  }

  /** Depth first, what follows before where it jumps; a jump to where control comes from closes a loop. */
  #checkNoLoops(start: number): void {
    const [OPEN, DONE] = [1, 2];
    const states = new Uint8Array(this.#instructions.length);
    const edges = new Uint8Array(this.#instructions.length);
    const open = [start];
    states[start] = OPEN;
    while (open.length > 0) {
      const slot = open[open.length - 1]!;
      const next = successors(this.#instructions[slot]!, slot)[edges[slot]!++];
      if (next === undefined) {
        states[slot] = DONE;
        open.pop();
      } else if (states[next] === OPEN) this.#fail(slot, `jumps back to slot ${next}, and only who has CAP_BPF may have loops; write the rounds out`, `back-edge from insn ${slot} to ${next}`);
      else if (states[next] !== DONE) {
        states[next] = OPEN;
        open.push(next);
      }
    }
  }

  /** Callbacks run below the function that passes them on, so their addresses count as calls as far as depth goes. */
  #checkCalls(): void {
    const byStart = new Map(this.#functions.map((range) => [range.start, range]));
    const depths = new Map<number, number>();
    const open = new Set<number>();
    /** Frames that a call of the function at `start` needs, its own included. */
    const depthOf = (start: number): number => {
      const known = depths.get(start);
      if (known !== undefined) return known;
      open.add(start);
      const { end } = byStart.get(start)!;
      let deepest = 0;
      for (let slot = start; slot < end; slot++) {
        const instruction = this.#instructions[slot]!;
        const callee = referencedFunction(instruction);
        if (callee === undefined) continue;
        if (open.has(callee)) {
          // A timer callback may arm its timer again: it does not run below itself.
          if (instruction.kind === 'load_imm64') continue;
          this.#fail(slot, `recursion: the function at slot ${callee} is already running; Linux has no recursion, use a loop`, `recursive call from insn ${slot}`);
        }
        const depth = open.size < MAX_FRAMES ? depthOf(callee) : 1;
        if (open.size + depth > MAX_FRAMES) this.#fail(slot, `call stack of ${open.size + depth} frames is too deep; Linux allows ${MAX_FRAMES}`);
        deepest = Math.max(deepest, depth);
      }
      open.delete(start);
      depths.set(start, deepest + 1);
      return deepest + 1;
    };
    for (const root of this.#roots) depthOf(root);
  }
}

/** Where control goes next within the function, in the order in which Linux looks. */
function successors(instruction: Instruction, slot: number): readonly number[] {
  if (instruction.kind === 'exit') return [];
  if (instruction.kind === 'jump') return [jumpTarget(slot, instruction.offset)];
  return isJump(instruction) ? [slot + 1, jumpTarget(slot, instruction.offset)] : [slot + 1];
}

/** Start of the function it calls, or whose address it takes for someone who does. */
export function referencedFunction(instruction: Instruction): number | undefined {
  if (instruction.kind === 'call' && instruction.target.kind === 'subprogram') return instruction.target.slot;
  if (instruction.kind === 'load_imm64' && instruction.value.kind === 'function') return instruction.value.slot;
  return undefined;
}

/** The register whose value an instruction replaces, other than what a call leaves in r0 to r5. */
export function writtenRegister(instruction: Instruction): Register | undefined {
  switch (instruction.kind) {
    case 'alu':
    case 'neg':
    case 'movsx':
    case 'endian':
    case 'load_imm64':
    case 'load':
      return instruction.dst;
    case 'atomic':
      if (instruction.op === 'load_acquire') return instruction.dst;
      if (instruction.op === 'cmpxchg') return 0;
      return instruction.fetch ? instruction.src : undefined;
    case 'load_packet':
    case 'call':
      return 0;
    default:
      return undefined;
  }
}
