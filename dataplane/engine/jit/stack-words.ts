/**
 * Words of a stack frame that live in variables. A word is cut into cells where its accesses begin and end, so that
 * a key that is put together field by field is never read and written back:
 *
 *   u32 at 0, u16 at 4, u8 at 6     boundaries 0 4 6 7     | u32 | u16 | u8 | u8 |     each cell an i64, zero-extended
 *
 * A helper that reads the stack gets what it reads written to memory just before, in the pieces that it will be read
 * in: loading 8 bytes that were stored field by field would stall. What a helper wrote is read back. What nobody
 * wrote is zero.
 */
import type { AccessBytes } from '../../bpf/isa.ts';
import { FRAME_BYTES } from '../../machine/cpu.ts';
import { i32, i64, type I32, type I64 } from '../../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../../wasm/function-builder.ts';
import type { Value } from './arithmetic.ts';
import { bitsOf } from './known-value.ts';
import { store } from './memory-access.ts';
import type { StackArgument } from './stack-arguments.ts';
import type { StackUse } from './stack-use.ts';
import { WORD_BYTES, type StackRange } from './value-flow.ts';

interface Cell {
  /** Bits of the word below it. */
  readonly shift: number;
  readonly bits: number;
  readonly local: Local<'i64'>;
}

const maskOf = (bits: number): bigint => (1n << BigInt(bits)) - 1n;

/** The low bits of `value`, zero-extended. */
function lowBits(value: I64, bits: number): I64 {
  if (bits >= 64) return value;
  return bits === 32 ? i64.extendU(i32.wrap(value)) : i64.and(value, i64.const(maskOf(bits)));
}

export class StackWords {
  readonly #f: FunctionBuilder;
  readonly #frame: I32;
  readonly #words = new Map<number, readonly Cell[]>();
  readonly #shared = new Set<number>();
  /** Of words in several cells: what was stored as a whole, and in which of them it still is since the block began. */
  readonly #wholes = new Map<number, Local<'i64'>>();
  readonly #isWhole = new Set<number>();

  constructor(f: FunctionBuilder, frame: I32, { words }: StackUse) {
    this.#f = f;
    this.#frame = frame;
    for (const [word, { boundaries, place }] of words) {
      if (place !== 'pinned') this.#words.set(word, this.#cut(word, boundaries));
      if (place === 'shared') this.#shared.add(word);
    }
  }

  #cut(word: number, boundaries: number): readonly Cell[] {
    const cells: Cell[] = [];
    for (let from = 0; from < WORD_BYTES; ) {
      let to = from + 1;
      while (to < WORD_BYTES && (boundaries & (1 << to)) === 0) to++;
      cells.push({ shift: from * 8, bits: (to - from) * 8, local: this.#f.local('i64', `fp-${FRAME_BYTES - word * WORD_BYTES - from}`) });
      from = to;
    }
    return cells;
  }

  /** What was known of the block before does not hold. */
  startBlock(): void {
    this.#isWhole.clear();
  }

  #keepWhole(word: number, value: I64): void {
    if (this.#words.get(word)!.length === 1) return;
    let whole = this.#wholes.get(word);
    if (whole === undefined) this.#wholes.set(word, (whole = this.#f.local('i64', `fp-${FRAME_BYTES - word * WORD_BYTES}`)));
    this.#f.set(whole, value);
    this.#isWhole.add(word);
  }

  /** Whether a word in variables is in memory too: a store has to go to both. */
  isShared(from: number): boolean {
    return this.#shared.has(Math.floor(from / WORD_BYTES));
  }

  /** Whether the access at `from`, from the lowest byte of the frame, is to a word in variables. */
  has(from: number): boolean {
    return this.#words.has(Math.floor(from / WORD_BYTES));
  }

  load(from: number, bytes: AccessBytes, signed: boolean): I64 {
    const start = (from % WORD_BYTES) * 8;
    const whole = bytes === WORD_BYTES ? this.#whole(from / WORD_BYTES) : undefined;
    if (whole !== undefined) return whole;
    const [first, ...rest] = this.#cellsOf(from, bytes);
    const value = rest.reduce<I64>((all, { shift, local }) => i64.or(all, i64.shl(local, i64.const(shift - start))), first!.local);
    if (!signed) return value;
    return bytes === 1 ? i64.extend8S(value) : bytes === 2 ? i64.extend16S(value) : i64.extend32S(value);
  }

  store(from: number, bytes: AccessBytes, value: Value): void {
    const start = (from % WORD_BYTES) * 8;
    const { known } = value;
    if (bytes === WORD_BYTES) this.#keepWhole(from / WORD_BYTES, value.wide);
    else this.#isWhole.delete(Math.floor(from / WORD_BYTES));
    for (const { shift, bits, local } of this.#cellsOf(from, bytes)) {
      const below = shift - start;
      if (known.kind === 'constant') {
        this.#f.set(local, i64.const((known.value >> BigInt(below)) & maskOf(bits)));
        continue;
      }
      const part = below === 0 ? value.wide : i64.shrU(value.wide, i64.const(below));
      this.#f.set(local, bitsOf(known) - below <= bits ? part : lowBits(part, bits));
    }
  }

  #cellsOf(from: number, bytes: number): readonly Cell[] {
    const start = (from % WORD_BYTES) * 8;
    const cells = this.#words.get(Math.floor(from / WORD_BYTES))!;
    return cells.length === 1 ? cells : cells.filter(({ shift }) => shift >= start && shift < start + bytes * 8);
  }

  /** Writes an argument to memory, for a call to read. */
  flush(argument: StackArgument): void {
    const { from, pieces } = argument;
    if (pieces?.every(({ offset, bytes }) => this.has(from + offset) && this.has(from + offset + bytes - 1))) {
      for (const { offset, bytes } of pieces) this.#f.do(store(bytes, { base: this.#frame, offset: from + offset }, this.#bytesAt(from + offset, bytes)));
      return;
    }
    for (const [word] of this.#within(argument)) {
      this.#f.do(i64.store(this.#frame, word * WORD_BYTES, this.#bytesAt(word * WORD_BYTES, WORD_BYTES)));
    }
  }

  #whole(word: number): Local<'i64'> | undefined {
    return this.#isWhole.has(word) ? this.#wholes.get(word) : undefined;
  }

  /** Whether all of an argument is in variables. */
  hasAll({ from, to }: StackRange): boolean {
    for (let word = Math.floor(from / WORD_BYTES); word * WORD_BYTES < to; word++) if (!this.#words.has(word)) return false;
    return true;
  }

  /** Bytes of one or two words, zero-extended, wherever accesses begin and end. */
  read(from: number, bytes: AccessBytes): I64 {
    return lowBits(this.#bytesAt(from, bytes), bytes * 8);
  }

  /** Bytes of one or two words; above them there may be others. */
  #bytesAt(from: number, bytes: number): I64 {
    const parts: I64[] = [];
    const whole = bytes === WORD_BYTES && from % WORD_BYTES === 0 ? this.#whole(from / WORD_BYTES) : undefined;
    if (whole !== undefined) return whole;
    for (let word = Math.floor(from / WORD_BYTES); word * WORD_BYTES < from + bytes; word++) {
      for (const { shift, bits, local } of this.#words.get(word)!) {
        const above = (word * WORD_BYTES - from) * 8 + shift;
        if (above >= bytes * 8 || above + bits <= 0) continue;
        parts.push(above === 0 ? local : above > 0 ? i64.shl(local, i64.const(above)) : i64.shrU(local, i64.const(-above)));
      }
    }
    return parts.reduce((all, part) => i64.or(all, part));
  }

  /** Reads the words of `range` back, after a helper may have written them. */
  reload(range: StackRange): void {
    for (const [word, cells] of this.#within(range)) {
      const whole = i64.load(this.#frame, word * WORD_BYTES);
      if (cells.length === 1) {
        this.#f.set(cells[0]!.local, whole);
        continue;
      }
      const [first, ...rest] = cells;
      this.#isWhole.delete(word);
      this.#f.set(first!.local, whole);
      for (const { shift, bits, local } of rest) {
        const part = i64.shrU(first!.local, i64.const(shift));
        this.#f.set(local, shift + bits === 64 ? part : lowBits(part, bits));
      }
      this.#f.set(first!.local, lowBits(first!.local, first!.bits));
    }
  }

  #within({ from, to }: StackRange): (readonly [number, readonly Cell[]])[] {
    if (from >= to) return [];
    return [...this.#words].filter(([word]) => word >= Math.floor(from / WORD_BYTES) && word <= Math.floor((to - 1) / WORD_BYTES));
  }
}
