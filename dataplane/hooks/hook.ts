/**
 * A place where programs attach: what their context looks like, what they may answer, and what each answer does.
 */
import type { ProgramType } from '../bpf/spec.ts';

export const HOOK_NAMES = ['xdp', 'tc-ingress', 'tc-egress'] as const;
export type HookName = (typeof HOOK_NAMES)[number];

/**
 * What the packet path does with a verdict; the number stands in the tables that the packet loop reads.
 *   next      asks the following program of the chain; after the last one the packet passes
 *   leave     skips the rest of this way of attaching, and goes on with the next way
 *   pass      ends the chain, the packet goes on
 *   consumed  the packet is gone, but was not dropped
 */
export const OUTCOMES = ['next', 'leave', 'pass', 'drop', 'aborted', 'transmit', 'redirect', 'consumed'] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** Counters of verdicts are in slots: the code + 1, and the last for codes that are in no slot. */
export const VERDICT_SLOTS = 16;
export const OTHER_VERDICT_SLOT = 15;

/** Where a verdict of that code is counted. */
export function verdictSlot(code: number): number {
  return code >= -1 && code < OTHER_VERDICT_SLOT - 1 ? code + 1 : OTHER_VERDICT_SLOT;
}

export interface VerdictRow {
  readonly code: number;
  /** `XDP_PASS`, `TC_ACT_OK`, … */
  readonly name: string;
  readonly outcome: Outcome;
}

/** A way to attach: which codes are verdicts, and what happens for all others. */
export interface VerdictMode {
  readonly verdicts: readonly VerdictRow[];
  readonly unknown: Outcome;
  /** Programs of it are put into slots of maps, and attached nowhere. */
  readonly inSlots?: true;
}

export interface ContextField {
  readonly name: string;
  readonly offset: number;
  readonly bytes: 1 | 2 | 4 | 8;
  readonly writable: boolean;
  /** What a load of the field is, where it is not a number. */
  readonly pointer?: 'packet' | 'packet_end' | 'packet_meta' | 'socket';
}

export interface Hook {
  readonly name: HookName;
  readonly programTypes: readonly ProgramType[];
  /** Bytes of the context that programs see. */
  readonly contextBytes: number;
  readonly context: readonly ContextField[];
  /** Ways to attach, in the order they run. */
  readonly modes: Readonly<Record<string, VerdictMode>>;
  readonly defaultMode: string;
  /** The verdict of a program that had to be stopped. */
  readonly onFault: VerdictRow;
}
