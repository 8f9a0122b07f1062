/** Looks after programs that are attached to an interface: what `live` is for packets that come here. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { XdplabError } from '../errors.ts';
import type { Attached } from './attached.ts';

export interface WatchOptions {
  readonly durationMs?: number;
  readonly signal?: AbortSignal;
  /** How often `onSnapshot` is called. */
  readonly snapshotMs?: number;
  readonly onSnapshot?: (elapsedNs: number) => void;
  /** Called now and then, whatever comes. */
  readonly onLook?: () => void;
}

export interface WatchResult {
  readonly elapsedNs: number;
  readonly interrupted: boolean;
  /** The interface has gone away. */
  readonly failure?: XdplabError;
}

/** How often ring buffers are read. */
const POLL_MS = 50;
/** How often it is looked whether the interface is still there. */
const CHECK_MS = 500;

/** Until the time is over, the signal aborts or the interface goes away. */
export async function watchAttached(attached: Attached, { durationMs = Infinity, signal, snapshotMs = Infinity, onSnapshot, onLook }: WatchOptions): Promise<WatchResult> {
  const begun = performance.now();
  const endMs = begun + durationMs;
  let [snapshotAtMs, checkAtMs] = [begun + snapshotMs, begun + CHECK_MS];
  let failure: XdplabError | undefined;
  for (let now = begun; now < endMs && signal?.aborted !== true && failure === undefined; now = performance.now()) {
    attached.tellOfRecords();
    if (now >= checkAtMs) {
      onLook?.();
      failure = attached.failure();
      checkAtMs = now + CHECK_MS;
    }
    if (now >= snapshotAtMs) {
      onSnapshot?.(Math.round((now - begun) * 1e6));
      snapshotAtMs = now + snapshotMs;
    }
    await sleep(Math.min(POLL_MS, Math.max(1, endMs - now)));
  }
  attached.tellOfRecords();
  return { elapsedNs: Math.round((performance.now() - begun) * 1e6), interrupted: signal?.aborted === true, ...(failure === undefined ? {} : { failure }) };
}
