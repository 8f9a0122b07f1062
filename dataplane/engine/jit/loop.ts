/**
 * bpf_loop whose callback is known: a loop around a call, without leaving the program. The same as helpers/loop.ts,
 * which every other engine and every callback known only at run time takes.
 */
import { MAX_ITERATIONS } from '../../helpers/loop.ts';
import { FRAME_BYTES } from '../../machine/cpu.ts';
import { ERRNO } from '../../maps/map.ts';
import { call, i32, i64 } from '../../wasm/expression.ts';
import type { CallSite } from './calls.ts';
import { emitCharge, emitNotThrown } from './fault.ts';

/** bpf_loop(count, callback, context, flags), where `slot` is the callback's. */
export function emitLoop({ f, program, framePointer, value, setResult }: CallSite, slot: number): void {
  const [count, context, flags] = [value(1).narrow, value(3).wide, value(4).wide];
  const body = program.subprogram(slot);
  const index = f.local('i32', 'iteration');
  const left = f.local('i32', 'left');
  const answer = f.local('i64', 'answer');
  f.set(index, i32.const(0));
  f.if(
    i64.ne(flags, i64.const(0)),
    () => f.set(index, i32.const(-ERRNO.EINVAL)),
    () =>
      f.if(
        i32.gtU(count, i32.const(MAX_ITERATIONS)),
        () => f.set(index, i32.const(-ERRNO.E2BIG)),
        () =>
          f.while(
            () => i32.ltU(index, count),
            (_again, end) => {
              emitCharge(f, program.machine, 1, left);
              f.set(answer, call(body, i64.extendU(index), context, i64.const(0), i64.const(0), i64.const(0), i32.sub(framePointer, i32.const(FRAME_BYTES))));
              if (program.mayThrow(slot)) emitNotThrown(f, program.machine);
              f.set(index, i32.add(index, i32.const(1)));
              f.brIf(end, i64.ne(answer, i64.const(0)));
            },
          ),
      ),
  );
  setResult(i64.extendS(index));
}
