/**
 * A chain of programs at a hook. Every packet goes through this, so it is emitted in place: a call costs one to two
 * nanoseconds, and the engine inlines none.
 */
import { HOOK_NAMES, OUTCOMES, type HookName, type Outcome } from '../../hooks/hook.ts';
import { hookByName } from '../../hooks/index.ts';
import { CPU_BLOCK, FAULT } from '../../machine/cpu.ts';
import { DESCRIPTOR } from '../../packet/packet-batch.ts';
import { i32, i64, select, type I32 } from '../../wasm/expression.ts';
import type { FunctionBuilder, Label, Local } from '../../wasm/function-builder.ts';
import { ATTACHMENT, DEVICE, LOOP, OTHER_VERDICT_SLOT, RECORD } from '../layout.ts';
import type { LoopCode } from './loop-code.ts';

export const outcomeNumber = (name: Outcome): I32 => i32.const(OUTCOMES.indexOf(name));

/** Counts a program's answer, writes its record where someone looks, and says what the answer does: the number of an Outcome. */
export function judge({ at, count, cell, setCell, cpuCell, descriptor }: LoopCode, f: FunctionBuilder, hook: I32, attachment: Local<'i32'>, code: Local<'i32'>, lengthNow: I32, fault: I32): I32 {
  const length = f.let(lengthNow, 'length');
  const raw = f.let(i32.add(code, i32.const(1)));
  const slot = f.let(select(i32.ltU(raw, i32.const(OTHER_VERDICT_SLOT)), raw, i32.const(OTHER_VERDICT_SLOT)));
  const counter = f.let(i32.add(attachment, i32.shl(slot, i32.const(4))));
  count(f, counter, ATTACHMENT.verdicts, i32.const(1));
  count(f, counter, ATTACHMENT.verdicts + 8, length);
  if (at.observed) {
    const d = f.let(descriptor());
    const record = f.let(cell(LOOP.recordCursor));
    f.do(i64.store(record, RECORD.number, i64.load(d, DESCRIPTOR.number)));
    f.do(i64.store(record, RECORD.timestampNs, i64.load(d, DESCRIPTOR.timestampNs)));
    f.do(i32.store(record, RECORD.length, length));
    f.do(i32.store(record, RECORD.ifindex, i32.load(cpuCell(CPU_BLOCK.device), DEVICE.ifindex)));
    f.do(i32.store(record, RECORD.verdict, code));
    f.do(i32.store16(record, RECORD.attachment, i32.load(attachment, ATTACHMENT.index)));
    f.do(i32.store8(record, RECORD.hook, hook));
    f.do(i32.store8(record, RECORD.fault, fault));
    setCell(f, LOOP.recordCursor, i32.add(record, i32.const(RECORD.size)));
  }
  return i32.load8U(i32.add(i32.load(attachment, ATTACHMENT.outcomes), slot));
}

/** The packet's verdict at the hook is that of the program that spoke last. */
export function tellVerdict({ at, descriptor }: LoopCode, f: FunctionBuilder, hook: I32, code: I32): void {
  if (at.observed) f.do(i32.store(i32.add(descriptor(), i32.shl(hook, i32.const(2))), DESCRIPTOR.xdp, code));
}

/** Ends a packet that an XDP program neither passed nor sent anywhere. */
export function refuseXdp({ finishXdp }: LoopCode, f: FunctionBuilder, outcome: I32, code: I32, ended: () => void): void {
  f.if(i32.eq(outcome, outcomeNumber('drop')), () => {
    finishXdp(f, 'dropped', 'XDP');
    ended();
  });
  f.if(code, () => {
    finishXdp(f, 'dropped', 'XDP_INVALID_ACTION');
    ended();
  });
  finishXdp(f, 'dropped', 'XDP_ABORTED');
  ended();
}

/** Runs the attachments of a hook in order: the Outcome that ended the chain, `next` if none did, and the code that said so. */
export function runChain(loop: LoopCode, f: FunctionBuilder, hookName: HookName, context: number, first: I32, last: I32, length: () => I32): { readonly outcome: Local<'i32'>; readonly code: Local<'i32'> } {
  const { at, runProgram, setCell } = loop;
  const hook = i32.const(HOOK_NAMES.indexOf(hookName));
  const attachment = f.let(first, 'attachment');
  const end = f.let(last, 'end');
  const outcome = f.let(outcomeNumber('next'), 'outcome');
  const code = f.local('i32', 'code');
  // Only at TC are there modes side by side, one of which can be left for the next.
  const left = hookByName(hookName).defaultMode === 'dispatcher' ? undefined : f.let(i32.const(-1), 'left');
  setCell(f, LOOP.hook, hook);
  const run = (decided: Label): void => {
    setCell(f, LOOP.attachment, attachment);
    f.do(i64.store(i32.const(at.cpuBlock), CPU_BLOCK.redirect, i64.const(0)));
    f.set(code, runProgram(f, f.let(i32.load(attachment, ATTACHMENT.programId)), context));
    f.set(outcome, judge(loop, f, hook, attachment, code, length(), i32.const(FAULT.none)));
    tellVerdict(loop, f, hook, code);
    f.if(i32.gtU(outcome, outcomeNumber('next')), () => {
      if (left === undefined) {
        f.br(decided);
      } else {
        f.brIf(decided, i32.ne(outcome, outcomeNumber('leave')));
        f.set(left, i32.load(attachment, ATTACHMENT.mode));
        f.set(outcome, outcomeNumber('next'));
      }
    });
  };
  f.while(
    () => i32.ltU(attachment, end),
    (again, decided) => {
      if (left === undefined) run(decided);
      else f.if(i32.ne(i32.load(attachment, ATTACHMENT.mode), left), () => run(decided));
      f.set(attachment, i32.add(attachment, i32.const(ATTACHMENT.size)));
      f.br(again);
    },
  );
  return { outcome, code };
}
