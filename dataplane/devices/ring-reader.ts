/**
 * Reads a ring that the kernel fills: TPACKET_V3 (Documentation/networking/packet_mmap.rst,
 * include/uapi/linux/if_packet.h), blocks of packets that are handed over when one is full or a while has passed. A
 * block is copied into machine memory with one copy and goes back to the kernel at once; packets are described where
 * they then are. Nothing is allocated per packet.
 *
 *   a block:  48 bytes │ packet │ packet │ …            status 8, packets 12, first packet 16, length 20
 *   a packet: tpacket3_hdr 48 bytes │ sockaddr_ll │ pad │ bytes
 *      0 u32 next, from here    4 u32 seconds     8 u32 nanoseconds   12 u32 captured   16 u32 on the wire
 *     20 u32 status            24 u16 bytes, from here                32 u32 VLAN TCI   36 u16 VLAN TPID
 *     58 u8  packet type (PACKET_OUTGOING: sent by this host)
 *
 * How far it has read stands in machine memory, so that threads may read one ring by turns.
 *
 *   cursor:  0 u32 block    that is looked at next
 *            4 u32 left     packets of the block that was copied that are still to be read
 *            8 u32 header   address of the first of them
 */
import type { MachineMemory } from '../machine/memory.ts';
import { ETHER_TYPE, ETHERNET } from '../packet/ethernet.ts';
import { DESCRIPTOR } from '../packet/packet-batch.ts';
import { storeSeconds } from '../packet/timestamp.ts';
import { VLAN } from '../packet/vlan.ts';
import { openNative } from '../system/native.ts';
import { PACKET_OUTGOING } from './packet-filter.ts';
import { completeChecksum } from './partial-checksum.ts';
import { segmentTcp } from './segmentation.ts';

const BLOCK = { status: 8, packets: 12, firstPacket: 16, lengthBytes: 20 } as const;
const PACKET = { next: 0, seconds: 4, nanoseconds: 8, captured: 12, wire: 16, status: 20, bytes: 24, vlanControl: 32, vlanType: 36, kind: 58 } as const;
export const CURSOR = { block: 0, left: 4, header: 8, size: 64 } as const;
const TP_STATUS_KERNEL = 0;
const TP_STATUS_USER = 1;
const TP_STATUS_CSUMNOTREADY = 1 << 3;
const TP_STATUS_VLAN_VALID = 1 << 4;
const TP_STATUS_VLAN_TPID_VALID = 1 << 6;
const MAC_ADDRESSES_BYTES = 12;

/** Small enough to stay in a core's cache, large enough for the longest packet that Linux puts together (GRO). */
export const BLOCK_BYTES = 1 << 18;

/** A ring as any thread can read it: addresses are those of the process, or of machine memory. */
export interface RingImage {
  /** In the process. */
  readonly address: number;
  readonly blocks: number;
  readonly cursor: number;
  /** Where blocks are copied to, and how many there is room for. */
  readonly window: number;
  readonly windowBlocks: number;
  /** `interface` in descriptors of what comes in, and of what this host sends. */
  readonly index: number;
  readonly outgoingIndex: number;
  readonly mtuBytes: number;
  /** Where pieces of packets go, 0 where packets are not sent on. */
  readonly segments: number;
}

export class RingReader {
  readonly #memory: MachineMemory;
  readonly #image: RingImage;
  readonly #ring: Uint8Array;
  readonly #view: DataView;
  readonly #words: Int32Array;
  /** What a device of the interface's MTU can have sent. */
  readonly #longestBytes: number;
  /** Blocks in the window since `begin`. */
  #copied = 0;
  /** Packets that cutting has added. */
  added = 0;

  constructor(memory: MachineMemory, image: RingImage) {
    this.#memory = memory;
    this.#image = image;
    this.#ring = openNative()!.at(image.address, image.blocks * BLOCK_BYTES);
    this.#view = new DataView(this.#ring.buffer);
    this.#words = new Int32Array(this.#ring.buffer);
    this.#longestBytes = image.mtuBytes + ETHERNET.headerLength + VLAN.headerLength;
  }

  /** What was read before is not needed any more. */
  begin(): void {
    this.#copied = this.#get(CURSOR.left) === 0 ? 0 : 1;
    if (this.#copied === 0) return;
    // What is left of a block stays in the first place.
    const { window } = this.#image;
    const offset = (this.#get(CURSOR.header) - window) % BLOCK_BYTES;
    const block = this.#get(CURSOR.header) - offset;
    if (block !== window) this.#memory.u8.copyWithin(window, block, block + BLOCK_BYTES);
    this.#set(CURSOR.header, window + offset);
  }

  /** Describes at most `most` packets from the descriptor at `first` on, of one block; how many they are, 0 where none waits or the window is full. */
  read(first: number, most: number): number {
    if (this.#get(CURSOR.left) === 0 && !this.#takeBlock()) return 0;
    const { u32, u16, u8 } = this.#memory;
    const end = Math.min(this.#get(CURSOR.left), most);
    const { segments } = this.#image;
    let header = this.#get(CURSOR.header);
    let count = 0;
    for (; count < end; count++) {
      const status = u32[(header + PACKET.status) >>> 2]!;
      let address = header + u16[(header + PACKET.bytes) >>> 1]!;
      let captured = u32[(header + PACKET.captured) >>> 2]!;
      let wire = u32[(header + PACKET.wire) >>> 2]!;
      const isPartial = segments !== 0 && captured === wire && (status & TP_STATUS_CSUMNOTREADY) !== 0;
      // What is to be cut is read by itself.
      if (isPartial && captured > this.#longestBytes && count > 0) break;
      if ((status & TP_STATUS_VLAN_VALID) !== 0 && captured >= MAC_ADDRESSES_BYTES) {
        this.#putVlanBack(header, address, (status & TP_STATUS_VLAN_TPID_VALID) !== 0);
        address -= VLAN.headerLength;
        captured += VLAN.headerLength;
        wire += VLAN.headerLength;
      }
      const next = header + u32[(header + PACKET.next) >>> 2]!;
      if (isPartial && captured > this.#longestBytes) {
        const pieces = this.#segment(first, most, header, address, captured);
        if (pieces > 0) {
          this.#set(CURSOR.header, next);
          this.#set(CURSOR.left, this.#get(CURSOR.left) - 1);
          return pieces;
        }
      }
      if (isPartial) completeChecksum(u8, address, captured);
      this.#describe(first + count * DESCRIPTOR.size, header, address, captured, wire);
      header = next;
    }
    this.#set(CURSOR.header, header);
    this.#set(CURSOR.left, this.#get(CURSOR.left) - count);
    return count;
  }

  /** The packet at `header`, as it came or a piece of it. */
  #describe(at: number, header: number, address: number, captured: number, wire: number): void {
    const { u8, u32 } = this.#memory;
    const { index, outgoingIndex } = this.#image;
    const descriptor = at >>> 2;
    u32[descriptor + DESCRIPTOR.address / 4] = address;
    u32[descriptor + DESCRIPTOR.captured / 4] = captured;
    u32[descriptor + DESCRIPTOR.wire / 4] = wire;
    u32[descriptor + DESCRIPTOR.interface / 4] = u8[header + PACKET.kind] === PACKET_OUTGOING ? outgoingIndex : index;
    storeSeconds(u32, descriptor + DESCRIPTOR.timestampNs / 4, u32[(header + PACKET.seconds) >>> 2]!, u32[(header + PACKET.nanoseconds) >>> 2]!);
  }

  /** A packet that its sender left to its NIC to cut, as it would have come over a wire; each piece counts as received. 0 where it cannot be cut. */
  #segment(first: number, most: number, header: number, address: number, captured: number): number {
    const { segments, mtuBytes } = this.#image;
    let described = 0;
    // These are few and long: what is allocated here does not matter.
    const count = segmentTcp(this.#memory.u8, address, captured, mtuBytes, segments, most, (at, length) => this.#describe(first + described++ * DESCRIPTOR.size, header, at, length, length));
    if (count > 0) this.added += count - 1;
    return count;
  }

  /** Copies the next block, if the kernel has handed it over and there is room, and gives it back. */
  #takeBlock(): boolean {
    const { blocks, window, windowBlocks } = this.#image;
    if (this.#copied === windowBlocks) return false;
    const block = this.#get(CURSOR.block);
    const base = block * BLOCK_BYTES;
    const statusWord = (base + BLOCK.status) >>> 2;
    if ((Atomics.load(this.#words, statusWord) & TP_STATUS_USER) === 0) return false;
    const length = this.#view.getUint32(base + BLOCK.lengthBytes, true);
    const to = window + this.#copied++ * BLOCK_BYTES;
    this.#memory.u8.set(this.#ring.subarray(base, base + length), to);
    this.#set(CURSOR.left, this.#view.getUint32(base + BLOCK.packets, true));
    this.#set(CURSOR.header, to + this.#view.getUint32(base + BLOCK.firstPacket, true));
    Atomics.store(this.#words, statusWord, TP_STATUS_KERNEL);
    this.#set(CURSOR.block, (block + 1) % blocks);
    return this.#get(CURSOR.left) > 0;
  }

  /** The kernel keeps the tag beside the packet; XDP programs see it where it was. There is room: addresses are kept before the bytes. */
  #putVlanBack(header: number, address: number, knowsType: boolean): void {
    const { u8, u16, u32 } = this.#memory;
    const control = u32[(header + PACKET.vlanControl) >>> 2]!;
    const type = knowsType ? u16[(header + PACKET.vlanType) >>> 1]! : ETHER_TYPE.vlan;
    u8.copyWithin(address - VLAN.headerLength, address, address + MAC_ADDRESSES_BYTES);
    const tag = address - VLAN.headerLength + MAC_ADDRESSES_BYTES;
    u8[tag] = type >>> 8;
    u8[tag + 1] = type;
    u8[tag + 2] = control >>> 8;
    u8[tag + 3] = control;
  }

  #get(member: number): number {
    return this.#memory.u32[(this.#image.cursor + member) >>> 2]!;
  }

  #set(member: number, value: number): void {
    this.#memory.u32[(this.#image.cursor + member) >>> 2] = value;
  }
}
