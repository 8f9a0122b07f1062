/**
 * How CPUs that run at once keep out of each other's way. Nothing of this is emitted where one CPU runs.
 *
 * A map that is more than words has a lock, which is a version too (a sequence lock): it is odd while somebody changes
 * the map, and never again what it was. Who changes the map takes it; who looks something up does not, but looks again
 * where the version has changed meanwhile: what was found is then that of one moment, however the map was changed. As in
 * Linux, a value that a program has found may be another key's once its own was deleted.
 *
 * A `struct bpf_spin_lock` in a value is 1 while somebody holds it.
 *
 * The lock that a CPU holds is noted in its block, so that a program that is stopped does not keep it.
 */
import { CPU_BLOCK } from '../machine/cpu.ts';
import type { Machine } from '../machine/machine.ts';
import { atomic32, fence, wait32 } from '../wasm/atomic.ts';
import { call, i32, i64, select, type I32 } from '../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../wasm/function-builder.ts';
import type { ModuleBuilder } from '../wasm/module-builder.ts';
import type { Found, MapCode } from './map.ts';

type F = FunctionBuilder<'i32'>;
type Emit = (f: F, code: MapCode) => void;

/** Looks at a lock so often before it sleeps: the others may have no processor to release it on. */
const SPINS = 200;
const SLEEP_NS = 50_000n;

/** Tries until `attempt`, which ends with a branch to `done` where it succeeds, does. `seen` is what it saw at `address`. */
function persist(f: FunctionBuilder, address: I32, attempt: (done: (condition: I32) => void) => Local<'i32'>): void {
  const spins = f.let(i32.const(SPINS), 'spins');
  f.block((end) =>
    f.loop((again) => {
      const seen = attempt((condition) => f.brIf(end, condition));
      f.if(spins, () => f.set(spins, i32.sub(spins, i32.const(1))), () => f.do(wait32(address, 0, seen, i64.const(SLEEP_NS))));
      f.br(again);
    }),
  );
}

/** An operation that changes the map: no other CPU does so meanwhile. `lockOffset` is the lock's, from the map's storage. */
export function exclusively(lockOffset: number, emit: Emit): Emit {
  return (f, code) => {
    const { machine, storage } = code.geometry;
    if (!machine.parallel) return emit(f, code);
    const alone = code.part(`${f.name} alone`, () => {
      const g = code.module.function(`${f.name}.alone`, f.params, 'i32');
      emit(g, code);
      return g;
    });
    const lock = i32.const(storage + lockOffset);
    f.do(call(code.part(`lock ${lockOffset}`, () => defineLock(code, lock))));
    const result = f.let(call(alone, ...f.params.map((_, index) => f.param(index, 'i32'))), 'result');
    unlock(f, machine, lock);
    f.return(result);
  };
}

function defineLock({ module, geometry: { machine, spec } }: MapCode, lock: I32): FunctionBuilder<undefined> {
  const f = module.function(`${spec.name}.lock`, [], undefined);
  takeLock(f, machine, lock);
  f.return();
  return f;
}

function takeLock(f: FunctionBuilder, machine: Machine, lock: I32): void {
  const version = f.local('i32', 'version');
  persist(f, lock, (done) => {
    f.set(version, atomic32.load(lock));
    f.if(i32.eqz(i32.and(version, i32.const(1))), () => done(i32.eq(atomic32.cmpxchg(lock, 0, version, i32.add(version, i32.const(1))), version)));
    return version;
  });
  f.do(i32.store(i32.const(machine.cpuBlock), CPU_BLOCK.mapLock, lock));
}

function unlock(f: FunctionBuilder, machine: Machine, lock: I32): void {
  f.do(i32.store(i32.const(machine.cpuBlock), CPU_BLOCK.mapLock, i32.const(0)));
  f.do(atomic32.store(lock, 0, i32.add(i32.load(lock), i32.const(1))));
}

/** The lock of a map that is not known when code is emitted: `body` runs while no other CPU has it. `lock` may be read repeatedly. */
export function whileLocked(f: FunctionBuilder, machine: Machine, lock: I32, body: () => void): void {
  if (machine.parallel) takeLock(f, machine, lock);
  body();
  if (machine.parallel) unlock(f, machine, lock);
}

/** What `find` answers, at one moment of the map. */
export function consistently(f: FunctionBuilder, code: MapCode, lockOffset: number, find: () => Found): Found {
  const { machine, storage } = code.geometry;
  if (!machine.parallel) return find();
  const lock = i32.const(storage + lockOffset);
  const [before, found] = [f.local('i32', 'version'), f.local('i32', 'found')];
  f.loop((again) => {
    f.set(before, atomic32.load(lock));
    const { isThere, address } = find();
    f.set(found, select(isThere, address, i32.const(0)));
    // An x86 processor loads in the order of the program, and its fences are slow.
    if (process.arch !== 'x64') f.do(fence);
    f.if(i32.or(i32.ne(before, atomic32.load(lock)), i32.and(before, i32.const(1))), () => {
      f.do(call(code.part('settled', () => defineSettled(code, lock))));
      f.br(again);
    });
  });
  return { isThere: found, address: found };
}

/** `settled()`: returns when nobody changes the map. */
function defineSettled({ module, geometry: { spec } }: MapCode, lock: I32): FunctionBuilder<undefined> {
  const f = module.function(`${spec.name}.settled`, [], undefined);
  const version = f.local('i32', 'version');
  persist(f, lock, (done) => {
    f.set(version, atomic32.load(lock));
    done(i32.eqz(i32.and(version, i32.const(1))));
    return version;
  });
  f.return();
  return f;
}

/** `spin_lock(address)` and its opposite, of a struct bpf_spin_lock. */
export function defineSpinLock(module: ModuleBuilder, machine: Machine): FunctionBuilder<undefined> {
  const f = module.function('spin_lock', ['i32'], undefined);
  const address = f.param(0, 'i32');
  if (machine.parallel) {
    const seen = f.local('i32', 'seen');
    persist(f, address, (done) => {
      f.set(seen, atomic32.cmpxchg(address, 0, i32.const(0), i32.const(1)));
      done(i32.eqz(seen));
      return seen;
    });
    f.do(i32.store(i32.const(machine.cpuBlock), CPU_BLOCK.spinLock, address));
  } else {
    f.do(i32.store(address, 0, i32.const(1)));
  }
  f.return();
  return f;
}

export function defineSpinUnlock(module: ModuleBuilder, machine: Machine): FunctionBuilder<undefined> {
  const f = module.function('spin_unlock', ['i32'], undefined);
  if (machine.parallel) {
    f.do(i32.store(i32.const(machine.cpuBlock), CPU_BLOCK.spinLock, i32.const(0)));
    f.do(atomic32.store(f.param(0, 'i32'), 0, i32.const(0)));
  } else {
    f.do(i32.store(f.param(0, 'i32'), 0, i32.const(0)));
  }
  f.return();
  return f;
}

/** Copies into a value under its lock, where the flags of an update ask for that. `lock` is the address of the bpf_spin_lock. */
export function underSpinLock(f: FunctionBuilder, code: MapCode, lock: I32, body: () => void): void {
  const { machine } = code.geometry;
  if (!machine.parallel) return body();
  f.do(call(code.part('spin_lock', () => defineSpinLock(code.module, machine)), lock));
  body();
  f.do(call(code.part('spin_unlock', () => defineSpinUnlock(code.module, machine)), lock));
}

/** From JavaScript: `body` while no other CPU changes the map whose lock is at the address. */
export function withLock<T>({ memory: { i32: words } }: Machine, lock: number, body: () => T): T {
  const index = lock >>> 2;
  for (;;) {
    const version = Atomics.load(words, index);
    if ((version & 1) === 0 && Atomics.compareExchange(words, index, version, version + 1) === version) break;
    Atomics.wait(words, index, version, Number(SLEEP_NS) / 1e6);
  }
  try {
    return body();
  } finally {
    Atomics.add(words, index, 1);
  }
}

/** Releases what a program held that was stopped. */
export function releaseLocks(machine: Machine): void {
  if (!machine.parallel) return;
  const { i32: words } = machine.memory;
  const [spinLock, mapLock] = [machine.cell(CPU_BLOCK.spinLock), machine.cell(CPU_BLOCK.mapLock)];
  if (spinLock !== 0) Atomics.store(words, spinLock >>> 2, 0);
  if (mapLock !== 0) Atomics.add(words, mapLock >>> 2, 1);
  machine.setCell(CPU_BLOCK.spinLock, 0);
  machine.setCell(CPU_BLOCK.mapLock, 0);
}
