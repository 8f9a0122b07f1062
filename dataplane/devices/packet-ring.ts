/**
 * Packets of an interface from a ring that the kernel fills and this process reads: TPACKET_V3
 * (Documentation/networking/packet_mmap.rst, include/uapi/linux/if_packet.h). Time, length on the wire and what was
 * dropped are the kernel's own.
 *
 * The ring is blocks, handed over when one is full or a while has passed. A block is copied into machine memory with
 * one copy and goes back to the kernel at once; packets are described where they then are. Nothing is allocated per
 * packet.
 *
 *   a block:  48 bytes │ packet │ packet │ …            status 8, packets 12, first packet 16, length 20
 *   a packet: tpacket3_hdr 48 bytes │ sockaddr_ll │ pad │ bytes
 *      0 u32 next, from here    4 u32 seconds     8 u32 nanoseconds   12 u32 captured   16 u32 on the wire
 *     20 u32 status            24 u16 bytes, from here                32 u32 VLAN TCI   36 u16 VLAN TPID
 *     58 u8  packet type (PACKET_OUTGOING: sent by this host)
 */
import { XdplabError } from '../errors.ts';
import type { Region } from '../machine/memory.ts';
import { ETHERNET } from '../packet/ethernet.ts';
import { DESCRIPTOR, type PacketBatch } from '../packet/packet-batch.ts';
import { storeSeconds } from '../packet/timestamp.ts';
import { VLAN } from '../packet/vlan.ts';
import { errnoText, type PinnedMemory } from '../system/native.ts';
import type { LiveInterface, PacketSource, SourceCounts, SourceOptions } from './device.ts';
import { NOTHING, SNAP_EVERYTHING, keepAll, packetFilter } from './packet-filter.ts';
import { PACKET_OPTION, PacketSocket } from './packet-socket.ts';
import { completeChecksum } from './partial-checksum.ts';
import { SEGMENTS_BYTES, segmentTcp } from './segmentation.ts';

const TPACKET_V3 = 2;
const BLOCK = { status: 8, packets: 12, firstPacket: 16, lengthBytes: 20 } as const;
const PACKET = { next: 0, seconds: 4, nanoseconds: 8, captured: 12, wire: 16, status: 20, bytes: 24, vlanControl: 32, vlanType: 36, kind: 58 } as const;
const TP_STATUS_KERNEL = 0;
const TP_STATUS_USER = 1;
const TP_STATUS_CSUMNOTREADY = 1 << 3;
const TP_STATUS_VLAN_VALID = 1 << 4;
const TP_STATUS_VLAN_TPID_VALID = 1 << 6;
const PACKET_FANOUT_HASH = 0;
/** sll_pkttype. */
const PACKET_OUTGOING = 4;
const ETHERTYPE_VLAN = 0x8100;
const MAC_ADDRESSES_BYTES = 12;

/** Small enough to stay in a core's cache, large enough for the longest packet that Linux puts together (GRO). */
const BLOCK_BYTES = 1 << 18;
/** A second and more of what one core can judge. */
const DEFAULT_BUFFER_BYTES = 64 << 20;
/** The kernel wants to know one; it does not matter where frames are as long as they are. */
const FRAME_BYTES = 2048;
/** When a block that is not full is handed over, and how long to wait between two looks. */
const PATIENT = { handOverMs: 10, waitMs: 4 } as const;
const QUICK = { handOverMs: 1, waitMs: 1 } as const;

export class PacketRing implements PacketSource {
  readonly interface: LiveInterface;
  readonly index: number;
  readonly outgoingIndex: number | undefined;
  readonly backend = 'af_packet';
  readonly knowsLosses = true;
  readonly waitMs: number;
  readonly #socket: PacketSocket;
  /** Where pieces of packets go; only where packets are sent on. */
  readonly #segments: Region | undefined;
  /** What a device of the interface's MTU can have sent. */
  readonly #longestBytes: number;
  readonly #ring: PinnedMemory;
  readonly #words: Int32Array;
  readonly #blocks: number;
  /** Of the block that is looked at next. */
  #block = 0;
  /** The block that is being read, copied. */
  readonly #window: Region;
  /** Packets of it that are still to be read, and the address of the first. */
  #left = 0;
  #header = 0;
  #received = 0;
  #ringDrops = 0;
  /** By cutting packets. */
  #added = 0;

  constructor(device: LiveInterface, options: SourceOptions) {
    const { memory, index = 0, snapLength = SNAP_EVERYTHING, filter, promiscuous = false, bufferBytes = DEFAULT_BUFFER_BYTES, outgoingIndex, fanout, forwarding = false } = options;
    const { handOverMs, waitMs } = forwarding ? QUICK : PATIENT;
    this.interface = device;
    this.waitMs = waitMs;
    this.index = index;
    this.outgoingIndex = outgoingIndex;
    this.#segments = forwarding ? memory.region(SEGMENTS_BYTES, 64, 'pieces of packets') : undefined;
    this.#longestBytes = device.mtuBytes + ETHERNET.headerLength + VLAN.headerLength;
    this.#blocks = Math.max(2, Math.ceil(bufferBytes / BLOCK_BYTES));
    this.#socket = new PacketSocket();
    try {
      this.#socket.setFilter(filter === undefined ? keepAll(snapLength) : packetFilter(filter, snapLength));
      if (outgoingIndex === undefined) this.#socket.set(PACKET_OPTION.ignoreOutgoing, 'leaving out what is sent', 1);
      this.#socket.set(PACKET_OPTION.version, 'TPACKET_V3', TPACKET_V3);
      this.#socket.set(PACKET_OPTION.rxRing, `a ring of ${(this.#blocks * BLOCK_BYTES) >> 20} MiB (--buffer makes it smaller)`, BLOCK_BYTES, this.#blocks, FRAME_BYTES, (BLOCK_BYTES / FRAME_BYTES) * this.#blocks, handOverMs, 0, 0);
      this.#ring = this.#socket.native.share(this.#socket.fd, 0, this.#blocks * BLOCK_BYTES, 'write');
      this.#words = new Int32Array(this.#ring.bytes.buffer);
      this.#window = memory.region(BLOCK_BYTES, 64, 'live packets');
      if (promiscuous) this.#socket.beginPromiscuous(device);
      this.#socket.bind(device, true);
      if (fanout !== undefined) this.#socket.set(PACKET_OPTION.fanout, 'sharing packets', (fanout & 0xffff) | (PACKET_FANOUT_HASH << 16));
    } catch (error) {
      this.#socket.close();
      throw error;
    }
  }

  read(batch: PacketBatch): number {
    batch.count = 0;
    if (this.#left === 0 && !this.#takeBlock()) return 0;
    const { u32, u16, u8 } = batch.memory;
    const most = Math.min(this.#left, batch.capacity);
    let count = 0;
    for (; count < most; count++) {
      const header = this.#header;
      const status = u32[(header + PACKET.status) >>> 2]!;
      let address = header + u16[(header + PACKET.bytes) >>> 1]!;
      let captured = u32[(header + PACKET.captured) >>> 2]!;
      let wire = u32[(header + PACKET.wire) >>> 2]!;
      const isPartial = this.#segments !== undefined && captured === wire && (status & TP_STATUS_CSUMNOTREADY) !== 0;
      // What is to be cut is a batch of its own.
      if (isPartial && captured > this.#longestBytes && count > 0) break;
      if ((status & TP_STATUS_VLAN_VALID) !== 0 && captured >= MAC_ADDRESSES_BYTES) {
        this.#putVlanBack(batch, header, address, (status & TP_STATUS_VLAN_TPID_VALID) !== 0);
        address -= VLAN.headerLength;
        captured += VLAN.headerLength;
        wire += VLAN.headerLength;
      }
      if (isPartial && captured > this.#longestBytes) {
        const segments = this.#segment(batch, address, captured);
        if (segments > 0) return segments;
      }
      if (isPartial) completeChecksum(u8, address, captured);
      this.#describe(batch, count, address, captured, wire);
      this.#header += u32[(header + PACKET.next) >>> 2]!;
    }
    this.#left -= count;
    batch.count = count;
    return count;
  }

  counts(): SourceCounts {
    // The kernel starts again at 0 whenever it is asked.
    const [packets, drops] = this.#socket.get(PACKET_OPTION.statistics, 3, 'statistics');
    this.#received += packets!;
    this.#ringDrops += drops!;
    return { received: this.#received + this.#added, ringDrops: this.#ringDrops };
  }

  stop(): void {
    this.#socket.setFilter(NOTHING);
  }

  failure(): XdplabError | undefined {
    const errno = this.#socket.error();
    if (errno === 0) return undefined;
    return new XdplabError('ERR_DEVICE', `${this.interface.name}: it went down or away while packets were read (${errnoText(-errno)})`);
  }

  close(): void {
    this.#left = 0;
    this.#socket.native.unmap(this.#ring);
    this.#socket.close();
  }

  /** The packet at `#header`, as it came or a piece of it. */
  #describe({ memory, region }: PacketBatch, position: number, address: number, captured: number, wire: number): void {
    const { u8, u32 } = memory;
    const header = this.#header;
    const { index, outgoingIndex = index } = this;
    const descriptor = (region.address + position * DESCRIPTOR.size) >>> 2;
    u32[descriptor + DESCRIPTOR.address / 4] = address;
    u32[descriptor + DESCRIPTOR.captured / 4] = captured;
    u32[descriptor + DESCRIPTOR.wire / 4] = wire;
    u32[descriptor + DESCRIPTOR.interface / 4] = u8[header + PACKET.kind] === PACKET_OUTGOING ? outgoingIndex : index;
    storeSeconds(u32, descriptor + DESCRIPTOR.timestampNs / 4, u32[(header + PACKET.seconds) >>> 2]!, u32[(header + PACKET.nanoseconds) >>> 2]!);
  }

  /** The packet at `#header`, which its sender left to its NIC to cut, as it would have come over a wire; each piece counts as received. 0 where it cannot be cut. */
  #segment(batch: PacketBatch, address: number, captured: number): number {
    const { u8, u32 } = batch.memory;
    let described = 0;
    // These are few and long: what is allocated here does not matter.
    const count = segmentTcp(u8, address, captured, this.interface.mtuBytes, this.#segments!.address, batch.capacity, (at, length) => this.#describe(batch, described++, at, length, length));
    if (count === 0) return 0;
    this.#header += u32[(this.#header + PACKET.next) >>> 2]!;
    this.#left--;
    this.#added += count - 1;
    batch.count = count;
    return count;
  }

  /** Copies the next block, if the kernel has handed it over, and gives it back. */
  #takeBlock(): boolean {
    const base = this.#block * BLOCK_BYTES;
    const statusWord = (base + BLOCK.status) >>> 2;
    if ((Atomics.load(this.#words, statusWord) & TP_STATUS_USER) === 0) return false;
    const { view, bytes } = this.#ring;
    const length = view.getUint32(base + BLOCK.lengthBytes, true);
    this.#window.bytes.set(bytes.subarray(base, base + length));
    this.#left = view.getUint32(base + BLOCK.packets, true);
    this.#header = this.#window.address + view.getUint32(base + BLOCK.firstPacket, true);
    Atomics.store(this.#words, statusWord, TP_STATUS_KERNEL);
    this.#block = (this.#block + 1) % this.#blocks;
    return this.#left > 0;
  }

  /** The kernel keeps the tag beside the packet; XDP programs see it where it was. There is room: addresses are kept before the bytes. */
  #putVlanBack(batch: PacketBatch, header: number, address: number, knowsType: boolean): void {
    const { u8, u16, u32 } = batch.memory;
    const control = u32[(header + PACKET.vlanControl) >>> 2]!;
    const type = knowsType ? u16[(header + PACKET.vlanType) >>> 1]! : ETHERTYPE_VLAN;
    u8.copyWithin(address - VLAN.headerLength, address, address + MAC_ADDRESSES_BYTES);
    const tag = address - VLAN.headerLength + MAC_ADDRESSES_BYTES;
    u8[tag] = type >>> 8;
    u8[tag + 1] = type;
    u8[tag + 2] = control >>> 8;
    u8[tag + 3] = control;
  }
}
