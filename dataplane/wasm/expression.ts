/**
 * Typed WebAssembly expressions (WebAssembly core specification, §5.4). An expression is its own encoding, as a tree
 * of bytes that is flattened once, when the module is put together; a value of it may be used in one place only,
 * except constants and locals, which may be read as often as one likes.
 *
 *   i32.add(i32.load(packet, 12), i32.const(4))
 */

export type ValueType = 'i32' | 'i64';

/** Bytes, nested as they were composed; a `Callee` stands for its function index, which is known at the end. */
export type Code = readonly (number | Code | Callee | Uint8Array)[];

export interface Expr<T extends ValueType = ValueType> {
  readonly type: T;
  readonly code: Code;
}

export type I32 = Expr<'i32'>;
export type I64 = Expr<'i64'>;

/** A function that can be called: imported, or defined in the same module. */
export interface Callee<R extends ValueType | undefined = ValueType | undefined> {
  readonly name: string;
  readonly params: readonly ValueType[];
  readonly result: R;
  /** Fixed when the module is put together. */
  index: number;
}

/** LEB128, unsigned. */
export function unsignedLeb(value: number): readonly number[] {
  return SHORT_LEB[value] ?? longLeb(value);
}

const SHORT_LEB: readonly (readonly number[])[] = Array.from({ length: 128 }, (_, value) => [value]);

function longLeb(value: number): number[] {
  const out: number[] = [];
  let rest = value >>> 0;
  do {
    const byte = rest & 0x7f;
    rest >>>= 7;
    out.push(rest === 0 ? byte : byte | 0x80);
  } while (rest !== 0);
  return out;
}

/** LEB128, signed, of an integer in the range of i32. */
function signedLeb32(value: number): number[] {
  const out: number[] = [];
  let rest = value;
  for (;;) {
    const byte = rest & 0x7f;
    rest >>= 7;
    if (rest === ((byte & 0x40) === 0 ? 0 : -1)) {
      out.push(byte);
      return out;
    }
    out.push(byte | 0x80);
  }
}

function signedLeb64(value: bigint): number[] {
  const narrow = Number(value);
  if (narrow === (narrow | 0)) return signedLeb32(narrow);
  const out: number[] = [];
  let rest = value;
  for (;;) {
    const byte = Number(rest & 0x7fn);
    rest >>= 7n;
    if (rest === ((byte & 0x40) === 0 ? 0n : -1n)) {
      out.push(byte);
      return out;
    }
    out.push(byte | 0x80);
  }
}

const expr = <T extends ValueType>(type: T, code: Code): Expr<T> => ({ type, code });

/** Natural alignment is claimed for none: packet accesses are unaligned, and V8 does not use the hint. */
const memarg = (offset: number): Code => [0, unsignedLeb(offset)];

const binary =
  <A extends ValueType, R extends ValueType>(result: R, opcode: number) =>
  (a: Expr<A>, b: Expr<A>): Expr<R> =>
    expr(result, [a.code, b.code, opcode]);

const unary =
  <A extends ValueType, R extends ValueType>(result: R, ...opcode: number[]) =>
  (a: Expr<A>): Expr<R> =>
    expr(result, [a.code, ...opcode]);

/** `offset` is a constant added to the address without wrapping; it is not negative. */
const load =
  <R extends ValueType>(result: R, opcode: number) =>
  (address: I32, offset = 0): Expr<R> =>
    expr(result, [address.code, opcode, memarg(offset)]);

/** A store is a statement: `f.do(i32.store(address, 0, value))`. */
export interface Effect {
  readonly type: undefined;
  readonly code: Code;
}

const store =
  <A extends ValueType>(_value: A, opcode: number) =>
  (address: I32, offset: number, value: Expr<A>): Effect => ({ type: undefined, code: [address.code, value.code, opcode, memarg(offset)] });

export const i32 = {
  /** Any integer that fits 32 bits, signed or unsigned. */
  const: (value: number): I32 => expr('i32', [0x41, signedLeb32(value | 0)]),
  eqz: unary<'i32', 'i32'>('i32', 0x45),
  eq: binary<'i32', 'i32'>('i32', 0x46),
  ne: binary<'i32', 'i32'>('i32', 0x47),
  ltS: binary<'i32', 'i32'>('i32', 0x48),
  ltU: binary<'i32', 'i32'>('i32', 0x49),
  gtS: binary<'i32', 'i32'>('i32', 0x4a),
  gtU: binary<'i32', 'i32'>('i32', 0x4b),
  leS: binary<'i32', 'i32'>('i32', 0x4c),
  leU: binary<'i32', 'i32'>('i32', 0x4d),
  geS: binary<'i32', 'i32'>('i32', 0x4e),
  geU: binary<'i32', 'i32'>('i32', 0x4f),
  clz: unary<'i32', 'i32'>('i32', 0x67),
  ctz: unary<'i32', 'i32'>('i32', 0x68),
  popcnt: unary<'i32', 'i32'>('i32', 0x69),
  add: binary<'i32', 'i32'>('i32', 0x6a),
  sub: binary<'i32', 'i32'>('i32', 0x6b),
  mul: binary<'i32', 'i32'>('i32', 0x6c),
  divS: binary<'i32', 'i32'>('i32', 0x6d),
  divU: binary<'i32', 'i32'>('i32', 0x6e),
  remS: binary<'i32', 'i32'>('i32', 0x6f),
  remU: binary<'i32', 'i32'>('i32', 0x70),
  and: binary<'i32', 'i32'>('i32', 0x71),
  or: binary<'i32', 'i32'>('i32', 0x72),
  xor: binary<'i32', 'i32'>('i32', 0x73),
  shl: binary<'i32', 'i32'>('i32', 0x74),
  shrS: binary<'i32', 'i32'>('i32', 0x75),
  shrU: binary<'i32', 'i32'>('i32', 0x76),
  rotl: binary<'i32', 'i32'>('i32', 0x77),
  rotr: binary<'i32', 'i32'>('i32', 0x78),
  wrap: unary<'i64', 'i32'>('i32', 0xa7),
  extend8S: unary<'i32', 'i32'>('i32', 0xc0),
  extend16S: unary<'i32', 'i32'>('i32', 0xc1),
  load: load('i32', 0x28),
  load8S: load('i32', 0x2c),
  load8U: load('i32', 0x2d),
  load16S: load('i32', 0x2e),
  load16U: load('i32', 0x2f),
  store: store('i32', 0x36),
  store8: store('i32', 0x3a),
  store16: store('i32', 0x3b),
};

export const i64 = {
  const: (value: bigint | number): I64 => expr('i64', [0x42, signedLeb64(BigInt.asIntN(64, BigInt(value)))]),
  eqz: unary<'i64', 'i32'>('i32', 0x50),
  eq: binary<'i64', 'i32'>('i32', 0x51),
  ne: binary<'i64', 'i32'>('i32', 0x52),
  ltS: binary<'i64', 'i32'>('i32', 0x53),
  ltU: binary<'i64', 'i32'>('i32', 0x54),
  gtS: binary<'i64', 'i32'>('i32', 0x55),
  gtU: binary<'i64', 'i32'>('i32', 0x56),
  leS: binary<'i64', 'i32'>('i32', 0x57),
  leU: binary<'i64', 'i32'>('i32', 0x58),
  geS: binary<'i64', 'i32'>('i32', 0x59),
  geU: binary<'i64', 'i32'>('i32', 0x5a),
  clz: unary<'i64', 'i64'>('i64', 0x79),
  ctz: unary<'i64', 'i64'>('i64', 0x7a),
  popcnt: unary<'i64', 'i64'>('i64', 0x7b),
  add: binary<'i64', 'i64'>('i64', 0x7c),
  sub: binary<'i64', 'i64'>('i64', 0x7d),
  mul: binary<'i64', 'i64'>('i64', 0x7e),
  divS: binary<'i64', 'i64'>('i64', 0x7f),
  divU: binary<'i64', 'i64'>('i64', 0x80),
  remS: binary<'i64', 'i64'>('i64', 0x81),
  remU: binary<'i64', 'i64'>('i64', 0x82),
  and: binary<'i64', 'i64'>('i64', 0x83),
  or: binary<'i64', 'i64'>('i64', 0x84),
  xor: binary<'i64', 'i64'>('i64', 0x85),
  shl: binary<'i64', 'i64'>('i64', 0x86),
  shrS: binary<'i64', 'i64'>('i64', 0x87),
  shrU: binary<'i64', 'i64'>('i64', 0x88),
  rotl: binary<'i64', 'i64'>('i64', 0x89),
  rotr: binary<'i64', 'i64'>('i64', 0x8a),
  extendS: unary<'i32', 'i64'>('i64', 0xac),
  extendU: unary<'i32', 'i64'>('i64', 0xad),
  extend8S: unary<'i64', 'i64'>('i64', 0xc2),
  extend16S: unary<'i64', 'i64'>('i64', 0xc3),
  extend32S: unary<'i64', 'i64'>('i64', 0xc4),
  load: load('i64', 0x29),
  load8S: load('i64', 0x30),
  load8U: load('i64', 0x31),
  load16S: load('i64', 0x32),
  load16U: load('i64', 0x33),
  load32S: load('i64', 0x34),
  load32U: load('i64', 0x35),
  store: store('i64', 0x37),
  store8: store('i64', 0x3c),
  store16: store('i64', 0x3d),
  store32: store('i64', 0x3e),
};

export const memory = {
  /** Sixteen bytes, by one load and one store of 128 bits. */
  copy16: (to: I32, from: I32, offset: number): Effect => ({ type: undefined, code: [to.code, from.code, 0xfd, 0x00, memarg(offset), 0xfd, 0x0b, memarg(offset)] }),
  /** memmove. */
  copy: (to: I32, from: I32, lengthBytes: I32): Effect => ({ type: undefined, code: [to.code, from.code, lengthBytes.code, 0xfc, 0x0a, 0, 0] }),
  fill: (at: I32, byte: I32, lengthBytes: I32): Effect => ({ type: undefined, code: [at.code, byte.code, lengthBytes.code, 0xfc, 0x0b, 0] }),
};

/** Two words as one, the first in the lower half: as they lie in memory, one behind the other. */
export const pair = (first: I32, second: I32): I64 => i64.or(i64.extendU(first), i64.shl(i64.extendU(second), i64.const(32)));

/** The four bytes in the other order; of a local, since it is read twice. */
export const swap32 = (word: I32): I32 => i32.or(i32.and(i32.rotl(word, i32.const(8)), i32.const(0x00ff_00ff)), i32.and(i32.rotr(word, i32.const(8)), i32.const(0xff00_ff00)));

/** `condition ? a : b`; both are evaluated. */
export function select<T extends ValueType>(condition: I32, a: Expr<T>, b: Expr<T>): Expr<T> {
  return expr(a.type, [a.code, b.code, condition.code, 0x1b]);
}

type Called<R extends ValueType | undefined> = R extends ValueType ? Expr<R> : Effect;

function checkArguments(name: string, params: readonly ValueType[], args: readonly Expr[]): void {
  const found = args.map((arg) => arg.type).join(', ');
  if (found !== params.join(', ')) throw new TypeError(`${name} takes (${params.join(', ')}), given (${found})`);
}

export function call<R extends ValueType | undefined>(callee: Callee<R>, ...args: readonly Expr[]): Called<R> {
  checkArguments(callee.name, callee.params, args);
  return { type: callee.result, code: [args.map((arg) => arg.code), 0x10, callee] } as unknown as Called<R>;
}

/** A function type, as `ModuleBuilder.type` returns it. */
export interface FunctionType<R extends ValueType | undefined = ValueType | undefined> {
  readonly index: number;
  readonly params: readonly ValueType[];
  readonly result: R;
}

/** Calls entry `index` of the module's imported table; traps where the entry is absent or of another type. */
export function callIndirect<R extends ValueType | undefined>(type: FunctionType<R>, table: number, index: I32, ...args: readonly Expr[]): Called<R> {
  checkArguments('call_indirect', type.params, args);
  return {
    type: type.result,
    code: [args.map((arg) => arg.code), index.code, 0x11, unsignedLeb(type.index), unsignedLeb(table)],
  } as unknown as Called<R>;
}
