/**
 * The short way through an LPM trie of IPv4 prefixes: tables of 16, 8 and 8 bits that say for every address which prefix
 * is the longest, in at most three loads. The trie beside it knows all prefixes, and is asked for everything else.
 *
 *   first   65536 cells, by the first two bytes of the address as a little-endian load reads them
 *   table   256 cells, by the next byte; behind them u32 count: prefixes that are longer than what leads here
 *
 * A cell is 0 for no prefix, the address of an entry, or of a table with bit 0 set; SLOW where there was no table left
 * to take: then the trie is asked. Tables are taken for prefixes of more than 16 and of more than 24 bits.
 *
 * Invariant: below a prefix, a cell holds something longer, or the prefix itself. So to put one in is to replace the next
 * shorter one in all cells that it covers, and to take it out is the opposite.
 */
import { call, i32, select, type Callee, type I32 } from '../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../wasm/function-builder.ts';
import { DIRECT, ENTRY, HEADER, lpmLayout, type LpmLayout } from './lpm-layout.ts';
import type { Found, MapCode, MapKey } from './map.ts';

type F = FunctionBuilder<'i32'>;

/** On the way down: the entry, its length and address, and the cell at `level` bits, which is found in the next table by byte `next` of the address. */
interface Way {
  readonly entry: I32;
  readonly bits: I32;
  readonly address: I32;
  readonly cell: I32;
  readonly level: number;
  readonly next: 2 | 3;
}

const IS_TABLE = 1;
const SLOW = 3;
const CELL_BYTES = 4;
const CELLS = 256;

export class LpmDirect {
  readonly #code: MapCode;
  readonly #layout: LpmLayout;
  readonly #header: I32;
  readonly #first: number;
  /** `lookup(key)`: what the trie answers, for a key of any length. */
  readonly #ask: () => Callee<'i32'>;

  constructor(code: MapCode, ask: () => Callee<'i32'>) {
    this.#code = code;
    this.#layout = lpmLayout(code.geometry.spec);
    this.#header = i32.const(code.geometry.storage);
    this.#first = code.geometry.storage + this.#layout.direct;
    this.#ask = ask;
  }

  /** What a lookup answers. */
  found(f: FunctionBuilder, key: MapKey): Found {
    const cell = f.local('i32', 'cell');
    f.block((end) => {
      const ask = (): void => {
        const value = f.let(call(this.#ask(), key.address()), 'value');
        f.set(cell, select(value, i32.sub(value, i32.const(this.#layout.entryValue)), i32.const(0)));
        f.br(end);
      };
      f.if(i32.ne(i32.wrap(key.read(0, 4)), i32.const(this.#layout.maxBits)), ask);
      const address = f.let(i32.wrap(key.read(4, 4)), 'address');
      f.set(cell, i32.load(i32.shl(i32.and(address, i32.const(0xffff)), i32.const(2)), this.#first));
      const deeper = (index: I32): void => {
        f.if(i32.eq(cell, i32.const(SLOW)), ask);
        f.set(cell, i32.load(this.#cellAt(cell, index)));
      };
      f.if(i32.and(cell, i32.const(IS_TABLE)), () => {
        deeper(byteOf(address, 2));
        f.if(i32.and(cell, i32.const(IS_TABLE)), () => deeper(byteOf(address, 3)));
      });
    });
    return { isThere: cell, address: i32.add(cell, i32.const(this.#layout.entryValue)) };
  }

  /** An entry whose prefix is new, and not yet in the trie. */
  put(f: F, entry: Local<'i32'>): void {
    const shorter = f.let(call(this.#shorter, entry, i32.sub(i32.load(entry, ENTRY.prefixBits), i32.const(1))), 'shorter');
    f.do(call(this.#open, entry));
    f.do(call(this.#repaint, entry, shorter, entry));
  }

  /** An entry in the place of another of the same prefix. */
  replace(f: F, old: I32, entry: I32): void {
    f.do(call(this.#repaint, entry, old, entry));
  }

  /** An entry that the trie has no more. */
  remove(f: F, entry: Local<'i32'>): void {
    f.do(call(this.#repaint, entry, entry, call(this.#shorter, entry, i32.sub(i32.load(entry, ENTRY.prefixBits), i32.const(1)))));
    f.do(call(this.#close, entry));
  }

  /** `shorter(entry, bits)`: the longest prefix of at most so many bits that covers the entry's; 0 if none does, or bits is −1. The entry is not in the trie. */
  get #shorter(): Callee<'i32'> {
    return this.#part('shorter', 2, (f) => {
      const [entry, bits] = [f.param(0, 'i32'), f.param(1, 'i32')];
      f.if(i32.ltS(bits, i32.const(0)), () => f.return(i32.const(0)));
      // An entry holds its prefix as a key does.
      const own = f.let(i32.load(entry, ENTRY.prefixBits), 'own');
      f.do(i32.store(entry, ENTRY.prefixBits, bits));
      const value = f.let(call(this.#ask(), i32.add(entry, i32.const(ENTRY.prefixBits))), 'value');
      f.do(i32.store(entry, ENTRY.prefixBits, own));
      f.return(select(value, i32.sub(value, i32.const(this.#layout.entryValue)), i32.const(0)));
    });
  }

  /** `repaint(entry, from, to)`: in all cells that the entry's prefix covers. */
  get #repaint(): Callee<'i32'> {
    return this.#part('repaint', 3, (f) => {
      const [entry, from, to] = [f.param(0, 'i32'), f.param(1, 'i32'), f.param(2, 'i32')];
      const bits = f.let(i32.load(entry, ENTRY.prefixBits), 'bits');
      const address = f.let(i32.load(entry, ENTRY.data), 'address');
      const [index, end] = [f.local('i32', 'index'), f.local('i32', 'end')];
      /** The cells of one level below `level` bits. */
      const range = (level: number, whole: I32, cell: (index: I32) => I32): void => {
        const rest = f.let(i32.sub(i32.const(level), bits), 'rest');
        f.set(index, i32.shl(i32.shrU(whole, rest), rest));
        f.set(end, i32.add(index, i32.shl(i32.const(1), rest)));
        f.while(
          () => i32.ltU(index, end),
          (again) => {
            f.do(call(this.#repaintCell, cell(index), from, to));
            f.set(index, i32.add(index, i32.const(1)));
            f.br(again);
          },
        );
        f.return(i32.const(0));
      };
      f.if(i32.leU(bits, i32.const(16)), () => range(16, swap16(address), (at) => this.#firstCell(swap16(at))));
      const table = f.let(i32.load(this.#firstCell(address)), 'table');
      f.if(i32.eq(table, i32.const(SLOW)), () => f.return(i32.const(0)));
      f.if(i32.leU(bits, i32.const(24)), () => range(24, byteOf(address, 2), (at) => this.#cellAt(table, at)));
      f.set(table, i32.load(this.#cellAt(table, byteOf(address, 2))));
      f.if(i32.eq(table, i32.const(SLOW)), () => f.return(i32.const(0)));
      range(32, byteOf(address, 3), (at) => this.#cellAt(table, at));
    });
  }

  /** `repaint_cell(cell, from, to)`: a cell, and what is in the table that it leads to. */
  get #repaintCell(): Callee<'i32'> {
    return this.#part('repaintCell', 3, (f) => {
      const [cell, from, to] = [f.param(0, 'i32'), f.param(1, 'i32'), f.param(2, 'i32')];
      const held = f.let(i32.load(cell), 'held');
      f.if(i32.eq(held, i32.const(SLOW)), () => f.return(i32.const(0)));
      f.if(
        i32.and(held, i32.const(IS_TABLE)),
        () =>
          this.#eachCell(f, held, (below) => f.do(call(f, below, from, to))),
        () => f.if(i32.eq(held, from), () => f.do(i32.store(cell, 0, to))),
      );
      f.return(i32.const(0));
    });
  }

  /** `open(entry)`: the tables that lead to a prefix of that length. */
  get #open(): Callee<'i32'> {
    return this.#part('open', 1, (f) => {
      this.#descend(f, ({ cell }) => {
        const table = f.let(call(this.#tableAt, cell), 'table');
        f.if(i32.eqz(table), () => f.return(i32.const(0)));
        this.#addToCount(f, table, 1);
        return table;
      });
    });
  }

  /** `table_at(cell)`: the table that a cell leads to, made if there is none; 0 where none was left. As a cell holds it. */
  get #tableAt(): Callee<'i32'> {
    return this.#part('tableAt', 1, (f) => {
      const cell = f.param(0, 'i32');
      const held = f.let(i32.load(cell), 'held');
      f.if(i32.eq(held, i32.const(SLOW)), () => f.return(i32.const(0)));
      f.if(i32.and(held, i32.const(IS_TABLE)), () => f.return(held));
      const table = f.let(i32.load(this.#header, HEADER.freeDirect), 'table');
      f.if(
        table,
        () => f.do(i32.store(this.#header, HEADER.freeDirect, i32.load(table))),
        () => {
          f.set(table, i32.load(this.#header, HEADER.topDirect));
          f.if(i32.geU(table, i32.const(this.#code.geometry.storage + this.#layout.directEnd)), () => {
            f.do(i32.store(cell, 0, i32.const(SLOW)));
            f.return(i32.const(0));
          });
          f.do(i32.store(this.#header, HEADER.topDirect, i32.add(table, i32.const(DIRECT.tableBytes))));
        },
      );
      f.do(i32.store(table, DIRECT.count, i32.const(0)));
      f.set(table, i32.or(table, i32.const(IS_TABLE)));
      this.#eachCell(f, table, (below) => f.do(i32.store(below, 0, held)));
      f.do(i32.store(cell, 0, table));
      f.return(table);
    });
  }

  /** `close(entry)`: gives back the tables that only a prefix of that length needed. */
  get #close(): Callee<'i32'> {
    return this.#part('close', 1, (f) => {
      this.#descend(f, ({ entry, bits, address, cell, level, next }) => {
        const table = f.let(i32.load(cell), 'table');
        f.if(i32.eq(table, i32.const(SLOW)), () => f.return(i32.const(0)));
        this.#addToCount(f, table, -1);
        f.if(i32.eqz(i32.load(table, DIRECT.count - IS_TABLE)), () => {
          f.do(i32.store(cell, 0, call(this.#shorter, entry, i32.const(level))));
          // What it leads to has nothing left either.
          if (next === 2) {
            const below = f.let(i32.load(this.#cellAt(table, byteOf(address, 2))), 'below');
            f.if(i32.and(i32.gtU(bits, i32.const(24)), i32.and(i32.ne(below, i32.const(SLOW)), i32.and(below, i32.const(IS_TABLE)))), () => this.#release(f, below));
          }
          this.#release(f, table);
          f.return(i32.const(0));
        });
        return table;
      });
    });
  }

  /** From the first table to the one that an entry's length leads to. `step` emits what is done at each, and answers the table that is there. */
  #descend(f: F, step: (way: Way) => I32): void {
    const entry = f.param(0, 'i32');
    const bits = f.let(i32.load(entry, ENTRY.prefixBits), 'bits');
    const address = f.let(i32.load(entry, ENTRY.data), 'address');
    const cell = f.let(this.#firstCell(address), 'cell');
    for (const [level, next] of LEVELS) {
      f.if(i32.leU(bits, i32.const(level)), () => f.return(i32.const(0)));
      f.set(cell, this.#cellAt(step({ entry, bits, address, cell, level, next }), byteOf(address, next)));
    }
    f.return(i32.const(0));
  }

  /** A table as a cell holds it. */
  #release(f: F, held: I32): void {
    const table = f.let(i32.xor(held, i32.const(IS_TABLE)), 'released');
    f.do(i32.store(table, 0, i32.load(this.#header, HEADER.freeDirect)));
    f.do(i32.store(this.#header, HEADER.freeDirect, table));
  }

  #addToCount(f: F, held: I32, change: 1 | -1): void {
    f.do(i32.store(held, DIRECT.count - IS_TABLE, i32.add(i32.load(held, DIRECT.count - IS_TABLE), i32.const(change))));
  }

  #eachCell(f: F, held: I32, body: (cell: I32) => void): void {
    const [below, end] = [f.let(i32.xor(held, i32.const(IS_TABLE)), 'below'), f.local('i32', 'end')];
    f.set(end, i32.add(below, i32.const(CELLS * CELL_BYTES)));
    f.while(
      () => i32.ltU(below, end),
      (again) => {
        body(below);
        f.set(below, i32.add(below, i32.const(CELL_BYTES)));
        f.br(again);
      },
    );
  }

  #firstCell(index: I32): I32 {
    return i32.add(i32.const(this.#first), i32.shl(i32.and(index, i32.const(0xffff)), i32.const(2)));
  }

  /** Of a table as a cell holds it. */
  #cellAt(held: I32, index: I32): I32 {
    return i32.add(i32.xor(held, i32.const(IS_TABLE)), i32.shl(index, i32.const(2)));
  }

  #part(name: string, params: number, emit: (f: F) => void): Callee<'i32'> {
    return this.#code.part(`direct ${name}`, () => {
      const f = this.#code.module.function(`${this.#code.geometry.spec.name}.direct.${name}`, Array.from({ length: params }, () => 'i32' as const), 'i32');
      emit(f);
      return f;
    });
  }
}

/** Prefixes longer than the first need a table, which the second byte of the address looks into. */
const LEVELS = [
  [16, 2],
  [24, 3],
] as const;

/** A byte of an address as a little-endian load reads it. */
function byteOf(address: I32, byte: 2 | 3): I32 {
  const shifted = i32.shrU(address, i32.const(8 * byte));
  return byte === 3 ? shifted : i32.and(shifted, i32.const(0xff));
}

/** The low two bytes in the other order. */
function swap16(value: I32): I32 {
  return i32.or(i32.shl(i32.and(value, i32.const(0xff)), i32.const(8)), i32.and(i32.shrU(value, i32.const(8)), i32.const(0xff)));
}
