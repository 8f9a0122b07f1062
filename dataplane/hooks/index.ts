/** The hooks, in the order a packet meets them. */
import type { Hook, HookName } from './hook.ts';
import { tcEgress, tcIngress } from './tc.ts';
import { xdp } from './xdp.ts';

export const HOOKS: readonly Hook[] = [xdp, tcIngress, tcEgress];

export function hookByName(name: HookName): Hook {
  return HOOKS.find((hook) => hook.name === name)!;
}

/** How a return code is spelled in verdict logs: `XDP_PASS`, or the number where it is no verdict. */
export function verdictName(hook: Hook, mode: string, code: number): string {
  const known = hook.modes[mode]?.verdicts.find((row) => row.code === code);
  return known?.name ?? `unknown (${code})`;
}
