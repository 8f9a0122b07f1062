/** Programs that the kernel refuses, for the sake of what it says. Nothing of them is left to be freed, so many can be asked about. */
import type { ProgramType } from '../../../dataplane/bpf/spec.ts';
import { KernelRefusal, openLinux } from '../../../dataplane/engine/kernel/linux.ts';
import { LOG_LEVEL, loadKernelProgram } from '../../../dataplane/engine/kernel/kernel-program.ts';
import { programSpec } from './kernel-bench.ts';

const ASKED_TOGETHER = 200;
const PAUSE_MS = 5;
const PAUSE = new Int32Array(new SharedArrayBuffer(4));
let asked = 0;

/** What the verifier wrote, path and all, before it refused the program. */
export function refusalLog(code: string, type: ProgramType, attach?: string): string {
  if (++asked % ASKED_TOGETHER === 0) Atomics.wait(PAUSE, 0, 0, PAUSE_MS);
  const spec = { ...programSpec(code, type, 'asks'), ...(attach === undefined ? {} : { attach }) };
  try {
    loadKernelProgram(openLinux(), spec, { type, map: () => 0, logLevel: LOG_LEVEL.path }).close();
  } catch (error) {
    if (error instanceof KernelRefusal) return error.log;
    throw error;
  }
  throw new Error(`Linux accepts what it was to refuse:\n${code}`);
}
