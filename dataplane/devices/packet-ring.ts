/**
 * Packets of an interface from a ring that the kernel fills and ring-reader.ts reads. Time, length on the wire and what
 * was dropped are the kernel's own.
 */
import { XdplabError } from '../errors.ts';
import type { PacketBatch } from '../packet/packet-batch.ts';
import { errnoText, type PinnedMemory } from '../system/native.ts';
import type { LiveInterface, PacketSource, SourceCounts, SourceOptions } from './device.ts';
import { NOTHING, SNAP_EVERYTHING, keepAll, packetFilter, withoutSent } from './packet-filter.ts';
import { PACKET_OPTION, PacketSocket } from './packet-socket.ts';
import { BLOCK_BYTES, CURSOR, RingReader, type RingImage } from './ring-reader.ts';
import { SEGMENTS_BYTES } from './segmentation.ts';

const TPACKET_V3 = 2;
const PACKET_FANOUT_HASH = 0;
/** A second and more of what one core can judge. */
export const DEFAULT_BUFFER_BYTES = 64 << 20;
/** The kernel wants to know one; it does not matter where frames are as long as they are. */
const FRAME_BYTES = 2048;
/** When a block that is not full is handed over, and how long to wait between two looks. */
const PATIENT = { handOverMs: 10, waitMs: 4 } as const;
const QUICK = { handOverMs: 1, waitMs: 1 } as const;

export interface RingOptions extends SourceOptions {
  /** Blocks that are in machine memory at once: one unless said. */
  readonly windowBlocks?: number;
  /** Nothing comes in before `open`. */
  readonly closed?: boolean;
}

export class PacketRing implements PacketSource {
  readonly interface: LiveInterface;
  readonly index: number;
  readonly outgoingIndex: number | undefined;
  readonly backend = 'af_packet';
  readonly knowsLosses = true;
  readonly waitMs: number;
  /** For threads that read it in place of this one. */
  readonly image: RingImage;
  readonly socket: PacketSocket;
  readonly #filter: Uint8Array;
  readonly #ring: PinnedMemory;
  readonly #reader: RingReader;
  #received = 0;
  #ringDrops = 0;

  constructor(device: LiveInterface, options: RingOptions) {
    const { memory, index = 0, snapLength = SNAP_EVERYTHING, filter, promiscuous = false, bufferBytes = DEFAULT_BUFFER_BYTES, outgoingIndex, fanout, forwarding = false, windowBlocks = 1, closed = false } = options;
    const { handOverMs, waitMs } = forwarding ? QUICK : PATIENT;
    this.interface = device;
    this.waitMs = waitMs;
    this.index = index;
    this.outgoingIndex = outgoingIndex;
    const blocks = Math.max(2, Math.ceil(bufferBytes / BLOCK_BYTES));
    this.socket = new PacketSocket();
    try {
      const kept = filter === undefined ? keepAll(snapLength) : packetFilter(filter, snapLength);
      // In a group, Linux forgets that what is sent is to be left out.
      this.#filter = closed && outgoingIndex === undefined ? withoutSent(kept) : kept;
      this.socket.setFilter(closed ? NOTHING : this.#filter);
      if (outgoingIndex === undefined) this.socket.set(PACKET_OPTION.ignoreOutgoing, 'leaving out what is sent', 1);
      this.socket.set(PACKET_OPTION.version, 'TPACKET_V3', TPACKET_V3);
      this.socket.set(PACKET_OPTION.rxRing, `a ring of ${(blocks * BLOCK_BYTES) >> 20} MiB (--buffer makes it smaller)`, BLOCK_BYTES, blocks, FRAME_BYTES, (BLOCK_BYTES / FRAME_BYTES) * blocks, handOverMs, 0, 0);
      this.#ring = this.socket.native.share(this.socket.fd, 0, blocks * BLOCK_BYTES, 'write');
      this.image = {
        address: this.#ring.address,
        blocks,
        cursor: memory.allocate(CURSOR.size, 64, 'live packets'),
        window: memory.allocate(windowBlocks * BLOCK_BYTES, 64, 'live packets'),
        windowBlocks,
        index,
        outgoingIndex: outgoingIndex ?? index,
        mtuBytes: device.mtuBytes,
        segments: forwarding ? memory.allocate(SEGMENTS_BYTES, 64, 'pieces of packets') : 0,
      };
      this.#reader = new RingReader(memory, this.image);
      if (promiscuous) this.socket.beginPromiscuous(device);
      this.socket.bind(device, true);
      if (fanout !== undefined) this.socket.set(PACKET_OPTION.fanout, 'sharing packets', (fanout & 0xffff) | (PACKET_FANOUT_HASH << 16));
    } catch (error) {
      this.socket.close();
      throw error;
    }
  }

  /** From now on packets come in. */
  open(): void {
    this.socket.setFilter(this.#filter);
  }

  read(batch: PacketBatch): number {
    this.#reader.begin();
    batch.count = this.#reader.read(batch.region.address, batch.capacity);
    return batch.count;
  }

  counts(): SourceCounts {
    // The kernel starts again at 0 whenever it is asked.
    const [packets, drops] = this.socket.get(PACKET_OPTION.statistics, 3, 'statistics');
    this.#received += packets!;
    this.#ringDrops += drops!;
    return { received: this.#received + this.#reader.added, ringDrops: this.#ringDrops };
  }

  stop(): void {
    this.socket.setFilter(NOTHING);
  }

  failure(): XdplabError | undefined {
    const errno = this.socket.error();
    if (errno === 0) return undefined;
    return new XdplabError('ERR_DEVICE', `${this.interface.name}: it went down or away while packets were read (${errnoText(-errno)})`);
  }

  close(): void {
    this.socket.native.unmap(this.#ring);
    this.socket.close();
  }
}
