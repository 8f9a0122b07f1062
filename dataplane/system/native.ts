/**
 * The C library of the running system, called through the optional package koffi, and memory that such calls may keep
 * the address of.
 *
 * The kernel is handed addresses, and JavaScript moves its buffers: everything that a call reads or writes after it has
 * returned, or through another pointer, is in memory that was mapped here and stays where it is, or in WebAssembly
 * memory, whose address is asked for anew after it has grown.
 */
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { XdplabError } from '../errors.ts';

/** Memory at a fixed address. Views are valid until it is unmapped. */
export interface PinnedMemory {
  readonly address: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/** Integers and addresses are numbers; `string` arguments are copied for the time of the call. */
export type NativeFunction = (...args: (number | string)[]) => number | bigint;

/** A library's functions, by name and C types. */
export interface NativeLibrary {
  func(name: string, result: string, args: readonly string[]): NativeFunction;
}

/** The part of koffi that is used here. */
interface Koffi {
  load(path: string | null): NativeLibrary;
  view(address: bigint, lengthBytes: number): ArrayBuffer;
  address(bytes: Uint8Array): bigint;
  errno(): number;
}

export const KOFFI_MISSING = 'the optional package koffi is not installed: npm install koffi@3.3.4';
export const PAGE_BYTES = 4096;
const PROT = { read: 1, write: 2 } as const;
const MAP = { shared: 0x01, privateAnonymous: 0x22 } as const;
const MAP_FAILED = -1;
/** MADV_HUGEPAGE. */
const ADVICE_HUGE_PAGES = 14;

/** Kernel-internal, and seen outside all the same. */
const ENOTSUPP = 524;
const ERRNO_NAMES = new Map<number, string>([...Object.entries(constants.errno).map(([name, number]) => [number, name] as const).toReversed(), [constants.errno.EOPNOTSUPP, 'EOPNOTSUPP'], [ENOTSUPP, 'ENOTSUPP']]);

/** Name of what a call answered: 0 or more is '', -22 is 'EINVAL'. */
export function errnoText(result: number): string {
  return result >= 0 ? '' : ERRNO_NAMES.get(-result) ?? `errno ${-result}`;
}

export class Native {
  readonly libc: NativeLibrary;
  readonly #koffi: Koffi;
  readonly #mmap: NativeFunction;
  readonly #munmap: NativeFunction;
  /** Of Linux. */
  readonly #madvise: NativeFunction | undefined;

  constructor(koffi: Koffi) {
    this.#koffi = koffi;
    this.libc = koffi.load(null);
    this.#mmap = this.libc.func('mmap', 'intptr_t', ['uintptr_t', 'size_t', 'int', 'int', 'int', 'int64_t']);
    this.#munmap = this.libc.func('munmap', 'int', ['uintptr_t', 'size_t']);
    this.#madvise = process.platform === 'linux' ? this.libc.func('madvise', 'int', ['uintptr_t', 'size_t', 'int']) : undefined;
  }

  /** Undefined where the system has no library of that name. */
  library(name: string): NativeLibrary | undefined {
    try {
      return this.#koffi.load(name);
    } catch {
      return undefined;
    }
  }

  /** What the last call of a function that answered -1 left. */
  get errno(): number {
    return this.#koffi.errno();
  }

  /** Zeroed memory that stays until it is unmapped. */
  allocate(lengthBytes: number): PinnedMemory {
    return this.#map(lengthBytes, PROT.read | PROT.write, MAP.privateAnonymous, -1, 0);
  }

  /** Memory that is shared with the kernel: the pages of a map, the ring of a socket. */
  share(fd: number, offsetBytes: number, lengthBytes: number, access: 'read' | 'write'): PinnedMemory {
    return this.#map(lengthBytes, access === 'read' ? PROT.read : PROT.read | PROT.write, MAP.shared, fd, offsetBytes);
  }

  /** Views of it must not be used any more. */
  unmap({ address, bytes }: PinnedMemory): void {
    this.#munmap(address, bytes.length);
  }

  /** Where the bytes are: of WebAssembly memory until it grows, of others only for as long as the call that asks. */
  addressOf(bytes: Uint8Array): number {
    return Number(this.#koffi.address(bytes));
  }

  /** Asks for pages of 2 MiB where what is not touched yet will be. Only advice: a system that has none does nothing. */
  adviseHugePages(bytes: Uint8Array): void {
    const from = Math.ceil(this.addressOf(bytes) / PAGE_BYTES) * PAGE_BYTES;
    this.#madvise?.(from, bytes.length, ADVICE_HUGE_PAGES);
  }

  /** Memory that a call has returned the address of. */
  at(address: number, lengthBytes: number): Uint8Array {
    return new Uint8Array(this.#koffi.view(BigInt(address), lengthBytes));
  }

  #map(lengthBytes: number, protection: number, flags: number, fd: number, offsetBytes: number): PinnedMemory {
    const length = Math.ceil(lengthBytes / PAGE_BYTES) * PAGE_BYTES;
    const address = Number(this.#mmap(0, length, protection, flags, fd, offsetBytes));
    if (address === MAP_FAILED) throw new XdplabError('ERR_MEMORY', `mapping ${length} bytes: Linux refuses (${errnoText(-this.errno)})`);
    const bytes = this.at(address, length);
    return { address, bytes, view: new DataView(bytes.buffer) };
  }
}

let native: Native | undefined;

/** Undefined where koffi is not installed (KOFFI_MISSING). */
export function openNative(): Native | undefined {
  try {
    native ??= new Native(createRequire(import.meta.url)('koffi') as Koffi);
  } catch {
    return undefined;
  }
  return native;
}
