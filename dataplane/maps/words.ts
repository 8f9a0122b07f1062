/**
 * Code that moves, compares and hashes keys and values of a size that is known when it is emitted.
 *
 * A key is read as little-endian 64-bit words, the last one zero-extended, in pieces that neither overlap nor touch a
 * byte beside the key:
 *
 *   13 bytes:  word 0 = bytes 0..7   word 1 = bytes 8..11 and 12
 *
 * Compiled programs write keys in the same pieces: a load whose bytes come from two stores stalls the processor.
 * Addresses given as expressions are read several times: they must be locals or constants.
 */
import { i32, i64, memory, type I32, type I64 } from '../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../wasm/function-builder.ts';
import type { MapKey } from './map.ts';

const WORD_BYTES = 8;
/** Above this, the engine's own copy and fill win over unrolled loads and stores. */
const UNROLLED_BYTES = 128;

export interface Piece {
  readonly offset: number;
  readonly bytes: 1 | 2 | 4 | 8;
}

/** From the start, each as large as what is left allows. */
export function pieces(lengthBytes: number): readonly Piece[] {
  const found: Piece[] = [];
  for (let offset = 0; offset < lengthBytes; ) {
    const bytes = ([8, 4, 2, 1] as const).find((size) => size <= lengthBytes - offset)!;
    found.push({ offset, bytes });
    offset += bytes;
  }
  return found;
}

const LOAD = { 1: i64.load8U, 2: i64.load16U, 4: i64.load32U, 8: i64.load } as const;
const STORE = { 1: i64.store8, 2: i64.store16, 4: i64.store32, 8: i64.store } as const;

/** Place of a piece in its word. */
const shiftOf = ({ offset }: Piece): number => 8 * (offset % WORD_BYTES);

/** The words of `lengthBytes` bytes at `address + offset`, as expressions. */
export function wordsAt(address: I32, offset: number, lengthBytes: number): readonly I64[] {
  return assembleWords(lengthBytes, (piece) => LOAD[piece.bytes](address, offset + piece.offset));
}

function assembleWords(lengthBytes: number, read: (piece: Piece) => I64): readonly I64[] {
  const words: I64[] = [];
  for (const piece of pieces(lengthBytes)) {
    const loaded = read(piece);
    const shift = shiftOf(piece);
    if (shift === 0) words.push(loaded);
    else words.push(i64.or(words.pop()!, i64.shl(loaded, i64.const(shift))));
  }
  return words;
}

/** The same, read once into variables. */
export function loadWords(f: FunctionBuilder, address: I32, offset: number, lengthBytes: number): readonly Local<'i64'>[] {
  return wordsAt(address, offset, lengthBytes).map((word, index) => f.let(word, `word${index}`));
}

/** The words of a key, read once into variables. */
export function wordsOf(f: FunctionBuilder, key: MapKey, lengthBytes: number): readonly Local<'i64'>[] {
  return assembleWords(lengthBytes, ({ offset, bytes }) => key.read(offset, bytes)).map((word, index) => f.let(word, `word${index}`));
}

/** A key in memory. */
export function keyAt(address: I32): MapKey {
  return { read: (offset, bytes) => LOAD[bytes](address, offset), address: () => address };
}

/** Writes words that `loadWords` read. */
export function storeWords(f: FunctionBuilder, address: I32, offset: number, words: readonly Local<'i64'>[], lengthBytes: number): void {
  for (const piece of pieces(lengthBytes)) {
    const word = words[Math.floor(piece.offset / WORD_BYTES)]!;
    const shift = shiftOf(piece);
    f.do(STORE[piece.bytes](address, offset + piece.offset, shift === 0 ? word : i64.shrU(word, i64.const(shift))));
  }
}

/** Whether the bytes at `address + offset` are those words. */
export function equalsWords(address: I32, offset: number, words: readonly Local<'i64'>[], lengthBytes: number): I32 {
  const found = wordsAt(address, offset, lengthBytes);
  if (found.length === 1) return i64.eq(found[0]!, words[0]!);
  return i64.eqz(found.map((word, index) => i64.xor(word, words[index]!)).reduce((all, difference) => i64.or(all, difference)));
}

/** Copies bytes that do not overlap, unless they are the same. */
export function copyBytes(f: FunctionBuilder, to: I32, toOffset: number, from: I32, fromOffset: number, lengthBytes: number): void {
  if (lengthBytes === 0) return;
  if (lengthBytes > UNROLLED_BYTES) {
    f.do(memory.copy(i32.add(to, i32.const(toOffset)), i32.add(from, i32.const(fromOffset)), i32.const(lengthBytes)));
    return;
  }
  for (const piece of pieces(lengthBytes)) {
    f.do(STORE[piece.bytes](to, toOffset + piece.offset, LOAD[piece.bytes](from, fromOffset + piece.offset)));
  }
}

export function zeroBytes(f: FunctionBuilder, at: I32, offset: number, lengthBytes: number): void {
  if (lengthBytes === 0) return;
  if (lengthBytes > UNROLLED_BYTES) {
    f.do(memory.fill(i32.add(at, i32.const(offset)), i32.const(0), i32.const(lengthBytes)));
    return;
  }
  for (const piece of pieces(lengthBytes)) f.do(STORE[piece.bytes](at, offset + piece.offset, i64.const(0)));
}

const GOLDEN = 0x9e37_79b9_7f4a_7c15n;

/** An odd constant for each position of a key: the splitmix64 sequence. */
function multiplier(index: number): I64 {
  let x = BigInt.asUintN(64, GOLDEN * BigInt(index + 1));
  x = BigInt.asUintN(64, (x ^ (x >> 30n)) * 0xbf58_476d_1ce4_e5b9n);
  x = BigInt.asUintN(64, (x ^ (x >> 27n)) * 0x94d0_49bb_1331_11ebn);
  return i64.const(BigInt.asIntN(64, (x ^ (x >> 31n)) | 1n));
}

/**
 * A hash of all words in which every bit depends on every bit of the key. Words are multiplied independently, so that a
 * long key costs little more than a short one. The folds carry upper halves down, which products do not: what differs in
 * the upper bits of two words alone, as the last bytes of two addresses do, would cancel out in the sum.
 */
export function hashWords(f: FunctionBuilder, words: readonly Local<'i64'>[]): Local<'i32'> {
  const folded = (word: I64): I64 => i64.xor(word, i64.shrU(word, i64.const(32)));
  const sum = f.let(words.map((word, index) => i64.mul(folded(word), multiplier(index + 1))).reduce((all, product) => i64.add(all, product)), 'sum');
  return f.let(i32.wrap(i64.shrU(i64.mul(folded(sum), multiplier(0)), i64.const(32))), 'hash');
}
