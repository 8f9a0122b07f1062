/**
 * Reads classic pcap (draft-ietf-opsawg-pcap), micro- and nanosecond, either byte order, and the "modified" one.
 *
 * file    0 u32 magic   4 u16 major   6 u16 minor   8 u32 zone, unused   12 u32 unused
 *        16 u32 snapLength   20 u32 link type in bits 0-25, bit 26 says bits 28-31 count the FCS in 16-bit words
 * record  0 u32 seconds   4 u32 fraction   8 u32 captured   12 u32 wire   16 bytes
 *         modified: 16 u32 ifindex   20 u16 protocol   22 u8 packet type   23 u8 pad   24 bytes
 *
 * The walk allocates nothing per packet: lengths come through one DataView of the window, descriptors go out
 * through the memory's Uint32Array.
 */
import { XdplabError } from '../errors.ts';
import type { CaptureInterface } from './capture-reader.ts';
import { captureDamage, MAX_CAPTURED_BYTES } from './capture-reader.ts';
import type { CaptureWalk } from './capture-walk.ts';
import type { CaptureWindow } from './capture-window.ts';
import { DESCRIPTOR } from './packet-batch.ts';
import type { PacketBatch } from './packet-batch.ts';
import { storeSeconds } from './timestamp.ts';

export const PCAP = { headerLength: 24, recordLength: 16, modifiedRecordLength: 24 } as const;

/** Read big-endian; each also appears with its bytes the other way round. */
export const PCAP_MAGIC = {
  microseconds: 0xa1b2_c3d4,
  nanoseconds: 0xa1b2_3c4d,
  modified: 0xa1b2_cd34,
} as const;

const KINDS: ReadonlyMap<number, { recordLength: number; nanosecondsPerUnit: number }> = new Map([
  [PCAP_MAGIC.microseconds, { recordLength: PCAP.recordLength, nanosecondsPerUnit: 1000 }],
  [PCAP_MAGIC.nanoseconds, { recordLength: PCAP.recordLength, nanosecondsPerUnit: 1 }],
  [PCAP_MAGIC.modified, { recordLength: PCAP.modifiedRecordLength, nanosecondsPerUnit: 1000 }],
]);

/** Whether a file that begins with these four bytes is pcap. */
export function isPcapMagic(view: DataView, at: number): boolean {
  return KINDS.has(view.getUint32(at)) || KINDS.has(view.getUint32(at, true));
}

export class PcapWalk implements CaptureWalk {
  readonly format = 'pcap';
  readonly interfaces: CaptureInterface[] = [];
  damage: XdplabError | undefined;
  readonly #window: CaptureWindow;
  readonly #littleEndian: boolean;
  readonly #recordLength: number;
  readonly #nanosecondsPerUnit: number;
  readonly #fcsBytes: number;
  /** Formats 2.0 to 2.3 may have the two lengths of a record the other way round. */
  readonly #lengthsMayBeSwapped: boolean;
  #packets = 0;

  /** The window starts at the file header. Throws ERR_CAPTURE for a header that makes no sense. */
  constructor(window: CaptureWindow) {
    const { view, start, name, unread } = window;
    if (unread < PCAP.headerLength) {
      throw new XdplabError(
        'ERR_CAPTURE',
        `${name}: found ${unread} bytes of a pcap file header, expected ${PCAP.headerLength}`,
      );
    }
    const littleEndian = !KINDS.has(view.getUint32(start));
    const kind = KINDS.get(view.getUint32(start, littleEndian))!;
    const major = view.getUint16(start + 4, littleEndian);
    const minor = view.getUint16(start + 6, littleEndian);
    if (major !== 2 || minor > 4) {
      throw new XdplabError(
        'ERR_CAPTURE',
        `${name}: byte 4: found pcap version ${major}.${minor}, expected 2.0 to 2.4`,
      );
    }
    const linkField = view.getUint32(start + 20, littleEndian);
    const hasFcs = (linkField & 0x0400_0000) !== 0;
    this.#window = window;
    this.#littleEndian = littleEndian;
    this.#recordLength = kind.recordLength;
    this.#nanosecondsPerUnit = kind.nanosecondsPerUnit;
    this.#fcsBytes = hasFcs ? (linkField >>> 28) * 2 : 0;
    this.#lengthsMayBeSwapped = minor < 4;
    this.interfaces.push({
      linkType: linkField & 0x03ff_ffff,
      snapLength: view.getUint32(start + 16, littleEndian),
      resolution: kind.nanosecondsPerUnit === 1 ? '10^-9' : '10^-6',
      fcsBytes: this.#fcsBytes,
    });
    window.start = start + PCAP.headerLength;
  }

  walk(batch: PacketBatch): number {
    const window = this.#window;
    const { view, end } = window;
    const { u32 } = batch.memory;
    const { capacity } = batch;
    const base = window.region.address;
    const recordLength = this.#recordLength;
    const littleEndian = this.#littleEndian;
    const nanosecondsPerUnit = this.#nanosecondsPerUnit;
    const fcsBytes = this.#fcsBytes;
    let packets = this.#packets;
    let at = window.start;
    let word = batch.region.address >>> 2;
    let count = 0;
    for (; count < capacity; count++, word += DESCRIPTOR.size >>> 2) {
      const body = at + recordLength;
      if (body > end) break;
      let captured = view.getUint32(at + 8, littleEndian);
      let wire = view.getUint32(at + 12, littleEndian);
      if (captured > wire && this.#lengthsMayBeSwapped) [captured, wire] = [wire, captured];
      if (captured > MAX_CAPTURED_BYTES) {
        if (count === 0) this.#refuseLength(at, captured);
        break;
      }
      const next = body + captured;
      if (next > end) break;
      // Some writers leave the wire length below the captured one; what is there has been on the wire.
      if (wire < captured) wire = captured;
      if (fcsBytes > 0) {
        wire = Math.max(wire - fcsBytes, 0);
        captured = Math.min(captured, wire);
      }
      packets++;
      u32[word + (DESCRIPTOR.address >>> 2)] = base + body;
      u32[word + (DESCRIPTOR.captured >>> 2)] = captured;
      u32[word + (DESCRIPTOR.wire >>> 2)] = wire;
      u32[word + (DESCRIPTOR.interface >>> 2)] = 0;
      storeSeconds(
        u32,
        word + (DESCRIPTOR.timestampNs >>> 2),
        view.getUint32(at, littleEndian),
        view.getUint32(at + 4, littleEndian) * nanosecondsPerUnit,
      );
      u32[word + (DESCRIPTOR.number >>> 2)] = packets;
      u32[word + (DESCRIPTOR.number >>> 2) + 1] = packets / 4_294_967_296;
      at = next;
    }
    window.start = at;
    this.#packets = packets;
    return count;
  }

  cut(): string {
    const window = this.#window;
    const record = `record ${this.#packets + 1}`;
    if (window.unread < this.#recordLength) {
      return `found ${window.unread} bytes of the header of ${record}, expected ${this.#recordLength}`;
    }
    const captured = window.view.getUint32(window.start + 8, this.#littleEndian);
    return `found ${window.unread - this.#recordLength} bytes of ${record}, expected ${captured}`;
  }

  #refuseLength(at: number, captured: number): void {
    const window = this.#window;
    this.damage = captureDamage(
      window.name,
      window.offset(at),
      `record ${this.#packets + 1} says ${captured} bytes were captured, expected at most ${MAX_CAPTURED_BYTES}`,
    );
  }
}
