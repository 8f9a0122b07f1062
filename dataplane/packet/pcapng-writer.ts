/**
 * Writes pcapng (draft-ietf-opsawg-pcapng), little-endian, one section. Block layouts are drawn in pcapng.ts.
 *
 * Enhanced packet block options used here, each code u16, length u16, value padded to four bytes:
 *
 *     epb_verdict 7   u8 kind (1 = Linux eBPF TC, 2 = Linux eBPF XDP), i64 return code      9 bytes
 *     epb_flags   2   u32, direction in bits 0 and 1                                        4 bytes
 *     opt_comment 1   UTF-8
 */
import { LINK_TYPE_ETHERNET } from './capture-reader.ts';
import type { CaptureWriter, OutputInterface, PacketNotes } from './capture-writer.ts';
import type { OutputFile } from './output-file.ts';
import { LeftPackets, type LeftInterfaces } from './left-packets.ts';
import { NO_VERDICT, type PacketBatch } from './packet-batch.ts';
import { BLOCK, BYTE_ORDER_MAGIC, OPTION, PACKET_BLOCK, VERDICT_OPTION } from './pcapng.ts';

const NANOSECONDS = 9;
const encoder = new TextEncoder();

export class PcapngWriter implements CaptureWriter {
  packets = 0;
  readonly #output: OutputFile;
  #interfaces = 0;
  #left: LeftPackets | undefined;

  constructor(output: OutputFile, application: string) {
    this.#output = output;
    const start = this.#begin(BLOCK.section, 4096);
    this.#u32(BYTE_ORDER_MAGIC);
    this.#u32(1); // major 1, minor 0
    this.#u32(0xffff_ffff); // section length not said
    this.#u32(0xffff_ffff);
    this.#option(OPTION.shbUserApplication, encoder.encode(application));
    this.#u32(0);
    this.#finish(start);
  }

  get lengthBytes(): number {
    return this.#output.lengthBytes;
  }

  addInterface({
    name,
    comment,
    linkType = LINK_TYPE_ETHERNET,
    snapLength = 0,
    resolution = NANOSECONDS,
  }: OutputInterface): number {
    const nameBytes = encoder.encode(name ?? '');
    const commentBytes = encoder.encode(comment ?? '');
    const start = this.#begin(BLOCK.interface, 64 + nameBytes.length + commentBytes.length);
    this.#u32(linkType);
    this.#u32(snapLength);
    if (nameBytes.length > 0) this.#option(OPTION.ifName, nameBytes);
    if (commentBytes.length > 0) this.#option(OPTION.comment, commentBytes);
    this.#option(OPTION.ifResolution, Uint8Array.of(resolution));
    this.#u32(0);
    this.#finish(start);
    return this.#interfaces++;
  }

  write(
    interfaceIndex: number,
    timestampLow: number,
    timestampHigh: number,
    wireLength: number,
    bytes: Uint8Array,
    at: number,
    lengthBytes: number,
    xdpVerdict: number,
    tcVerdict: number,
    notes?: PacketNotes,
  ): void {
    const output = this.#output;
    const comment = notes?.comment === undefined ? undefined : encoder.encode(notes.comment);
    output.reserve(PACKET_BLOCK.minLength + lengthBytes + 64 + (comment?.length ?? 0));
    const { view } = output;
    const start = output.at;
    view.setUint32(start, BLOCK.enhancedPacket, true);
    view.setUint32(start + PACKET_BLOCK.interface, interfaceIndex, true);
    view.setUint32(start + PACKET_BLOCK.timestampHigh, timestampHigh, true);
    view.setUint32(start + PACKET_BLOCK.timestampLow, timestampLow, true);
    view.setUint32(start + PACKET_BLOCK.captured, lengthBytes, true);
    view.setUint32(start + PACKET_BLOCK.wire, wireLength, true);
    const body = start + PACKET_BLOCK.bytes;
    let next = body + ((lengthBytes + 3) & ~3);
    if (next > body) view.setUint32(next - 4, 0); // the padding, where there is any
    output.copy(body, bytes, at, lengthBytes);
    const options = next;
    if (xdpVerdict !== NO_VERDICT) next = putVerdict(view, next, VERDICT_OPTION.xdp, xdpVerdict);
    if (tcVerdict !== NO_VERDICT) next = putVerdict(view, next, VERDICT_OPTION.tc, tcVerdict);
    if (notes !== undefined) {
      output.at = next;
      if (notes.direction !== undefined) this.#option(OPTION.epbFlags, Uint8Array.of(notes.direction, 0, 0, 0));
      if (comment !== undefined) this.#option(OPTION.comment, comment);
      next = output.at;
    }
    if (next > options) {
      view.setUint32(next, 0); // end of options
      next += 4;
    }
    output.at = next;
    this.#finish(start);
    this.packets++;
  }

  writeLeft(batch: PacketBatch, first: number, count: number, { ofDevice, ofInput }: LeftInterfaces): void {
    this.#left ??= new LeftPackets(batch.memory, ofDevice);
    for (let done = 0; done < count;) {
      const packets = this.#left.encode(batch, first + done, count - done, ofInput);
      this.#output.write(this.#left.blocks);
      this.packets += packets;
      done += packets;
    }
  }

  flush(): void {
    this.#output.flush();
  }

  settled(): Promise<void> {
    return this.#output.settled();
  }

  close(): void {
    this.#output.close();
  }

  #begin(type: number, atMostBytes: number): number {
    this.#output.reserve(atMostBytes);
    const start = this.#output.at;
    this.#u32(type);
    this.#u32(0);
    return start;
  }

  /** Writes the block's length at both of its ends. */
  #finish(start: number): void {
    const output = this.#output;
    const total = output.at + 4 - start;
    output.view.setUint32(start + 4, total, true);
    output.view.setUint32(output.at, total, true);
    output.at += 4;
  }

  #u32(value: number): void {
    this.#output.view.setUint32(this.#output.at, value, true);
    this.#output.at += 4;
  }

  #option(code: number, value: Uint8Array): void {
    const output = this.#output;
    this.#u32(code | (value.length << 16));
    output.bytes.fill(0, output.at + value.length, output.at + value.length + 3);
    output.bytes.set(value, output.at);
    output.at += (value.length + 3) & ~3;
  }
}

function putVerdict(view: DataView, at: number, kind: number, verdict: number): number {
  view.setUint32(at, VERDICT_OPTION.head, true);
  // Kind, the return code's eight bytes and the padding, as three words. The code is sign-extended.
  view.setUint32(at + 4, kind | (verdict << 8), true);
  view.setUint32(at + 8, verdict >> 24, true);
  view.setUint32(at + 12, (verdict >> 31) & 0xff, true);
  return at + VERDICT_OPTION.size;
}
