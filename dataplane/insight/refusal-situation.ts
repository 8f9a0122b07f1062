/**
 * A refusal and what is known around it, in the program's own words as far as its C lines show them: which function is
 * around, what it holds and how to leave it, what is called with what, which bytes are meant.
 */
import type { Btf } from '../bpf/btf.ts';
import type { Instruction, Register } from '../bpf/isa.ts';
import type { FunctionSpec, LineInfo, ProgramSpec, ProgramType } from '../bpf/spec.ts';
import { HELPER_NAMES, prototypeOf } from '../helpers/index.ts';
import { signatureOf } from '../verifier/global-function.ts';
import type { RegisterState } from '../verifier/register.ts';
import type { User } from '../verifier/user.ts';
import type { Refusal, VerifierReport } from '../verifier/verify.ts';
import { argumentIn, assignedIn, returnedNear } from './c-line.ts';
import type { ValueChange } from './value-history.ts';

/** A refusal, and what is known around it. */
export interface Situation {
  readonly program: ProgramSpec;
  readonly btf: Btf | undefined;
  readonly type: ProgramType;
  readonly user: User;
  readonly report: VerifierReport;
  readonly refusal: Refusal;
  readonly instruction: Instruction | undefined;
  readonly line: LineInfo | undefined;
  /** The register that it is about. */
  readonly number: Register | undefined;
  readonly register: RegisterState | undefined;
  /** What made it what it is, oldest first. */
  readonly history: readonly ValueChange[];
  lineAt(slot: number): LineInfo | undefined;
}

const VERDICTS: Readonly<Record<ProgramType, string>> = { xdp: 'XDP_DROP', sched_cls: 'TC_ACT_SHOT', sched_act: 'TC_ACT_SHOT', socket_filter: '0', cgroup_skb: '0' };

/** The function around the refusal, where that is not the one that the program begins with. */
export function calledFunction({ program, refusal: { slot } }: Situation): FunctionSpec | undefined {
  const around = functionAt(program, slot);
  return around?.slot === 0 ? undefined : around;
}

function functionAt({ functions }: ProgramSpec, slot: number): FunctionSpec | undefined {
  return functions.filter((each) => each.slot <= slot).toSorted((one, other) => other.slot - one.slot)[0];
}

/** How to leave where the line is: with a verdict where the function around returns one, and with nothing that it acquired. */
export function leave(situation: Situation): string {
  const { program, type, line } = situation;
  const inMain = calledFunction(situation) === undefined;
  const otherwise = inMain && line?.file.endsWith('.c') !== false ? VERDICTS[type] : '';
  const returned = line === undefined ? otherwise : (returnedNear(program.lines, line) ?? otherwise);
  const verdict = /\b(XDP_|TC_ACT_)/.test(returned) || (inMain && returned === '0') ? `return ${VERDICTS[type]};` : 'return …;';
  const held = heldHere(situation);
  const loop = held.findLastIndex(({ iterator }) => iterator === true);
  const way = [...held.slice(loop + 1).map(({ release }) => release).toReversed(), loop < 0 ? verdict : 'break;'];
  return way.length === 1 ? way[0]! : `{ ${way.join(' ')} }`;
}

interface Held {
  /** `bpf_ringbuf_discard(record, 0);` */
  readonly release: string;
  /** It is the state of a loop. */
  readonly iterator?: true;
}

/** Releases by what acquired: an argument of that call, or else what it was assigned to, stands for `$`. What is not released by what it was assigned to lies on the stack. */
const RELEASES: readonly (readonly [acquires: RegExp, release: string, argument?: number])[] = [
  [/^bpf_ringbuf_reserve_dynptr$/, 'bpf_ringbuf_discard_dynptr($, 0);', 4],
  [/^bpf_ringbuf_reserve$/, 'bpf_ringbuf_discard($, 0);'],
  [/^bpf_skc?_lookup/, 'bpf_sk_release($);'],
  [/_ct_/, 'bpf_ct_release($);'],
  [/^bpf_obj_new/, 'bpf_obj_drop($);'],
];

/** What the function around acquired and has not given back, but for what the refusal itself is about: if that is NULL, there is nothing to give back. */
function heldHere({ program, refusal, register, lineAt }: Situation): Held[] {
  const around = functionAt(program, refusal.slot);
  return refusal.references.flatMap(({ id, acquiredAt }) => {
    if ((register?.nullable === true && (id === register.id || id === register.reference)) || functionAt(program, acquiredAt) !== around) return [];
    return [heldBy(program.instructions[acquiredAt], lineAt(acquiredAt))];
  });
}

/** By what a call acquired, and the line around it. */
export function heldBy(call: Instruction | undefined, line: LineInfo | undefined): Held {
  if (call?.kind !== 'call' || call.target.kind === 'subprogram') return { release: 'release it;' };
  const text = line?.text ?? '';
  const acquires = kernelFunction(call) ?? '';
  const iterator = /^bpf_iter_(\w+)_new$/.exec(acquires)?.[1];
  if (iterator !== undefined) return { release: `bpf_iter_${iterator}_destroy(${argumentIn(text, 1, acquires) ?? '&iterator'});`, iterator: true };
  const [, release, argument] = RELEASES.find(([pattern]) => pattern.test(acquires)) ?? [acquires, 'release $;'];
  return { release: release.replace('$', (argument === undefined ? assignedIn(text, acquires) : argumentIn(text, argument)) ?? 'record') };
}

/** The helper or kfunc that is called, as C spells it. */
export function kernelFunction(instruction: Instruction | undefined): string | undefined {
  if (instruction?.kind !== 'call' || instruction.target.kind === 'subprogram') return undefined;
  return instruction.target.kind === 'helper' ? `bpf_${HELPER_NAMES[instruction.target.id]}` : instruction.target.name;
}

/** The variable that got its value in `slot`, as far as the line shows. */
export function madeIn({ program, lineAt }: Situation, slot: number | undefined): string | undefined {
  const text = slot === undefined ? undefined : lineAt(slot)?.text;
  const call = slot === undefined ? undefined : program.instructions[slot];
  return text === undefined ? undefined : assignedIn(text, calledBy(program, call)?.name ?? kernelFunction(call));
}

/** Bytes that the instruction reads or writes behind the register; for helpers, what the argument has to hold. */
export function accessed({ program, btf, type, instruction, number, refusal }: Situation): { readonly from: number; readonly bytes: number } | undefined {
  if (instruction?.kind === 'load' || instruction?.kind === 'store' || instruction?.kind === 'atomic') return { from: instruction.offset, bytes: instruction.bytes };
  if (instruction?.kind !== 'call' || number === undefined) return undefined;
  const called = calledBy(program, instruction);
  const signature = called === undefined ? undefined : signatureOf(btf, called, type);
  const parameter = signature?.refused === undefined ? signature?.parameters[number - 1] : undefined;
  if (parameter?.kind === 'memory') return { from: 0, bytes: parameter.bytes };
  if (instruction.target.kind !== 'helper') return undefined;
  const prototype = prototypeOf(instruction.target.id, type);
  const kind = prototype?.args[number - 1];
  const map = refusal.registers[1]?.map;
  if (kind === 'map_key' && map !== undefined) return { from: 0, bytes: map.keyBytes };
  if ((kind === 'map_value' || kind === 'map_value_or_null') && map !== undefined) return { from: 0, bytes: map.valueBytes };
  const size = refusal.registers[number + 1];
  const next = prototype?.args[number];
  if ((next === 'size' || next === 'size_or_zero') && size?.type === 'scalar') return { from: 0, bytes: Number(size.scalar.umax) };
  const bytes = prototype?.sizes?.[number - 1];
  return bytes === undefined || program === undefined ? undefined : { from: 0, bytes };
}

/** A function of the program itself. */
function calledBy({ functions }: ProgramSpec, instruction: Instruction | undefined): FunctionSpec | undefined {
  if (instruction?.kind !== 'call' || instruction.target.kind !== 'subprogram') return undefined;
  const { slot } = instruction.target;
  return functions.find((each) => each.slot === slot);
}

/** What the line gives the call as argument `number`. */
export function argument({ program, instruction, line }: Situation, number: number): string | undefined {
  return argumentIn(line?.text ?? '', number, calledBy(program, instruction)?.name);
}
