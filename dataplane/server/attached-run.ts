/** The lab's programs in the running Linux, attached to an interface: no packet comes here, verdicts are counted there, and maps are those of the kernel. */
import type { XdplabError } from '../errors.ts';
import { openAttached, type Attached, type AttachedProgram, type AttachRequest } from '../live/attached.ts';
import { watchAttached } from '../live/watch-attached.ts';
import type { Lab } from '../pipeline/lab.ts';
import { InterfaceRun, type RunFacts } from './interface-run.ts';
import type { RunDescription } from './open-run.ts';

export interface AttachedRequest extends Pick<AttachRequest, 'interface' | 'attach'> {
  readonly id: string;
}

/** Attached when it is there; throws ERR_PRIVILEGE, ERR_DEVICE, ERR_PROGRAM or ERR_LAB where Linux or the lab refuses, and nothing is attached. */
export class AttachedRun extends InterfaceRun {
  readonly #attach: AttachedRequest['attach'];
  readonly #attached: Attached;
  readonly #begunMs = performance.now();
  #endedMs: number | undefined;
  #programs: readonly AttachedProgram[] = [];

  constructor(lab: Lab, request: AttachedRequest, tell: (run: RunDescription) => void) {
    const attached = openAttached(lab, request);
    super(request, tell);
    this.#attach = request.attach;
    this.#attached = attached;
  }

  /** Reads what was counted since, so that the lab's statistics have it too. */
  protected facts(): RunFacts {
    if (this.#endedMs === undefined) this.#programs = this.#attached.read();
    const packets = this.#programs.reduce((sum, program) => sum + (program.mode === 'slot' ? 0 : program.packets), 0);
    return { packets, bytes: null, elapsedNs: ((this.#endedMs ?? performance.now()) - this.#begunMs) * 1e6, busyNs: null, attach: this.#attach, attached: this.#programs };
  }

  protected async run(signal: AbortSignal): Promise<{ readonly failure?: XdplabError }> {
    try {
      return await watchAttached(this.#attached, { signal });
    } finally {
      this.#attached.detach();
      this.#programs = this.#attached.read();
      this.#endedMs = performance.now();
      this.#attached.giveBack();
    }
  }
}
