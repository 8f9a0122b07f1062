/**
 * Packets of an interface from the npm package cap, which is libpcap on every system that has it. It tells neither the
 * time of a packet nor its length on the wire nor what was lost, and has more traps, each answered here:
 *
 *   - it keeps the address of its buffer, which must never be collected: buffers and captures are kept for good
 *   - it works on the main thread only
 *   - while packets come in it lets nothing else run: its callback only copies them, into a ring in machine memory
 *   - it is always promiscuous, and shows what this host sends: what was not asked for is left out here
 *
 *   a packet in the ring:  0 u32 bytes from here to the next, 0 where the ring goes on at its start
 *      4 u32 captured   8 u32 on the wire   12 u32 interface   16 u64 timestampNs   24 bytes, to a multiple of 8
 */
import { createRequire } from 'node:module';
import { networkInterfaces } from 'node:os';
import { isMainThread } from 'node:worker_threads';
import { XdplabError } from '../errors.ts';
import type { Region } from '../machine/memory.ts';
import { ETHERNET } from '../packet/ethernet.ts';
import { DESCRIPTOR, type PacketBatch } from '../packet/packet-batch.ts';
import { storeSeconds } from '../packet/timestamp.ts';
import type { LiveInterface, PacketSource, SourceCounts, SourceOptions } from './device.ts';
import { byteFilter, filterMistake, SNAP_EVERYTHING, whyNoFilters } from './packet-filter.ts';

/** The part of the package that is used here. */
interface CapClass {
  new (): Cap;
  /** libpcap's name of the interface with that address. */
  findDevice(address: string): string | undefined;
}

interface Cap {
  open(device: string, filter: string, bufferBytes: number, buffer: Buffer): string;
  close(): void;
  on(event: 'packet', listener: (lengthBytes: number, truncated: boolean) => void): void;
}

const PACKET = { next: 0, captured: 4, wire: 8, interface: 12, timestampNs: 16, bytes: 24 } as const;
const LONGEST_BYTES = 65_535;
const DEFAULT_RING_BYTES = 16 << 20;
/** Of libpcap, which the kernel fills before the callback is called. */
const KERNEL_BUFFER_BYTES = 64 << 20;
const WAIT_MS = 4;
const MS_PER_SECOND = 1000;
const NS_PER_MS = 1e6;
const GROUP_BIT = 1;
const NOT_INSTALLED = 'the optional package cap is not built: apt install libpcap-dev g++ make python3 (or libpcap and a compiler from your system), then npm rebuild cap';

/** What must not be collected. */
const keptForGood: unknown[] = [];

function loadCap(): CapClass | undefined {
  try {
    return (createRequire(import.meta.url)('cap') as { readonly Cap: CapClass }).Cap;
  } catch {
    return undefined;
  }
}

/** Why packets cannot be had by cap; undefined where they can, as far as can be known before. */
export function whyNoCap(): string | undefined {
  if (!isMainThread) return 'the package cap works on the main thread only';
  return loadCap() === undefined ? NOT_INSTALLED : undefined;
}

export class CapSource implements PacketSource {
  readonly interface: LiveInterface;
  readonly index: number;
  readonly outgoingIndex: number | undefined;
  readonly backend = 'cap';
  readonly knowsLosses = false;
  readonly waitMs = WAIT_MS;
  readonly #cap: Cap;
  readonly #buffer = Buffer.allocUnsafeSlow(LONGEST_BYTES + 1);
  readonly #ring: Region;
  readonly #memory: SourceOptions['memory'];
  readonly #snapLength: number;
  readonly #everybody: boolean;
  /** Offsets in the ring: what is written next, what is read next, and up to where the reader has let go. */
  #head = 0;
  #tail = 0;
  #free = 0;
  #received = 0;
  #ringDrops = 0;
  #open = true;

  constructor(device: LiveInterface, options: SourceOptions) {
    const { memory, index = 0, snapLength = LONGEST_BYTES, filter = '', promiscuous = false, bufferBytes = DEFAULT_RING_BYTES, outgoingIndex } = options;
    const Cap = loadCap();
    const missing = whyNoCap();
    if (Cap === undefined || missing !== undefined) throw new XdplabError('ERR_PRIVILEGE', `${device.name}: ${missing}`);
    this.interface = device;
    this.index = index;
    this.outgoingIndex = outgoingIndex;
    this.#memory = memory;
    this.#snapLength = snapLength;
    this.#everybody = promiscuous;
    // Before the package, which writes a warning of its own where an interface has no address. It knows VLAN tags.
    if (filter !== '' && whyNoFilters() === undefined) byteFilter(filter, SNAP_EVERYTHING);
    this.#ring = memory.region(Math.max(bufferBytes, 4 * LONGEST_BYTES), 64, 'live packets');
    this.#cap = new Cap();
    keptForGood.push(this.#cap, this.#buffer);
    let linkType: string;
    try {
      linkType = this.#cap.open(libpcapName(Cap, device), filter, KERNEL_BUFFER_BYTES, this.#buffer);
    } catch (error) {
      throw filter !== '' && opensWithout(Cap, device, this.#buffer) ? filterMistake(filter, wordsOf(error)) : refusal(device, error);
    }
    if (linkType !== 'ETHERNET') throw new XdplabError('ERR_DEVICE', `${device.name}: libpcap calls its packets ${linkType}, expected ETHERNET; choose another interface`);
    this.#cap.on('packet', (lengthBytes) => this.#take(lengthBytes));
  }

  read(batch: PacketBatch): number {
    this.#free = this.#tail;
    const { u32, u64 } = batch.memory;
    const { address: base } = this.#ring;
    let count = 0;
    while (count < batch.capacity && this.#tail !== this.#head) {
      const at = base + this.#tail;
      const next = u32[(at + PACKET.next) >>> 2]!;
      if (next === 0) {
        this.#tail = 0;
        continue;
      }
      const descriptor = batch.descriptor(count) >>> 2;
      u32[descriptor + DESCRIPTOR.address / 4] = at + PACKET.bytes;
      u32[descriptor + DESCRIPTOR.captured / 4] = u32[(at + PACKET.captured) >>> 2]!;
      u32[descriptor + DESCRIPTOR.wire / 4] = u32[(at + PACKET.wire) >>> 2]!;
      u32[descriptor + DESCRIPTOR.interface / 4] = u32[(at + PACKET.interface) >>> 2]!;
      u64[(descriptor + DESCRIPTOR.timestampNs / 4) >>> 1] = u64[(at + PACKET.timestampNs) >>> 3]!;
      this.#tail += next;
      count++;
    }
    batch.count = count;
    return count;
  }

  counts(): SourceCounts {
    return { received: this.#received, ringDrops: this.#ringDrops };
  }

  /** What libpcap still has is lost, uncounted. */
  stop(): void {
    if (this.#open) this.#cap.close();
    this.#open = false;
  }

  failure(): undefined {
    // The package says nothing about it.
    return undefined;
  }

  close(): void {
    this.stop();
  }

  /** One packet, from the package's buffer to the ring. */
  #take(lengthBytes: number): void {
    const buffer = this.#buffer;
    if (!this.#open) return;
    const interfaceIndex = this.#interfaceOf(buffer);
    if (interfaceIndex === undefined) return;
    this.#received++;
    const captured = Math.min(lengthBytes, this.#snapLength);
    const whole = (PACKET.bytes + captured + 7) & ~7;
    const at = this.#room(whole);
    if (at === undefined) {
      this.#ringDrops++;
      return;
    }
    const { u32, u8 } = this.#memory;
    const address = this.#ring.address + at;
    u32[(address + PACKET.next) >>> 2] = whole;
    u32[(address + PACKET.captured) >>> 2] = captured;
    u32[(address + PACKET.wire) >>> 2] = lengthBytes;
    u32[(address + PACKET.interface) >>> 2] = interfaceIndex;
    const now = performance.timeOrigin + performance.now();
    const seconds = Math.floor(now / MS_PER_SECOND);
    storeSeconds(u32, (address + PACKET.timestampNs) >>> 2, seconds, Math.floor((now - seconds * MS_PER_SECOND) * NS_PER_MS));
    u8.set(buffer.subarray(0, captured), address + PACKET.bytes);
    this.#head = at + whole;
  }

  /** Undefined for what was not asked for. The package does not say what this host has sent: its address does. */
  #interfaceOf(buffer: Buffer): number | undefined {
    const { mac } = this.interface;
    // The loopback device has none, and shows every packet twice.
    if (mac.every((byte) => byte === 0)) return this.index;
    if (isAt(buffer, ETHERNET.source, mac)) return this.outgoingIndex;
    return this.#everybody || (buffer[0]! & GROUP_BIT) !== 0 || isAt(buffer, ETHERNET.destination, mac) ? this.index : undefined;
  }

  /** Where `lengthBytes` can go, behind the head and before what is still read; one word more stays free for the mark at the end. */
  #room(lengthBytes: number): number | undefined {
    const size = this.#ring.lengthBytes - 8;
    if (this.#head >= this.#free) {
      if (this.#head + lengthBytes <= size) return this.#head;
      if (lengthBytes >= this.#free) return undefined;
      this.#memory.u32[(this.#ring.address + this.#head) >>> 2] = 0;
      return 0;
    }
    return this.#head + lengthBytes < this.#free ? this.#head : undefined;
  }
}

/** Windows calls interfaces otherwise than libpcap does. */
function libpcapName(cap: CapClass, { name }: LiveInterface): string {
  if (process.platform !== 'win32') return name;
  const [first] = networkInterfaces()[name] ?? [];
  return (first === undefined ? undefined : cap.findDevice(first.address)) ?? name;
}

function isAt(buffer: Buffer, at: number, mac: Uint8Array): boolean {
  for (let byte = 0; byte < mac.length; byte++) if (buffer[at + byte] !== mac[byte]) return false;
  return true;
}

/** Whether libpcap takes the interface, so that it is the filter which it does not take. */
function opensWithout(Cap: CapClass, device: LiveInterface, buffer: Buffer): boolean {
  const trial = new Cap();
  keptForGood.push(trial);
  try {
    trial.open(libpcapName(Cap, device), '', KERNEL_BUFFER_BYTES, buffer);
    trial.close();
    return true;
  } catch {
    return false;
  }
}

function wordsOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0]!.trim();
}

function refusal({ name }: LiveInterface, error: unknown): XdplabError {
  const message = wordsOf(error);
  if (/permission|not permitted/i.test(message)) return new XdplabError('ERR_PRIVILEGE', `${name}: libpcap may not capture (${message}); run as root, or on Linux with CAP_NET_RAW`);
  return new XdplabError('ERR_DEVICE', `${name}: libpcap does not open it: ${message}`);
}
