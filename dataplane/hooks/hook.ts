/**
 * A place where programs attach: what their context looks like, what they may answer, and what each answer does.
 */
import type { ProgramType } from '../bpf/spec.ts';

export const HOOK_NAMES = ['xdp', 'tc-ingress', 'tc-egress'] as const;
export type HookName = (typeof HOOK_NAMES)[number];

/** What the packet path does with a verdict. `next` asks the following program of the chain. */
export type Outcome = 'next' | 'pass' | 'drop' | 'transmit' | 'redirect' | 'aborted' | 'consumed';

export interface VerdictRow {
  readonly code: number;
  /** `XDP_PASS`, `TC_ACT_OK`, … */
  readonly name: string;
  readonly outcome: Outcome;
}

export interface ContextField {
  readonly name: string;
  readonly offset: number;
  readonly bytes: 1 | 2 | 4 | 8;
  readonly writable: boolean;
  /** What a load of the field is, where it is not a number. */
  readonly pointer?: 'packet' | 'packet_end' | 'packet_meta' | 'socket' | 'flow_keys';
}

export interface Hook {
  readonly name: HookName;
  readonly programTypes: readonly ProgramType[];
  /** Bytes of the context that programs see. */
  readonly contextBytes: number;
  readonly context: readonly ContextField[];
  readonly verdicts: readonly VerdictRow[];
  /** Of a return code that is in no row: Linux warns of it and drops (XDP), or goes on (TC). */
  readonly unknown: Outcome;
}
