/** Captures made byte by byte, and a way to read any bytes as one. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { XdplabError } from '../../dataplane/errors.ts';
import { MachineMemory } from '../../dataplane/machine/memory.ts';
import type { CaptureReader } from '../../dataplane/packet/capture-reader.ts';
import { MIN_WINDOW_BYTES } from '../../dataplane/packet/capture-window.ts';
import { openCapture } from '../../dataplane/packet/open-capture.ts';
import { DESCRIPTOR, PacketBatch } from '../../dataplane/packet/packet-batch.ts';

export interface CraftedPacket {
  readonly bytes: Uint8Array;
  readonly wire: number;
  readonly interface: number;
  readonly timestampNs: bigint;
  readonly number: number;
}

export interface ReadCapture {
  readonly packets: readonly CraftedPacket[];
  readonly reader: CaptureReader;
  readonly damage: string | undefined;
}

/** Reads a whole capture, copying its packets unless told not to keep them. */
export async function readCapture(
  path: string,
  options: { reader?: 'native' | 'pcap-parser'; batchSize?: number; keep?: boolean } = {},
): Promise<ReadCapture> {
  const memory = new MachineMemory();
  const window = memory.region(MIN_WINDOW_BYTES, 4096, 'window');
  const batch = new PacketBatch(memory, options.batchSize ?? 64);
  const reader = await openCapture(path, { window, reader: options.reader ?? 'native' });
  const packets: CraftedPacket[] = [];
  for (;;) {
    const count = await reader.read(batch);
    if (count === 0) break;
    for (let index = 0; index < count && options.keep !== false; index++) {
      const word = batch.descriptor(index) >>> 2;
      packets.push({
        bytes: batch.packet(index).slice(),
        wire: memory.u32[word + (DESCRIPTOR.wire >>> 2)]!,
        interface: memory.u32[word + (DESCRIPTOR.interface >>> 2)]!,
        timestampNs: batch.timestampNs(index),
        number: memory.u32[word + (DESCRIPTOR.number >>> 2)]!,
      });
    }
  }
  await reader.close();
  return { packets, reader, damage: reader.damage?.message };
}

export class ScratchFolder {
  readonly path: string = mkdtempSync(join(tmpdir(), 'xdplab-captures-'));
  #files = 0;

  file(bytes: Uint8Array, name = `${this.#files++}.bin`): string {
    const path = join(this.path, name);
    writeFileSync(path, bytes);
    return path;
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** The message of the XdplabError that `promise` fails with. Anything else fails the test. */
export async function refusal(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof XdplabError) return error.message;
    throw error;
  }
  throw new Error('nothing was refused');
}

export interface PcapOptions {
  readonly magic?: number;
  readonly littleEndian?: boolean;
  readonly major?: number;
  readonly minor?: number;
  readonly snapLength?: number;
  readonly linkField?: number;
  /** Bytes of a record header beyond the usual sixteen. */
  readonly extra?: number;
}

export interface PcapRecord {
  readonly seconds?: number;
  readonly fraction?: number;
  readonly captured?: number;
  readonly wire?: number;
  readonly bytes: Uint8Array;
}

export function pcapFile(options: PcapOptions, records: readonly PcapRecord[]): Uint8Array {
  const { littleEndian = true, extra = 0 } = options;
  const size = records.reduce((sum, { bytes }) => sum + 16 + extra + bytes.length, 24);
  const file = new Uint8Array(size);
  const view = new DataView(file.buffer);
  view.setUint32(0, options.magic ?? 0xa1b2c3d4, littleEndian);
  view.setUint16(4, options.major ?? 2, littleEndian);
  view.setUint16(6, options.minor ?? 4, littleEndian);
  view.setUint32(16, options.snapLength ?? 65_535, littleEndian);
  view.setUint32(20, options.linkField ?? 1, littleEndian);
  let at = 24;
  for (const record of records) {
    view.setUint32(at, record.seconds ?? 1_700_000_000, littleEndian);
    view.setUint32(at + 4, record.fraction ?? 0, littleEndian);
    view.setUint32(at + 8, record.captured ?? record.bytes.length, littleEndian);
    view.setUint32(at + 12, record.wire ?? record.bytes.length, littleEndian);
    file.set(record.bytes, at + 16 + extra);
    at += 16 + extra + record.bytes.length;
  }
  return file;
}

/** Blocks of pcapng in one byte order. Every length can be said wrongly. */
export class PcapngCraft {
  readonly #littleEndian: boolean;

  constructor(littleEndian = true) {
    this.#littleEndian = littleEndian;
  }

  block(type: number, body: Uint8Array, lie: { total?: number; trailer?: number } = {}): Uint8Array {
    const padded = (body.length + 3) & ~3;
    const block = new Uint8Array(12 + padded);
    const view = new DataView(block.buffer);
    view.setUint32(0, type, this.#littleEndian);
    view.setUint32(4, lie.total ?? block.length, this.#littleEndian);
    block.set(body, 8);
    view.setUint32(block.length - 4, lie.trailer ?? lie.total ?? block.length, this.#littleEndian);
    return block;
  }

  /** Bytes from numbers: each entry is [width in bytes, value]. */
  fields(...fields: readonly (readonly [1 | 2 | 4 | 8, number | bigint])[]): Uint8Array {
    const bytes = new Uint8Array(fields.reduce((sum, [width]) => sum + width, 0));
    const view = new DataView(bytes.buffer);
    let at = 0;
    for (const [width, value] of fields) {
      if (width === 8) view.setBigInt64(at, BigInt(value), this.#littleEndian);
      else if (width === 4) view.setUint32(at, Number(value), this.#littleEndian);
      else if (width === 2) view.setUint16(at, Number(value), this.#littleEndian);
      else view.setUint8(at, Number(value));
      at += width;
    }
    return bytes;
  }

  option(code: number, value: Uint8Array, lengthBytes: number = value.length): Uint8Array {
    const padding = new Uint8Array(((value.length + 3) & ~3) - value.length);
    return join8(this.fields([2, code], [2, lengthBytes]), value, padding);
  }

  section(major = 1): Uint8Array {
    return this.block(0x0a0d0d0a, this.fields([4, 0x1a2b3c4d], [2, major], [2, 0], [8, -1]));
  }

  interface(options: { linkType?: number; snapLength?: number; options?: readonly Uint8Array[] } = {}): Uint8Array {
    const head = this.fields([2, options.linkType ?? 1], [2, 0], [4, options.snapLength ?? 0]);
    const list = options.options ?? [];
    const end = list.length > 0 ? [this.fields([4, 0])] : [];
    return this.block(1, join8(head, ...list, ...end));
  }

  packet(
    bytes: Uint8Array,
    from: { interface?: number; units?: bigint; captured?: number; wire?: number } = {},
  ): Uint8Array {
    const units = from.units ?? 0n;
    const head = this.fields(
      [4, from.interface ?? 0],
      [4, Number(units >> 32n)],
      [4, Number(units & 0xffffffffn)],
      [4, from.captured ?? bytes.length],
      [4, from.wire ?? bytes.length],
    );
    return this.block(6, join8(head, bytes));
  }
}

export function join8(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** `length` bytes that differ from those of other seeds. */
export function pattern(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 31 + seed * 17) & 0xff);
}
