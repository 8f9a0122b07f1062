/**
 * A small assembler for tests and documentation. It reads the text that disassemble.ts prints (slots and opcodes in
 * front may stay, so that a bpftool listing can be pasted), and labels:
 *
 *            r1 = map[counters]
 *            call bpf_map_lookup_elem
 *            if r0 == 0 goto done        ; NULL
 *            lock *(u64 *)(r0 +0) += r6
 *     done:  r0 = 2
 *            exit
 *
 * As in Linux's text, `r1 = 10` is a move of a 32-bit immediate and `r1 = 0xa` a 64-bit immediate load of two slots;
 * `ll` behind a decimal number asks for the latter, and a number that needs it gets it.
 */
import { XdplabError } from '../errors.ts';
import type { AccessBytes, AluOp, AtomicOp, BranchOp, CallTarget, Immediate64, Instruction, Operand, OperandWidth, Register } from './isa.ts';
import { ACCESS_TEXT, ALU_TEXT, ATOMIC_ASSIGNMENTS, BRANCH_TEXT, SIGNED_ACCESS_TEXT } from './syntax.ts';

export interface Assembly {
  readonly instructions: readonly Instruction[];
  /** The slot of each label. */
  readonly labels: ReadonlyMap<string, number>;
}

export interface AssembleOptions {
  /** The id of a helper by its name without `bpf_`. `call 1` and `call bpf_name#1` need none. */
  readonly helper?: (name: string) => number | undefined;
  /** Whether there is a kernel function of that name. */
  readonly kfunc?: (name: string) => boolean;
}

interface Statement {
  readonly line: number;
  readonly text: string;
  readonly slot: number;
}

interface Context extends AssembleOptions {
  readonly slot: number;
  /** Absolute slot of a label or a `pc+7`. */
  readonly target: (text: string) => number;
}

/** What is wrong with a statement; `assemble` puts the line in front. */
class Unreadable extends Error {}

function invert<K extends string | number>(table: Readonly<Record<string | number, string>>): ReadonlyMap<string, K> {
  return new Map(Object.entries(table).map(([key, text]) => [text, key as K]));
}

const ALU_BY_TEXT = invert<AluOp>(ALU_TEXT);
const BRANCH_BY_TEXT = invert<BranchOp>(BRANCH_TEXT);
const BYTES_BY_TYPE = new Map(Object.entries(ACCESS_TEXT).map(([bytes, text]) => [text, Number(bytes) as AccessBytes]));
const SIGNED_BYTES_BY_TYPE = new Map(Object.entries(SIGNED_ACCESS_TEXT).map(([bytes, text]) => [text, Number(bytes) as 1 | 2 | 4]));

const REGISTER = String.raw`[rw](?:10|\d)`;
const NUMBER = String.raw`[-+]?(?:0x[0-9a-fA-F]+|\d+)`;
const LABEL = String.raw`[A-Za-z_.][\w.]*`;
const TARGET = String.raw`(?:pc)?[-+]\d+|${LABEL}`;
/** `(u32 *)(r1 +4)`: type, base and offset. */
const ADDRESS = String.raw`\(([us]\d+) \*\)\((r\d+) ?([-+] ?\w+)\)`;

/** Reads `text`, one instruction a line. Throws ERR_INSTRUCTION naming the line. */
export function assemble(text: string, options: AssembleOptions = {}): Assembly {
  const statements: Statement[] = [];
  const labels = new Map<string, number>();
  let slot = 0;
  for (const [index, source] of text.split('\n').entries()) {
    let rest = source.replace(/;.*$/, '').replace(/\s+/g, ' ').trim();
    rest = rest.replace(/^(\d+: ?)?(\([0-9a-f]{2}\) )?/, '');
    const label = new RegExp(`^(${LABEL}):`).exec(rest);
    if (label !== null) {
      if (labels.has(label[1]!)) throw unreadable(index + 1, `label ${label[1]} is defined twice; rename one`);
      labels.set(label[1]!, slot);
      rest = rest.slice(label[0].length).trim();
    }
    if (rest === '') continue;
    const statement = { line: index + 1, text: rest, slot };
    statements.push(statement);
    // Labels may lie ahead, but how many slots a statement takes does not depend on them.
    slot += read(statement, options, () => slot).kind === 'load_imm64' ? 2 : 1;
  }

  const instructions: Instruction[] = [];
  for (const statement of statements) {
    const instruction = read(statement, options, (target) => resolve(target, statement.slot, labels));
    instructions.push(instruction);
    if (instruction.kind === 'load_imm64') instructions.push({ kind: 'upper' });
  }
  return { instructions, labels };
}

function resolve(target: string, slot: number, labels: ReadonlyMap<string, number>): number {
  const distance = /^(?:pc)?([-+]\d+)$/.exec(target);
  if (distance !== null) return slot + 1 + Number(distance[1]);
  const found = labels.get(target);
  if (found === undefined) throw new Unreadable(`label ${target} is nowhere; labels are ${[...labels.keys()].join(', ') || 'none'}`);
  return found;
}

function unreadable(line: number, message: string): XdplabError {
  return new XdplabError('ERR_INSTRUCTION', `assembly line ${line}: ${message}`);
}

function read(statement: Statement, options: AssembleOptions, target: (text: string) => number): Instruction {
  const context: Context = { ...options, slot: statement.slot, target };
  try {
    for (const [pattern, make] of FORMS) {
      const match = pattern.exec(statement.text);
      if (match !== null) return make(match, context);
    }
  } catch (error) {
    if (error instanceof Unreadable) throw unreadable(statement.line, error.message);
    throw error;
  }
  throw unreadable(statement.line, `cannot read "${statement.text}"; expected an instruction as bpftool prints it, like "r1 = *(u32 *)(r6 +4)"`);
}

/** Every statement form, the first match wins. */
const FORMS: readonly (readonly [RegExp, (match: RegExpExecArray, context: Context) => Instruction])[] = [
  form('exit', () => ({ kind: 'exit' })),
  form(`(goto|gotol) (${TARGET})`, ([, word, to], context) => {
    const long = word === 'gotol';
    return { kind: 'jump', offset: relative(to!, context, long ? 32 : 16), long };
  }),
  form(`may_goto (${TARGET})`, ([, to], context) => ({ kind: 'may_goto', offset: relative(to!, context, 16) })),
  form(String.raw`if (${REGISTER}) (\S+) (${REGISTER}|${NUMBER}) goto (${TARGET})`, ([, left, sign, right, to], context) => {
    const op = lookup(BRANCH_BY_TEXT, sign!, 'comparison');
    const width = widthOf(left!);
    return { kind: 'branch', op, width, dst: register(left!), source: operand(right!, width, 'unsigned'), offset: relative(to!, context, 16) };
  }),
  form('call (.+)', ([, target], context) => ({ kind: 'call', target: callTarget(target!, context) })),
  form(String.raw`lock \*${ADDRESS} (\S+) (r\d+)`, ([, type, base, offset, sign, source]) => {
    const op = ATOMIC_ASSIGNMENTS.find((candidate) => ALU_TEXT[candidate] === sign);
    if (op === undefined) throw new Unreadable(`unknown atomic operation ${sign}; expected +=, |=, &= or ^=`);
    return { kind: 'atomic', op, fetch: false, bytes: bytesOf(type!), dst: register(base!), src: register(source!), offset: offset16(offset!) };
  }),
  form(String.raw`store_release\(${ADDRESS}, (${REGISTER})\)`, ([, type, base, offset, source]) => ({
    kind: 'atomic',
    op: 'store_release',
    fetch: false,
    bytes: bytesOf(type!),
    dst: register(base!),
    src: register(source!),
    offset: offset16(offset!),
  })),
  form(String.raw`\*${ADDRESS} = (${REGISTER}|${NUMBER})`, ([, type, base, offset, value]) => {
    const bytes = bytesOf(type!);
    // clang writes the low half of a register as w1.
    const source = operand(bytes === 8 ? value! : value!.replace(/^w/, 'r'), 64, 'unsigned');
    return { kind: 'store', bytes, dst: register(base!), offset: offset16(offset!), source };
  }),
  form(String.raw`(${REGISTER}) = -(${REGISTER})`, ([, dst, source]) => {
    if (dst !== source) throw new Unreadable(`negation is in place, but ${source} goes to ${dst}; move it first`);
    return { kind: 'neg', width: widthOf(dst!), dst: register(dst!) };
  }),
  form(String.raw`(${REGISTER}) = \(s(8|16|32)\) ?(${REGISTER})`, ([, dst, bits, source]) => {
    const width = widthOf(dst!);
    if (width === 32 && bits === '32') throw new Unreadable('a 32-bit move sign-extends 8 or 16 bits');
    return { kind: 'movsx', width, bits: Number(bits) as 8 | 16 | 32, dst: register(dst!), src: register(source!) };
  }),
  form(String.raw`(r\d+) = (le|be|bswap)(16|32|64) (r\d+)`, ([, dst, op, bits, source]) => {
    if (dst !== source) throw new Unreadable(`a byte swap is in place, but ${source} goes to ${dst}; move it first`);
    return { kind: 'endian', op: op as 'le' | 'be' | 'bswap', bits: Number(bits) as 16 | 32 | 64, dst: register(dst!) };
  }),
  form(String.raw`r0 = \*\((u8|u16|u32) \*\)skb\[(?:(r\d+) ?\+ ?)?(${NUMBER})\]`, ([, type, index, offset]) => {
    const bytes = bytesOf(type!) as 1 | 2 | 4;
    const at = Number(integer(offset!, -(2n ** 31n), 2n ** 31n - 1n));
    return { kind: 'load_packet', bytes, offset: at, ...(index === undefined ? {} : { index: register(index) }) };
  }),
  form(String.raw`(${REGISTER}) = \*${ADDRESS}`, ([, dst, type, base, offset]) => {
    const signedBytes = SIGNED_BYTES_BY_TYPE.get(type!);
    const bytes = signedBytes ?? bytesOf(type!);
    if (widthOf(dst!) === 32 && (bytes === 8 || signedBytes !== undefined)) throw new Unreadable(`a ${type} load fills the whole register; write r${register(dst!)}`);
    return { kind: 'load', bytes, signed: signedBytes !== undefined, dst: register(dst!), src: register(base!), offset: offset16(offset!) };
  }),
  form(String.raw`(${REGISTER}) = load_acquire\(${ADDRESS}\)`, ([, dst, type, base, offset]) => ({
    kind: 'atomic',
    op: 'load_acquire',
    fetch: true,
    bytes: bytesOf(type!),
    dst: register(dst!),
    src: register(base!),
    offset: offset16(offset!),
  })),
  form(String.raw`r0 = atomic(64)?_cmpxchg\(${ADDRESS}, r0, (r\d+)\)`, ([, wide, type, base, offset, source]) => fetching('cmpxchg', wide, type!, base!, offset!, source!)),
  form(String.raw`(r\d+) = atomic(64)?_(xchg|fetch_add|fetch_or|fetch_and|fetch_xor)\(${ADDRESS}, (r\d+)\)`, ([, dst, wide, name, type, base, offset, source]) => {
    if (dst !== source) throw new Unreadable(`the old value comes back in ${source}, not in ${dst}`);
    return fetching(name!.replace('fetch_', '') as AtomicOp, wide, type!, base!, offset!, source!);
  }),
  form(String.raw`(r\d+) = (map|subprog|btf)\[(.*)`, ([, dst, kind, rest], context) => ({ kind: 'load_imm64', dst: register(dst!), value: reference(kind!, rest!, context) })),
  form(String.raw`(r\d+) = (${NUMBER}) ll`, ([, dst, value]) => constant64(dst!, value!)),
  form(String.raw`(r\d+) = (${NUMBER})`, ([, dst, value]) => {
    const number = integer(value!, -(2n ** 63n), 2n ** 64n - 1n);
    const isWide = value!.startsWith('0x') || number !== BigInt.asIntN(32, number);
    return isWide ? constant64(dst!, value!) : { kind: 'alu', op: 'mov', width: 64, dst: register(dst!), source: { kind: 'immediate', value: Number(number) } };
  }),
  form(String.raw`(${REGISTER}) (\S*=) (${REGISTER}|${NUMBER})`, ([, dst, sign, right]) => {
    const width = widthOf(dst!);
    return { kind: 'alu', op: lookup(ALU_BY_TEXT, sign!, 'operation'), width, dst: register(dst!), source: operand(right!, width, 'signed') };
  }),
];

function form(pattern: string, make: (match: RegExpExecArray, context: Context) => Instruction): readonly [RegExp, typeof make] {
  return [new RegExp(`^${pattern}$`), make];
}

function lookup<V>(table: ReadonlyMap<string, V>, text: string, what: string): V {
  const value = table.get(text);
  if (value === undefined) throw new Unreadable(`unknown ${what} ${text}; expected one of ${[...table.keys()].join(' ')}`);
  return value;
}

function bytesOf(type: string): AccessBytes {
  return lookup(BYTES_BY_TYPE, type, 'type');
}

function register(text: string): Register {
  const number = Number(text.slice(1));
  if (number > 10) throw new Unreadable(`${text}, but registers are r0 to r10`);
  return number as Register;
}

function widthOf(text: string): OperandWidth {
  return text.startsWith('w') ? 32 : 64;
}

function integer(text: string, min: bigint, max: bigint): bigint {
  const digits = text.replace(/^[-+]/, '');
  const value = text.startsWith('-') ? -BigInt(digits) : BigInt(digits);
  if (value < min || value > max) throw new Unreadable(`${text} is not within ${min} to ${max}`);
  return value;
}

/**
 * An immediate operand. Comparisons and stores are printed unsigned, so 0xfffffff6 is −10 there, as for 32-bit
 * registers. In 64-bit arithmetic such a number would surprise by its sign extension and is refused.
 */
function operand(text: string, width: OperandWidth, printed: 'signed' | 'unsigned'): Operand {
  if (/^[rw]/.test(text)) {
    if (widthOf(text) !== width) throw new Unreadable(`${text} does not have ${width} bits like the other operand`);
    return { kind: 'register', register: register(text) };
  }
  const isUnsigned = text.startsWith('0x') && (printed === 'unsigned' || width === 32);
  const value = integer(text, -(2n ** 31n), isUnsigned ? 2n ** 32n - 1n : 2n ** 31n - 1n);
  return { kind: 'immediate', value: Number(BigInt.asIntN(32, value)) };
}

function offset16(text: string): number {
  return Number(integer(text.replace(' ', ''), -32_768n, 32_767n));
}

function relative(target: string, context: Context, bits: 16 | 32): number {
  const offset = context.target(target) - context.slot - 1;
  if (bits === 16 && offset !== (offset << 16) >> 16) throw new Unreadable(`${target} is ${offset} slots away; goto reaches 32767, gotol all`);
  return offset;
}

function constant64(dst: string, value: string): Instruction {
  return { kind: 'load_imm64', dst: register(dst), value: { kind: 'constant', value: BigInt.asUintN(64, integer(value, -(2n ** 63n), 2n ** 64n - 1n)) } };
}

function fetching(op: AtomicOp, wide: string | undefined, type: string, base: string, offset: string, source: string): Instruction {
  const bytes = bytesOf(type);
  if ((bytes !== 4 && bytes !== 8) || (bytes === 8) !== (wide === '64')) throw new Unreadable(`atomic${wide ?? ''} takes ${wide === undefined ? 'u32' : 'u64'}, not ${type}`);
  return { kind: 'atomic', op, fetch: true, bytes, dst: register(base), src: register(source), offset: offset16(offset) };
}

/** `map[…]`, `subprog[…]` and `btf[…]`, whose brackets are open already. */
function reference(kind: string, rest: string, context: Context): Immediate64 {
  const [, inner, offset] = /^([^\]]+)\](?:\[0\])?(?:\+(\d+))?$/.exec(rest) ?? [];
  if (inner === undefined) throw new Unreadable(`cannot read ${kind}[${rest}; expected ${kind}[name]`);
  if (kind === 'subprog') return { kind: 'function', slot: context.target(inner) };
  const numbers = new Map(inner.split(',').flatMap((part) => (part.includes(':') ? [part.split(':') as [string, string]] : [])));
  const number = (key: string): number => Number(BigInt.asIntN(32, integer(numbers.get(key) ?? '0', -(2n ** 31n), 2n ** 31n - 1n)));
  if (kind === 'btf') return { kind: 'btf_id', id: number('id'), fd: number('fd') };
  const at = offset === undefined ? undefined : Number(BigInt.asIntN(32, integer(offset, 0n, 2n ** 32n - 1n)));
  if (numbers.has('fd')) return at === undefined ? { kind: 'map_fd', fd: number('fd') } : { kind: 'map_fd_value', fd: number('fd'), offset: at };
  if (numbers.has('idx')) return at === undefined ? { kind: 'map_idx', index: number('idx') } : { kind: 'map_idx_value', index: number('idx'), offset: at };
  return at === undefined ? { kind: 'map', map: inner } : { kind: 'map_value', map: inner, offset: at };
}

/** `1`, `bpf_redirect`, `bpf_redirect#23`, `pc+7`, `pc+7#name`, a label, `kernel-function#12`. */
function callTarget(text: string, context: Context): CallTarget {
  if (/^-?\d+$/.test(text)) return { kind: 'helper', id: Number(integer(text, -(2n ** 31n), 2n ** 31n - 1n)) };
  const subprogram = /^(pc[-+]\d+)(?:#.*)?$/.exec(text);
  if (subprogram !== null) return { kind: 'subprogram', slot: context.target(subprogram[1]!) };
  const [, name, id] = /^([\w.-]+?)(?:#(-?\d+))?$/.exec(text) ?? [];
  if (name === undefined) throw new Unreadable(`cannot read call target ${text}`);
  const known = name.startsWith('bpf_') ? context.helper?.(name.slice('bpf_'.length)) : undefined;
  if (known !== undefined) return { kind: 'helper', id: known };
  if (id === undefined && context.kfunc?.(name) === true) return { kind: 'kfunc', btfId: 0, module: 0, name };
  if (id === undefined) return { kind: 'subprogram', slot: context.target(name) };
  if (name === 'kernel-function') return { kind: 'kfunc', btfId: Number(id), module: 0 };
  // Only who knows the helpers' names can tell a kernel function by its own.
  return name === 'unknown' || context.helper === undefined ? { kind: 'helper', id: Number(id) } : { kind: 'kfunc', btfId: Number(id), module: 0, name };
}
