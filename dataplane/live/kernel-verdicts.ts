/**
 * Verdicts that the running Linux has counted, put where the packet loop counts its own: whoever reads a lab's
 * statistics sees an attached run as any other. Of bytes, and of packets that no program met, nothing is known.
 */
import type { HookName, Outcome } from '../hooks/hook.ts';
import { hookByName } from '../hooks/index.ts';
import type { Lab } from '../pipeline/lab.ts';
import { DROP_REASON, FATE, type DropReason, type Fate } from '../pipeline/outcome.ts';
import type { Attachment } from '../pipeline/pipeline.ts';

/** Where the last program of a hook lets a packet go. */
const PASSED: Readonly<Record<HookName, Fate>> = { xdp: 'stack', 'tc-ingress': 'stack', 'tc-egress': 'sent' };
const ENDED: Readonly<Record<Exclude<Outcome, 'next' | 'leave' | 'pass'>, Fate>> = { drop: 'dropped', aborted: 'dropped', transmit: 'transmitted', redirect: 'redirected', consumed: 'consumed' };
const DROPPED: Readonly<Record<HookName, DropReason>> = { xdp: 'XDP', 'tc-ingress': 'TC_INGRESS', 'tc-egress': 'TC_EGRESS' };

/** Adds packets to what the lab has counted, by verdict slot of a program that was attached there. */
export function countVerdicts({ pipeline }: Lab, attachment: Attachment, packets: readonly number[]): void {
  const { hook, device } = attachment;
  const here = pipeline.attached.filter((one) => one.device === device);
  const chain = here.filter((one) => one.hook === hook);
  const isLast = chain.at(-1) === attachment;
  const isCountedLater = hook === 'xdp' && here.some((one) => one.hook === 'tc-ingress');
  packets.forEach((count, slot) => {
    if (count === 0) return;
    const fate = fateOf(attachment, slot, isLast, isCountedLater);
    pipeline.addVerdicts(attachment, slot, count, fate && { fate: FATE[fate], reason: fate === 'dropped' ? DROP_REASON[DROPPED[hook]] : undefined });
  });
  // What comes in meets XDP first, then TC ingress.
  if (chain[0] === attachment && (hook === 'xdp' || (hook === 'tc-ingress' && !here.some((one) => one.hook === 'xdp')))) {
    pipeline.addReceived(device, packets.reduce((sum, count) => sum + count, 0));
  }
}

/** Undefined where another program has the last word. */
function fateOf({ hook, mode: name }: Attachment, slot: number, isLast: boolean, isCountedLater: boolean): Fate | undefined {
  const mode = hookByName(hook).modes[name]!;
  const outcome = mode.verdicts.find(({ code }) => code + 1 === slot)?.outcome ?? mode.unknown;
  if (outcome === 'next' || outcome === 'leave' || outcome === 'pass') return isCountedLater || (outcome === 'next' && !isLast) ? undefined : PASSED[hook];
  return ENDED[outcome];
}
