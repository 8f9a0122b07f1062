/** The options of `xdplab live`, and what its modes have in common. */
import type { BackendName, LiveInterface } from '../devices/device.ts';
import type { XdpMode } from '../engine/kernel/kernel-attachments.ts';
import { XdplabError } from '../errors.ts';
import type { HookName } from '../hooks/hook.ts';
import type { NetworkDevice } from '../machine/network.ts';
import type { Lab } from '../pipeline/lab.ts';
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
  readonly attach?: XdpMode | 'tcx';
  readonly redirect: readonly { readonly device: string; readonly to: string }[];
}

export const INTERRUPTED_STATUS = 130;

/** Throws ERR_DEVICE where programs cannot see the interface's packets. */
export function usable(device: LiveInterface): LiveInterface {
  const { name } = device;
  if (!device.ethernet) throw new XdplabError('ERR_DEVICE', `${name}: its packets do not begin with an Ethernet header, which XDP and TC programs here look at; choose an Ethernet interface`);
  if (!device.up) throw new XdplabError('ERR_DEVICE', `${name}: it is down; ip link set ${name} up`);
  return device;
}

export function hasPrograms(lab: Lab, hook: HookName, device: NetworkDevice): boolean {
  return lab.pipeline.attachments.some((each) => each.hook === hook && each.device === device);
}
