/** The kernel, asked as somebody who may do less than this process (capabilities(7)). */
import { readFileSync } from 'node:fs';
import type { Linux } from './linux.ts';

const bit = (capability: number): bigint => 1n << BigInt(capability);
const CAP_SYS_ADMIN = bit(21);
const CAP_PERFMON = bit(38);
const ALL = (1n << 64n) - 1n;

/** What is left: without `bpf`, no capability at all. */
export interface Rights {
  readonly bpf: boolean;
  readonly perfmon: boolean;
}

export function withRights<T>(linux: Linux, { bpf, perfmon }: Rights, action: () => T): T {
  if (!bpf) return linux.withoutCapabilities(ALL, action);
  return perfmon ? action() : linux.withoutCapabilities(CAP_PERFMON | CAP_SYS_ADMIN, action);
}

const SETTING = '/proc/sys/kernel/unprivileged_bpf_disabled';

/** Why whoever has no capability may load nothing here; undefined where they may. */
export function whyNobodysPrograms(): string | undefined {
  let setting: string;
  try {
    setting = readFileSync(SETTING, 'latin1').trim();
  } catch {
    return undefined;
  }
  return setting === '0' ? undefined : `kernel.unprivileged_bpf_disabled is ${setting}; ${setting === '1' ? 'it stays so until the next boot' : 'sysctl kernel.unprivileged_bpf_disabled=0 allows it'}`;
}
