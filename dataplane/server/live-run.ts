/** A live interface through the lab of this thread: observed, or, where the server was started so, a bump in the wire between two. */
import { BACKENDS } from '../devices/index.ts';
import type { LiveInterface, PacketSource } from '../devices/device.ts';
import { expectInlineFit } from '../devices/inline-check.ts';
import { liveInterface, usableInterface } from '../devices/interfaces.ts';
import { PacketSender } from '../devices/packet-sender.ts';
import { XdplabError } from '../errors.ts';
import type { NetworkDevice } from '../machine/network.ts';
import { Inline } from '../pipeline/inline.ts';
import type { Lab } from '../pipeline/lab.ts';
import { devicesFor, hasPrograms, live, type LiveSnapshot } from '../pipeline/live.ts';
import { inTurn, type BatchObserver } from '../pipeline/pipeline.ts';
import type { OpenRun, RunDescription, RunState } from './open-run.ts';

export interface LiveRequest {
  readonly id: string;
  readonly interface: string;
  /** Inline: what passes on one side leaves on the other. */
  readonly to?: string;
  readonly promiscuous: boolean;
}

/** What is open while a run lasts. */
interface Opened {
  readonly sources: readonly PacketSource[];
  readonly inline: Inline | undefined;
  close(): void;
}

/** The only one that works in a thread. */
const BACKEND = 'af_packet';
const SNAPSHOT_MS = 100;

/** Throws ERR_PRIVILEGE or ERR_DEVICE where nothing can be had of the interfaces. */
export async function openLiveRun(lab: Lab, request: LiveRequest, observer: BatchObserver, tell: (run: RunDescription) => void): Promise<LiveRun> {
  const backend = BACKENDS.find(({ name }) => name === BACKEND)!;
  const missing = backend.missing() ?? backend.refused();
  if (missing !== undefined) throw new XdplabError('ERR_PRIVILEGE', `${request.interface}: no packets can be had here: ${missing}`);
  const closing: { close(): void }[] = [];
  const close = (): void => closing.splice(0).forEach((each) => each.close());
  try {
    const interfaces = [request.interface, ...(request.to === undefined ? [] : [request.to])].map((name) => usableInterface(liveInterface(name)));
    const devices = devicesFor(lab, interfaces.map(({ name }) => name));
    const inline = request.to === undefined ? undefined : openInline(lab, interfaces, devices, closing);
    const sources: PacketSource[] = [];
    for (const [index, each] of interfaces.entries()) {
      const device = devices[index];
      const hearsHost = inline === undefined && device !== undefined && hasPrograms(lab, 'tc-egress', device);
      const source = await backend.open(each, { memory: lab.machine.memory, index, promiscuous: request.promiscuous || inline !== undefined, forwarding: inline !== undefined, ...(hearsHost ? { outgoingIndex: interfaces.length + index } : {}) });
      closing.push(source);
      sources.push(source);
    }
    return new LiveRun(lab, request, { sources, inline, close }, observer, tell);
  } catch (error) {
    close();
    throw error;
  }
}

function openInline(lab: Lab, interfaces: readonly LiveInterface[], devices: readonly (NetworkDevice | undefined)[], closing: { close(): void }[]): Inline {
  expectInlineFit(interfaces);
  const ports = interfaces.map((each, index) => {
    const device = devices[index];
    if (device === undefined) throw new XdplabError('ERR_LAB', `interface '${each.name}': the lab has no device left for it; add one of its name`);
    if (hasPrograms(lab, 'tc-egress', device)) throw new XdplabError('ERR_LAB', `${each.name}: a program is attached to TC egress, where the host sends, and inline it sends nothing; detach it`);
    const sender = new PacketSender(each, lab.machine.memory);
    closing.push(sender);
    return { ifindex: device.ifindex, sender };
  });
  closing.push({ close: () => (lab.pipeline.onCopy = undefined) });
  return new Inline(lab, ports[0]!, ports[1]!);
}

export class LiveRun implements OpenRun {
  readonly id: string;
  readonly #request: LiveRequest;
  readonly #inline: Inline | undefined;
  readonly #abort = new AbortController();
  readonly #tell: (run: RunDescription) => void;
  readonly #startedAt = new Date().toISOString();
  readonly #finished: Promise<void>;
  #state: RunState = 'running';
  #snapshot: LiveSnapshot | undefined;
  #error: string | undefined;

  constructor(lab: Lab, request: LiveRequest, opened: Opened, observer: BatchObserver, tell: (run: RunDescription) => void) {
    this.id = request.id;
    this.#inline = opened.inline;
    this.#request = request;
    this.#tell = tell;
    this.#finished = this.#run(lab, opened, observer);
  }

  get ended(): boolean {
    return this.#state !== 'running';
  }

  describe(): RunDescription {
    const { packets = 0, bytes = 0, elapsedNs = 0, busyNs = 0, accounting } = this.#snapshot ?? {};
    return {
      id: this.id,
      capture: '',
      interface: this.#request.interface,
      ...(this.#request.to === undefined ? {} : { to: this.#request.to }),
      state: this.#state,
      speed: 'original',
      loops: 1,
      round: 1,
      packet: packets,
      totalPackets: packets,
      packets,
      bytes,
      elapsedNs: Math.round(elapsedNs),
      busyNs: Math.round(busyNs),
      startedAt: this.#startedAt,
      ...(this.#error === undefined ? {} : { error: this.#error }),
      ...(accounting === undefined ? {} : { accounting }),
      ...(this.#inline === undefined ? {} : this.#inline.counts),
    };
  }

  async stop(): Promise<RunDescription> {
    this.#abort.abort();
    await this.#finished;
    return this.describe();
  }

  pause(): never {
    return this.#refuse('paused');
  }

  resume(): never {
    return this.#refuse('resumed');
  }

  seek(): never {
    return this.#refuse('moved');
  }

  hurry(): never {
    return this.#refuse('made to hurry');
  }

  #refuse(what: string): never {
    throw new XdplabError('ERR_LAB', `run ${this.id}: packets of ${this.#request.interface} come when they come, and cannot be ${what}; stop it`);
  }

  async #run(lab: Lab, { sources, inline, close }: Opened, observer: BatchObserver): Promise<void> {
    // The answer that it has begun goes out first.
    await new Promise(setImmediate);
    try {
      const result = await live(lab, sources, { observer: inline === undefined ? observer : inTurn([observer, inline]), signal: this.#abort.signal, snapshotMs: SNAPSHOT_MS, onSnapshot: (snapshot) => (this.#snapshot = snapshot) });
      this.#snapshot = result;
      if (result.failure !== undefined) this.#error = result.failure.message;
      this.#state = result.failure === undefined ? 'stopped' : 'failed';
    } catch (error) {
      this.#error = error instanceof Error ? error.message : String(error);
      this.#state = 'failed';
      // What is not an XdplabError is a bug, and shows its stack.
      if (!(error instanceof XdplabError)) console.error(error);
    } finally {
      close();
    }
    this.#tell(this.describe());
  }
}
