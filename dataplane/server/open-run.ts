/** A run of the lab in its thread: of a capture (lab-run.ts), or of a live interface (live-run.ts, attached-run.ts). */
import type { AttachedProgram, AttachMode } from '../live/attached.ts';
import type { Accounting } from '../live/accounting.ts';
import type { InlineCounts } from '../live/inline.ts';

export type RunState = 'running' | 'paused' | 'finished' | 'stopped' | 'failed';

export interface RunDescription {
  readonly id: string;
  /** Empty where it is of an interface. */
  readonly capture: string;
  readonly interface?: string;
  /** Inline, the other side. */
  readonly to?: string;
  /** The running Linux has the programs, attached so; how often each has answered what. */
  readonly attach?: AttachMode;
  readonly attached?: readonly AttachedProgram[];
  readonly state: RunState;
  readonly speed: string;
  readonly loops: number | null;
  readonly round: number;
  readonly packet: number;
  readonly totalPackets: number;
  readonly packets: number;
  readonly bytes: number;
  readonly elapsedNs: number;
  readonly busyNs: number;
  readonly startedAt: string;
  readonly damage?: string;
  readonly error?: string;
  /** Of an interface: where every packet is. */
  readonly accounting?: Accounting;
  /** Inline, by interface; and what was redirected to devices that stand for none. */
  readonly sent?: InlineCounts['sent'];
  readonly nowhere?: number;
}

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
