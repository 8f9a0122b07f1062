/** bpf_get_prandom_u32: xorshift64* (Vigna, 2016) on the CPU's state, so that a seed gives the same numbers on every engine. */
import { CPU_BLOCK } from '../machine/cpu.ts';
import { i32, i64 } from '../wasm/expression.ts';
import type { Helper } from './helper.ts';
import { ANY_PROGRAM } from './program-sets.ts';

const MULTIPLIER = 0x2545_f491_4f6c_dd1dn;

export const RANDOM_HELPERS: readonly Helper[] = [
  {
    id: 7,
    name: 'get_prandom_u32',
    args: [],
    returns: 'u32',
    programs: ANY_PROGRAM,
    implementation: {
      kind: 'wasm',
      emit: (module, machine) => {
        const f = module.function('get_prandom_u32', [], 'i32');
        const cpu = i32.const(machine.cpuBlock);
        const state = f.let(i64.load(cpu, CPU_BLOCK.random), 'state');
        f.set(state, i64.xor(state, i64.shrU(state, i64.const(12))));
        f.set(state, i64.xor(state, i64.shl(state, i64.const(25))));
        f.set(state, i64.xor(state, i64.shrU(state, i64.const(27))));
        f.do(i64.store(cpu, CPU_BLOCK.random, state));
        f.return(i32.wrap(i64.shrU(i64.mul(state, i64.const(MULTIPLIER)), i64.const(32))));
        return f;
      },
    },
  },
];
