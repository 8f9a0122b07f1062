/**
 * Opens a capture of any supported kind, told by its first bytes.
 */
import { XdplabError } from '../errors.ts';
import type { Region } from '../machine/memory.ts';
import type { ByteSource } from './byte-source.ts';
import { openByteSource, WAIT } from './byte-source.ts';
import type { CaptureInterface, CaptureReader } from './capture-reader.ts';
import { captureDamage } from './capture-reader.ts';
import type { CaptureWalk } from './capture-walk.ts';
import { CaptureWindow } from './capture-window.ts';
import type { Compression } from './decompress.ts';
import { DecompressedSource, detectCompression } from './decompress.ts';
import type { PacketBatch } from './packet-batch.ts';
import { openPcapParser } from './pcap-parser-reader.ts';
import { isPcapMagic, PcapWalk } from './pcap.ts';
import { BLOCK, PcapngWalk } from './pcapng.ts';

export interface OpenCaptureOptions {
  /** Machine memory that packets are read into, at least MIN_WINDOW_BYTES. 1 MiB stays in a core's cache. */
  readonly window: Region;
  readonly reader?: 'native' | 'pcap-parser';
}

/** Throws ERR_FILE when `path` ('-' for standard input) cannot be read, ERR_CAPTURE when it is no capture. */
export async function openCapture(path: string, options: OpenCaptureOptions): Promise<CaptureReader> {
  const name = path === '-' ? 'standard input' : path;
  if (options.reader === 'pcap-parser') return openPcapParser(path, name, options.window);
  const packed = openByteSource(path);
  try {
    const head = await peek(packed);
    const compression = detectCompression(head);
    const source = compression === 'none' ? packed : new DecompressedSource(packed, compression, name);
    const window = new CaptureWindow(source, options.window, name);
    return new NativeReader(window, await openWalk(window), compression);
  } catch (error) {
    await packed.close();
    throw error;
  }
}

async function peek(source: ByteSource): Promise<Uint8Array> {
  const head = new Uint8Array(4);
  let length = 0;
  for (;;) {
    const got = source.read(head.subarray(length));
    if (got === WAIT) await source.ready();
    else length += got;
    if (got === 0 || length === head.length) break;
  }
  const found = head.subarray(0, length);
  source.unread(found);
  return found;
}

/** The longest of what is needed to choose a format and, for pcap, to read its header. */
const HEADER_BYTES = 24;

async function openWalk(window: CaptureWindow): Promise<CaptureWalk> {
  while (window.unread < HEADER_BYTES) {
    const got = window.fill();
    if (got === WAIT) await window.source.ready();
    if (got === 0) break;
  }
  const { view, unread, name } = window;
  if (unread >= 4) {
    if (isPcapMagic(view, 0)) return new PcapWalk(window);
    if (view.getUint32(0) === BLOCK.section) return new PcapngWalk(window);
  }
  throw new XdplabError(
    'ERR_CAPTURE',
    `${name}: ${describe(view, unread)}, expected a pcap or pcapng capture (also gzip or zstd packed)`,
  );
}

/** What people hand over by mistake, by its first bytes. */
const KNOWN_STARTS: readonly (readonly [string, string])[] = [
  ['7f454c46', 'an ELF file (an eBPF object?)'],
  ['1c0001ac', 'an Ixia hardware capture'],
  ['1c0001ab', 'an Ixia software capture'],
  ['a12b3c4d', 'a Navtel capture'],
  ['736e6f6f', 'a snoop capture'],
  ['58435000', 'a NetXRay capture'],
  ['504b0304', 'a zip archive'],
  ['425a68', 'bzip2 data'],
  ['fd377a58', 'xz data'],
];

function describe(view: DataView, length: number): string {
  if (length === 0) return 'found an empty file';
  const hex = Array.from({ length: Math.min(length, 4) }, (_, at) =>
    view.getUint8(at).toString(16).padStart(2, '0'),
  ).join('');
  const known = KNOWN_STARTS.find(([start]) => hex.startsWith(start));
  return known === undefined ? `found first bytes ${hex}` : `found ${known[1]}`;
}

class NativeReader implements CaptureReader {
  readonly compression: Compression;
  readonly #window: CaptureWindow;
  readonly #walk: CaptureWalk;
  #damage: XdplabError | undefined;

  constructor(window: CaptureWindow, walk: CaptureWalk, compression: Compression) {
    this.#window = window;
    this.#walk = walk;
    this.compression = compression;
  }

  get format(): 'pcap' | 'pcapng' {
    return this.#walk.format;
  }

  get interfaces(): readonly CaptureInterface[] {
    return this.#walk.interfaces;
  }

  get damage(): XdplabError | undefined {
    return this.#damage;
  }

  get bytesRead(): number {
    return this.#window.source.bytesRead;
  }

  get totalBytes(): number | undefined {
    return this.#window.source.totalBytes;
  }

  read(batch: PacketBatch): number | Promise<number> {
    batch.count = 0;
    while (this.#damage === undefined) {
      const count = this.#walk.walk(batch);
      if (count > 0) {
        batch.count = count;
        return count;
      }
      this.#damage = this.#walk.damage;
      if (this.#damage !== undefined) break;
      const got = this.#fill();
      if (got === WAIT) return this.#window.source.ready().then(() => this.read(batch));
      if (got === 0) {
        this.#checkEnd();
        break;
      }
    }
    return 0;
  }

  close(): Promise<void> {
    return this.#window.source.close();
  }

  #fill(): number {
    try {
      return this.#window.fill();
    } catch (error) {
      if (!(error instanceof XdplabError)) throw error;
      this.#damage = captureDamage(
        this.#window.name,
        this.#window.offset(this.#window.end),
        withoutName(error, this.#window.name),
      );
      return 0;
    }
  }

  #checkEnd(): void {
    const window = this.#window;
    if (this.#damage !== undefined) return;
    if (window.owed > 0) {
      this.#damage = captureDamage(
        window.name,
        window.offset(window.end),
        `the bytes end ${window.owed} short of the end of a block`,
      );
    } else if (window.unread > 0) {
      this.#damage = captureDamage(window.name, window.offset(window.start), this.#walk.cut());
    }
  }
}

function withoutName(error: XdplabError, name: string): string {
  return error.message.startsWith(`${name}: `) ? error.message.slice(name.length + 2) : error.message;
}
