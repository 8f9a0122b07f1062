/**
 * A ring for each CPU of a lab: packet sockets that share the packets of an interface (PACKET_FANOUT in packet(7)), each
 * packet with the one of the CPU whose queue it would come to (fanout-program.ts). CPUs read them by themselves, all at
 * once; where one runs all packets, they are read here, one after the other.
 */
import type { XdplabError } from '../errors.ts';
import type { PacketBatch } from '../packet/packet-batch.ts';
import type { LiveInterface, PacketSource, SourceCounts, SourceOptions } from './device.ts';
import { fanoutProgram } from './fanout-program.ts';
import { DEFAULT_BUFFER_BYTES, PacketRing } from './packet-ring.ts';
import { PACKET_OPTION } from './packet-socket.ts';
import type { RingImage } from './ring-reader.ts';

const PACKET_FANOUT_CBPF = 6;
const PACKET_FANOUT_FLAG_UNIQUEID = 0x2000;
/** What a CPU takes in at once. */
const WINDOW_BLOCKS = 4;

export interface FanoutChoice {
  readonly cpus: number;
  /** The key of the hash, and the CPU of each slot of the indirection table. */
  readonly key: Uint8Array;
  readonly cpuOfSlot: readonly number[];
}

export class FanoutRings implements PacketSource {
  readonly interface: LiveInterface;
  readonly index: number;
  readonly outgoingIndex: number | undefined;
  readonly backend = 'af_packet';
  readonly knowsLosses = true;
  readonly waitMs: number;
  /** By CPU. */
  readonly rings: readonly RingImage[];
  readonly #rings: readonly PacketRing[];
  #next = 0;

  constructor(device: LiveInterface, { bufferBytes = DEFAULT_BUFFER_BYTES, ...options }: SourceOptions, { cpus, key, cpuOfSlot }: FanoutChoice) {
    const opened: PacketRing[] = [];
    this.#rings = opened;
    try {
      let group = PACKET_FANOUT_FLAG_UNIQUEID << 16;
      for (let cpu = 0; cpu < cpus; cpu++) {
        const ring = new PacketRing(device, { ...options, bufferBytes: Math.ceil(bufferBytes / cpus), windowBlocks: WINDOW_BLOCKS, closed: true });
        opened.push(ring);
        ring.socket.set(PACKET_OPTION.fanout, 'sharing packets', (group | (PACKET_FANOUT_CBPF << 16)) >>> 0);
        // The first has a number chosen for the group.
        if (cpu === 0) group = ring.socket.get(PACKET_OPTION.fanout, 1, 'sharing packets')[0]! & 0xffff;
      }
      opened[0]!.socket.setFanoutProgram(fanoutProgram(key, cpuOfSlot));
      // All share before any keeps: until then each would have had all packets.
      for (const ring of opened) ring.open();
    } catch (error) {
      this.close();
      throw error;
    }
    const [first] = opened;
    this.interface = device;
    this.index = first!.index;
    this.outgoingIndex = first!.outgoingIndex;
    this.waitMs = first!.waitMs;
    this.rings = opened.map(({ image }) => image);
  }

  read(batch: PacketBatch): number {
    for (let looked = 0; looked < this.#rings.length; looked++) {
      const count = this.#rings[this.#next]!.read(batch);
      if (count > 0) return count;
      this.#next = (this.#next + 1) % this.#rings.length;
    }
    return 0;
  }

  counts(): SourceCounts {
    const each = this.#rings.map((ring) => ring.counts());
    return { received: each.reduce((sum, { received }) => sum + received, 0), ringDrops: each.reduce((sum, { ringDrops }) => sum + ringDrops, 0) };
  }

  stop(): void {
    for (const ring of this.#rings) ring.stop();
  }

  failure(): XdplabError | undefined {
    return this.#rings.map((ring) => ring.failure()).find((failure) => failure !== undefined);
  }

  close(): void {
    for (const ring of this.#rings) ring.close();
  }
}
