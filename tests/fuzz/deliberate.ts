/** Where we mean to answer otherwise than Linux 6.18, and why. Counted by themselves; everything else is a mismatch. */
import { referencedFunction } from '../../dataplane/bpf/check.ts';
import type { Instruction } from '../../dataplane/bpf/isa.ts';
import type { ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { calleeFacts } from '../../dataplane/verifier/calls.ts';
import { analyseControlFlow } from '../../dataplane/verifier/control-flow.ts';
import { USERS } from '../../dataplane/verifier/user.ts';
import type { Cell } from './agreement.ts';
import { functionRanges, insertAt } from './edit.ts';
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
  {
    cell: 'Linux accepts, we refuse',
    message: /^/,
    plain: withReadsBeforeStores,
    reason: 'A store through a pointer overwrites one slot of the stack when it runs first, and another one later: below 256 bytes of stack, Linux 6.18 takes the first for overwritten each time, so that paths with something else there are not followed. Where what is there is read just before each store, it refuses the program, as we do.',
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

/** In front of stores of whole slots that may be in several places, what is there is read, into a register that nobody reads. */
function withReadsBeforeStores(spec: ProgramSpec): ProgramSpec | undefined {
  const { instructions, functions } = spec;
  const { liveRegisters } = analyseControlFlow(instructions, functionRanges(functions, instructions.length), (target) => calleeFacts(target, spec.type!, USERS.privileged));
  let read = spec;
  for (let slot = instructions.length - 1; slot >= 0; slot--) {
    const store = instructions[slot]!;
    if (!overwritesSomeSlot(store)) continue;
    const unread = REGISTERS.find((number) => (liveRegisters[slot]! & (1 << number)) === 0);
    if (unread !== undefined) read = insertAt(read, slot, [{ kind: 'load', bytes: 8, signed: false, dst: unread, src: store.dst, offset: store.offset }]);
  }
  return read === spec ? undefined : read;
}

const REGISTERS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] as const;

type Store = Extract<Instruction, { kind: 'store' | 'atomic' }>;

/** Other atomic operations read what they write. */
function overwritesSomeSlot(instruction: Instruction): instruction is Store {
  return (instruction.kind === 'store' || (instruction.kind === 'atomic' && instruction.op === 'store_release')) && instruction.bytes === 8 && instruction.dst !== 10;
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
