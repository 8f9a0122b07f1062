/** Writes nanosecond pcap, little-endian: one link type, no interfaces, no verdicts. Layout in pcap.ts. */
import { XdplabError } from '../errors.ts';
import { LINK_TYPE_ETHERNET, MAX_CAPTURED_BYTES } from './capture-reader.ts';
import type { CaptureWriter, OutputInterface } from './capture-writer.ts';
import { LONGEST_LEFT_BYTES } from './left-packets.ts';
import type { OutputFile } from './output-file.ts';
import { DESCRIPTOR, type PacketBatch } from './packet-batch.ts';
import { PCAP, PCAP_MAGIC } from './pcap.ts';
import { secondsOf } from './timestamp.ts';

export class PcapWriter implements CaptureWriter {
  packets = 0;
  readonly #output: OutputFile;
  readonly #path: string;
  #linkType: number | undefined;

  constructor(output: OutputFile, path: string) {
    this.#output = output;
    this.#path = path;
  }

  get lengthBytes(): number {
    return this.#output.lengthBytes;
  }

  addInterface({ linkType = LINK_TYPE_ETHERNET, snapLength = 0 }: OutputInterface): number {
    if (this.#linkType === undefined) this.#writeHeader(linkType, snapLength);
    if (linkType !== this.#linkType) {
      throw new XdplabError(
        'ERR_CAPTURE',
        `${this.#path}: pcap holds one link type and has ${this.#linkType}, so link type ${linkType} cannot be written; name it .pcapng`,
      );
    }
    return 0;
  }

  write(
    _interfaceIndex: number,
    timestampLow: number,
    timestampHigh: number,
    wireLength: number,
    bytes: Uint8Array,
    at: number,
    lengthBytes: number,
  ): void {
    const output = this.#output;
    output.reserve(PCAP.recordLength + lengthBytes);
    const { view } = output;
    const record = output.at;
    const seconds = secondsOf(timestampLow, timestampHigh);
    view.setUint32(record, seconds, true);
    // What is left after the seconds is below 2^30, so the lower words alone give it.
    view.setUint32(record + 4, timestampLow - Math.imul(seconds, 1_000_000_000), true);
    view.setUint32(record + 8, lengthBytes, true);
    view.setUint32(record + 12, wireLength, true);
    output.copy(record + PCAP.recordLength, bytes, at, lengthBytes);
    output.at = record + PCAP.recordLength + lengthBytes;
    this.packets++;
  }

  writeLeft(batch: PacketBatch, first: number, count: number): void {
    const { u8, u32 } = batch.memory;
    for (let index = first; index < first + count; index++) {
      const at = batch.descriptor(index) >>> 2;
      const address = u32[at + DESCRIPTOR.leftAddress / 4]!;
      const claimed = u32[at + DESCRIPTOR.leftLength / 4]!;
      const length = claimed <= LONGEST_LEFT_BYTES && address + claimed <= u8.length ? claimed : 0;
      const cutOff = u32[at + DESCRIPTOR.wire / 4]! - u32[at + DESCRIPTOR.captured / 4]!;
      this.write(0, u32[at + DESCRIPTOR.timestampNs / 4]!, u32[at + DESCRIPTOR.timestampNs / 4 + 1]!, length + cutOff, u8, address, length);
    }
  }

  flush(): void {
    this.#output.flush();
  }

  settled(): Promise<void> {
    return this.#output.settled();
  }

  close(): void {
    // A capture without packets is still a capture.
    if (this.#linkType === undefined) this.#writeHeader(LINK_TYPE_ETHERNET, 0);
    this.#output.close();
  }

  #writeHeader(linkType: number, snapLength: number): void {
    const output = this.#output;
    output.reserve(PCAP.headerLength);
    const { view, at } = output;
    this.#linkType = linkType;
    view.setUint32(at, PCAP_MAGIC.nanoseconds, true);
    view.setUint16(at + 4, 2, true);
    view.setUint16(at + 6, 4, true);
    view.setUint32(at + 8, 0, true);
    view.setUint32(at + 12, 0, true);
    view.setUint32(at + 16, snapLength === 0 ? MAX_CAPTURED_BYTES : snapLength, true);
    view.setUint32(at + 20, linkType, true);
    output.at = at + PCAP.headerLength;
  }
}
