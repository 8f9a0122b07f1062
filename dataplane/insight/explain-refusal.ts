/**
 * A refusal in words that can be acted on: Linux's own line first, so that it can be searched for; then the C line, what
 * is known of the value, how it came to be, what was needed and what to change.
 */
import { posix } from 'node:path';
import { disassembleInstruction } from '../bpf/disassemble.ts';
import type { Instruction, Register } from '../bpf/isa.ts';
import { lineAt } from '../bpf/line-at.ts';
import type { LineInfo, ProgramSpec, ProgramType } from '../bpf/spec.ts';
import { HELPER_NAMES, prototypeOf } from '../helpers/index.ts';
import { registerText } from '../verifier/log.ts';
import { isPointer, withFacts, type RegisterState } from '../verifier/register.ts';
import { isConstant } from '../verifier/scalar.ts';
import type { VerifierReport, VerifyOptions } from '../verifier/verify.ts';
import { adviceFor, sizeAtFault } from './refusal-advice.ts';
import type { Situation } from './refusal-situation.ts';
import { historyOf, momentsOf, type ValueChange } from './value-history.ts';
import { valueWords } from './value-words.ts';

/** A place on the way to the refusal, and what was known behind it. */
export interface ExplainedStep {
  readonly slot: number;
  /** The instruction. */
  readonly text: string;
  readonly line?: LineInfo;
  /** `the packet + 14, of which 34 bytes are there`; absent where the place itself is the news. */
  readonly value?: string;
}

export interface Explanation {
  /** As Linux spells it. */
  readonly message: string;
  readonly slot: number;
  readonly instruction: string;
  readonly line?: LineInfo;
  /** `R2 = pkt(off=14,r=34)`, as Linux's log spells it; without ids, which relate it to what is not shown. */
  readonly known?: string;
  /** The same in words. */
  readonly meaning?: string;
  /** What made the value what it is, in order; each C line once. */
  readonly history: readonly ExplainedStep[];
  readonly needed?: string;
  readonly suggestion?: string;
}

const STEPS_SHOWN = 8;
const BRANCHES_SHOWN = 3;

/** Undefined where the program is accepted. `options` are those that it was verified with. */
export function explainRefusal(spec: ProgramSpec, report: VerifierReport, options: VerifyOptions): Explanation | undefined {
  const { refusal } = report;
  if (refusal === undefined) return undefined;
  const program: ProgramSpec = { ...spec, lines: spec.lines.map((line) => ({ ...line, file: posix.normalize(line.file) })) };
  const { slot, message, path, registers } = refusal;
  const instruction = program.instructions[slot];
  const names = { helper: (id: number) => HELPER_NAMES[id], subprogram: (start: number) => program.functions.find((one) => one.slot === start)?.name };
  const show = (at: number): string => (program.instructions[at] === undefined ? '' : disassembleInstruction(program.instructions[at], at, names));
  const at = (each: number): LineInfo | undefined => lineAt(program, each);
  const named = subjectOf(message, instruction, registers);
  const number = named === undefined ? undefined : (sizeAtFault(program.type ?? options.type!, instruction, registers, named) ?? named);
  const register = number === undefined ? undefined : registers[number];
  const changes = number === undefined ? [] : historyOf(program.instructions, momentsOf(program, options, path), number);
  // The depth of the stack is nowhere in particular.
  const somewhere = !/combined stack size|call stack of/.test(message);
  const line = somewhere ? at(slot) : undefined;
  const situation: Situation = { program, btf: options.btf, type: program.type ?? options.type!, user: options.user ?? 'privileged', report, refusal, instruction, line, number, register, history: changes, lineAt: at };
  const advice = adviceFor(situation);
  const steps = number === undefined ? placeSteps(situation) : valueSteps(situation);
  return {
    message,
    slot,
    instruction: somewhere ? show(slot) : '',
    ...(line === undefined ? {} : { line }),
    ...(register === undefined || number === FRAME_POINTER || (SAYS_NOTHING.has(register.type) && !/leaks addr/.test(message)) ? {} : { known: `R${number} = ${registerText(withFacts(register, { id: 0, reference: 0 }))}`, meaning: valueWords(register) }),
    history: steps.map((step) => ({ ...step, text: show(step.slot) })),
    ...(advice === undefined ? {} : { needed: advice.needed, suggestion: advice.suggestion }),
  };
}

/** The register that a refusal is about: the one it names, or the one through which the instruction reaches memory. */
function subjectOf(message: string, instruction: Instruction | undefined, registers: readonly RegisterState[]): Register | undefined {
  const named = /\bR(\d+)\b/.exec(message);
  if (named !== null) return Number(named[1]) as Register;
  if (registers.length === 0) return undefined;
  switch (instruction?.kind) {
    case 'load':
      return instruction.src;
    case 'store':
    case 'atomic':
      return instruction.dst;
    case 'alu':
      // Of a pointer and a number, the number is what is wrong.
      return instruction.source.kind === 'register' && registers[instruction.source.register]!.type === 'scalar' ? instruction.source.register : instruction.dst;
    default:
      return undefined;
  }
}

type Step = Omit<ExplainedStep, 'text'>;

/** Always the end of the stack. */
const FRAME_POINTER = 10;

/** What is said of the register by its mere use. */
const SAYS_NOTHING: ReadonlySet<RegisterState['type']> = new Set(['ctx', 'map_ptr', 'func', '?']);

/** Changes of a value, of each C line the last one. */
function valueSteps({ program, type, history, register, line: end, lineAt: at }: Situation): Step[] {
  if (register === undefined || (register.type !== '?' && SAYS_NOTHING.has(register.type)) || (register.type === 'fp' && isConstant(register.scalar))) return [];
  const steps: Step[] = [];
  const isNumber = register.type === 'scalar' && isConstant(register.scalar);
  for (const change of history) {
    const { slot, value } = change;
    // Constants on the way to something that is none are the compiler's.
    if (!isNumber && value.type === 'scalar' && isConstant(value.scalar)) continue;
    const line = at(slot);
    const before = line === undefined ? -1 : steps.findIndex((step) => step.line?.file === line.file && step.line.line === line.line);
    if (before >= 0) steps.splice(before, 1);
    steps.push({ slot, ...(line === undefined ? {} : { line }), value: changeWords(program.instructions[slot]!, type, change) });
  }
  // What the refused line itself did is said by what is known.
  const last = steps.at(-1);
  if (last !== undefined && last.line !== undefined && last.line.line === end?.line && last.line.file === end.file) steps.pop();
  if (isNumber) return steps.slice(-1).filter(({ value }) => value === valueWords(register));
  return steps.length <= STEPS_SHOWN ? steps : [steps[0]!, ...steps.slice(1 - STEPS_SHOWN)];
}

function changeWords(instruction: Instruction, type: ProgramType, { before, value }: ValueChange): string {
  if (instruction.kind === 'call') {
    if (value.type === '?') return 'nothing: a call leaves nothing in r1 to r5';
    const id = instruction.target.kind === 'helper' ? instruction.target.id : undefined;
    if (before !== undefined && isPointer(before) && value.type === 'scalar') {
      return id !== undefined && prototypeOf(id, type)?.releases !== undefined ? 'given back: nothing that may be used any more' : 'void: the packet may have moved';
    }
  }
  return valueWords(value);
}

/** Places that matter where no value does: where something was acquired or locked, and the branches from there on. */
function placeSteps({ program, refusal: { message, path, references, slot }, lineAt: at }: Situation): Step[] {
  if (/reference leak/.test(message)) return branchesFrom(path.lastIndexOf(references[0]?.acquiredAt ?? -1));
  if (/lock/.test(message)) return branchesFrom(path.findLastIndex((where) => isCallOf(program.instructions[where], 'spin_lock')));
  if (/infinite loop|sequence of|too large/.test(message)) return branchesFrom(path.lastIndexOf(slot, path.length - 2));
  return [];

  function branchesFrom(begin: number): Step[] {
    if (begin < 0) return [];
    const steps = new Map<string, Step>();
    for (let index = begin; index < path.length - 1; index++) {
      const where = path[index]!;
      const branch = program.instructions[where]?.kind === 'branch';
      const line = at(where);
      if (line === undefined || (index > begin && !branch)) continue;
      const next = branch ? nextLine(index, line) : undefined;
      const place = `${line.file}:${line.line}`;
      // Of a line that is gone through several times, the last one leads here.
      steps.delete(place);
      steps.set(place, { slot: where, line, ...(next === undefined ? {} : { value: `goes on in line ${next.line}: ${next.text.trim()}` }) });
    }
    const [first, ...branches] = steps.values();
    return first === undefined ? [] : [first, ...branches.slice(-BRANCHES_SHOWN)];
  }

  /** The next line that begins behind the branch; a jump may land in the middle of what belongs to another one. */
  function nextLine(index: number, { file, line }: LineInfo): LineInfo | undefined {
    for (const where of path.slice(index + 1)) {
      const found = program.lines.find((each) => each.slot === where);
      if (found !== undefined && (found.file !== file || found.line !== line)) return found;
    }
    return undefined;
  }
}

function isCallOf(instruction: Instruction | undefined, helper: string): boolean {
  return instruction?.kind === 'call' && instruction.target.kind === 'helper' && HELPER_NAMES[instruction.target.id] === helper;
}
