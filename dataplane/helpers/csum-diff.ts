/**
 * bpf_csum_diff: the checksum of what replaces something, on top of a seed, as Linux 6.13 and later answer it:
 * sizes need not be multiples of 4, and the result is folded to 16 bits (not complemented).
 *
 * Sums are ones-complement sums of 64 bits, whatever the order of additions; only a sum of nothing but zeros is 0.
 * That decides between the two representations of zero, 0 and 0xffff, exactly as it does in Linux.
 */
import { call, i32, i64, select, type Callee, type I32, type I64 } from '../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../wasm/function-builder.ts';
import type { ModuleBuilder } from '../wasm/module-builder.ts';
import type { Helper } from './helper.ts';
import { TC_AND_XDP_PROGRAMS } from './program-sets.ts';

/** `sum += value`, with the carry added at the low end. */
function addCarry(f: FunctionBuilder, sum: Local<'i64'>, value: I64): void {
  const addend = f.let(value);
  f.set(sum, i64.add(sum, addend));
  f.set(sum, i64.add(sum, i64.extendU(i64.ltU(sum, addend))));
}

/** (address, length, seed) -> the 32-bit sum of the bytes and the seed. */
function sumOfBytes(module: ModuleBuilder): FunctionBuilder<'i32'> {
  const f = module.function('csum_partial', ['i32', 'i32', 'i32'], 'i32');
  const at = f.let<'i32'>(f.param(0, 'i32'), 'at');
  const rest = f.let<'i32'>(f.param(1, 'i32'), 'rest');
  const sum = f.let<'i64'>(i64.extendU(f.param(2, 'i32')), 'sum');
  const step = (lengthBytes: number): void => {
    f.set(at, i32.add(at, i32.const(lengthBytes)));
    f.set(rest, i32.sub(rest, i32.const(lengthBytes)));
  };
  f.while(
    () => i32.geU(rest, i32.const(8)),
    () => {
      addCarry(f, sum, i64.load(at));
      step(8);
    },
  );
  // The last bytes, as the low end of a word whose other bytes are 0; `shift` is where the next one goes.
  const tail = f.local('i64', 'tail');
  const shift = f.local('i64', 'shift');
  const take = (lengthBytes: number, load: I64): void => {
    f.if(i32.and(rest, i32.const(lengthBytes)), () => {
      f.set(tail, i64.or(tail, i64.shl(load, shift)));
      f.set(shift, i64.add(shift, i64.const(8 * lengthBytes)));
      f.set(at, i32.add(at, i32.const(lengthBytes)));
    });
  };
  take(4, i64.load32U(at));
  take(2, i64.load16U(at));
  take(1, i64.load8U(at));
  addCarry(f, sum, tail);
  const high = f.let(i32.wrap(i64.shrU(sum, i64.const(32))), 'high');
  const folded = f.let(i32.add(high, i32.wrap(sum)), 'folded');
  f.return(i32.add(folded, i32.ltU(folded, high)));
  return f;
}

const not = (value: I32): I32 => i32.xor(value, i32.const(-1));

/** Ones-complement sum of the two halves. */
function fold(f: FunctionBuilder<'i32'>, sum: I32): I32 {
  const value = f.let(sum);
  return i32.shrU(i32.add(value, i32.rotl(value, i32.const(16))), i32.const(16));
}

function emit(module: ModuleBuilder): FunctionBuilder<'i32'> {
  const partial: Callee<'i32'> = sumOfBytes(module);
  const f = module.function('csum_diff', ['i32', 'i32', 'i32', 'i32', 'i32'], 'i32');
  const [from, fromBytes, to, toBytes, seed] = [f.param(0, 'i32'), f.param(1, 'i32'), f.param(2, 'i32'), f.param(3, 'i32'), f.param(4, 'i32')];
  f.if(i32.eqz(fromBytes), () => f.return(fold(f, select(i32.eqz(toBytes), seed, call(partial, to, toBytes, seed)))));
  f.if(i32.eqz(toBytes), () => f.return(fold(f, not(call(partial, from, fromBytes, not(seed))))));
  const added = f.let(call(partial, to, toBytes, seed), 'added');
  const removed = f.let(not(call(partial, from, fromBytes, i32.const(0))), 'removed');
  f.set(added, i32.add(added, removed));
  f.return(fold(f, i32.add(added, i32.ltU(added, removed))));
  return f;
}

export const CSUM_DIFF_HELPERS: readonly Helper[] = [
  {
    id: 28,
    name: 'csum_diff',
    args: ['memory_or_null', 'size_or_zero', 'memory_or_null', 'size_or_zero', 'u32'],
    returns: 'int',
    programs: TC_AND_XDP_PROGRAMS,
    packetAccess: true,
    implementation: { kind: 'wasm', emit },
  },
];
