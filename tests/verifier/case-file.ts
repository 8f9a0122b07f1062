/**
 * Files of cases: `cases/<topic>.cases`. A case is a sentence that names a rule, a program, and what Linux answers.
 *
 *   # a remark, between cases
 *   a write past the end of the stack is refused
 *   -- type sched_cls                            xdp, where it is not said
 *   -- attach xdp_devmap                         as bpftool spells it, where it matters
 *   -- license Proprietary                       GPL, where it is not said
 *   -- without CAP_PERFMON                       loaded by whom it may not tell secrets; `capabilities`: by anybody
 *   -- global check ctx scalar mem16             the function at label `check` is global, and these are its parameters
 *   -- exception_callback check                  a tag of the program names that function; it may have several, or name what is not there
 *   -- asm
 *   *(u64 *)(r10 -520) = 0                       as assemble.ts reads it
 *   [3] r0 += 1                                  three times the same
 *   exit
 *   -- answer
 *   refused EACCES: invalid write to stack R10 off=-520 size=8
 *   -- elsewhere                                 where builds of one version of Linux differ, what others answer
 *   accepted
 *
 * The answer is `accepted`, or the errno and, where Linux has words, the last line of the verifier's log. A blank line ends a case. A sentence
 * says `refused` where the answer is that, and nowhere else.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assemble } from '../../dataplane/bpf/assemble.ts';
import type { Instruction } from '../../dataplane/bpf/isa.ts';
import { PROGRAM_TYPES, type FunctionSpec, type ProgramSpec, type ProgramType } from '../../dataplane/bpf/spec.ts';
import { GRAPH_FUNCTIONS } from '../../dataplane/helpers/graph.ts';
import { HELPER_NAMES, kfuncNamed } from '../../dataplane/helpers/index.ts';
import type { User } from '../../dataplane/verifier/user.ts';
import { MAIN, typesOf, type GlobalFunction } from './case-types.ts';

export interface VerifierCase {
  readonly sentence: string;
  readonly type: ProgramType;
  readonly attach: string | undefined;
  readonly license: string;
  /** Who loads it. */
  readonly user: User;
  readonly globals: readonly GlobalFunction[];
  /** Labels that tags name. */
  readonly exceptionCallbacks: readonly string[];
  readonly asm: string;
  /** Undefined until it is recorded. */
  readonly answer: string | undefined;
  /** What other builds of the same Linux answer. */
  readonly elsewhere: string | undefined;
  /** What stands in front of the answer, as it is in the file. */
  readonly text: readonly string[];
  readonly line: number;
}

const USER_WITHOUT: ReadonlyMap<string | undefined, User> = new Map([[undefined, 'privileged'], ['CAP_PERFMON', 'without_perfmon'], ['capabilities', 'without_capabilities']]);

export const CASES_FOLDER = fileURLToPath(new URL('cases/', import.meta.url));
export const CASE_FILES: readonly string[] = readdirSync(CASES_FOLDER).filter((name) => name.endsWith('.cases')).toSorted();

export function readCases(file: string): VerifierCase[] {
  return parseCases(readFileSync(join(CASES_FOLDER, file), 'utf8'), file);
}

export function parseCases(text: string, file: string): VerifierCase[] {
  const lines = text.split('\n');
  const cases: VerifierCase[] = [];
  let start = 0;
  for (let end = 0; end <= lines.length; end++) {
    if (end < lines.length && lines[end]!.trim() !== '') continue;
    const paragraph = lines.slice(start, end);
    if (paragraph.some((line) => !line.startsWith('#'))) cases.push(parseCase(paragraph, start + 1, file));
    else if (paragraph.length > 0) throw new Error(`${file}:${start + 1}: a remark stands alone; put it in front of a case`);
    start = end + 1;
  }
  return cases;
}

function parseCase(paragraph: readonly string[], line: number, file: string): VerifierCase {
  const fail = (problem: string): never => {
    throw new Error(`${file}:${line}: ${problem}`);
  };
  const head = paragraph.findIndex((each) => each.startsWith('-- '));
  const asmAt = paragraph.indexOf('-- asm');
  const answerAt = paragraph.indexOf('-- answer');
  const elsewhereAt = paragraph.indexOf('-- elsewhere');
  if (asmAt < 0) fail('no "-- asm" in this case');
  const sentence = paragraph.slice(0, head).filter((each) => !each.startsWith('#')).join(' ');
  if (sentence === '') fail('a case begins with a sentence');
  const lines = paragraph.slice(head, asmAt).map((each) => /^-- (type|attach|license|without|global|static|exception_callback) (.+)$/.exec(each)?.slice(1) as [string, string] | undefined ?? fail(`cannot read "${each}"`));
  const settings = new Map(lines);
  const type = (settings.get('type') ?? 'xdp') as ProgramType;
  if (!PROGRAM_TYPES.includes(type)) fail(`type ${type}, expected one of ${PROGRAM_TYPES.join(', ')}`);
  const textEnd = answerAt < 0 ? paragraph.length : answerAt;
  return {
    sentence, type, line,
    attach: settings.get('attach'),
    license: settings.get('license') ?? 'GPL',
    user: USER_WITHOUT.get(settings.get('without')) ?? fail(`without ${settings.get('without')}, expected CAP_PERFMON or capabilities`),
    globals: lines.flatMap(([setting, value]) => (setting === 'global' || setting === 'static' ? [{ label: value.split(' ')[0]!, linkage: setting, parameters: value.split(' ').slice(1) }] : [])),
    exceptionCallbacks: lines.flatMap(([setting, value]) => (setting === 'exception_callback' ? [value] : [])),
    asm: paragraph.slice(asmAt + 1, textEnd).join('\n'),
    answer: answerAt < 0 ? undefined : paragraph.slice(answerAt + 1, elsewhereAt < 0 ? undefined : elsewhereAt).join('\n'),
    elsewhere: elsewhereAt < 0 ? undefined : paragraph.slice(elsewhereAt + 1).join('\n'),
    text: paragraph.slice(0, textEnd),
  };
}

export function programOf({ asm, type, attach, license, globals, exceptionCallbacks }: VerifierCase): ProgramSpec {
  const expanded = asm.split('\n').flatMap((line) => {
    const [, count, repeated] = /^\s*\[(\d+)\] (.*)$/.exec(line) ?? [];
    return count === undefined ? [line] : Array.from({ length: Number(count) }, () => repeated!);
  });
  const { instructions, labels } = assemble(expanded.join('\n'), { helper: (name) => (HELPER_NAMES.includes(name) ? HELPER_NAMES.indexOf(name) : undefined), kfunc: (name) => kfuncNamed(name) !== undefined || GRAPH_FUNCTIONS.has(name) });
  const types = typesOf({ type, globals, exceptionCallbacks });
  const exceptionCallback = exceptionCallbacks.length === 1 ? labels.get(exceptionCallbacks[0]!) : undefined;
  const functions = functionsOf(instructions, exceptionCallback).map((each): FunctionSpec => {
    if (each.slot === 0 && exceptionCallbacks.length > 0) return { ...each, name: MAIN, typeId: types!.idsByName(MAIN, 'func')[0]! };
    const known = globals.find((one) => labels.get(one.label) === each.slot);
    return known === undefined ? each : { ...each, name: known.label, typeId: types!.idsByName(known.label, 'func')[0]!, linkage: known.linkage };
  });
  return { name: 'case', section: type, type, frags: false, ...(attach === undefined ? {} : { attach }), instructions, functions, ...(exceptionCallback === undefined ? {} : { exceptionCallback }), lines: [], license };
}

/** The first, the exception callback, and every one that is called or passed as a callback. */
function functionsOf(instructions: readonly Instruction[], exceptionCallback: number | undefined): FunctionSpec[] {
  const slots = instructions.flatMap((each) => {
    if (each.kind === 'call' && each.target.kind === 'subprogram') return [each.target.slot];
    return each.kind === 'load_imm64' && each.value.kind === 'function' ? [each.value.slot] : [];
  });
  return [...new Set([0, exceptionCallback ?? 0, ...slots])].toSorted((a, b) => a - b).map((slot) => ({ name: `function_${slot}`, slot, typeId: 0, linkage: 'static' }));
}
