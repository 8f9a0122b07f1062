/**
 * A verification in the words of Linux's log (Documentation/bpf/verifier.rst). Level 2 has every path: each instruction
 * with the registers and stack slots that it read or wrote as they are after it, and where a path goes on from. Level 1
 * has the path that was refused, and nothing where none was. On a wrong guess of the processor, what is broken stands where
 * the guess ends. What Linux writes besides, about live registers and how it goes back for precise numbers, is not there.
 *
 *   ; if (header + length > cursor->end) @ parse.h:44
 *   23: (2d) if r1 > r2 goto pc-7         ; R1=pkt(off=18,r=18) R2=pkt_end()
 *
 *   from 16 to 21: R1=pkt(off=14,r=14) …
 */
import { posix } from 'node:path';
import { disassembleInstruction } from '../bpf/disassemble.ts';
import { opcodeByte } from '../bpf/encode.ts';
import type { Instruction } from '../bpf/isa.ts';
import { lineAt } from '../bpf/line-at.ts';
import type { LineInfo, ProgramSpec } from '../bpf/spec.ts';
import { HELPER_NAMES } from '../helpers/index.ts';
import { frameText, type Precise, type Shown } from './log.ts';
import { USERS } from './user.ts';
import type { VerificationObserver } from './observer.ts';
import type { RegisterState } from './register.ts';
import { isObject, isSpilled, type Frame, type StackSlot, type State } from './state.ts';
import { retrace, verifyProgram, type VerifierReport, type VerifyOptions } from './verify.ts';

export type LogLevel = 1 | 2;

const ALIGNMENT = { least: 8, column: 40 } as const;

/** Verifies the program and writes the log, a line at a time. */
export function verifyWithLog(program: ProgramSpec, options: VerifyOptions, level: LogLevel, write: (line: string) => void): VerifierReport {
  const log = new VerificationLog(program, USERS[options.user ?? 'privileged'].bpf ? 'marked' : 'all', write);
  const report = verifyProgram(program, level === 2 ? { ...options, observer: log } : options);
  const { refusal, instructionsProcessed, totalStates, peakStates, stackBytes, elapsedNs } = report;
  if (level === 1 && refusal !== undefined) retrace(program, options, refusal.path, (state) => log.follow(state));
  log.end();
  if (refusal !== undefined) writeLines(`${refusal.before}${refusal.message}`, write);
  write(`verification time ${Math.round(elapsedNs / 1000)} usec`);
  write(`stack depth ${stackBytes.join('+')}`);
  write(`processed ${instructionsProcessed} insns (limit 1000000) total_states ${totalStates} peak_states ${peakStates}`);
  return report;
}

const writeLines = (text: string, write: (line: string) => void): void => text.split('\n').forEach((line) => write(line));

/** What a frame was before an instruction. */
interface FrameView {
  readonly registers: readonly RegisterState[];
  readonly stack: readonly StackSlot[];
}

class VerificationLog implements VerificationObserver {
  readonly #program: ProgramSpec;
  /** Without CAP_BPF, Linux takes it that all numbers matter. */
  readonly #precise: Precise;
  readonly #write: (line: string) => void;
  readonly #lines: readonly (LineInfo | undefined)[];
  /** The path, and its frames before the last instruction. */
  #path: State | undefined;
  #frames: readonly FrameView[] = [];
  #callee: Frame | undefined;
  #at = -1;
  /** The last instruction, to which what it did is added. */
  #instruction: string | undefined;
  #line: LineInfo | undefined;
  /** Everything is new at the beginning of a path. */
  #begins = true;
  #returns = false;
  /** What the last instruction did was said. */
  #shown = false;

  constructor(program: ProgramSpec, precise: Precise, write: (line: string) => void) {
    this.#program = program;
    this.#precise = precise;
    this.#write = write;
    this.#lines = program.instructions.map((_, slot) => lineAt(program, slot));
  }

  visited(state: State): void {
    if (state !== this.#path) {
      this.#flush();
      this.#path = state;
      this.#begins = true;
      this.#returns = false;
      this.#shown = false;
      return;
    }
    const before = this.#frames.length;
    const { frames } = state;
    // Linux shows what a branch made of its operands before it looks whether the path was here before.
    if (this.#program.instructions[this.#at]!.kind === 'branch') this.#showState(state);
    if (frames.length > before) {
      this.#flush();
      this.#write('caller:');
      this.#write(this.#text(state, frames[before - 1]!, before - 1));
      this.#write('callee:');
      this.#write(this.#text(state, frames[before]!, before));
    } else if (frames.length < before) {
      this.#flush();
      this.#write('returning from callee:');
      this.#write(this.#text(state, this.#callee!, before - 1));
      this.#write(`to caller at ${state.at}:`);
      this.#write(this.#text(state, state.current, before - 2));
      this.#shown = true;
      this.#returns = true;
    }
  }

  forked(): void {}

  kept(): void {}

  covered(state: State): void {
    this.#flush();
    if (this.#begins || this.#returns) this.#writeFrom(state, ' safe');
    else this.#write(`${state.at}: safe`);
    this.#path = undefined;
  }

  verifying(state: State): void {
    if ((this.#begins && state.last >= 0) || this.#returns) this.#writeFrom(state, this.#text(state, state.current, state.frames.length - 1));
    this.#returns = false;
    this.#showState(state);
    this.#flush();
    this.#writeLine(state.at);
    const instruction = this.#program.instructions[state.at]!;
    this.#instruction = `${state.at}: (${opcodeByte(instruction).toString(16).padStart(2, '0')}) ${disassembleInstruction(instruction, state.at, { helper: (id) => HELPER_NAMES[id] })}`;
    this.#at = state.at;
    this.#shown = false;
    this.#callee = state.current;
    this.#frames = state.frames.map(({ registers, stack }) => ({ registers: registers.slice(), stack: stack.slice() }));
  }

  prevented(_: State, message: string): void {
    this.#flush();
    writeLines(message, this.#write);
  }

  #showState(state: State): void {
    if (this.#shown) return;
    this.#shown = true;
    // All of a frame where it is new.
    const touched = this.#begins || state.frames.length > this.#frames.length ? undefined : this.#touched(state);
    if (touched === undefined || touched.registers !== 0 || touched.slots.size > 0) this.#writeState(state.at, this.#text(state, state.current, state.frames.length - 1, touched));
    this.#begins = false;
  }

  /** One path only. */
  follow(state: State): void {
    const first = this.#path === undefined;
    // A branch that is followed the other way goes on with a copy.
    this.#path = state;
    if (!first) this.visited(state);
    this.verifying(state);
  }

  end(): void {
    this.#flush();
  }

  #writeFrom(state: State, text: string): void {
    this.#write('');
    this.#write(`from ${state.last} to ${state.at}${state.speculative ? ' (speculative execution)' : ''}:${text}`);
  }

  #flush(): void {
    if (this.#instruction !== undefined) this.#write(this.#instruction);
    this.#instruction = undefined;
  }

  /** Behind the instruction that made it so, or by itself where something else was said since. */
  #writeState(at: number, text: string): void {
    const line = this.#instruction;
    this.#instruction = undefined;
    if (line === undefined) return this.#write(`${at}:${text}`);
    const printed = line.length + 1;
    const column = Math.ceil(Math.max(printed + ALIGNMENT.least / 2, ALIGNMENT.column) / ALIGNMENT.least) * ALIGNMENT.least;
    this.#write(`${line.padEnd(column - 2)};${text}`);
  }

  #writeLine(at: number): void {
    const line = this.#lines[at];
    if (line === undefined || (this.#line?.file === line.file && this.#line.line === line.line)) return;
    this.#line = line;
    this.#write(`; ${line.text.trimStart()} @ ${posix.basename(line.file)}:${line.line}`);
  }

  /** Registers and slots that the last instruction read or wrote. */
  #touched(state: State): Shown {
    const instruction = this.#program.instructions[this.#at]!;
    const slots = new Set<number>();
    const stack = memoryOf(instruction);
    if (stack !== undefined) {
      const base = this.#frames.at(-1)!.registers[stack.base]!;
      const place = base.offset + stack.offset + Number(BigInt.asIntN(64, base.scalar.value));
      if (base.type === 'fp' && base.scalar.mask === 0n && place < 0) slots.add((-place - 1) >> 3);
    }
    // What was spilled may change without being written: with its relatives, or where packets move. Of what helpers write Linux says nothing.
    const writes = instruction.kind === 'call' || instruction.kind === 'store' || instruction.kind === 'atomic';
    for (const [number, frame] of writes ? this.#frames.entries() : []) {
      const now = state.frames[number]?.stack ?? [];
      for (const [slot, found] of now.entries()) if (found !== frame.stack[slot] && found.kinds !== 0 && (instruction.kind === 'call' ? isObject(found) : !isSpilled(found))) slots.add(slot);
    }
    return { registers: registersOf(instruction), slots };
  }

  #text(state: State, frame: Frame, number: number, shown?: Shown): string {
    return frameText(state, frame, number, shown, this.#precise);
  }
}

function memoryOf(instruction: Instruction): { readonly base: number; readonly offset: number } | undefined {
  switch (instruction.kind) {
    case 'load':
      return { base: instruction.src, offset: instruction.offset };
    case 'store':
      return { base: instruction.dst, offset: instruction.offset };
    case 'atomic':
      return { base: instruction.op === 'load_acquire' ? instruction.src : instruction.dst, offset: instruction.offset };
    default:
      return undefined;
  }
}

const bit = (register: number): number => 1 << register;
const CALLER_SAVED = 0b11_1111;

/** A bit for each register that the instruction reads or writes. */
function registersOf(instruction: Instruction): number {
  switch (instruction.kind) {
    case 'alu':
    case 'branch':
      return bit(instruction.dst) | (instruction.source.kind === 'register' ? bit(instruction.source.register) : 0);
    case 'store':
      return bit(instruction.dst) | (instruction.source.kind === 'register' ? bit(instruction.source.register) : 0);
    case 'neg':
    case 'endian':
    case 'load_imm64':
      return bit(instruction.dst);
    case 'movsx':
    case 'load':
      return bit(instruction.dst) | bit(instruction.src);
    case 'atomic':
      return bit(instruction.dst) | bit(instruction.src) | (instruction.op === 'cmpxchg' ? bit(0) : 0);
    case 'load_packet':
      return CALLER_SAVED | bit(6) | (instruction.index === undefined ? 0 : bit(instruction.index));
    case 'call':
      return CALLER_SAVED;
    default:
      return 0;
  }
}
