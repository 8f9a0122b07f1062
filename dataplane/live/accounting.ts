/**
 * Where every packet of live interfaces is. The identity holds to the packet:
 *
 *   received = ringDrops + rejected + sum of verdicts + inFlight
 *
 * `received` and `ringDrops` are what the system counted, verdicts what the packet loop counted; what is in flight came
 * in and has not been judged. Once nothing comes in and everything was read, nothing is.
 */
import type { SourceCounts } from '../devices/device.ts';
import { LOOP } from '../pipeline/layout.ts';
import { FATES, type Fate } from '../pipeline/outcome.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';

export interface Accounting {
  readonly received: number;
  /** Dropped for want of room before they could be read. */
  readonly ringDrops: number;
  /** Could not be run. */
  readonly rejected: number;
  readonly inFlight: number;
  /** How the others ended. */
  readonly verdicts: Readonly<Partial<Record<Fate, number>>>;
}

/** Keeps the account of a run: of packets that are judged from now on. */
export class Account {
  readonly #pipeline: Pipeline;
  readonly #sources: readonly { counts(): SourceCounts }[];
  /** By fate, of what ran before. */
  readonly #before: readonly number[];

  constructor(pipeline: Pipeline, sources: readonly { counts(): SourceCounts }[]) {
    this.#pipeline = pipeline;
    this.#sources = sources;
    this.#before = this.#fates();
  }

  read(): Accounting {
    const verdicts: Partial<Record<Fate, number>> = {};
    let judged = 0;
    let rejected = 0;
    this.#fates().forEach((total, index) => {
      const packets = total - this.#before[index]!;
      judged += packets;
      if (FATES[index] === 'rejected') rejected = packets;
      else if (packets > 0) verdicts[FATES[index]!] = packets;
    });
    const counts = this.#sources.map((source) => source.counts());
    const received = counts.reduce((sum, each) => sum + each.received, 0);
    const ringDrops = counts.reduce((sum, each) => sum + each.ringDrops, 0);
    return { received, ringDrops, rejected, inFlight: received - ringDrops - judged, verdicts };
  }

  #fates(): number[] {
    return FATES.map((_, index) => this.#pipeline.counter(LOOP.fatePackets, index));
  }
}
