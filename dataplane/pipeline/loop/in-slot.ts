/**
 * Programs in slots of a DEVMAP or CPUMAP. Each has an attachment of its own at every device that it runs for, made
 * when it first runs there, so that it is counted and recorded as what is attached to a hook.
 */
import { HOOK_NAMES, type HookName } from '../../hooks/hook.ts';
import { xdp } from '../../hooks/xdp.ts';
import { XDP_MD } from '../../packet/frame.ts';
import { call, i32, type Callee } from '../../wasm/expression.ts';
import { ATTACHMENT, DEVICE, LOOP } from '../layout.ts';
import { judge, judgedAt, NO_FAULT, outcomeNumber, refuseXdp, tellVerdict } from './chain.ts';
import type { LoopCode } from './loop-code.ts';

export const IN_SLOT_HOOK: HookName = 'xdp';
/** Numbers of the modes among the hook's. */
export const IN_SLOT_MODE = { devmap: Object.keys(xdp.modes).indexOf('devmap'), cpumap: Object.keys(xdp.modes).indexOf('cpumap') } as const;

/** `in_slot(program, device, mode)`: runs the program and gives the Outcome; unless that is `pass` or `redirect`, the packet has ended. */
export function defineInSlot(loop: LoopCode): Callee<'i32'> {
  const { module, at, runProgramInSlot, setCell, setXdp, xdpLength } = loop;
  const find = defineFind(loop);
  const f = module.function('in_slot', ['i32', 'i32', 'i32'], 'i32');
  const [program, device, mode] = [f.param(0, 'i32'), f.param(1, 'i32'), f.param(2, 'i32')];
  const hook = i32.const(HOOK_NAMES.indexOf(IN_SLOT_HOOK));
  const attachment = f.let(call(find, program, device, mode), 'attachment');
  // Who sent the packet to a slot that names no program has overwritten it.
  f.if(i32.eqz(attachment), () => f.unreachable());
  setCell(f, LOOP.attachment, attachment);
  // Linux keeps no queue with a frame that waits to be sent.
  setXdp(f, XDP_MD.rx_queue_index, i32.const(0));
  const code = f.let(runProgramInSlot(f, program, at.xdpContext), 'code');
  const outcome = f.let(judge(loop, f, judgedAt(loop, attachment, NO_FAULT), code, f.let(xdpLength())), 'outcome');
  f.if(i32.eq(outcome, outcomeNumber('pass')), () => f.return(outcome));
  tellVerdict(loop, f, hook, code);
  f.if(i32.eq(outcome, outcomeNumber('redirect')), () => f.return(outcome));
  refuseXdp(loop, f, outcome, code, () => f.return(outcome));
  return f;
}

/** `find_in_slot(program, device, mode)`: the program's attachment at the device. Few programs are in slots, so the list is short. */
function defineFind({ module, imports }: LoopCode): Callee<'i32'> {
  const f = module.function('find_in_slot', ['i32', 'i32', 'i32'], 'i32');
  const [program, device, mode] = [f.param(0, 'i32'), f.param(1, 'i32'), f.param(2, 'i32')];
  const attachment = f.let(i32.load(device, DEVICE.inSlots), 'attachment');
  f.while(
    () => attachment,
    (again) => {
      f.if(i32.eq(i32.load(attachment, ATTACHMENT.programId), program), () => f.return(attachment));
      f.set(attachment, i32.load(attachment, ATTACHMENT.next));
      f.br(again);
    },
  );
  f.return(call(imports.attachInSlot, program, device, mode));
  return f;
}
