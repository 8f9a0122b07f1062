/** Why the tests that ask the kernel cannot run here; undefined where they can. */
import { readdirSync, readFileSync } from 'node:fs';
import { whyNoLinux } from '../../../dataplane/engine/kernel/linux.ts';

/** Linux 6.18 locks up for good when a thousand programs wait to be freed at once; from then on whoever loads one hangs. */
const LOCKED_UP_IN = 'bpf_prog_pack_alloc';
const PATIENCE_MS = 2000;

/** Processes that wait for the allocator now. */
function waiting(): Set<string> {
  const found = new Set<string>();
  for (const process of readdirSync('/proc')) {
    if (!/^\d+$/.test(process)) continue;
    try {
      for (const thread of readdirSync(`/proc/${process}/task`)) {
        if (readFileSync(`/proc/${process}/task/${thread}/wchan`, 'latin1') === LOCKED_UP_IN) found.add(thread);
      }
    } catch {
      // It has ended.
    }
  }
  return found;
}

function whyStuck(): string | undefined {
  if (process.platform !== 'linux') return undefined;
  const before = waiting();
  if (before.size === 0) return undefined;
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PATIENCE_MS);
  const still = [...waiting()].filter((thread) => before.has(thread));
  return still.length === 0 ? undefined : `Linux hangs: thread ${still[0]} has been waiting in ${LOCKED_UP_IN}; reboot`;
}

export const whyNoKernel: string | undefined = whyStuck() ?? whyNoLinux();

/** A suite's title that shows why it is skipped. */
export function kernelTitle(title: string): string {
  return whyNoKernel === undefined ? title : `${title} (skipped: ${whyNoKernel})`;
}
