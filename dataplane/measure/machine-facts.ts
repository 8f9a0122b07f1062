/** The machine a result was measured on: without it a number means nothing. */
import { arch, availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os';
import { USERS_FLAGS } from '../wasm/compile.ts';
import { dataCaches, type Cache } from './caches.ts';

export interface MachineFacts {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  /** Those of one core that data goes through, the smallest first. Reports of the past do not have them. */
  readonly caches?: readonly Cache[];
  readonly system: string;
  readonly node: string;
  readonly v8: string;
  /** The compiler that made the machine code of programs and of the packet loop. */
  readonly tier: string;
  /** Processes that wanted a core in the minute before. */
  readonly load: number;
}

/** compile.ts asks V8 for it; nothing that is measured runs in another. */
export const WASM_TIER = USERS_FLAGS.length === 0 ? 'WebAssembly by the optimising compiler from the first packet on (no Liftoff)' : `WebAssembly as V8 compiles it with ${USERS_FLAGS.join(' ')}`;
export const JAVASCRIPT_TIER = 'JavaScript by all tiers, warmed up';

export function machineFacts(): MachineFacts {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGib: Math.round(totalmem() / 2 ** 30),
    caches: dataCaches(),
    system: `${type()} ${release()} ${arch()}`,
    node: process.version,
    v8: process.versions.v8,
    tier: `${WASM_TIER}; ${JAVASCRIPT_TIER}`,
    load: Math.round(loadavg()[0]! * 100) / 100,
  };
}

/** The same in a line. */
export function machineLine(machine: MachineFacts): string {
  return `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGib} GiB · ${machine.system} · Node ${machine.node} · load ${machine.load}`;
}
