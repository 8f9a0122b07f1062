/** Packets of a live interface through the lab of this thread: observed, or, where the server was started so, a bump in the wire between two. */
import type { XdplabError } from '../errors.ts';
import { live, type LiveSnapshot } from '../live/live.ts';
import { openLive, type LiveRequest as OpenRequest, type OpenLive } from '../live/open-live.ts';
import type { Lab } from '../pipeline/lab.ts';
import { inTurn, type BatchObserver } from '../pipeline/pipeline.ts';
import { InterfaceRun, type RunFacts } from './interface-run.ts';
import type { RunDescription } from './open-run.ts';

export interface LiveRequest extends Pick<OpenRequest, 'interface' | 'to'> {
  readonly id: string;
  readonly promiscuous: boolean;
}

/** The only one that works in a thread. */
const BACKEND = 'af_packet';
const SNAPSHOT_MS = 100;

/** Throws ERR_PRIVILEGE or ERR_DEVICE where nothing can be had of the interfaces. */
export async function openLiveRun(lab: Lab, request: LiveRequest, observer: BatchObserver, tell: (run: RunDescription) => void): Promise<LiveRun> {
  return new LiveRun(lab, request, await openLive(lab, { ...request, backend: BACKEND }), observer, tell);
}

export class LiveRun extends InterfaceRun {
  readonly #lab: Lab;
  readonly #request: LiveRequest;
  readonly #open: OpenLive;
  readonly #observer: BatchObserver;
  #snapshot: LiveSnapshot | undefined;

  constructor(lab: Lab, request: LiveRequest, open: OpenLive, observer: BatchObserver, tell: (run: RunDescription) => void) {
    super(request, tell);
    this.#lab = lab;
    this.#request = request;
    this.#open = open;
    this.#observer = observer;
  }

  protected facts(): RunFacts {
    const { packets = 0, bytes = 0, elapsedNs = 0, busyNs = 0, accounting } = this.#snapshot ?? {};
    const { to } = this.#request;
    return { packets, bytes, elapsedNs, busyNs, ...(to === undefined ? {} : { to }), ...(accounting === undefined ? {} : { accounting }), ...this.#open.inline?.counts };
  }

  protected async run(signal: AbortSignal): Promise<{ readonly failure?: XdplabError }> {
    const { sources, inline } = this.#open;
    const observer = inline === undefined ? this.#observer : inTurn([this.#observer, inline]);
    try {
      const result = await live(this.#lab, sources, { observer, signal, snapshotMs: SNAPSHOT_MS, onSnapshot: (snapshot) => (this.#snapshot = snapshot) });
      this.#snapshot = result;
      return result;
    } finally {
      this.#open.close();
    }
  }
}
