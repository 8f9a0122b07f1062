/**
 * Code that changes the tables of an LPM trie; lpm-layout.ts draws them. These are functions of the map's module,
 * called by update and delete.
 *
 * Invariant: a table has at least two things below it, so putting in adds at most one table, and taking out the last
 * but one removes it.
 */
import { call, i32, memory, select, type Callee, type I32 } from '../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../wasm/function-builder.ts';
import { ENTRY, HEADER, LEAF, SLOT, SLOTS, STRIDE, TABLE, lpmLayout, type LpmLayout } from './lpm-layout.ts';
import type { MapCode } from './map.ts';

type F = FunctionBuilder<'i32'>;

/** The four bits of a key's data below depth `bits`, which is a multiple of four. */
export function nibble(data: I32, dataOffset: number, bits: I32): I32 {
  const byte = i32.load8U(i32.add(data, i32.shrU(bits, i32.const(3))), dataOffset);
  return i32.and(i32.shrU(byte, i32.and(i32.xor(bits, i32.const(-1)), i32.const(STRIDE))), i32.const(SLOTS - 1));
}

/** Takes from a free list, or what was never used. */
function take(f: F, header: I32, free: number, top: number, sizeBytes: number): Local<'i32'> {
  const taken = f.let(i32.load(header, free), 'taken');
  f.if(
    taken,
    () => f.do(i32.store(header, free, i32.load(taken))),
    () => {
      f.set(taken, i32.load(header, top));
      f.do(i32.store(header, top, i32.add(taken, i32.const(sizeBytes))));
    },
  );
  return taken;
}

export class LpmTables {
  readonly layout: LpmLayout;
  readonly #code: MapCode;
  readonly #header: I32;

  constructor(code: MapCode) {
    this.#code = code;
    this.layout = lpmLayout(code.geometry.spec);
    this.#header = i32.const(code.geometry.storage);
  }

  takeEntry(f: F): Local<'i32'> {
    return take(f, this.#header, HEADER.freeEntry, HEADER.topEntry, this.layout.entryBytes);
  }

  releaseEntry(f: F, entry: I32): void {
    f.do(i32.store(entry, ENTRY.next, i32.load(this.#header, HEADER.freeEntry)));
    f.do(i32.store(this.#header, HEADER.freeEntry, entry));
  }

  /** `mask(at, bits)`: writes a mask of `bits` ones as long as the data. */
  get mask(): Callee<'i32'> {
    return this.#define('mask', 2, (f) => {
      const [at, bits, end] = [f.param(0, 'i32'), f.param(1, 'i32'), f.local('i32', 'end')];
      f.set(end, i32.add(at, i32.const(this.layout.dataBytes)));
      f.while(
        () => i32.ltU(at, end),
        () => {
          const ones = select(i32.gtS(bits, i32.const(8)), i32.const(8), select(i32.ltS(bits, i32.const(0)), i32.const(0), bits));
          f.do(i32.store8(at, 0, i32.shrU(i32.const(0xff00), ones)));
          f.set(bits, i32.sub(bits, i32.const(8)));
          f.set(at, i32.add(at, i32.const(1)));
        },
      );
      f.return(i32.const(0));
    });
  }

  /** `insert(entry)`: puts in an entry whose prefix is absent. */
  get insert(): Callee<'i32'> {
    return this.#define('insert', 1, (f) => {
      const entry = f.param(0, 'i32');
      const bits = f.let(i32.load(entry, ENTRY.prefixBits), 'bits');
      f.if(i32.eqz(bits), () => {
        f.do(i32.store(this.#header, HEADER.zero, entry));
        f.return(i32.const(0));
      });
      const wanted = f.let(this.#depthOf(bits), 'wanted');
      const [link, parent] = [f.let(i32.add(this.#header, i32.const(HEADER.root)), 'link'), f.local('i32', 'parent')];
      const [reference, table, depth] = [f.local('i32', 'reference'), f.local('i32', 'table'), f.local('i32', 'depth')];
      f.loop((again) => {
        f.set(reference, i32.load(link));
        f.if(i32.eqz(reference), () => {
          f.do(i32.store(link, 0, i32.or(entry, i32.const(LEAF))));
          f.if(parent, () => this.#addToCount(f, parent, 1));
          f.return(i32.const(0));
        });
        f.if(
          i32.and(reference, i32.const(LEAF)),
          () => {
            const other = f.let(i32.xor(reference, i32.const(LEAF)), 'other');
            const otherBits = f.let(i32.load(other, ENTRY.prefixBits), 'otherBits');
            f.set(depth, this.#least(f, this.#depthOf(otherBits), wanted));
            f.set(depth, this.#least(f, call(this.#common, entry, i32.add(other, i32.const(ENTRY.data))), depth));
            f.set(table, call(this.#newTable, entry, depth));
            f.do(i32.store(link, 0, table));
            f.if(
              i32.eq(this.#depthOf(otherBits), depth),
              () => f.do(call(this.#addToList, table, other)),
              () => {
                f.do(i32.store(this.#slot(table, nibble(other, ENTRY.data, depth)), this.layout.tableSlots + SLOT.child, reference));
                this.#addToCount(f, table, 1);
              },
            );
          },
          () => {
            f.set(table, reference);
            const tableBits = f.let(i32.load(table, TABLE.bits), 'tableBits');
            f.set(depth, this.#least(f, tableBits, wanted));
            f.set(depth, this.#least(f, call(this.#common, entry, i32.add(table, i32.const(TABLE.data))), depth));
            f.if(i32.ltU(depth, tableBits), () => {
              f.set(table, call(this.#newTable, entry, depth));
              f.do(i32.store(this.#slot(table, nibble(reference, TABLE.data, depth)), this.layout.tableSlots + SLOT.child, reference));
              this.#addToCount(f, table, 1);
              f.do(i32.store(link, 0, table));
            });
          },
        );
        f.if(i32.eq(i32.load(table, TABLE.bits), wanted), () => {
          f.do(call(this.#addToList, table, entry));
          f.return(i32.const(0));
        });
        f.set(parent, table);
        f.set(link, i32.add(this.#slot(table, nibble(entry, ENTRY.data, i32.load(table, TABLE.bits))), i32.const(this.layout.tableSlots + SLOT.child)));
        f.br(again);
      });
    });
  }

  /** `remove(entry)`: takes out an entry that is in. */
  get remove(): Callee<'i32'> {
    return this.#define('remove', 1, (f) => {
      const entry = f.param(0, 'i32');
      const bits = f.let(i32.load(entry, ENTRY.prefixBits), 'bits');
      f.if(i32.eqz(bits), () => {
        f.do(i32.store(this.#header, HEADER.zero, i32.const(0)));
        f.return(i32.const(0));
      });
      const link = f.let(i32.add(this.#header, i32.const(HEADER.root)), 'link');
      const [table, tableLink, reference] = [f.local('i32', 'table'), f.local('i32', 'tableLink'), f.local('i32', 'reference')];
      f.block((out) => {
        f.loop((again) => {
          f.set(reference, i32.load(link));
          f.if(i32.and(reference, i32.const(LEAF)), () => {
            f.do(i32.store(link, 0, i32.const(0)));
            f.br(out);
          });
          f.set(table, reference);
          f.set(tableLink, link);
          f.if(i32.eq(this.#depthOf(bits), i32.load(table, TABLE.bits)), () => {
            // The list's head is at the start of a table, as `next` is of an entry.
            const before = f.let(table, 'before');
            f.while(
              () => i32.ne(i32.load(before), entry),
              () => f.set(before, i32.load(before)),
            );
            f.do(i32.store(before, ENTRY.next, i32.load(entry, ENTRY.next)));
            f.do(call(this.#refreshBest, table));
            f.br(out);
          });
          f.set(link, i32.add(this.#slot(table, nibble(entry, ENTRY.data, i32.load(table, TABLE.bits))), i32.const(this.layout.tableSlots + SLOT.child)));
          f.br(again);
        });
      });
      f.if(i32.eqz(table), () => f.return(i32.const(0)));
      this.#addToCount(f, table, -1);
      f.if(i32.gtU(i32.load(table, TABLE.count), i32.const(1)), () => f.return(i32.const(0)));

      // What is left alone takes the table's place.
      const left = f.let(i32.load(table, TABLE.list), 'left');
      f.if(
        left,
        () => f.set(left, i32.or(left, i32.const(LEAF))),
        () => {
          const slot = f.let(table, 'slot');
          f.while(
            () => i32.eqz(f.tee(left, i32.load(slot, this.layout.tableSlots + SLOT.child))),
            () => f.set(slot, i32.add(slot, i32.const(SLOT.size))),
          );
        },
      );
      f.do(i32.store(tableLink, 0, left));
      f.do(i32.store(table, TABLE.list, i32.load(this.#header, HEADER.freeTable)));
      f.do(i32.store(this.#header, HEADER.freeTable, table));
      f.return(i32.const(0));
    });
  }

  /** `common(entry, data)`: how many leading bits of the entry's data agree with those at `data`. */
  get #common(): Callee<'i32'> {
    return this.#define('common', 2, (f) => {
      const [entry, data] = [f.param(0, 'i32'), f.param(1, 'i32')];
      const [index, difference] = [f.local('i32', 'index'), f.local('i32', 'difference')];
      f.while(
        () => i32.ltU(index, i32.const(this.layout.dataBytes)),
        () => {
          f.set(difference, i32.xor(i32.load8U(i32.add(entry, index), ENTRY.data), i32.load8U(i32.add(data, index))));
          f.if(difference, () => f.return(i32.add(i32.shl(index, i32.const(3)), i32.sub(i32.clz(difference), i32.const(24)))));
          f.set(index, i32.add(index, i32.const(1)));
        },
      );
      f.return(i32.const(this.layout.maxBits));
    });
  }

  /** `newTable(entry, depth)`: an empty table for what agrees with the entry down to `depth`. */
  get #newTable(): Callee<'i32'> {
    return this.#define('newTable', 2, (f) => {
      const [entry, depth, index] = [f.param(0, 'i32'), f.param(1, 'i32'), f.local('i32', 'index')];
      const { dataBytes, tableBytes, tableMask } = this.layout;
      const table = take(f, this.#header, HEADER.freeTable, HEADER.topTable, tableBytes);
      f.do(memory.fill(table, i32.const(0), i32.const(tableBytes)));
      f.do(i32.store(table, TABLE.bits, depth));
      f.do(call(this.mask, i32.add(table, i32.const(tableMask)), depth));
      f.while(
        () => i32.ltU(index, i32.const(dataBytes)),
        () => {
          const place = i32.add(table, index);
          f.do(i32.store8(place, TABLE.data, i32.and(i32.load8U(i32.add(entry, index), ENTRY.data), i32.load8U(place, tableMask))));
          f.set(index, i32.add(index, i32.const(1)));
        },
      );
      f.return(table);
    });
  }

  get #addToList(): Callee<'i32'> {
    return this.#define('addToList', 2, (f) => {
      const [table, entry, following] = [f.param(0, 'i32'), f.param(1, 'i32'), f.local('i32', 'following')];
      const before = f.let(table, 'before');
      f.while(
        () => f.tee(following, i32.load(before)),
        (_again, end) => {
          f.brIf(end, i32.ltU(i32.load(following, ENTRY.prefixBits), i32.load(entry, ENTRY.prefixBits)));
          f.set(before, following);
        },
      );
      f.do(i32.store(entry, ENTRY.next, following));
      f.do(i32.store(before, ENTRY.next, entry));
      this.#addToCount(f, table, 1);
      f.do(call(this.#refreshBest, table));
      f.return(i32.const(0));
    });
  }

  /** `refreshBest(table)`: says for each slot anew which of the list is the longest that covers it. */
  get #refreshBest(): Callee<'i32'> {
    return this.#define('refreshBest', 1, (f) => {
      const table = f.param(0, 'i32');
      const { tableSlots } = this.layout;
      const [slot, end] = [f.let(table, 'slot'), f.let(i32.add(table, i32.const(SLOTS * SLOT.size)), 'end')];
      f.while(
        () => i32.ltU(slot, end),
        () => {
          f.do(i32.store(slot, tableSlots + SLOT.best, i32.const(0)));
          f.set(slot, i32.add(slot, i32.const(SLOT.size)));
        },
      );
      const bits = f.let(i32.load(table, TABLE.bits), 'bits');
      const entry = f.let(i32.load(table, TABLE.list), 'entry');
      f.while(
        () => entry,
        () => {
          const covered = f.let(i32.shl(i32.const(1), i32.sub(i32.const(STRIDE), i32.sub(i32.load(entry, ENTRY.prefixBits), bits))), 'covered');
          f.set(slot, this.#slot(table, i32.and(nibble(entry, ENTRY.data, bits), i32.sub(i32.const(0), covered))));
          f.set(end, i32.add(slot, i32.mul(covered, i32.const(SLOT.size))));
          f.while(
            () => i32.ltU(slot, end),
            () => {
              f.if(i32.eqz(i32.load(slot, tableSlots + SLOT.best)), () => f.do(i32.store(slot, tableSlots + SLOT.best, entry)));
              f.set(slot, i32.add(slot, i32.const(SLOT.size)));
            },
          );
          f.set(entry, i32.load(entry, ENTRY.next));
        },
      );
      f.return(i32.const(0));
    });
  }

  /** Depth of the table whose list holds prefixes of that length. */
  #depthOf(bits: I32): I32 {
    return i32.and(i32.sub(bits, i32.const(1)), i32.const(-STRIDE));
  }

  #slot(table: I32, index: I32): I32 {
    return i32.add(table, i32.mul(index, i32.const(SLOT.size)));
  }

  /** The smaller, rounded down to a depth. */
  #least(f: F, a: I32, b: I32): I32 {
    const [first, second] = [f.let(a, 'first'), f.let(b, 'second')];
    return i32.and(select(i32.ltU(first, second), first, second), i32.const(-STRIDE));
  }

  #addToCount(f: F, table: I32, change: 1 | -1): void {
    f.do(i32.store(table, TABLE.count, i32.add(i32.load(table, TABLE.count), i32.const(change))));
  }

  #define(name: string, params: number, emit: (f: F) => void): Callee<'i32'> {
    return this.#code.part(name, () => {
      const f = this.#code.module.function(`${this.#code.geometry.spec.name}.${name}`, Array.from({ length: params }, () => 'i32' as const), 'i32');
      emit(f);
      return f;
    });
  }
}
