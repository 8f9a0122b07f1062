/** What the numbers in verdict records mean in one lab: the welcome of the stream, and what filters and JSON verdicts are made of. */
import { FAULT } from '../machine/cpu.ts';
import { HOOK_NAMES, type HookName } from '../hooks/hook.ts';
import { hookByName, HOOKS } from '../hooks/index.ts';
import type { Attachment } from '../pipeline/pipeline.ts';
import { DROP_REASONS, FATES } from '../pipeline/outcome.ts';

export interface AttachmentName {
  readonly index: number;
  readonly device: string;
  readonly hook: HookName;
  readonly mode: string;
  /** Id of the object. */
  readonly object: string;
  readonly program: string;
  /** False where somebody wanted it to run without. */
  readonly verified: boolean;
  /** It runs from slots of such a map. */
  readonly slots?: string;
}

export interface LabNames {
  readonly epoch: number;
  readonly devices: readonly { readonly name: string; readonly ifindex: number }[];
  /** All of the epoch, by index. */
  readonly attachments: readonly AttachmentName[];
}

/** All but the object. */
export function attachmentName({ index, device, hook, mode, program }: Attachment): Omit<AttachmentName, 'object'> {
  return { index, device: device.name, hook, mode, program: program.spec.name, verified: program.proof !== 'none', ...(hookByName(hook).modes[mode]!.inSlots ? { slots: mode } : {}) };
}

export const FAULT_NAMES: readonly string[] = Object.keys(FAULT);
export const REASON_NAMES: readonly string[] = DROP_REASONS.map(({ name }) => name);

/** A code that is no verdict of its hook. */
export const OTHER_VERDICT = 'other';

/** By hook, mode and code. */
export const VERDICT_NAMES: Readonly<Record<string, Readonly<Record<string, Readonly<Record<number, string>>>>>> = Object.fromEntries(
  HOOKS.map(({ name, modes }) => [name, Object.fromEntries(Object.entries(modes).map(([mode, { verdicts }]) => [mode, Object.fromEntries(verdicts.map(({ code, name: verdict }) => [code, verdict]))]))]),
);

/** What each lab has in common. */
export const STREAM_NAMES = { hooks: HOOK_NAMES, fates: FATES, reasons: REASON_NAMES, faults: FAULT_NAMES, verdicts: VERDICT_NAMES } as const;

/** As verdict logs and statistics spell it. */
export function nameOfVerdict({ hook, mode }: AttachmentName, code: number): string {
  return VERDICT_NAMES[hook]![mode]?.[code] ?? OTHER_VERDICT;
}
