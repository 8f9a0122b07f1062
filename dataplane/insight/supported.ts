/**
 * What is supported, as Markdown made from the tables that the engines run by, so that it cannot be out of date:
 * docs/SUPPORTED.md is this text. What Linux has and we do not is listed too.
 */
import { ALU_OPS, ATOMIC_OPS, BRANCH_OPS, MAY_GOTO_LIMIT } from '../bpf/isa.ts';
import { BPF_MAP_TYPE } from '../bpf/map-type.ts';
import { PROGRAM_TYPES, type ProgramType } from '../bpf/spec.ts';
import { ENGINES } from '../engine/index.ts';
import { UNRUNNABLE } from '../engine/kernel/kernel-engine.ts';
import { GRAPH_FUNCTIONS, GRAPH_PROGRAMS } from '../helpers/graph.ts';
import { HELPER_NAMES, helpersOf, kfuncNamed, kfuncOf, KFUNCS, prototypeOf } from '../helpers/index.ts';
import { HOOKS } from '../hooks/index.ts';
import { MAP_TYPES } from '../maps/index.ts';
import { DROP_REASONS } from '../pipeline/outcome.ts';

/** Types whose helpers are listed: each stands for the hooks it attaches to. */
const LISTED_TYPES: readonly ProgramType[] = ['xdp', 'sched_cls'];

export function supportedMarkdown(): string {
  return [
    '# Supported',
    'Made from the tables that the engines run by: `npm run docs` writes it anew.',
    `Engines: ${Object.keys(ENGINES).join(', ')}. Every row below holds for all of them, but \`kernel\` runs what the running Linux has, and no program that calls ${[...UNRUNNABLE.keys()].map((id) => HELPER_NAMES[id]).join(', ')}.`,
    '## Hooks',
    rows(
      ['hook', 'program types', 'verdicts'],
      HOOKS.map((hook) => [
        hook.name,
        hook.programTypes.join(', '),
        Object.entries(hook.modes)
          .map(([mode, { verdicts, unknown }]) => `${mode}: ${verdicts.map(({ name }) => name).join(', ')}; any other code: ${unknown}`)
          .join('<br>'),
      ]),
    ),
    `Programs of other types (${PROGRAM_TYPES.filter((type) => !HOOKS.some(({ programTypes }) => programTypes.includes(type))).join(', ')}) are verified, and not run.`,
    '## Map types',
    rows(
      ['type', 'number', 'supported'],
      Object.entries(BPF_MAP_TYPE).map(([name, id]) => [name, String(id), MAP_TYPES.has(id) ? 'yes' : '**no**']),
    ),
    '## Helpers',
    rows(
      ['helper', 'number', ...LISTED_TYPES],
      HELPER_NAMES.flatMap((name, id) => (id === 0 ? [] : [[`bpf_${name}`, String(id), ...LISTED_TYPES.map((type) => helperCell(type, id))]])),
    ),
    'A dash: Linux does not offer it to that program type. A program that calls what is not here is refused by name.',
    '## Kernel functions',
    rows(
      ['kfunc', ...LISTED_TYPES, 'here'],
      [
        ...[...new Set(KFUNCS.map(({ name }) => name))].map((name) => [name, ...LISTED_TYPES.map((type) => (kfuncOf(name, type) === undefined ? '–' : 'yes')), kfuncNamed(name)!.remark ?? '']),
        ...Array.from(GRAPH_FUNCTIONS.values(), ({ name }) => [name, ...LISTED_TYPES.map((type) => (GRAPH_PROGRAMS.includes(type) ? '**no**' : '–')), 'nothing here allocates']),
      ],
    ),
    'Declared with `__ksym`. Linux has more; a program that calls what is not here is refused by name.',
    '## Instructions',
    `All of RFC 9669: ${ALU_OPS.length} arithmetic operations (${ALU_OPS.join(', ')}) in 32 and 64 bits, negation, byte swaps, sign-extending moves and loads; ${BRANCH_OPS.length} conditional jumps (${BRANCH_OPS.join(', ')}) in 32 and 64 bits, goto and gotol; may_goto, which goes on ${MAY_GOTO_LIMIT.toLocaleString('en')} times in each function and then jumps; atomics (${ATOMIC_OPS.join(', ')}) of 4 and 8 bytes; LD_ABS and LD_IND; calls of helpers, kernel functions, subprograms and callbacks; tail calls.`,
    'Not supported: arenas, and instructions of conformance group `callx`.',
    '## Drop reasons',
    rows(
      ['reason', 'meaning'],
      DROP_REASONS.slice(1).map(({ name, text }) => [name, text]),
    ),
  ]
    .join('\n\n')
    .concat('\n');
}

function helperCell(type: ProgramType, id: number): string {
  if (helpersOf(type).has(id)) return 'yes';
  const prototype = prototypeOf(id, type);
  return prototype === undefined || prototype.mightSleep === true ? '–' : '**no**';
}

function rows(head: readonly string[], body: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...body].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
