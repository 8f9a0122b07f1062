/**
 * bpf_redirect and its relatives. A helper only notes in the CPU block where to go; the packet path looks at it if
 * the program then answers REDIRECT, and the last note counts.
 */
import { CPU_BLOCK, REDIRECT } from '../machine/cpu.ts';
import type { Machine } from '../machine/machine.ts';
import { i32, i64, type I32, type I64 } from '../wasm/expression.ts';
import type { FunctionBuilder } from '../wasm/function-builder.ts';
import type { Helper } from './helper.ts';
import { TC_PROGRAMS, XDP_PROGRAMS } from './program-sets.ts';

const XDP_ABORTED = 0;
const XDP_REDIRECT = 4;
const TC_ACT_SHOT = 2;
const TC_ACT_REDIRECT = 7;
const BPF_F_INGRESS = 1;

/** struct bpf_redir_neigh: u32 family, then an address of 4 or 16 bytes. */
const NEXT_HOP_BYTES = 20;

/** A `u64` argument, whose low half is parameter `index`. */
function wide(f: FunctionBuilder, index: number): I64 {
  return i64.or(i64.extendU(f.param(index, 'i32')), i64.shl(i64.extendU(f.param(index + 1, 'i32')), i64.const(32)));
}

function note(f: FunctionBuilder, machine: Machine, kind: number, target: I32, flags: I32): void {
  const cpu = i32.const(machine.cpuBlock);
  f.do(i32.store(cpu, CPU_BLOCK.redirect, i32.const(kind)));
  f.do(i32.store(cpu, CPU_BLOCK.redirectTarget, target));
  f.do(i32.store(cpu, CPU_BLOCK.redirectFlags, flags));
}

/** A helper (ifindex, flags) that refuses every flag outside `allowed`. */
const toDevice = (
  row: Pick<Helper, 'id' | 'name' | 'programs'>,
  kind: number,
  allowed: number,
  answers: { readonly done: number; readonly refused: number },
): Helper => ({
  ...row,
  args: ['u32', 'u64'],
  returns: 'int',
  implementation: {
    kind: 'wasm',
    emit: (module, machine) => {
      const f = module.function(row.name, ['i32', 'i32', 'i32'], 'i32');
      f.if(i64.ne(i64.and(wide(f, 1), i64.const(~allowed)), i64.const(0)), () => f.return(i32.const(answers.refused)));
      note(f, machine, kind, f.param(0, 'i32'), f.param(1, 'i32'));
      f.return(i32.const(answers.done));
      return f;
    },
  },
});

const TC_ANSWERS = { done: TC_ACT_REDIRECT, refused: TC_ACT_SHOT };

export const REDIRECT_HELPERS: readonly Helper[] = [
  toDevice({ id: 23, name: 'redirect', programs: XDP_PROGRAMS }, REDIRECT.ifindex, 0, { done: XDP_REDIRECT, refused: XDP_ABORTED }),
  toDevice({ id: 23, name: 'redirect', programs: TC_PROGRAMS }, REDIRECT.ifindex, BPF_F_INGRESS, TC_ANSWERS),
  toDevice({ id: 155, name: 'redirect_peer', programs: TC_PROGRAMS }, REDIRECT.peer, 0, TC_ANSWERS),
  {
    id: 152,
    name: 'redirect_neigh',
    args: ['u32', 'memory_or_null', 'size_or_zero', 'u64'],
    returns: 'int',
    programs: TC_PROGRAMS,
    implementation: {
      kind: 'js',
      bind: (machine) => {
        const nextHop = machine.memory.allocate(NEXT_HOP_BYTES, 4, 'next hop of bpf_redirect_neigh');
        return (ifindex, params, paramsBytes, flagsLow, flagsHigh) => {
          const given = paramsBytes! >>> 0;
          if (flagsLow !== 0 || flagsHigh !== 0 || (given > 0 && given < NEXT_HOP_BYTES)) return TC_ACT_SHOT;
          machine.setCell(CPU_BLOCK.redirect, REDIRECT.neigh);
          machine.setCell(CPU_BLOCK.redirectTarget, ifindex!);
          machine.setCell(CPU_BLOCK.redirectFlags, 0);
          machine.setCell(CPU_BLOCK.redirectMap, given === 0 ? 0 : nextHop);
          if (given > 0) {
            const { view } = machine.memory;
            for (let at = 0; at < NEXT_HOP_BYTES; at += 4) view.setUint32(nextHop + at, view.getUint32((params! >>> 0) + at, true), true);
          }
          return TC_ACT_REDIRECT;
        };
      },
    },
  },
];
