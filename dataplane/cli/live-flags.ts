/** The options of `xdplab live`, and what its modes have in common. */
import type { BackendName } from '../devices/device.ts';
import type { AttachMode } from '../live/attached.ts';
import type { Redirect } from '../live/open-live.ts';
import type { LabFlags } from './lab-options.ts';
import type { OutputFlags } from './replay-outputs.ts';

export interface LiveFlags extends LabFlags, OutputFlags {
  readonly list?: true;
  readonly backend?: BackendName;
  readonly snaplen?: number;
  readonly buffer: number;
  readonly promiscuous?: true;
  readonly count?: number;
  readonly duration?: number;
  readonly every?: number;
  readonly user?: string;
  readonly to?: string;
  readonly attach?: AttachMode;
  readonly redirect: readonly Redirect[];
}

export const INTERRUPTED_STATUS = 130;
