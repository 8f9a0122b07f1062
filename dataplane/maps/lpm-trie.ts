/**
 * BPF_MAP_TYPE_LPM_TRIE (Linux Documentation/bpf/map_lpm_trie.rst): the value of the longest prefix that matches. A key
 * is a u32 prefix length in host order, then data in network order, as many bits of which count; a lookup finds only
 * prefixes that are no longer than its own.
 *
 * lpm-layout.ts draws the storage, lpm-tables.ts changes it; lpm-direct.ts is a short way to look up IPv4 addresses.
 */
import { BPF_MAP_TYPE } from '../bpf/map-type.ts';
import { call, i32, i64, select, type Callee, type I32 } from '../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../wasm/function-builder.ts';
import { consistently, exclusively } from './exclusion.ts';
import { LpmDirect } from './lpm-direct.ts';
import { ENTRY, HEADER, IPV4_BYTES, LEAF, PREFIX_BYTES, SLOT, SLOTS, STRIDE, TABLE, allocateLpm, lpmSize } from './lpm-layout.ts';
import { LpmTables, nibble } from './lpm-tables.ts';
import { MAP_FLAG, checkAccessFlags, checkMaxEntries, refuse } from './map-check.ts';
import { ERRNO, UPDATE, type Found, type MapCode, type MapKey, type MapType } from './map.ts';
import { copyBytes, keyAt, loadWords, wordsAt } from './words.ts';

const NAME = 'lpm_trie';
const FLAGS = MAP_FLAG.NO_PREALLOC | MAP_FLAG.NUMA_NODE | MAP_FLAG.ACCESS;
const MAX_DATA_BYTES = 256;
/** The largest allocation of Linux, less its node and the largest key. */
const MAX_VALUE_BYTES = 4_194_304 - MAX_DATA_BYTES - PREFIX_BYTES - 40;

type F = FunctionBuilder<'i32'>;

class LpmCode {
  readonly #code: MapCode;
  readonly #tables: LpmTables;
  readonly #header: I32;
  /** For IPv4 prefixes: the short way for whole addresses. */
  readonly #direct: LpmDirect | undefined;

  constructor(code: MapCode) {
    this.#code = code;
    this.#tables = new LpmTables(code);
    this.#direct = this.#tables.layout.dataBytes === IPV4_BYTES ? new LpmDirect(code, () => this.#lookupPrefix) : undefined;
    this.#header = i32.const(code.geometry.storage);
  }

  /** Looking for a whole address is the rule; a shorter prefix takes the slower way. */
  lookup(f: F): void {
    const { isThere, address } = this.found(f, keyAt(f.param(0, 'i32')));
    f.return(select(isThere, address, i32.const(0)));
  }

  /** What a lookup answers, where it stands: a few instructions for IPv4, for all else a call. */
  found(f: FunctionBuilder, key: MapKey): Found {
    return consistently(f, this.#code, HEADER.lock, () => {
      if (this.#direct) return this.#direct.found(f, key);
      const value = f.let(call(this.#lookupWhole, key.address()), 'value');
      return { isThere: value, address: value };
    });
  }

  get #lookupWhole(): Callee<'i32'> {
    return this.#part('lookupWhole', (f) => {
      const key = f.param(0, 'i32');
      f.if(i32.ne(i32.load(key), i32.const(this.#tables.layout.maxBits)), () => f.return(call(this.#lookupPrefix, key)));
      this.#longest(f, key, undefined);
    });
  }

  get #lookupPrefix(): Callee<'i32'> {
    return this.#part('lookupPrefix', (f) => {
      const key = f.param(0, 'i32');
      const bits = f.let(i32.load(key), 'bits');
      f.if(i32.gtU(bits, i32.const(this.#tables.layout.maxBits)), () => f.return(i32.const(0)));
      this.#longest(f, key, bits);
    });
  }

  /** Returns the longest prefix of the key's data, no longer than `most` bits where that is given. */
  #longest(f: F, key: Local<'i32'>, most: Local<'i32'> | undefined): void {
    const { dataBytes, entryMask, entryValue, tableMask, tableSlots } = this.#tables.layout;
    const words = loadWords(f, key, PREFIX_BYTES, dataBytes);
    const best = f.let(i32.load(this.#header, HEADER.zero), 'best');
    const reference = f.let(i32.load(this.#header, HEADER.root), 'reference');
    const [bits, slot, found] = [f.local('i32', 'depth'), f.local('i32', 'slot'), f.local('i32', 'found')];
    f.while(
      () => reference,
      (_again, end) => {
        f.if(i32.and(reference, i32.const(LEAF)), () => {
          f.set(found, i32.xor(reference, i32.const(LEAF)));
          if (most) f.brIf(end, i32.gtU(i32.load(found, ENTRY.prefixBits), most));
          f.if(this.#agrees(found, ENTRY.data, entryMask, words), () => f.set(best, found));
          f.br(end);
        });
        f.set(bits, i32.load(reference, TABLE.bits));
        f.brIf(end, i32.eqz(this.#agrees(reference, TABLE.data, tableMask, words)));
        if (most) {
          f.if(i32.gtU(i32.add(bits, i32.const(STRIDE)), most), () => {
            f.set(found, i32.load(reference, TABLE.list));
            f.while(
              () => found,
              () => {
                f.if(i32.leU(i32.load(found, ENTRY.prefixBits), most), () =>
                  f.if(this.#agrees(found, ENTRY.data, entryMask, words), () => {
                    f.set(best, found);
                    f.br(end);
                  }),
                );
                f.set(found, i32.load(found, ENTRY.next));
              },
            );
            f.br(end);
          });
        }
        f.set(slot, i32.add(reference, i32.mul(nibble(key, PREFIX_BYTES, bits), i32.const(SLOT.size))));
        f.set(found, i32.load(slot, tableSlots + SLOT.best));
        f.set(best, select(found, found, best));
        f.set(reference, i32.load(slot, tableSlots + SLOT.child));
      },
    );
    f.return(select(best, i32.add(best, i32.const(entryValue)), i32.const(0)));
  }

  update(f: F): void {
    const { geometry } = this.#code;
    const { layout } = this.#tables;
    const [key, value, flags] = [f.param(0, 'i32'), f.param(1, 'i32'), f.param(2, 'i32')];
    f.if(i32.gtU(flags, i32.const(UPDATE.exist)), () => f.return(i32.const(-ERRNO.EINVAL)));
    f.if(i32.gtU(i32.load(key), i32.const(layout.maxBits)), () => f.return(i32.const(-ERRNO.EINVAL)));
    const old = f.let(call(this.#find, key), 'old');
    f.if(
      old,
      () => f.if(i32.eq(flags, i32.const(UPDATE.noExist)), () => f.return(i32.const(-ERRNO.EEXIST))),
      () => {
        f.if(i32.eq(flags, i32.const(UPDATE.exist)), () => f.return(i32.const(-ERRNO.ENOENT)));
        f.if(i32.geU(i32.load(this.#header, HEADER.count), i32.const(geometry.spec.maxEntries)), () => f.return(i32.const(-ERRNO.ENOSPC)));
      },
    );
    const entry = this.#tables.takeEntry(f);
    copyBytes(f, entry, ENTRY.prefixBits, key, 0, geometry.spec.keyBytes);
    f.do(call(this.#tables.mask, i32.add(entry, i32.const(layout.entryMask)), i32.load(key)));
    copyBytes(f, entry, layout.entryValue, value, 0, geometry.spec.valueBytes);
    f.if(
      old,
      () => {
        f.do(call(this.#tables.remove, old));
        f.do(call(this.#tables.insert, entry));
        this.#direct?.replace(f, old, entry);
        this.#tables.releaseEntry(f, old);
      },
      () => {
        this.#addToCount(f, 1);
        this.#direct?.put(f, entry);
        f.do(call(this.#tables.insert, entry));
      },
    );
    f.return(i32.const(0));
  }

  delete(f: F): void {
    const key = f.param(0, 'i32');
    f.if(i32.gtU(i32.load(key), i32.const(this.#tables.layout.maxBits)), () => f.return(i32.const(-ERRNO.EINVAL)));
    const entry = f.let(call(this.#find, key), 'entry');
    f.if(i32.eqz(entry), () => f.return(i32.const(-ERRNO.ENOENT)));
    f.do(call(this.#tables.remove, entry));
    this.#direct?.remove(f, entry);
    this.#tables.releaseEntry(f, entry);
    this.#addToCount(f, -1);
    f.return(i32.const(0));
  }

  /** Longer prefixes before those that contain them, otherwise by address. */
  next(f: F): void {
    const { tableSlots } = this.#tables.layout;
    const [key, out] = [f.param(0, 'i32'), f.param(1, 'i32')];
    const current = f.local('i32', 'current');
    f.if(key, () => f.set(current, call(this.#find, key)));
    const reference = f.let(i32.load(this.#header, HEADER.root), 'reference');
    const [following, later, bits] = [f.local('i32', 'following'), f.local('i32', 'later'), f.let(i32.load(current, ENTRY.prefixBits), 'bits')];
    f.if(
      i32.eqz(current),
      () => f.set(following, reference),
      () =>
        // The next one is in the deepest table above the current entry that has anything behind it.
        f.if(bits, () =>
          f.while(
            () => i32.and(i32.ne(reference, i32.const(0)), i32.eqz(i32.and(reference, i32.const(LEAF)))),
            (_again, end) => {
              const depth = f.let(i32.load(reference, TABLE.bits), 'depth');
              const within = f.let(i32.leU(bits, i32.add(depth, i32.const(STRIDE))), 'within');
              const branch = f.let(nibble(current, ENTRY.data, depth), 'branch');
              const rank = f.let(i32.mul(branch, i32.const(RANKS)), 'rank');
              f.if(within, () => f.set(rank, this.#rank(current, depth)));
              f.set(later, call(this.#after, reference, rank));
              f.if(later, () => f.set(following, later));
              f.brIf(end, within);
              f.set(reference, i32.load(i32.add(reference, i32.mul(branch, i32.const(SLOT.size))), tableSlots + SLOT.child));
            },
          ),
        ),
    );
    const entry = f.local('i32', 'entry');
    f.if(
      following,
      () => {
        f.while(
          () => i32.eqz(i32.and(following, i32.const(LEAF))),
          () => f.set(following, call(this.#after, following, i32.const(-1))),
        );
        f.set(entry, i32.xor(following, i32.const(LEAF)));
      },
      () => {
        // Prefix length 0 contains all others.
        f.set(entry, i32.load(this.#header, HEADER.zero));
        f.if(i32.or(i32.eqz(entry), i32.eq(entry, current)), () => f.return(i32.const(-ERRNO.ENOENT)));
      },
    );
    copyBytes(f, out, 0, entry, ENTRY.prefixBits, this.#code.geometry.spec.keyBytes);
    f.return(i32.const(0));
  }

  /** `find(key)`: the entry of exactly that prefix. */
  get #find(): Callee<'i32'> {
    return this.#part('find', (f) => {
      const { maxBits, dataBytes, entryMask, tableSlots } = this.#tables.layout;
      const key = f.param(0, 'i32');
      const bits = f.let(i32.load(key), 'bits');
      f.if(i32.gtU(bits, i32.const(maxBits)), () => f.return(i32.const(0)));
      f.if(i32.eqz(bits), () => f.return(i32.load(this.#header, HEADER.zero)));
      const words = loadWords(f, key, PREFIX_BYTES, dataBytes);
      const isIt = (entry: I32): I32 => i32.and(i32.eq(i32.load(entry, ENTRY.prefixBits), bits), this.#agrees(entry, ENTRY.data, entryMask, words));
      const reference = f.let(i32.load(this.#header, HEADER.root), 'reference');
      const [depth, entry] = [f.local('i32', 'depth'), f.local('i32', 'entry')];
      f.while(
        () => reference,
        (_again, absent) => {
          f.if(i32.and(reference, i32.const(LEAF)), () => {
            f.set(entry, i32.xor(reference, i32.const(LEAF)));
            f.return(select(isIt(entry), entry, i32.const(0)));
          });
          f.set(depth, i32.load(reference, TABLE.bits));
          // Whether the table agrees does not matter: the entry is compared whole.
          f.if(i32.leU(bits, i32.add(depth, i32.const(STRIDE))), () => {
            f.set(entry, i32.load(reference, TABLE.list));
            f.while(
              () => entry,
              () => {
                f.if(isIt(entry), () => f.return(entry));
                f.set(entry, i32.load(entry, ENTRY.next));
              },
            );
            f.br(absent);
          });
          f.set(reference, i32.load(i32.add(reference, i32.mul(nibble(key, PREFIX_BYTES, depth), i32.const(SLOT.size))), tableSlots + SLOT.child));
        },
      );
      f.return(i32.const(0));
    });
  }

  /** `after(table, rank)`: a reference to what comes first in the table behind `rank`; −1 is before all. */
  get #after(): Callee<'i32'> {
    return this.#part(
      'after',
      (f) => {
        const [table, rank] = [f.param(0, 'i32'), f.param(1, 'i32')];
        const [result, nearest, child] = [f.local('i32', 'result'), f.let(i32.const(SLOTS * RANKS), 'nearest'), f.local('i32', 'child')];
        const index = f.local('i32', 'index');
        f.while(
          () => i32.ltU(index, i32.const(SLOTS)),
          (_again, end) => {
            f.set(child, i32.load(i32.add(table, i32.mul(index, i32.const(SLOT.size))), this.#tables.layout.tableSlots + SLOT.child));
            f.if(i32.and(i32.ne(child, i32.const(0)), i32.gtS(i32.mul(index, i32.const(RANKS)), rank)), () => {
              f.set(result, child);
              f.set(nearest, i32.mul(index, i32.const(RANKS)));
              f.br(end);
            });
            f.set(index, i32.add(index, i32.const(1)));
          },
        );
        const entry = f.let(i32.load(table, TABLE.list), 'entry');
        f.while(
          () => entry,
          () => {
            const own = f.let(this.#rank(entry, i32.load(table, TABLE.bits)), 'own');
            f.if(i32.and(i32.gtS(own, rank), i32.ltS(own, nearest)), () => {
              f.set(nearest, own);
              f.set(result, i32.or(entry, i32.const(LEAF)));
            });
            f.set(entry, i32.load(entry, ENTRY.next));
          },
        );
        f.return(result);
      },
      2,
    );
  }

  /** Place of an entry in the order of its table: behind the last slot that it covers, and what is longer there. */
  #rank(entry: I32, tableBits: I32): I32 {
    const length = i32.sub(i32.load(entry, ENTRY.prefixBits), tableBits);
    const lastSlot = i32.or(nibble(entry, ENTRY.data, tableBits), i32.shrU(i32.const(SLOTS - 1), length));
    return i32.add(i32.mul(lastSlot, i32.const(RANKS)), i32.sub(i32.const(STRIDE + 1), length));
  }

  /** Whether the words agree with data under a mask. */
  #agrees(at: I32, dataOffset: number, maskOffset: number, words: readonly Local<'i64'>[]): I32 {
    const { dataBytes } = this.#tables.layout;
    const [data, masks] = [wordsAt(at, dataOffset, dataBytes), wordsAt(at, maskOffset, dataBytes)];
    return i64.eqz(data.map((word, index) => i64.and(i64.xor(word, words[index]!), masks[index]!)).reduce((all, difference) => i64.or(all, difference)));
  }

  #addToCount(f: F, change: 1 | -1): void {
    f.do(i32.store(this.#header, HEADER.count, i32.add(i32.load(this.#header, HEADER.count), i32.const(change))));
  }

  #part(name: string, emit: (f: F) => void, params = 1): Callee<'i32'> {
    return this.#code.part(name, () => {
      const f = this.#code.module.function(`${this.#code.geometry.spec.name}.${name}`, Array.from({ length: params }, () => 'i32' as const), 'i32');
      emit(f);
      return f;
    });
  }
}

/** Ranks per slot: what is below it, then entries of four lengths that end with it. */
const RANKS = 8;

export const LPM_TRIE: MapType = {
  id: BPF_MAP_TYPE.lpm_trie,
  name: NAME,
  perCpu: false,
  keys: 'bytes',
  holds: 'bytes',
  keyHeadBytes: PREFIX_BYTES,
  check(spec) {
    const { keyBytes, valueBytes, flags } = spec;
    if ((flags & MAP_FLAG.NO_PREALLOC) === 0) refuse(spec, NAME, 'EINVAL', 'no BPF_F_NO_PREALLOC', 'it among map_flags');
    checkMaxEntries(spec, NAME);
    if (keyBytes <= PREFIX_BYTES || keyBytes > PREFIX_BYTES + MAX_DATA_BYTES) {
      refuse(spec, NAME, 'EINVAL', `a key of ${keyBytes} bytes`, `${PREFIX_BYTES} of prefix length and 1 to ${MAX_DATA_BYTES} of data`);
    }
    if (valueBytes === 0 || valueBytes > MAX_VALUE_BYTES) refuse(spec, NAME, 'EINVAL', `a value of ${valueBytes} bytes`, `1 to ${MAX_VALUE_BYTES}`);
    checkAccessFlags(spec, NAME, FLAGS);
  },
  allocate: allocateLpm,
  size: lpmSize,
  lookupInPlace: (f, code, key) => new LpmCode(code).found(f, key),
  operations: {
    lookup: (f, code) => new LpmCode(code).lookup(f),
    lookup_percpu(f, code) {
      const isCpu = i32.ltU(f.param(1, 'i32'), i32.const(code.geometry.machine.cpus));
      f.if(isCpu, () => f.return(call(code.operation('lookup'), f.param(0, 'i32'))));
      f.return(i32.const(0));
    },
    update: exclusively(HEADER.lock, (f, code) => new LpmCode(code).update(f)),
    delete: exclusively(HEADER.lock, (f, code) => new LpmCode(code).delete(f)),
    next: exclusively(HEADER.lock, (f, code) => new LpmCode(code).next(f)),
  },
};
