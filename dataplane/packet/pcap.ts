/**
 * Reads classic pcap (draft-ietf-opsawg-pcap), micro- and nanosecond, either byte order, and the "modified" one.
 *
 * file    0 u32 magic   4 u16 major   6 u16 minor   8 u32 zone, unused   12 u32 unused
 *        16 u32 snapLength   20 u32 link type in bits 0-25, bit 26 says bits 28-31 count the FCS in 16-bit words
 * record  0 u32 seconds   4 u32 fraction   8 u32 captured   12 u32 wire   16 bytes
 *         modified: 16 u32 ifindex   20 u16 protocol   22 u8 packet type   23 u8 pad   24 bytes
 *
 * Packets become descriptors in WebAssembly (record-walk.ts); nothing is allocated for them.
 */
import { XdplabError } from '../errors.ts';
import { i32, i64, select } from '../wasm/expression.ts';
import type { CaptureInterface } from './capture-reader.ts';
import { captureDamage, MAX_CAPTURED_BYTES } from './capture-reader.ts';
import type { CaptureWalk } from './capture-walk.ts';
import type { CaptureWindow } from './capture-window.ts';
import type { PacketBatch } from './packet-batch.ts';
import { loadPackets, recordWalk, storePackets, type RecordCode, type RecordWalk } from './record-walk.ts';

export const PCAP = { headerLength: 24, recordLength: 16, modifiedRecordLength: 24 } as const;

/** Read big-endian; each also appears with its bytes the other way round. */
export const PCAP_MAGIC = {
  microseconds: 0xa1b2_c3d4,
  nanoseconds: 0xa1b2_3c4d,
  modified: 0xa1b2_cd34,
} as const;

/** What is constant in a file. */
interface PcapKind {
  readonly littleEndian: boolean;
  readonly recordLength: number;
  readonly nanosecondsPerUnit: number;
  readonly fcsBytes: number;
  readonly lengthsMayBeSwapped: boolean;
}

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
  readonly #code: RecordCode;
  readonly #recordLength: number;
  /** Formats 2.0 to 2.3 may have the two lengths of a record the other way round. */
  readonly #lengthsMayBeSwapped: boolean;
  readonly #walk: RecordWalk;
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
    const fcsBytes = hasFcs ? (linkField >>> 28) * 2 : 0;
    this.#recordLength = kind.recordLength;
    this.#lengthsMayBeSwapped = minor < 4;
    this.#code = pcapRecords({ ...kind, littleEndian, fcsBytes, lengthsMayBeSwapped: this.#lengthsMayBeSwapped });
    this.#walk = recordWalk(window.region.memory, this.#code);
    this.interfaces.push({
      linkType: linkField & 0x03ff_ffff,
      snapLength: view.getUint32(start + 16, littleEndian),
      resolution: kind.nanosecondsPerUnit === 1 ? '10^-9' : '10^-6',
      fcsBytes,
    });
    window.start = start + PCAP.headerLength;
  }

  walk(batch: PacketBatch): number {
    const window = this.#window;
    const { memory, address } = window.region;
    storePackets(memory, window.walkState, this.#packets);
    window.start = this.#walk(address + window.start, address + window.end, batch.region.address, batch.capacity, window.walkState) - address;
    const packets = loadPackets(memory, window.walkState);
    const count = packets - this.#packets;
    this.#packets = packets;
    if (count === 0) this.#checkLength();
    return count;
  }

  cut(): string {
    const window = this.#window;
    const record = `record ${this.#packets + 1}`;
    if (window.unread < this.#recordLength) {
      return `found ${window.unread} bytes of the header of ${record}, expected ${this.#recordLength}`;
    }
    const captured = window.view.getUint32(window.start + 8, this.#code.littleEndian);
    return `found ${window.unread - this.#recordLength} bytes of ${record}, expected ${captured}`;
  }

  /** The record that comes next, where it may be the reason why the walk ended. */
  #checkLength(): void {
    const window = this.#window;
    if (window.unread < this.#recordLength) return;
    const [captured, wire] = [8, 12].map((offset) => window.view.getUint32(window.start + offset, this.#code.littleEndian)) as [number, number];
    const least = this.#lengthsMayBeSwapped ? Math.min(captured, wire) : captured;
    if (least <= MAX_CAPTURED_BYTES) return;
    this.damage = captureDamage(
      window.name,
      window.offset(window.start),
      `record ${this.#packets + 1} says ${least} bytes were captured, expected at most ${MAX_CAPTURED_BYTES}`,
    );
  }
}

/** The code of `record` in the drawing above. */
function pcapRecords({ littleEndian, recordLength, nanosecondsPerUnit, fcsBytes, lengthsMayBeSwapped }: PcapKind): RecordCode {
  return {
    kind: `pcap ${littleEndian} ${recordLength} ${nanosecondsPerUnit} ${fcsBytes} ${lengthsMayBeSwapped}`,
    littleEndian,
    emit: (walk) => {
      const { f, at, end } = walk;
      walk.leaveUnless(i32.geU(i32.sub(end, at), i32.const(recordLength)));
      const captured = f.let(walk.u32(8), 'captured');
      const wire = f.let(walk.u32(12), 'wire');
      if (lengthsMayBeSwapped) {
        const larger = f.let(select(i32.gtU(captured, wire), captured, wire), 'larger');
        f.set(captured, select(i32.gtU(captured, wire), wire, captured));
        f.set(wire, larger);
      }
      walk.leaveUnless(i32.leU(captured, i32.const(MAX_CAPTURED_BYTES)));
      const body = f.let(i32.add(at, i32.const(recordLength)), 'body');
      walk.leaveUnless(i32.leU(captured, i32.sub(end, body)));
      const fraction = i64.mul(i64.extendU(walk.u32(4)), i64.const(nanosecondsPerUnit));
      walk.describe({
        bytes: body,
        captured,
        wire,
        fcsBytes,
        interface: i32.const(0),
        timestampNs: i64.add(i64.mul(i64.extendU(walk.u32(0)), i64.const(1_000_000_000)), fraction),
        next: i32.add(body, captured),
      });
    },
  };
}
