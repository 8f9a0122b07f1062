/**
 * ALU instructions and branch conditions as WebAssembly (RFC 9669 §4.1 to §4.3). Registers are i64; a 32-bit
 * operation works on the low halves and zero-extends, which costs nothing on machines that do so themselves.
 * WebAssembly traps where BPF has an answer, on division by zero and on INT_MIN / -1, so divisions are guarded
 * unless the divisor is known.
 */
import type { AluOp, BranchOp, OperandWidth } from '../../bpf/isa.ts';
import { i32, i64, swap32, type I32, type I64 } from '../../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../../wasm/function-builder.ts';
import { bitsOf, type Constant, type Known } from './known-value.ts';

/** A value to compute with: as 64 bits, as its low 32 bits, and what is known of it. Each may be used repeatedly. */
export interface Value {
  readonly wide: I64;
  readonly narrow: I32;
  readonly known: Known;
}

/** A constant is encoded when it is asked for: most operations need one width. */
class ConstantValue implements Value {
  readonly known: Constant;

  constructor(known: Constant) {
    this.known = known;
  }

  get wide(): I64 {
    return i64.const(this.known.value);
  }

  get narrow(): I32 {
    return i32.const(Number(BigInt.asIntN(32, this.known.value)));
  }
}

export function constantValue(known: Constant): Value {
  return new ConstantValue(known);
}

type Plain = Exclude<AluOp, 'div' | 'sdiv' | 'mod' | 'smod' | 'mov'>;

const PLAIN = {
  add: { wide: i64.add, narrow: i32.add },
  sub: { wide: i64.sub, narrow: i32.sub },
  mul: { wide: i64.mul, narrow: i32.mul },
  or: { wide: i64.or, narrow: i32.or },
  and: { wide: i64.and, narrow: i32.and },
  xor: { wide: i64.xor, narrow: i32.xor },
  lsh: { wide: i64.shl, narrow: i32.shl },
  rsh: { wide: i64.shrU, narrow: i32.shrU },
  arsh: { wide: i64.shrS, narrow: i32.shrS },
} as const satisfies Record<Plain, { wide: (a: I64, b: I64) => I64; narrow: (a: I32, b: I32) => I32 }>;

/** Sets `dst` to `a op b`. */
export function emitAlu(f: FunctionBuilder, dst: Local<'i64'>, op: AluOp, width: OperandWidth, a: Value, b: Value): void {
  switch (op) {
    case 'mov':
      f.set(dst, width === 64 || bitsOf(b.known) <= 32 ? b.wide : i64.extendU(b.narrow));
      break;
    case 'div':
    case 'mod':
    case 'sdiv':
    case 'smod':
      emitDivision(f, dst, op, width, a, b);
      break;
    default:
      f.set(dst, width === 64 ? PLAIN[op].wide(a.wide, b.wide) : i64.extendU(PLAIN[op].narrow(a.narrow, b.narrow)));
  }
}

function emitDivision(f: FunctionBuilder, dst: Local<'i64'>, op: 'div' | 'mod' | 'sdiv' | 'smod', width: OperandWidth, a: Value, b: Value): void {
  const signed = op === 'sdiv' || op === 'smod';
  const divides = op === 'div' || op === 'sdiv';
  // Numbers that fit 32 bits divide as well in 32, and faster; sign bits must be clear for signed division.
  const room = signed ? 31 : 32;
  const narrow = width === 32 || (bitsOf(a.known) <= room && bitsOf(b.known) <= room);
  const quotient = (): I64 => {
    if (narrow) {
      const operation = divides ? (signed ? i32.divS : i32.divU) : signed ? i32.remS : i32.remU;
      return i64.extendU(operation(a.narrow, b.narrow));
    }
    const operation = divides ? (signed ? i64.divS : i64.divU) : signed ? i64.remS : i64.remU;
    return operation(a.wide, b.wide);
  };
  const untouched = width === 32 ? i64.extendU(a.narrow) : a.wide;
  const negated = (): I64 => (width === 32 ? i64.extendU(i32.sub(i32.const(0), a.narrow)) : i64.sub(i64.const(0), a.wide));
  const divisor = b.known.kind === 'constant' ? BigInt.asIntN(width, b.known.value) : undefined;
  if (divisor !== undefined) {
    if (divisor === 0n) f.set(dst, divides ? i64.const(0) : untouched);
    else if (op === 'sdiv' && divisor === -1n) f.set(dst, negated());
    else f.set(dst, quotient());
    return;
  }
  const isZero = narrow ? i32.eqz(b.narrow) : i64.eqz(b.wide);
  const divide = (): void => {
    if (op !== 'sdiv' || (narrow && width === 64)) {
      f.set(dst, quotient());
      return;
    }
    const isMinusOne = narrow ? i32.eq(b.narrow, i32.const(-1)) : i64.eq(b.wide, i64.const(-1));
    f.if(
      isMinusOne,
      () => f.set(dst, negated()),
      () => f.set(dst, quotient()),
    );
  };
  f.if(isZero, () => f.set(dst, divides ? i64.const(0) : untouched), divide);
}

export function negate(width: OperandWidth, a: Value): I64 {
  return width === 32 ? i64.extendU(i32.sub(i32.const(0), a.narrow)) : i64.sub(i64.const(0), a.wide);
}

export function extendSign(width: OperandWidth, bits: 8 | 16 | 32, a: Value): I64 {
  if (width === 32) return i64.extendU(bits === 8 ? i32.extend8S(a.narrow) : i32.extend16S(a.narrow));
  return bits === 8 ? i64.extend8S(a.wide) : bits === 16 ? i64.extend16S(a.wide) : i64.extend32S(a.wide);
}

/** `le`: the low bits, zero-extended. */
export function truncate(bits: 16 | 32 | 64, a: Value): I64 {
  if (bitsOf(a.known) <= bits) return a.wide;
  return bits === 16 ? i64.extendU(i32.and(a.narrow, i32.const(0xffff))) : i64.extendU(a.narrow);
}

/** `be` and `bswap`: the low bits with their bytes reversed, zero-extended. `scratch` is for 64 bits. */
export function reverseBytes(f: FunctionBuilder, bits: 16 | 32 | 64, a: Value, scratch: () => Local<'i64'>): I64 {
  switch (bits) {
    case 16: {
      // The carry of a wider value into the upper byte is cut off.
      const high = i32.shl(bitsOf(a.known) <= 8 ? a.narrow : i32.and(a.narrow, i32.const(0xff)), i32.const(8));
      const shifted = i32.shrU(a.narrow, i32.const(8));
      return i64.extendU(i32.or(high, bitsOf(a.known) <= 16 ? shifted : i32.and(shifted, i32.const(0xff))));
    }
    case 32:
      return i64.extendU(swap32(a.narrow));
    case 64: {
      // Clang widens what it swaps; what is above is zero, and moves to the lower end.
      const known = bitsOf(a.known);
      if (known <= 32) return i64.shl(reverseBytes(f, known <= 16 ? 16 : 32, a, scratch), i64.const(known <= 16 ? 48 : 32));
      const t = scratch();
      const swapPairs = (mask: bigint, shift: number): void =>
        f.set(t, i64.or(i64.and(i64.shrU(t, i64.const(shift)), i64.const(mask)), i64.shl(i64.and(t, i64.const(mask)), i64.const(shift))));
      f.set(t, a.wide);
      swapPairs(0x00ff_00ff_00ff_00ffn, 8);
      swapPairs(0x0000_ffff_0000_ffffn, 16);
      return i64.rotl(t, i64.const(32));
    }
  }
}

/** Each comparison and the one that is true when it is not; `jset` is not a comparison. */
const COMPARISONS = {
  jeq: { wide: i64.eq, narrow: i32.eq, inverse: 'jne' },
  jne: { wide: i64.ne, narrow: i32.ne, inverse: 'jeq' },
  jgt: { wide: i64.gtU, narrow: i32.gtU, inverse: 'jle' },
  jge: { wide: i64.geU, narrow: i32.geU, inverse: 'jlt' },
  jlt: { wide: i64.ltU, narrow: i32.ltU, inverse: 'jge' },
  jle: { wide: i64.leU, narrow: i32.leU, inverse: 'jgt' },
  jsgt: { wide: i64.gtS, narrow: i32.gtS, inverse: 'jsle' },
  jsge: { wide: i64.geS, narrow: i32.geS, inverse: 'jslt' },
  jslt: { wide: i64.ltS, narrow: i32.ltS, inverse: 'jsge' },
  jsle: { wide: i64.leS, narrow: i32.leS, inverse: 'jsgt' },
} as const satisfies Record<Exclude<BranchOp, 'jset'>, { wide: (a: I64, b: I64) => I32; narrow: (a: I32, b: I32) => I32; inverse: BranchOp }>;

/** Not zero where the branch is taken, or where it is not. */
export function branchCondition(op: BranchOp, width: OperandWidth, a: Value, b: Value, whenTaken: boolean): I32 {
  const isZero = b.known.kind === 'constant' && BigInt.asUintN(width, b.known.value) === 0n;
  if (op === 'jset') {
    if (width === 32) {
      const common = i32.and(a.narrow, b.narrow);
      return whenTaken ? common : i32.eqz(common);
    }
    const common = i64.and(a.wide, b.wide);
    return whenTaken ? i64.ne(common, i64.const(0)) : i64.eqz(common);
  }
  const effective = whenTaken ? op : COMPARISONS[op].inverse;
  if (isZero && effective === 'jeq') return width === 32 ? i32.eqz(a.narrow) : i64.eqz(a.wide);
  if (isZero && effective === 'jne' && width === 32) return a.narrow;
  return width === 32 ? COMPARISONS[effective].narrow(a.narrow, b.narrow) : COMPARISONS[effective].wide(a.wide, b.wide);
}
