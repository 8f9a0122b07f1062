/** Programs that the kernel refuses, for the sake of what it says. Nothing of them is left to be freed, so many can be asked about. */
import { assemble } from '../../../dataplane/bpf/assemble.ts';
import type { MapFileDescriptor } from '../../../dataplane/bpf/encode.ts';
import type { ProgramSpec, ProgramType } from '../../../dataplane/bpf/spec.ts';
import { KernelRefusal, openLinux } from '../../../dataplane/engine/kernel/linux.ts';
import { LOG_LEVEL, loadKernelProgram } from '../../../dataplane/engine/kernel/kernel-program.ts';

const ASKED_TOGETHER = 200;
const PAUSE_MS = 5;
const PAUSE = new Int32Array(new SharedArrayBuffer(4));
let asked = 0;

/** What the verifier wrote, path and all, before it refused the program. It is handed over as it is, unchecked. */
export function refusalLog(code: string, type: ProgramType, options: { readonly attach?: string; readonly map?: MapFileDescriptor } = {}): string {
  if (++asked % ASKED_TOGETHER === 0) Atomics.wait(PAUSE, 0, 0, PAUSE_MS);
  const { attach, map = () => 0 } = options;
  const spec: ProgramSpec = {
    name: 'asks', section: type, type, frags: false, license: 'GPL',
    instructions: assemble(code).instructions,
    functions: [{ name: 'asks', slot: 0, typeId: 0, linkage: 'static' }],
    lines: [],
    ...(attach === undefined ? {} : { attach }),
  };
  try {
    loadKernelProgram(openLinux(), spec, { type, map, logLevel: LOG_LEVEL.path }).close();
  } catch (error) {
    if (error instanceof KernelRefusal) return error.log;
    throw error;
  }
  throw new Error(`Linux accepts what it was to refuse:\n${code}`);
}
