/** Where we mean to answer otherwise than Linux 6.18, and why. Counted by themselves; everything else is a mismatch. */
import { referencedFunction } from '../../dataplane/bpf/check.ts';
import type { Instruction } from '../../dataplane/bpf/isa.ts';
import type { ProgramSpec } from '../../dataplane/bpf/spec.ts';
import type { Cell } from './agreement.ts';
import { functionStarts } from './kernel-verdicts.ts';

export interface DeliberateDifference {
  readonly cell: Cell;
  /** Of the refusal, as classes of messages have it. */
  readonly message: RegExp;
  /** The program without what Linux overlooks, where there is such a thing in it: Linux has to refuse this one. */
  readonly plain?: (spec: ProgramSpec) => ProgramSpec | undefined;
  readonly reason: string;
}

export const DELIBERATE_DIFFERENCES: readonly DeliberateDifference[] = [
  {
    cell: 'Linux accepts, we refuse',
    message: /^RN type=\w+_or_null expected=fp$/,
    reason: 'A pointer that may be NULL, and bytes of it that a helper reads: Linux lets it pass where the helper allows NULL, and its kernel would read at NULL. So no such program is run in it.',
  },
  {
    cell: 'Linux accepts, we refuse',
    message: /^/,
    plain: withLoadsForFetches,
    reason: 'A number fetched from the stack by an atomic operation matters: before 6.18.50, Linux does not follow it to its slot (CVE-2026-43009). Where the fetch is a plain load it refuses the program, as we do.',
  },
];

export function deliberateDifference(cell: Cell, message: string, spec: ProgramSpec, isRefused: (plain: ProgramSpec) => boolean): DeliberateDifference | undefined {
  return DELIBERATE_DIFFERENCES.find((one) => {
    if (one.cell !== cell || !one.message.test(message)) return false;
    if (one.plain === undefined) return true;
    const plain = one.plain(spec);
    return plain !== undefined && isRefused(plain);
  });
}

function withLoadsForFetches(spec: ProgramSpec): ProgramSpec | undefined {
  if (!spec.instructions.some((each) => each.kind === 'atomic' && each.fetch)) return undefined;
  return { ...spec, instructions: spec.instructions.map(loadForFetch) };
}

function loadForFetch(instruction: Instruction): Instruction {
  if (instruction.kind !== 'atomic' || !instruction.fetch) return instruction;
  const { op, bytes, dst, src, offset } = instruction;
  return { kind: 'load', bytes, signed: false, dst: op === 'cmpxchg' ? 0 : src, src: dst, offset };
}

/**
 * Where a packet load ends a called function, Linux 6.18 on its way back does not see that it enters it, leaves it once
 * too often, and writes outside its array of frames: often it notices, and speaks of a bug of its own; else the kernel
 * is damaged. So it is not asked about such programs.
 */
export function endangersLinux({ instructions }: ProgramSpec): boolean {
  const starts = functionStarts(instructions);
  const called = new Set(instructions.map(referencedFunction));
  return instructions.some(({ kind }, slot) => kind === 'load_packet' && called.has(starts.findLast((start) => start <= slot)));
}
