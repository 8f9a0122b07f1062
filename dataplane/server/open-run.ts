/** A run of the lab in its thread: of a capture (lab-run.ts), or of a live interface (live-run.ts, attached-run.ts). */
import type { AttachedProgram, AttachMode } from '../live/attached.ts';
import type { Accounting } from '../live/accounting.ts';
import type { InlineCounts } from '../live/inline.ts';

export type RunState = 'running' | 'paused' | 'finished' | 'stopped' | 'failed';

interface AnyRun {
  readonly id: string;
  readonly state: RunState;
  readonly packets: number;
  /** null where the running Linux has the programs: it counts packets alone, in its own time. */
  readonly bytes: number | null;
  readonly busyNs: number | null;
  readonly elapsedNs: number;
  readonly startedAt: string;
  readonly error?: string;
}

export interface CaptureRunDescription extends AnyRun {
  readonly capture: string;
  readonly speed: string;
  readonly loops: number | null;
  readonly round: number;
  readonly packet: number;
  readonly totalPackets: number;
  readonly damage?: string;
}

export interface InterfaceRunDescription extends AnyRun {
  readonly interface: string;
  /** Inline, the other side. */
  readonly to?: string;
  /** The running Linux has the programs, attached so; how often each has answered what. */
  readonly attach?: AttachMode;
  readonly attached?: readonly AttachedProgram[];
  /** Of packets that come here: where every one is. */
  readonly accounting?: Accounting;
  /** Inline, by interface; and what was redirected to devices that stand for none. */
  readonly sent?: InlineCounts['sent'];
  readonly nowhere?: number;
}

export type RunDescription = CaptureRunDescription | InterfaceRunDescription;

export interface OpenRun {
  readonly id: string;
  readonly ended: boolean;
  describe(): RunDescription;
  pause(): RunDescription;
  resume(): RunDescription;
  stop(): Promise<RunDescription>;
  seek(place: number): RunDescription;
  hurry(speed: string): RunDescription;
}
