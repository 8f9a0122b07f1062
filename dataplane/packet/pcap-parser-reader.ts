/**
 * Reads a capture through npm's pcap-parser: an independent second opinion, for `--reader pcap-parser` and for
 * differential tests. It knows classic microsecond pcap only and makes objects for every packet.
 *
 * What it leaves undone is done here: it ends silently where a file is cut, collects without bound what a
 * nonsense length asks for (and copies it again for each piece), takes any version whose minor is 4, and
 * reports the FCS bits as part of the link type.
 */
import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';

import type { GlobalHeader, Packet, PacketHeader } from 'pcap-parser';

import { XdplabError } from '../errors.ts';
import type { Region } from '../machine/memory.ts';
import type { CaptureInterface, CaptureReader } from './capture-reader.ts';
import { captureDamage, MAX_CAPTURED_BYTES } from './capture-reader.ts';
import { fileError } from './byte-source.ts';
import { DESCRIPTOR } from './packet-batch.ts';
import type { PacketBatch } from './packet-batch.ts';
import { PCAP } from './pcap.ts';
import { storeSeconds } from './timestamp.ts';

export async function openPcapParser(path: string, name: string, window: Region): Promise<CaptureReader> {
  const { parse } = await import('pcap-parser');
  const stream = path === '-' ? process.stdin : createReadStream(path);
  const reader = new PcapParserReader(stream, name, window);
  reader.listen(parse(stream));
  await reader.opened();
  return reader;
}

class PcapParserReader implements CaptureReader {
  readonly format = 'pcap';
  readonly compression = 'none';
  readonly interfaces: CaptureInterface[] = [];
  damage: XdplabError | undefined;
  bytesRead = 0;
  readonly totalBytes = undefined;
  readonly #stream: Readable;
  readonly #name: string;
  readonly #window: Region;
  /** Parsed and not yet delivered: at most what one chunk of the stream held. */
  #queue: Packet[] = [];
  #next = 0;
  #packets = 0;
  /** Bytes of whole records seen, to notice a file that ends inside one. */
  #consumed = 0;
  #problem: XdplabError | undefined;
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(stream: Readable, name: string, window: Region) {
    this.#stream = stream;
    this.#name = name;
    this.#window = window;
  }

  listen(parser: ReturnType<typeof import('pcap-parser').parse>): void {
    parser.on('globalHeader', (header: GlobalHeader) => {
      this.#consumed += PCAP.headerLength;
      if (header.majorVersion !== 2 || header.minorVersion > 4) {
        this.#fail(
          new XdplabError(
            'ERR_CAPTURE',
            `${this.#name}: byte 4: found pcap version ${header.majorVersion}.${header.minorVersion}, expected 2.0 to 2.4`,
          ),
        );
        return;
      }
      this.interfaces.push({
        linkType: header.linkLayerType & 0x03ff_ffff,
        snapLength: header.snapshotLength,
        resolution: '10^-6',
        fcsBytes: header.linkLayerType & 0x0400_0000 ? (header.linkLayerType >>> 28) * 2 : 0,
      });
    });
    parser.on('packetHeader', (header: PacketHeader) => {
      if (header.capturedLength <= MAX_CAPTURED_BYTES) return;
      const record = `record ${this.#packetsSeen + 1}`;
      this.#fail(
        captureDamage(
          this.#name,
          this.#consumed,
          `${record} says ${header.capturedLength} bytes were captured, expected at most ${MAX_CAPTURED_BYTES}`,
        ),
      );
    });
    parser.on('packet', (packet: Packet) => {
      if (this.#problem !== undefined) return;
      this.#consumed += PCAP.recordLength + packet.header.capturedLength;
      this.#queue.push(packet);
    });
    parser.on('error', (error: Error) => {
      const found = /unknown magic number: ([0-9a-f]+)/.exec(error.message)?.[1];
      this.#fail(
        found === undefined
          ? fileError(this.#name, error)
          : new XdplabError(
              'ERR_CAPTURE',
              `${this.#name}: found first bytes ${found}, but the pcap-parser reader knows microsecond pcap only; leave out --reader`,
            ),
      );
    });
    // Added after the parser's own, so what a chunk holds is in the queue by now.
    this.#stream.on('data', (chunk: Uint8Array) => {
      this.bytesRead += chunk.length;
      if (this.#queue.length > this.#next) this.#stream.pause();
      this.#notify();
    });
    this.#stream.on('end', () => this.#finish());
    this.#stream.on('close', () => this.#finish());
  }

  /** Resolves once the file header was read. Throws what is wrong with it. */
  async opened(): Promise<void> {
    while (this.interfaces.length === 0 && !this.#ended) await this.#ready();
    if (this.interfaces.length > 0) return;
    await this.close();
    throw (
      this.#problem ??
      new XdplabError('ERR_CAPTURE', `${this.#name}: found ${this.bytesRead} bytes, expected a pcap capture`)
    );
  }

  read(batch: PacketBatch): number | Promise<number> {
    batch.count = 0;
    if (this.#next < this.#queue.length) return this.#deliver(batch);
    if (this.#ended) {
      this.damage = this.#problem;
      return 0;
    }
    this.#stream.resume();
    return this.#ready().then(() => this.read(batch));
  }

  async close(): Promise<void> {
    this.#stream.destroy();
    this.#finish();
  }

  get #packetsSeen(): number {
    return this.#packets + this.#queue.length - this.#next;
  }

  #deliver(batch: PacketBatch): number {
    const { bytes, address } = this.#window;
    const { u32 } = batch.memory;
    const fcsBytes = this.interfaces[0]?.fcsBytes ?? 0;
    let at = 0;
    let count = 0;
    for (; count < batch.capacity && this.#next < this.#queue.length; count++, this.#next++) {
      const { header, data } = this.#queue[this.#next]!;
      if (at + data.length > bytes.length) break;
      bytes.set(data, at);
      const wire = Math.max(Math.max(header.originalLength, data.length) - fcsBytes, 0);
      const word = batch.descriptor(count) >>> 2;
      this.#packets++;
      u32[word + (DESCRIPTOR.address >>> 2)] = address + at;
      u32[word + (DESCRIPTOR.captured >>> 2)] = Math.min(data.length, wire);
      u32[word + (DESCRIPTOR.wire >>> 2)] = wire;
      u32[word + (DESCRIPTOR.interface >>> 2)] = 0;
      const { timestampSeconds, timestampMicroseconds } = header;
      storeSeconds(u32, word + (DESCRIPTOR.timestampNs >>> 2), timestampSeconds, timestampMicroseconds * 1000);
      u32[word + (DESCRIPTOR.number >>> 2)] = this.#packets;
      u32[word + (DESCRIPTOR.number >>> 2) + 1] = this.#packets / 4_294_967_296;
      at += data.length;
    }
    if (this.#next === this.#queue.length) {
      this.#queue = [];
      this.#next = 0;
    }
    batch.count = count;
    return count;
  }

  #fail(problem: XdplabError): void {
    this.#problem ??= problem;
    this.#stream.destroy();
    this.#finish();
  }

  #finish(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#problem === undefined && this.#consumed > 0 && this.#consumed < this.bytesRead) {
      const record = `record ${this.#packetsSeen + 1}`;
      const rest = this.bytesRead - this.#consumed;
      this.#problem = captureDamage(this.#name, this.#consumed, `found ${rest} bytes of ${record}, expected it whole`);
    }
    this.#notify();
  }

  #ready(): Promise<void> {
    if (this.#ended || this.#next < this.#queue.length) return Promise.resolve();
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
