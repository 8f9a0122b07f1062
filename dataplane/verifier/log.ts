/** Registers and frames as Linux's verifier log spells them (kernel/bpf/log.c: print_reg_state, print_verifier_state). */
import { typeText, type RegisterState } from './register.ts';
import { isConstant, type Scalar } from './scalar.ts';
import { hasSlot } from './slot-set.ts';
import { BYTE, isSpilled, kindAt, SLOT_BYTES, type Frame, type State, type StackSlot } from './state.ts';
import { inOrder } from './references.ts';

const U64_MAX = (1n << 64n) - 1n;
const MOST_DECIMAL = { signed: 0x7fffn, unsigned: 0xffffn } as const;

const hexadecimal = (value: bigint): string => `0x${BigInt.asUintN(64, value).toString(16)}`;
const isDecimal = (value: bigint): boolean => value >= -MOST_DECIMAL.signed - 1n && value <= MOST_DECIMAL.signed;
const signed = (value: bigint): string => (isDecimal(value) ? value.toString() : hexadecimal(value));
const unsigned = (value: bigint): string => (value <= MOST_DECIMAL.unsigned ? value.toString() : hexadecimal(value));

/** In hexadecimal a sign that is extended to 64 bits would mislead. */
const subregister = (value: number): bigint => BigInt(isDecimal(BigInt(value)) ? value : value >>> 0);

interface Bound {
  readonly name: string;
  readonly value: bigint;
  readonly says: boolean;
  readonly isSigned: boolean;
}

/** Bounds that say something; each value named once, with all the names it has among the lower, or among the upper bounds. */
function bounds(scalar: Scalar): string[] {
  const { smin, smax, umin, umax, s32min, s32max, u32min, u32max } = scalar;
  const lower: readonly Bound[] = [
    { name: 'smin', value: smin, says: smin !== -(1n << 63n), isSigned: true },
    { name: 'umin', value: umin, says: umin !== 0n, isSigned: false },
    { name: 'smin32', value: subregister(s32min), says: s32min !== -0x8000_0000, isSigned: true },
    { name: 'umin32', value: BigInt(u32min), says: u32min !== 0, isSigned: false },
  ];
  const upper: readonly Bound[] = [
    { name: 'smax', value: smax, says: smax !== (1n << 63n) - 1n, isSigned: true },
    { name: 'umax', value: umax, says: umax !== U64_MAX, isSigned: false },
    { name: 'smax32', value: subregister(s32max), says: s32max !== 0x7fff_ffff, isSigned: true },
    { name: 'umax32', value: BigInt(u32max), says: u32max !== 0xffff_ffff, isSigned: false },
  ];
  const [lowest, highest] = [named(lower), named(upper)];
  return lower.flatMap((_, index) => [lowest[index], highest[index]]).filter((text) => text !== undefined);
}

/** The text of each bound that is the first of its value. */
function named(all: readonly Bound[]): (string | undefined)[] {
  const said = new Set<Bound>();
  return all.map((first) => {
    if (!first.says || said.has(first)) return undefined;
    const same = all.filter((each) => each.says && !said.has(each) && BigInt.asUintN(64, each.value) === BigInt.asUintN(64, first.value) && isNegative(each) === isNegative(first));
    for (const each of same) said.add(each);
    return `${same.map(({ name }) => name).join('=')}=${first.isSigned ? signed(first.value) : unsigned(first.value)}`;
  });
}

const isNegative = ({ value, isSigned }: Bound): boolean => isSigned && value < 0n;

const MAP_TYPES: ReadonlySet<RegisterState['type']> = new Set(['map_ptr', 'map_value', 'map_key']);
const KERNEL_NAME_LENGTH = 15;

/** `frame`: the number of the frame that the register is in. */
export function registerText(register: RegisterState, frame = register.frame, precise = false): string {
  const { type, scalar } = register;
  if (type === '?') return '?';
  const mark = precise && type === 'scalar' ? 'P' : '';
  if (type === 'scalar' && isConstant(scalar)) return `${mark}${signed(BigInt.asIntN(64, scalar.value))}`;
  const name = type === 'fp' && frame !== register.frame ? `fp[${register.frame}]` : `${typeText(register)}${register.object?.kind === 'struct' ? register.object.name : ''}`;
  if (type === 'fp' && isConstant(scalar)) return `${name}${register.offset + Number(BigInt.asIntN(64, scalar.value))}`;
  const parts: string[] = [];
  if (register.id !== 0) parts.push(`id=${register.id}${register.delta !== 0 ? `${register.offset < 0 ? '' : '+'}${register.offset}` : ''}`);
  if (register.reference !== 0) parts.push(`ref_obj_id=${register.reference}`);
  if (MAP_TYPES.has(type) && register.map !== undefined) parts.push(`map=${register.map.name.slice(0, KERNEL_NAME_LENGTH)}`, `ks=${register.map.keyBytes}`, `vs=${register.map.valueBytes}`);
  if (type !== 'scalar' && register.offset !== 0) parts.push(`off=${signed(BigInt(register.offset))}`);
  if (type === 'pkt' || type === 'pkt_meta') parts.push(`r=${unsigned(BigInt.asUintN(64, BigInt(register.range)))}`);
  if (type === 'mem' || type === 'ringbuf_mem') parts.push(`sz=${unsigned(BigInt(register.bytes))}`);
  if (!isConstant(scalar)) {
    parts.push(...bounds(scalar));
    if (scalar.mask !== U64_MAX) parts.push(`var_off=(${hexadecimal(scalar.value)}; ${hexadecimal(scalar.mask)})`);
  } else if (scalar.value !== 0n) parts.push(`imm=${signed(BigInt.asIntN(64, scalar.value))}`);
  return `${mark}${name}(${parts.join(',')})`;
}

/** Which registers and slots are wanted: bits by number, and a set; all where absent. */
export interface Shown {
  readonly registers: number;
  readonly slots: ReadonlySet<number>;
}

/** Every number, where nobody asks which ones mattered; else those of which the frame says so. */
export type Precise = 'all' | 'marked';

const KIND_LETTERS: Readonly<Record<number, string>> = { [BYTE.invalid]: '?', [BYTE.spill]: 'r', [BYTE.misc]: 'm', [BYTE.zero]: '0', [BYTE.iterator]: 'i' };

/** ` R1=ctx() R10=fp0 fp-8=0`, of the frame with that number; begins with a space. */
export function frameText(state: State, frame: Frame, number: number, shown?: Shown, precise: Precise = 'marked'): string {
  let text = number === 0 ? '' : ` frame${number}:`;
  for (const [index, register] of frame.registers.entries()) {
    if (register.type === '?' || (shown !== undefined && (shown.registers & (1 << index)) === 0)) continue;
    text += ` R${index}=${registerText(register, number, precise === 'all' || (frame.preciseRegisters & (1 << index)) !== 0)}`;
  }
  for (const [index, slot] of frame.stack.entries()) {
    // The second slot of a dynptr stands for both.
    if (slot.kinds === 0 || (slot.spilled.object?.kind === 'dynptr' && !slot.spilled.object.first) || (shown !== undefined && !shown.slots.has(index))) continue;
    text += ` fp${-SLOT_BYTES * (index + 1)}=${slotText(slot, number, precise === 'all' || hasSlot(frame.preciseSlots, index))}`;
  }
  const held = [...inOrder(state.references), ...(state.lock === undefined || state.lock.id === 0 ? [] : [state.lock])];
  if (held.length > 0) text += ` refs=${held.map(({ id }) => id).toSorted((a, b) => a - b).join(',')}`;
  if (frame.callback !== undefined) text += frame.callback.asynchronous ? ' async_cb' : ' cb';
  return text;
}

function slotText(slot: StackSlot, frame: number, precise: boolean): string {
  let letters = '';
  for (let byte = 0; byte < SLOT_BYTES; byte++) {
    if (isSpilled(slot) && kindAt(slot, byte) === BYTE.spill) return letters + registerText(slot.spilled, frame, precise);
    letters += KIND_LETTERS[kindAt(slot, byte)] ?? 'd';
  }
  const { object, reference } = slot.spilled;
  if (object?.kind === 'dynptr') return `dynptr_${object.of}(${[...(slot.spilled.id === 0 ? [] : [`id=${slot.spilled.id}`]), ...(reference === 0 ? [] : [`ref_id=${reference}`])].join(',')})`;
  if (object?.kind === 'iterator') return `iter_${object.name}(ref_id=${reference},state=${object.drained ? 'drained' : 'active'},depth=${object.depth})`;
  return letters;
}
