/**
 * The operations of the hash types as code; hash-layout.ts draws what they work on.
 *
 * Invariant: a node is in exactly one chain, or in the free list, or above `top`; at least one is not in a chain.
 */
import { call, i32, select, type I32 } from '../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../wasm/function-builder.ts';
import { consistently, exclusively, underSpinLock } from './exclusion.ts';
import { FREE, HEADER, NODE, hashLayout, type HashKind, type HashLayout } from './hash-layout.ts';
import { ERRNO, UPDATE, type Found, type MapCode, type MapGeometry, type MapKey, type MapOperation, type MapType } from './map.ts';
import { copyValue, hasSpinLock, spinLockOffset, zeroSpecialFields } from './special-fields.ts';
import { copyBytes, equalsWords, hashWords, keyAt, loadWords, storeWords, wordsOf, zeroBytes } from './words.ts';

/**
 * Of entries: fewer are near enough, in half of a cache of the second level or about. The other half is the packets' and
 * the other hardware thread's: 720 KiB of flows take 70 ns a packet when they are looked for ahead, and as much on a quiet
 * machine when they are not, but twice to three times as much on a busy one. 288 KiB take 50 ns, and 63 when looked for.
 */
const CACHED_BYTES = 1 << 19;

type F = FunctionBuilder<'i32'>;
type Words = readonly Local<'i64'>[];

export function hashOperations(kind: HashKind): MapType['operations'] {
  const on = (emit: (hash: HashCode, f: F) => void) => (f: F, code: MapCode) => emit(new HashCode(kind, code), f);
  const alone = (emit: (hash: HashCode, f: F) => void) => exclusively(HEADER.lock, on(emit));
  return {
    lookup: on((hash, f) => hash.lookup(f)),
    lookup_percpu: alone((hash, f) => hash.lookupPerCpu(f)),
    update: alone((hash, f) => hash.update(f)),
    delete: alone((hash, f) => hash.delete(f)),
    next: alone((hash, f) => hash.next(f)),
  } satisfies { readonly [Operation in MapOperation]?: unknown };
}

/** MapType.lookupInPlace of a hash type. */
export function hashLookupInPlace(kind: HashKind): NonNullable<MapType['lookupInPlace']> {
  return (f, code, key) => new HashCode(kind, code).found(f, key);
}

/** MapType.ahead of a hash type. */
export function hashAhead(kind: HashKind): NonNullable<MapType['ahead']> {
  return {
    isLarge: ({ spec, machine }) => hashLayout(kind, spec, machine.cpus).regionBytes >= CACHED_BYTES,
    hasGrown: ({ spec, machine, storage }) => i32.geU(i32.load(i32.const(storage), HEADER.count), i32.const(Math.ceil(CACHED_BYTES / hashLayout(kind, spec, machine.cpus).nodeBytes))),
    bucketOf: (f, code, key) => new HashCode(kind, code).bucketFor(f, key),
  };
}

class HashCode {
  readonly #kind: HashKind;
  readonly #code: MapCode;
  readonly #geometry: MapGeometry;
  readonly #layout: HashLayout;
  readonly #keyBytes: number;
  /** The header's address. */
  readonly #header: I32;

  constructor(kind: HashKind, code: MapCode) {
    this.#kind = kind;
    this.#code = code;
    this.#geometry = code.geometry;
    this.#layout = hashLayout(kind, code.geometry.spec, code.geometry.machine.cpus);
    this.#keyBytes = code.geometry.spec.keyBytes;
    this.#header = i32.const(code.geometry.storage);
  }

  lookup(f: F): void {
    const { isThere, address } = this.found(f, keyAt(f.param(0, 'i32')));
    f.return(select(isThere, address, i32.const(0)));
  }

  /** What a lookup answers. */
  found(f: FunctionBuilder, key: MapKey): Found {
    return consistently(f, this.#code, HEADER.lock, () => this.#lookUp(f, key));
  }

  #lookUp(f: FunctionBuilder, key: MapKey): Found {
    const node = this.#find(f, wordsOf(f, key, this.#keyBytes));
    if (this.#kind.lru) f.if(node, () => this.#touch(f, node));
    if (!this.#kind.answersContent) return { isThere: node, address: i32.add(node, i32.const(this.#valueOffset)) };
    // At address 0, and behind it, nothing lies; but it can be read.
    const content = f.let(select(node, i32.load(node, this.#valueOffset), i32.const(0)), 'content');
    return { isThere: content, address: content };
  }

  /** The address of the first link of the key's chain. */
  bucketFor(f: FunctionBuilder, key: MapKey): I32 {
    return this.#bucketOf(hashWords(f, wordsOf(f, key, this.#keyBytes)));
  }

  lookupPerCpu(f: F): void {
    const { machine } = this.#geometry;
    const cpu = f.param(1, 'i32');
    f.if(i32.geU(cpu, i32.const(machine.cpus)), () => f.return(i32.const(0)));
    const node = this.#find(f, loadWords(f, f.param(0, 'i32'), 0, this.#keyBytes));
    f.if(i32.eqz(node), () => f.return(i32.const(0)));
    if (this.#kind.answersContent) return f.return(i32.load(node, this.#layout.valueOffset));
    const value = i32.add(node, i32.const(this.#layout.valueOffset));
    f.return(this.#kind.perCpu ? i32.add(value, i32.mul(cpu, i32.const(this.#layout.regionBytes))) : value);
  }

  update(f: F): void {
    const { spec } = this.#geometry;
    const [key, value, flags] = [f.param(0, 'i32'), f.param(1, 'i32'), f.param(2, 'i32')];
    const lockable = hasSpinLock(spec);
    const mode = lockable ? f.let(i32.and(flags, i32.const(~UPDATE.lock)), 'mode') : flags;
    f.if(i32.gtU(mode, i32.const(UPDATE.exist)), () => f.return(i32.const(-ERRNO.EINVAL)));
    const words = loadWords(f, key, 0, this.#keyBytes);
    const hash = hashWords(f, words);
    const { node: old, link } = this.#findLink(f, words, hash);
    const node = f.local('i32', 'node');

    f.if(old, () => {
      f.if(i32.eq(mode, i32.const(UPDATE.noExist)), () => f.return(i32.const(-ERRNO.EEXIST)));
      if (this.#kind.perCpu) {
        if (this.#kind.lru) this.#touch(f, old);
        this.#writeValue(f, old, value);
        f.return(i32.const(0));
        return;
      }
      if (lockable) {
        f.if(i32.and(flags, i32.const(UPDATE.lock)), () => {
          underSpinLock(f, this.#code, i32.add(old, i32.const(this.#valueOffset + spinLockOffset(spec)!)), () => this.#writeValue(f, old, value));
          f.return(i32.const(0));
        });
      }
      this.#take(f, node);
      this.#fill(f, node, words, value);
      f.do(i32.store(node, NODE.next, i32.load(old, NODE.next)));
      f.do(i32.store(link, 0, node));
      if (this.#kind.lru) {
        this.#leaveList(f, old);
        this.#joinList(f, node, 1);
      }
      this.#release(f, old);
      f.return(i32.const(0));
    });

    if (!this.#kind.ignoresExist) f.if(i32.eq(mode, i32.const(UPDATE.exist)), () => f.return(i32.const(-ERRNO.ENOENT)));
    const count = f.let(i32.load(this.#header, HEADER.count), 'count');
    f.if(i32.geU(count, i32.const(spec.maxEntries)), () => {
      if (!this.#kind.lru) return f.return(i32.const(-ERRNO.E2BIG));
      f.set(count, call(this.#evict()));
    });
    // Twice as many buckets as entries, or more.
    f.if(i32.gtU(i32.shl(count, i32.const(3)), i32.load(this.#header, HEADER.mask)), () => f.do(call(this.#grow())));
    this.#take(f, node);
    this.#fill(f, node, words, value);
    this.#zeroOtherCpus(f, node);
    const bucket = f.let(this.#bucketOf(hash), 'bucket');
    f.do(i32.store(node, NODE.next, i32.load(bucket)));
    f.do(i32.store(bucket, 0, node));
    if (this.#kind.lru) this.#joinList(f, node, 0);
    f.do(i32.store(this.#header, HEADER.count, i32.add(count, i32.const(1))));
    f.return(i32.const(0));
  }

  delete(f: F): void {
    const words = loadWords(f, f.param(0, 'i32'), 0, this.#keyBytes);
    const { node, link } = this.#findLink(f, words, hashWords(f, words));
    f.if(i32.eqz(node), () => f.return(i32.const(-ERRNO.ENOENT)));
    this.#remove(f, node, link);
    f.return(i32.const(0));
  }

  /** In the order of nodes: a scan of what was ever used, however many buckets there are. */
  next(f: F): void {
    const { nodes, nodeBytes, keyOffset } = this.#layout;
    const [key, out] = [f.param(0, 'i32'), f.param(1, 'i32')];
    const cursor = f.let(i32.const(this.#geometry.storage + nodes), 'cursor');
    f.if(key, () => {
      const node = this.#find(f, loadWords(f, key, 0, this.#keyBytes));
      f.if(node, () => f.set(cursor, i32.add(node, i32.const(nodeBytes))));
    });
    const top = f.let(i32.load(this.#header, HEADER.top), 'top');
    f.while(
      () => i32.ltU(cursor, top),
      () => {
        f.if(i32.eqz(i32.and(i32.load(cursor, NODE.next), i32.const(FREE))), () => {
          copyBytes(f, out, 0, cursor, keyOffset, this.#keyBytes);
          f.return(i32.const(0));
        });
        f.set(cursor, i32.add(cursor, i32.const(nodeBytes)));
      },
    );
    f.return(i32.const(-ERRNO.ENOENT));
  }

  /** Of this CPU's value, from the node. */
  get #valueOffset(): number {
    return this.#layout.valueOffset + (this.#kind.perCpu ? this.#geometry.machine.cpu * this.#layout.regionBytes : 0);
  }

  #bucketOf(hash: I32): I32 {
    return i32.add(i32.and(hash, i32.load(this.#header, HEADER.mask)), i32.const(this.#geometry.storage + this.#layout.buckets));
  }

  #isKey(node: I32, words: Words): I32 {
    return equalsWords(node, this.#layout.keyOffset, words, this.#keyBytes);
  }

  /** The key's node, 0 if absent. */
  #find(f: FunctionBuilder, words: Words): Local<'i32'> {
    const bucket = i32.and(hashWords(f, words), i32.load(this.#header, HEADER.mask));
    const node = f.let(i32.load(bucket, this.#geometry.storage + this.#layout.buckets), 'node');
    f.while(
      () => node,
      (_again, end) => {
        // Another CPU has taken the node away meanwhile.
        if (this.#geometry.machine.parallel) f.brIf(end, i32.and(node, i32.const(FREE)));
        f.brIf(end, this.#isKey(node, words));
        f.set(node, i32.load(node, NODE.next));
      },
    );
    return node;
  }

  /** The same, with the address of the link to it. `next` is at the start of a node, so a node is its own link. */
  #findLink(f: F, words: Words, hash: I32): { node: Local<'i32'>; link: Local<'i32'> } {
    const link = f.let(this.#bucketOf(hash), 'link');
    const node = f.let(i32.load(link), 'found');
    f.while(
      () => node,
      (_again, end) => {
        f.brIf(end, this.#isKey(node, words));
        f.set(link, node);
        f.set(node, i32.load(node, NODE.next));
      },
    );
    return { node, link };
  }

  /** Takes a node that is in no chain. */
  #take(f: F, node: Local<'i32'>): void {
    f.set(node, i32.load(this.#header, HEADER.free));
    f.if(
      node,
      () => f.do(i32.store(this.#header, HEADER.free, i32.and(i32.load(node, NODE.next), i32.const(~FREE)))),
      () => {
        f.set(node, i32.load(this.#header, HEADER.top));
        f.do(i32.store(this.#header, HEADER.top, i32.add(node, i32.const(this.#layout.nodeBytes))));
      },
    );
  }

  #release(f: F, node: I32): void {
    f.do(i32.store(node, NODE.next, i32.or(i32.load(this.#header, HEADER.free), i32.const(FREE))));
    f.do(i32.store(this.#header, HEADER.free, node));
  }

  #fill(f: F, node: I32, words: Words, value: I32): void {
    storeWords(f, node, this.#layout.keyOffset, words, this.#keyBytes);
    zeroSpecialFields(f, this.#geometry.spec, node, this.#valueOffset);
    this.#writeValue(f, node, value);
  }

  #writeValue(f: F, node: I32, value: I32): void {
    if (this.#kind.slotBytes === undefined) copyValue(f, this.#geometry.spec, node, this.#valueOffset, value);
    else copyBytes(f, node, this.#valueOffset, value, 0, this.#kind.slotBytes);
  }

  #zeroOtherCpus(f: F, node: Local<'i32'>): void {
    const { cpus, cpu } = this.#geometry.machine;
    if (!this.#kind.perCpu || cpus === 1) return;
    const { valueOffset, regionBytes, nodeBytes } = this.#layout;
    const [other, at] = [f.local('i32', 'other'), f.let(node, 'at')];
    f.while(
      () => i32.ltU(other, i32.const(cpus)),
      () => {
        f.if(i32.ne(other, i32.const(cpu)), () => zeroBytes(f, at, valueOffset, nodeBytes - valueOffset));
        f.set(at, i32.add(at, i32.const(regionBytes)));
        f.set(other, i32.add(other, i32.const(1)));
      },
    );
  }

  /** Unlinks a node and frees it. */
  #remove(f: F, node: Local<'i32'>, link: Local<'i32'>): void {
    f.do(i32.store(link, 0, i32.load(node, NODE.next)));
    if (this.#kind.lru) this.#leaveList(f, node);
    this.#release(f, node);
    f.do(i32.store(this.#header, HEADER.count, i32.sub(i32.load(this.#header, HEADER.count), i32.const(1))));
  }

  /** Read first: a cache line that all CPUs look at is not written without need. */
  #touch(f: FunctionBuilder, node: I32): void {
    f.if(i32.eqz(i32.load(node, NODE.referenced)), () => f.do(i32.store(node, NODE.referenced, i32.const(1))));
  }

  /** Makes it the newest. */
  #joinList(f: F, node: I32, referenced: 0 | 1): void {
    const newest = f.let(i32.load(this.#header, HEADER.older), 'newest');
    f.do(i32.store(node, NODE.older, newest));
    f.do(i32.store(node, NODE.newer, this.#header));
    f.do(i32.store(newest, NODE.newer, node));
    f.do(i32.store(this.#header, HEADER.older, node));
    f.do(i32.store(node, NODE.referenced, i32.const(referenced)));
  }

  #leaveList(f: F, node: I32): void {
    const [newer, older] = [f.let(i32.load(node, NODE.newer), 'newer'), f.let(i32.load(node, NODE.older), 'older')];
    f.do(i32.store(newer, NODE.older, older));
    f.do(i32.store(older, NODE.newer, newer));
  }

  /** Evicts the oldest entry that was not looked up since it came or was last passed over; returns the new count. */
  #evict() {
    return this.#code.part('evict', () => {
      const f = this.#code.module.function(`${this.#geometry.spec.name}.evict`, [], 'i32');
      const oldest = f.local('i32', 'oldest');
      f.while(
        () => i32.load(f.tee(oldest, i32.load(this.#header, HEADER.newer)), NODE.referenced),
        () => {
          this.#leaveList(f, oldest);
          this.#joinList(f, oldest, 0);
        },
      );
      const words = loadWords(f, oldest, this.#layout.keyOffset, this.#keyBytes);
      const { node, link } = this.#findLink(f, words, hashWords(f, words));
      this.#remove(f, node, link);
      f.return(i32.load(this.#header, HEADER.count));
      return f;
    });
  }

  /** Doubles the buckets in use: each chain is divided between its bucket and the one a half further on. */
  #grow() {
    return this.#code.part('grow', () => {
      const { maxBuckets, buckets, keyOffset } = this.#layout;
      const f = this.#code.module.function(`${this.#geometry.spec.name}.grow`, [], 'i32');
      const halfBytes = f.let(i32.add(i32.load(this.#header, HEADER.mask), i32.const(4)), 'half');
      f.if(i32.geU(halfBytes, i32.const(maxBuckets * 4)), () => f.return(i32.const(0)));
      const [bucket, end] = [f.let(i32.const(this.#geometry.storage + buckets), 'bucket'), f.local('i32', 'end')];
      f.set(end, i32.add(bucket, halfBytes));
      const [low, high, node] = [f.local('i32', 'low'), f.local('i32', 'high'), f.local('i32', 'node')];
      f.while(
        () => i32.ltU(bucket, end),
        () => {
          f.set(node, i32.load(bucket));
          f.set(low, bucket);
          f.set(high, i32.add(bucket, halfBytes));
          f.while(
            () => node,
            () => {
              const hash = hashWords(f, loadWords(f, node, keyOffset, this.#keyBytes));
              f.if(
                i32.and(hash, halfBytes),
                () => {
                  f.do(i32.store(high, 0, node));
                  f.set(high, node);
                },
                () => {
                  f.do(i32.store(low, 0, node));
                  f.set(low, node);
                },
              );
              f.set(node, i32.load(node, NODE.next));
            },
          );
          f.do(i32.store(low, 0, i32.const(0)));
          f.do(i32.store(high, 0, i32.const(0)));
          f.set(bucket, i32.add(bucket, i32.const(4)));
        },
      );
      f.do(i32.store(this.#header, HEADER.mask, i32.sub(i32.shl(halfBytes, i32.const(1)), i32.const(4))));
      f.return(i32.const(0));
      return f;
    });
  }
}
