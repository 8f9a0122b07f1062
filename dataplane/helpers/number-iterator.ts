/**
 * bpf_iter_num: numbers from `start` to below `end`, one at a time (Linux: kernel/bpf/bpf_iter.c). The iterator is on the
 * program's stack, and what `next` answers points into it:
 *
 *   0 i32 current      the number before the next one
 *   4 i32 end          both are 0 once there is none left, and where `new` failed
 */
import { ERRNO } from '../maps/map.ts';
import { i32, type ValueType } from '../wasm/expression.ts';
import type { FunctionBuilder } from '../wasm/function-builder.ts';
import { helperParams, helperResult, type KfuncArgumentKind, type ReturnKind } from './helper.ts';
import type { Kfunc } from './kfunc.ts';
import { MAX_ITERATIONS } from './loop.ts';
import { ANY_PROGRAM } from './program-sets.ts';

const AT = { current: 0, end: 4 } as const;

function begin(f: FunctionBuilder): void {
  const [iterator, start, end] = [f.param(0, 'i32'), f.param(1, 'i32'), f.param(2, 'i32')];
  const fail = (errno: number): void => {
    exhaust(f);
    f.return(i32.const(-errno));
  };
  f.if(i32.gtS(start, end), () => fail(ERRNO.EINVAL));
  // The distance of two i32 fits a u32.
  f.if(i32.gtU(i32.sub(end, start), i32.const(MAX_ITERATIONS)), () => fail(ERRNO.E2BIG));
  f.do(i32.store(iterator, AT.current, i32.sub(start, i32.const(1))));
  f.do(i32.store(iterator, AT.end, end));
  f.return(i32.const(0));
}

function next(f: FunctionBuilder): void {
  const iterator = f.param(0, 'i32');
  const following = f.let(i32.add(i32.load(iterator, AT.current), i32.const(1)), 'following');
  f.if(i32.geS(following, i32.load(iterator, AT.end)), () => {
    exhaust(f);
    f.return(i32.const(0));
  });
  f.do(i32.store(iterator, AT.current, following));
  f.return(iterator);
}

function exhaust(f: FunctionBuilder): void {
  const iterator = f.param(0, 'i32');
  f.do(i32.store(iterator, AT.current, i32.const(0)));
  f.do(i32.store(iterator, AT.end, i32.const(0)));
}

function row(step: 'new' | 'next' | 'destroy', args: readonly KfuncArgumentKind[], returns: ReturnKind, body: (f: FunctionBuilder) => void): Kfunc {
  const kfunc: Kfunc = {
    name: `bpf_iter_num_${step}`,
    args,
    returns,
    programs: ANY_PROGRAM,
    iterator: { name: 'num', step },
    ...(step === 'next' ? { resultBytes: 4 } : {}),
    underLock: true,
    implementation: {
      kind: 'wasm',
      emit: (module) => {
        const f = module.function<ValueType | undefined>(kfunc.name, helperParams(kfunc), helperResult(kfunc));
        body(f);
        return f;
      },
    },
  };
  return kfunc;
}

export const NUMBER_ITERATOR_KFUNCS: readonly Kfunc[] = [
  row('new', ['iterator_out', 'i32', 'i32'], 'u32', begin),
  row('next', ['iterator'], 'memory_or_null', next),
  row('destroy', ['iterator'], 'void', exhaust),
];
