/**
 * What the verifier's facts say of an instruction, short enough to stand behind it:
 *
 *     r2 = *(u8 *)(r1 +9)      ; r1: pkt+14 (20 bytes) => r2: 0..255
 *     if r0 == 0x0 goto pc+3   ; r0: map_value_or_null flows
 */
import type { Instruction } from '../bpf/isa.ts';
import type { ProgramType } from '../bpf/spec.ts';
import { calleeFacts } from '../verifier/calls.ts';
import { registersRead, registersReplaced } from '../verifier/control-flow.ts';
import type { InstructionFacts } from '../verifier/facts.ts';
import { typeText, type RegisterState } from '../verifier/register.ts';
import { isConstant, type Scalar } from '../verifier/scalar.ts';
import { USERS } from '../verifier/user.ts';
import { provenBytes } from './value-words.ts';

/** A fact as data. `text` is how it reads. */
export interface RegisterFact {
  readonly register: string;
  readonly text: string;
  readonly type: string;
  /** Of a number. Of a pointer, the part of its offset that is not constant, where there is one. */
  readonly range?: {
    readonly signed: readonly [bigint, bigint];
    readonly unsigned: readonly [bigint, bigint];
    /** A bit of the mask is not known, the others are as in the value. */
    readonly bits: { readonly value: bigint; readonly mask: bigint };
  };
  readonly offset?: number;
  readonly map?: string;
  /** Of the packet, from there on. */
  readonly provenBytes?: number;
}

export interface InstructionFactWords {
  /** Of the registers that it reads, before it. */
  readonly reads: readonly RegisterFact[];
  readonly result?: RegisterFact;
  readonly always?: 'taken' | 'not taken';
}

export function factWords(instruction: Instruction, { registers, result, always }: InstructionFacts, type: ProgramType): InstructionFactWords {
  // Of what packet loads read Linux knows only r6.
  const read = instruction.kind === 'load_packet' ? 1 << 6 : registersRead(instruction, (target) => calleeFacts(target, type, USERS.privileged));
  const reads = registers.flatMap((register, number) => ((read & (1 << number)) === 0 || register === undefined ? [] : [registerFact(number, register)]));
  const replaced = instruction.kind === 'call' ? 0 : 31 - Math.clz32(registersReplaced(instruction));
  return { reads, ...(result === undefined ? {} : { result: registerFact(replaced, result) }), ...(always === undefined ? {} : { always }) };
}

/** In one line; empty where nothing is known that the instruction does not say itself. */
export function factLine(instruction: Instruction, { reads, result, always }: InstructionFactWords): string {
  const said = reads.map(({ register, text }) => `${register}: ${text}`).join(', ');
  const isSaid = instruction.kind === 'load_imm64' || (instruction.kind === 'alu' && instruction.op === 'mov');
  const left = result === undefined || isSaid ? '' : `=> ${result.register}: ${result.text}`;
  return [said, left, always === undefined ? '' : `always ${always}`].filter((part) => part !== '').join(' ');
}

function registerFact(number: number, register: RegisterState): RegisterFact {
  const { scalar, map } = register;
  const isNumber = register.type === 'scalar';
  return {
    register: `r${number}`,
    text: isNumber ? numberText(scalar) : pointerText(register),
    type: typeText(register),
    ...(isNumber || !isConstant(scalar) ? { range: { signed: [scalar.smin, scalar.smax], unsigned: [scalar.umin, scalar.umax], bits: { value: scalar.value, mask: scalar.mask } } } : {}),
    ...(isNumber ? {} : { offset: fixedOffset(register) }),
    ...(map === undefined ? {} : { map: map.name }),
    ...(register.type === 'pkt' ? { provenBytes: provenBytes(register) } : {}),
  };
}

const U64_MAX = (1n << 64n) - 1n;
const SIGNED = { min: -(1n << 63n), max: (1n << 63n) - 1n } as const;
/** From here on hexadecimal is easier to read. */
const LONG = 100_000n;

const number = (value: bigint): string => (value > -LONG && value < LONG ? value.toString() : value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`);

/** `7`, `0..255`, `0..60 step 4`, `any`. */
function numberText(scalar: Scalar): string {
  if (isConstant(scalar)) return number(BigInt.asIntN(64, scalar.value));
  const { smin, smax, umin, umax, value, mask } = scalar;
  const lowest = (value | mask) & -(value | mask);
  const step = lowest > 1n && lowest < 4096n ? ` step ${lowest}` : '';
  if (smin >= 0n || umax !== U64_MAX || umin !== 0n) return `${number(umin)}..${umax === U64_MAX ? '' : number(umax)}${step}`;
  if (smin === SIGNED.min && smax === SIGNED.max) return `any${step}`;
  return `${smin === SIGNED.min ? '' : number(smin)}..${smax === SIGNED.max ? '' : number(smax)}${step}`;
}

const fixedOffset = ({ offset, scalar }: RegisterState): number => offset + (isConstant(scalar) ? Number(BigInt.asIntN(64, scalar.value)) : 0);

function pointerText(register: RegisterState): string {
  const { type, scalar, map, object } = register;
  const name = `${typeText(register)}${object?.kind === 'struct' ? object.name : ''}${map === undefined ? '' : ` ${map.name}`}`;
  const fixed = fixedOffset(register);
  const place = `${fixed === 0 ? '' : fixed < 0 ? String(fixed) : `+${fixed}`}${isConstant(scalar) ? '' : `+(${numberText(scalar)})`}`;
  const proven = type === 'pkt' ? provenBytes(register) : 0;
  return `${name}${place}${proven > 0 ? ` (${proven} byte${proven === 1 ? '' : 's'})` : ''}`;
}
