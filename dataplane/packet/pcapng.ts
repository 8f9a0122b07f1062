/**
 * Reads pcapng (draft-ietf-opsawg-pcapng): several sections, either byte order in each, several interfaces.
 *
 * block   0 u32 type   4 u32 total   …   total-4 u32 total again; a multiple of four
 * section      8 u32 byte-order magic   12 u16 major   14 u16 minor   16 u64 section length   24 options
 * interface    8 u16 link type   10 u16 0   12 u32 snapLength   16 options
 * enhanced     8 u32 interface   12 u32 time high   16 u32 time low   20 u32 captured   24 u32 wire   28 bytes, options
 * obsolete     8 u16 interface   10 u16 drops   and on as the enhanced one
 * simple       8 u32 wire   12 bytes
 *
 * Every other block is passed over, whatever its length. A simple packet has no time and gets 0. Invariant: a
 * length is compared with the block it stands in before it is used, and a block with both of its ends' totals.
 */
import type { XdplabError } from '../errors.ts';
import { i32, i64, pair } from '../wasm/expression.ts';
import type { CaptureInterface } from './capture-reader.ts';
import { captureDamage, MAX_CAPTURED_BYTES, printable } from './capture-reader.ts';
import type { CaptureWalk } from './capture-walk.ts';
import type { CaptureWindow } from './capture-window.ts';
import { MAX_RECORD_BYTES } from './capture-window.ts';
import { DESCRIPTOR } from './packet-batch.ts';
import type { PacketBatch } from './packet-batch.ts';
import { loadPackets, recordWalk, storePackets, WALK, WALK_INTERFACE, type RecordCode } from './record-walk.ts';
import type { TimestampScale } from './timestamp.ts';
import { LARGEST_NS, storeUnits, timestampScale } from './timestamp.ts';

export const BLOCK = {
  section: 0x0a0d_0d0a,
  interface: 1,
  obsoletePacket: 2,
  simplePacket: 3,
  enhancedPacket: 6,
} as const;

export const BYTE_ORDER_MAGIC = 0x1a2b_3c4d;

export const SECTION_BLOCK = { magic: 8, major: 12, minor: 14, options: 24, minLength: 28 } as const;
export const INTERFACE_BLOCK = { linkType: 8, snapLength: 12, options: 16, minLength: 20 } as const;
export const PACKET_BLOCK = {
  interface: 8,
  timestampHigh: 12,
  timestampLow: 16,
  captured: 20,
  wire: 24,
  bytes: 28,
  minLength: 32,
} as const;
export const SIMPLE_BLOCK = { wire: 8, bytes: 12, minLength: 16 } as const;

/** Option codes; those of interfaces and packets share numbers. */
export const OPTION = {
  end: 0,
  comment: 1,
  shbUserApplication: 4,
  ifName: 2,
  ifResolution: 9,
  ifFcsLength: 13,
  ifOffset: 14,
  epbFlags: 2,
  epbVerdict: 7,
} as const;

/** epb_verdict: its code and length, then the kind, a return code of eight bytes, and padding. */
export const VERDICT_OPTION = { head: OPTION.epbVerdict | (9 << 16), size: 16, tc: 1, xdp: 2 } as const;

/** The smallest block, and the bytes needed to tell a section's byte order. */
const BLOCK_MIN_BYTES = 12;
const MAX_INTERFACES = 65_536;
const DEFAULT_RESOLUTION = 6;
const decoder = new TextDecoder();

/** Lengths a block that is looked into must have at least. */
const MIN_LENGTH: ReadonlyMap<number, number> = new Map([
  [BLOCK.section, SECTION_BLOCK.minLength],
  [BLOCK.interface, INTERFACE_BLOCK.minLength],
  [BLOCK.obsoletePacket, PACKET_BLOCK.minLength],
  [BLOCK.simplePacket, SIMPLE_BLOCK.minLength],
  [BLOCK.enhancedPacket, PACKET_BLOCK.minLength],
]);

interface SectionInterface {
  readonly scale: TimestampScale;
  readonly fcsBytes: number;
  readonly snapLength: number;
}

export class PcapngWalk implements CaptureWalk {
  readonly format = 'pcapng';
  readonly interfaces: CaptureInterface[] = [];
  damage: XdplabError | undefined;
  readonly #window: CaptureWindow;
  /** The window's, looked up once for each walk: asking a WebAssembly.Memory for its buffer costs 20 ns. */
  #view: DataView;
  #littleEndian = true;
  /** Of the current section; the first of them is `interfaces[#sectionBase]`. */
  #section: SectionInterface[] = [];
  #sectionBase = 0;
  #packets = 0;

  constructor(window: CaptureWindow) {
    this.#window = window;
    this.#view = window.view;
  }

  walk(batch: PacketBatch): number {
    const window = this.#window;
    const { view, end } = window;
    const base = window.region.address;
    this.#view = view;
    const { u32 } = batch.memory;
    const { capacity } = batch;
    let at = window.start;
    let word = batch.region.address >>> 2;
    let count = 0;
    for (;;) {
      const before = this.#packets;
      at = this.#walkPackets(batch, at, count);
      count += this.#packets - before;
      word += (this.#packets - before) * (DESCRIPTOR.size >>> 2);
      if (count === capacity || end - at < BLOCK_MIN_BYTES) break;
      const type = view.getUint32(at, this.#littleEndian);
      if (type === BLOCK.section && !this.#readByteOrder(at)) break;
      const littleEndian = this.#littleEndian;
      const total = view.getUint32(at + 4, littleEndian);
      if (!this.#checkTotal(at, type, total)) break;
      const next = at + total;
      if (next > end) {
        // A block that nobody looks into may be longer than the window: let it pass by.
        if (total > MAX_RECORD_BYTES) {
          window.start = at;
          window.discard(total);
          at = window.start;
        }
        break;
      }
      const trailer = view.getUint32(next - 4, littleEndian);
      if (trailer !== total) {
        this.#refuse(at, `a block of ${total} bytes ends with ${trailer}, expected its length again`);
        break;
      }
      if (type === BLOCK.enhancedPacket || type === BLOCK.obsoletePacket) {
        if (!this.#describe(at, total, type, base, u32, word)) break;
        count++;
        word += DESCRIPTOR.size >>> 2;
      } else if (type === BLOCK.simplePacket) {
        if (!this.#describeSimple(at, total, base, u32, word)) break;
        count++;
        word += DESCRIPTOR.size >>> 2;
      } else if (type === BLOCK.interface) {
        if (!this.#readInterface(at, next)) break;
      } else if (type === BLOCK.section) {
        if (!this.#readSection(at)) break;
      }
      at = next;
    }
    window.start = at;
    // Damage behind packets is found again, and reported, by the walk that starts at it.
    if (count > 0) this.damage = undefined;
    return count;
  }

  /** Describes enhanced packets behind the first `count` descriptors, up to a block that is none, or an unusual one; answers where it begins. */
  #walkPackets(batch: PacketBatch, at: number, count: number): number {
    if (this.#section.length === 0) return at;
    const { region, walkState, end } = this.#window;
    const { memory, address } = region;
    const walk = recordWalk(memory, this.#littleEndian ? PACKETS.littleEndian : PACKETS.bigEndian);
    storePackets(memory, walkState, this.#packets);
    const next = walk(address + at, address + end, batch.descriptor(count), batch.capacity - count, walkState) - address;
    this.#packets = loadPackets(memory, walkState);
    return next;
  }

  /** What the code has to know of the section's interfaces: the first ones; packets of others are looked at one by one. */
  #tellWalk(): void {
    const { region, walkState } = this.#window;
    const { u32, u64 } = region.memory;
    const known = this.#section.slice(0, WALK_INTERFACE.most);
    u32[(walkState + WALK.interfaces) >>> 2] = known.length;
    u32[(walkState + WALK.base) >>> 2] = this.#sectionBase;
    for (const [index, { scale, fcsBytes }] of known.entries()) {
      const entry = walkState + WALK.table + index * WALK_INTERFACE.size;
      const nanoseconds = BigInt(scale.multiplier);
      u64[(entry + WALK_INTERFACE.nanoseconds) >>> 3] = nanoseconds;
      u64[(entry + WALK_INTERFACE.unitsEnd) >>> 3] = nanoseconds === 0n ? 0n : LARGEST_NS / nanoseconds;
      u32[(entry + WALK_INTERFACE.fcsBytes) >>> 2] = fcsBytes;
    }
  }

  cut(): string {
    const { view, start, unread } = this.#window;
    if (unread < BLOCK_MIN_BYTES) return `found ${unread} bytes of a block, expected at least ${BLOCK_MIN_BYTES}`;
    return `found ${unread} bytes of a block, expected ${view.getUint32(start + 4, this.#littleEndian)}`;
  }

  /** Always false, so that a caller can end its walk with it. */
  #refuse(at: number, problem: string): false {
    this.damage = captureDamage(this.#window.name, this.#window.offset(at), problem);
    return false;
  }

  #checkTotal(at: number, type: number, total: number): boolean {
    // What nearly every block is, without looking it up.
    if (
      type === BLOCK.enhancedPacket &&
      total >= PACKET_BLOCK.minLength &&
      total <= MAX_RECORD_BYTES &&
      (total & 3) === 0
    )
      return true;
    const least = MIN_LENGTH.get(type);
    if (total % 4 !== 0 || total < (least ?? BLOCK_MIN_BYTES)) {
      return this.#refuse(
        at,
        `a block of type ${type} says it has ${total} bytes, expected a multiple of 4 from ${least ?? BLOCK_MIN_BYTES}`,
      );
    }
    if (least !== undefined && total > MAX_RECORD_BYTES) {
      return this.#refuse(
        at,
        `a block of type ${type} says it has ${total} bytes, expected at most ${MAX_RECORD_BYTES}`,
      );
    }
    return true;
  }

  #describe(at: number, total: number, type: number, base: number, u32: Uint32Array, word: number): boolean {
    const view = this.#view;
    const littleEndian = this.#littleEndian;
    const index =
      type === BLOCK.enhancedPacket
        ? view.getUint32(at + PACKET_BLOCK.interface, littleEndian)
        : view.getUint16(at + PACKET_BLOCK.interface, littleEndian);
    const captured = view.getUint32(at + PACKET_BLOCK.captured, littleEndian);
    const room = total - PACKET_BLOCK.minLength;
    if (captured > room || captured > MAX_CAPTURED_BYTES) return this.#refuseCaptured(at, captured, room);
    const from = this.#section[index];
    if (from === undefined) return this.#refuseInterface(at, index);
    this.#store(
      u32,
      word,
      base + at + PACKET_BLOCK.bytes,
      captured,
      view.getUint32(at + PACKET_BLOCK.wire, littleEndian),
      index,
      from.fcsBytes,
    );
    storeUnits(
      u32,
      word + (DESCRIPTOR.timestampNs >>> 2),
      view.getUint32(at + PACKET_BLOCK.timestampHigh, littleEndian),
      view.getUint32(at + PACKET_BLOCK.timestampLow, littleEndian),
      from.scale,
    );
    return true;
  }

  #describeSimple(at: number, total: number, base: number, u32: Uint32Array, word: number): boolean {
    const from = this.#section[0];
    if (from === undefined) return this.#refuseInterface(at, 0);
    const wire = this.#view.getUint32(at + SIMPLE_BLOCK.wire, this.#littleEndian);
    const captured = from.snapLength === 0 ? wire : Math.min(wire, from.snapLength);
    const room = total - SIMPLE_BLOCK.minLength;
    if (captured > room || captured > MAX_CAPTURED_BYTES) return this.#refuseCaptured(at, captured, room);
    this.#store(u32, word, base + at + SIMPLE_BLOCK.bytes, captured, wire, 0, from.fcsBytes);
    u32[word + (DESCRIPTOR.timestampNs >>> 2)] = 0;
    u32[word + (DESCRIPTOR.timestampNs >>> 2) + 1] = 0;
    return true;
  }

  #store(
    u32: Uint32Array,
    word: number,
    address: number,
    captured: number,
    wire: number,
    index: number,
    fcsBytes: number,
  ): void {
    const onWire = Math.max(wire, captured) - fcsBytes;
    const packets = ++this.#packets;
    u32[word + (DESCRIPTOR.address >>> 2)] = address;
    u32[word + (DESCRIPTOR.captured >>> 2)] = onWire < captured ? Math.max(onWire, 0) : captured;
    u32[word + (DESCRIPTOR.wire >>> 2)] = Math.max(onWire, 0);
    u32[word + (DESCRIPTOR.interface >>> 2)] = this.#sectionBase + index;
    u32[word + (DESCRIPTOR.number >>> 2)] = packets;
    u32[word + (DESCRIPTOR.number >>> 2) + 1] = packets / 4_294_967_296;
  }

  #refuseCaptured(at: number, captured: number, room: number): false {
    const most = Math.min(room, MAX_CAPTURED_BYTES);
    return this.#refuse(
      at,
      `packet ${this.#packets + 1} says ${captured} bytes were captured, expected at most ${most}`,
    );
  }

  #refuseInterface(at: number, index: number): false {
    return this.#refuse(
      at,
      `packet ${this.#packets + 1} came in on interface ${index}, but its section has described ${this.#section.length}`,
    );
  }

  /** A section says its byte order before anything else can be read of it. */
  #readByteOrder(at: number): boolean {
    const view = this.#view;
    const magic = view.getUint32(at + SECTION_BLOCK.magic, true);
    const bigEndian = view.getUint32(at + SECTION_BLOCK.magic) === BYTE_ORDER_MAGIC;
    if (magic !== BYTE_ORDER_MAGIC && !bigEndian) {
      return this.#refuse(at, `a section has byte-order magic 0x${magic.toString(16)}, expected 0x1a2b3c4d`);
    }
    this.#littleEndian = !bigEndian;
    return true;
  }

  #readSection(at: number): boolean {
    const major = this.#view.getUint16(at + SECTION_BLOCK.major, this.#littleEndian);
    if (major !== 1) return this.#refuse(at, `a section has pcapng version ${major}, expected 1`);
    this.#section = [];
    this.#sectionBase = this.interfaces.length;
    return true;
  }

  #readInterface(at: number, next: number): boolean {
    const view = this.#view;
    const littleEndian = this.#littleEndian;
    if (this.interfaces.length === MAX_INTERFACES) return this.#refuse(at, `more than ${MAX_INTERFACES} interfaces`);
    let name: string | undefined;
    let resolution = DEFAULT_RESOLUTION;
    let offsetSeconds = 0n;
    let fcsBytes = 0;
    const end = next - 4;
    for (let option = at + INTERFACE_BLOCK.options; option + 4 <= end;) {
      const code = view.getUint16(option, littleEndian);
      const length = view.getUint16(option + 2, littleEndian);
      const value = option + 4;
      if (code === OPTION.end) break;
      if (value + length > end) {
        return this.#refuse(
          option,
          `an interface option of ${length} bytes, expected at most ${end - value} before the block's end`,
        );
      }
      const expected = OPTION_LENGTH.get(code);
      if (expected !== undefined && length !== expected) {
        return this.#refuse(option, `interface option ${code} has ${length} bytes, expected ${expected}`);
      }
      if (code === OPTION.ifName)
        name = printable(decoder.decode(this.#window.region.bytes.slice(value, value + length)));
      else if (code === OPTION.ifResolution) resolution = view.getUint8(value);
      else if (code === OPTION.ifOffset) offsetSeconds = view.getBigInt64(value, littleEndian);
      else if (code === OPTION.ifFcsLength) fcsBytes = view.getUint8(value);
      option = value + ((length + 3) & ~3);
    }
    const snapLength = view.getUint32(at + INTERFACE_BLOCK.snapLength, littleEndian);
    this.#section.push({ scale: timestampScale(resolution, offsetSeconds), fcsBytes, snapLength });
    this.#tellWalk();
    this.interfaces.push({
      linkType: view.getUint16(at + INTERFACE_BLOCK.linkType, littleEndian),
      ...(name !== undefined && { name }),
      snapLength,
      resolution: `${resolution & 0x80 ? 2 : 10}^-${resolution & 0x7f}`,
      fcsBytes,
    });
    return true;
  }
}

const PACKETS = { littleEndian: enhancedPackets(true), bigEndian: enhancedPackets(false) } as const;

/** The code of `enhanced` in the drawing above. */
function enhancedPackets(littleEndian: boolean): RecordCode {
  return {
    kind: `pcapng ${littleEndian}`,
    littleEndian,
    emit: (walk) => {
      const { f, at, end, state } = walk;
      const left = f.let(i32.sub(end, at), 'left');
      walk.leaveUnless(i32.geU(left, i32.const(PACKET_BLOCK.minLength)));
      walk.leaveUnless(i32.eq(walk.u32(0), i32.const(BLOCK.enhancedPacket)));
      const total = f.let(walk.u32(4), 'total');
      const fits = i32.and(i32.leU(total, left), i32.leU(total, i32.const(MAX_RECORD_BYTES)));
      walk.leaveUnless(i32.and(fits, i32.and(i32.geU(total, i32.const(PACKET_BLOCK.minLength)), i32.eqz(i32.and(total, i32.const(3))))));
      walk.leaveUnless(i32.eq(walk.u32(0, i32.add(at, i32.sub(total, i32.const(4)))), total));
      const index = f.let(walk.u32(PACKET_BLOCK.interface), 'interface');
      walk.leaveUnless(i32.ltU(index, i32.load(state, WALK.interfaces)));
      const captured = f.let(walk.u32(PACKET_BLOCK.captured), 'captured');
      const wire = f.let(walk.u32(PACKET_BLOCK.wire), 'wire');
      walk.leaveUnless(i32.and(i32.leU(captured, i32.sub(total, i32.const(PACKET_BLOCK.minLength))), i32.leU(captured, i32.const(MAX_CAPTURED_BYTES))));
      const from = f.let(i32.add(state, i32.mul(index, i32.const(WALK_INTERFACE.size))), 'from');
      const units = f.let(pair(walk.u32(PACKET_BLOCK.timestampLow), walk.u32(PACKET_BLOCK.timestampHigh)), 'units');
      walk.leaveUnless(i64.ltU(units, i64.load(from, WALK.table + WALK_INTERFACE.unitsEnd)));
      walk.describe({
        bytes: i32.add(at, i32.const(PACKET_BLOCK.bytes)),
        captured,
        wire,
        fcsBytes: f.let(i32.load(from, WALK.table + WALK_INTERFACE.fcsBytes), 'fcs'),
        interface: i32.add(index, i32.load(state, WALK.base)),
        timestampNs: i64.mul(units, i64.load(from, WALK.table + WALK_INTERFACE.nanoseconds)),
        next: i32.add(at, total),
      });
    },
  };
}

const OPTION_LENGTH: ReadonlyMap<number, number> = new Map([
  [OPTION.ifResolution, 1],
  [OPTION.ifFcsLength, 1],
  [OPTION.ifOffset, 8],
]);
