/**
 * The chain of programs at a hook of a device, as code: which programs there are, in what order, and what their answers
 * do are constants in it. Every packet goes through this, so it is emitted in place: a call costs one to two
 * nanoseconds, and the engine inlines none. What is attached changes seldom, and then the loop is emitted anew.
 */
import { HOOK_NAMES, OUTCOMES, type HookName, type Outcome } from '../../hooks/hook.ts';
import { hookByName } from '../../hooks/index.ts';
import { CPU_BLOCK, FAULT } from '../../machine/cpu.ts';
import { DESCRIPTOR } from '../../packet/packet-batch.ts';
import type { VerifiedProgram } from '../../program/program.ts';
import { i32, i64, pair, select, type I32 } from '../../wasm/expression.ts';
import type { FunctionBuilder, Label, Local } from '../../wasm/function-builder.ts';
import { ATTACHMENT, DEVICE, LOOP, OTHER_VERDICT_SLOT, RECORD } from '../layout.ts';
import type { LoopCode } from './loop-code.ts';

/** The programs at a hook of a device, in the order they run. */
export interface Chain {
  readonly hook: HookName;
  /** Address of its record. */
  readonly device: number;
  readonly ifindex: number;
  readonly links: readonly ChainLink[];
}

export interface ChainLink {
  /** Addresses of its attachment and of its mode's outcome table. */
  readonly attachment: number;
  readonly outcomes: number;
  /** Of the attachment. */
  readonly index: number;
  readonly mode: string;
  readonly program: VerifiedProgram;
}

/** What is judged: addresses are constants in a chain, and read from memory for programs that no chain has. */
export interface Judged {
  readonly attachment: number | Local<'i32'>;
  readonly outcomes: number | I32;
  /** Attachment index, hook and fault, as the second half of a verdict record's last 8 bytes has them. */
  readonly tag: I32;
  readonly ifindex: I32;
}

export const outcomeNumber = (name: Outcome): I32 => i32.const(OUTCOMES.indexOf(name));

/** `attachment` is the address of one that is in no chain, or of which it is not known. */
export function judgedAt({ cpuCell }: LoopCode, attachment: Local<'i32'>, fault: I32): Judged {
  const hook = i32.shl(i32.load(attachment, ATTACHMENT.hook), i32.const(8 * (RECORD.hook - RECORD.attachment)));
  return {
    attachment,
    outcomes: i32.load(attachment, ATTACHMENT.outcomes),
    tag: i32.or(i32.or(i32.load(attachment, ATTACHMENT.index), hook), i32.shl(fault, i32.const(8 * (RECORD.fault - RECORD.attachment)))),
    ifindex: i32.load(cpuCell(CPU_BLOCK.device), DEVICE.ifindex),
  };
}

/** Counts a program's answer, writes its record where someone looks, and says what the answer does: the number of an Outcome. */
export function judge({ records, count, cell, setCell, descriptor }: LoopCode, f: FunctionBuilder, { attachment, outcomes, tag, ifindex }: Judged, code: Local<'i32'>, length: Local<'i32'>): I32 {
  const raw = f.let(i32.add(code, i32.const(1)));
  const slot = f.let(select(i32.ltU(raw, i32.const(OTHER_VERDICT_SLOT)), raw, i32.const(OTHER_VERDICT_SLOT)));
  // A constant goes into the instruction that counts.
  const [base, offset] = typeof attachment === 'number' ? [i32.const(0), attachment] : [attachment, 0];
  const counter = f.let(i32.add(base, i32.shl(slot, i32.const(4))));
  count(f, counter, offset + ATTACHMENT.verdicts, i32.const(1));
  count(f, counter, offset + ATTACHMENT.verdicts + 8, length);
  if (records) {
    const d = f.let(descriptor());
    const record = f.let(cell(LOOP.recordCursor));
    f.do(i64.store(record, RECORD.number, i64.load(d, DESCRIPTOR.number)));
    f.do(i64.store(record, RECORD.timestampNs, i64.load(d, DESCRIPTOR.timestampNs)));
    f.do(i64.store(record, RECORD.length, pair(length, ifindex)));
    f.do(i64.store(record, RECORD.verdict, pair(code, tag)));
    setCell(f, LOOP.recordCursor, i32.add(record, i32.const(RECORD.size)));
  }
  return typeof outcomes === 'number' ? i32.load8U(slot, outcomes) : i32.load8U(i32.add(outcomes, slot));
}

/** The packet's verdict at the hook is that of the program that spoke last. */
export function tellVerdict({ describes, descriptor }: LoopCode, f: FunctionBuilder, hook: I32, code: I32): void {
  if (describes) f.do(i32.store(i32.add(descriptor(), i32.shl(hook, i32.const(2))), DESCRIPTOR.xdp, code));
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

/** Runs the programs in order: the Outcome that ended the chain, `next` if none did, and the code that said so. */
export function runChain(loop: LoopCode, f: FunctionBuilder, chain: Chain, context: number, length: () => I32): { readonly outcome: Local<'i32'>; readonly code: Local<'i32'> } {
  const outcome = f.local('i32', 'outcome');
  const code = f.local('i32', 'code');
  const lengthNow = f.local('i32', 'length');
  const run = (link: ChainLink): void => {
    runLink(loop, f, chain, link, context, code);
    f.set(lengthNow, length());
    const tag = link.index | (HOOK_NAMES.indexOf(chain.hook) << (8 * (RECORD.hook - RECORD.attachment)));
    f.set(outcome, judge(loop, f, { attachment: link.attachment, outcomes: link.outcomes, tag: i32.const(tag), ifindex: i32.const(chain.ifindex) }, code, lengthNow));
    tellVerdict(loop, f, i32.const(HOOK_NAMES.indexOf(chain.hook)), code);
  };
  f.block((decided) => {
    for (const mode of new Set(chain.links.map((link) => link.mode))) {
      f.block((left) => chain.links.filter((link) => link.mode === mode).forEach((link) => {
        run(link);
        leaveUnlessNext(f, chain.hook, mode, outcome, decided, left);
      }));
    }
  });
  return { outcome, code };
}

function leaveUnlessNext(f: FunctionBuilder, hook: HookName, mode: string, outcome: Local<'i32'>, decided: Label, left: Label): void {
  const { verdicts, unknown } = hookByName(hook).modes[mode]!;
  f.if(i32.gtU(outcome, outcomeNumber('next')), () => {
    if (unknown === 'leave' || verdicts.some((verdict) => verdict.outcome === 'leave')) {
      f.brIf(decided, i32.ne(outcome, outcomeNumber('leave')));
      f.set(outcome, outcomeNumber('next'));
      f.br(left);
    } else {
      f.br(decided);
    }
  });
}

/** Runs a program that has everything to spend, and asked for no redirect. */
function runLink(loop: LoopCode, f: FunctionBuilder, { device }: Chain, { attachment, program }: ChainLink, context: number, code: Local<'i32'>): void {
  loop.setCell(f, LOOP.attachment, i32.const(attachment));
  f.do(i64.store(i32.const(loop.at.cpuBlock), CPU_BLOCK.programId, pair(i32.const(program.id), i32.const(device))));
  f.set(code, loop.runProgram(f, program, context));
}

export const NO_FAULT: I32 = i32.const(FAULT.none);
