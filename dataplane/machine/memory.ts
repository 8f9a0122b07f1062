/**
 * The simulated machine's one memory. Packets, contexts, stacks, map values and verdict records live in it,
 * and an address is a u32 offset into it. The first 64 KiB are never handed out, so address 0 is NULL.
 *
 *   0x00000000  never allocated
 *   0x00010000  allocations, in the order they were made; none is ever freed
 *
 * Growth is lazy in the operating system: what is allocated but never touched costs address space only.
 * Growing replaces the views, so nobody keeps one: read `u8`, `u32` and the others anew for each batch.
 *
 * Where several threads are CPUs of one machine the memory is shared. Only the thread that made it allocates everywhere;
 * each other has a stretch to allocate from.
 */
import { XdplabError } from '../errors.ts';
import { openNative } from '../system/native.ts';

const PAGE_BYTES = 65_536;
/** What lies below the first allocation. */
export const NULL_PAGE_BYTES = PAGE_BYTES;
const MAX_PAGES = 65_536;
/** Always there behind the last allocation, for copies in wide steps that read past the end of what they copy. */
const SPARE_BYTES = 64;

/** What another thread has of the memory: all of it to read and write, and a stretch to allocate from. */
export interface MemoryPart {
  readonly wasm: WebAssembly.Memory;
  readonly address: number;
  readonly lengthBytes: number;
}

export class MachineMemory {
  readonly wasm: WebAssembly.Memory;
  u8!: Uint8Array;
  u16!: Uint16Array;
  u32!: Uint32Array;
  i32!: Int32Array;
  u64!: BigUint64Array;
  view!: DataView;
  /** Whether other threads may have it too. */
  readonly shared: boolean;
  #top = PAGE_BYTES;
  /** Where allocations end, for who does not own the memory. */
  readonly #end: number | undefined;

  constructor({ shared = false, part }: { readonly shared?: boolean; readonly part?: MemoryPart } = {}) {
    this.wasm = part?.wasm ?? new WebAssembly.Memory({ initial: 2, maximum: MAX_PAGES, shared });
    this.shared = shared || part !== undefined;
    if (part !== undefined) this.#top = part.address;
    this.#end = part && part.address + part.lengthBytes;
    this.refresh();
  }

  /** Bytes handed out so far, the null page included. */
  get usedBytes(): number {
    return this.#top;
  }

  /** Zeroed bytes at the returned address. Throws ERR_MEMORY past 4 GiB, naming `purpose`. */
  allocate(lengthBytes: number, alignment: number, purpose: string): number {
    const address = Math.ceil(this.#top / alignment) * alignment;
    const end = address + lengthBytes;
    if (this.#end !== undefined && end > this.#end) throw new XdplabError('ERR_MEMORY', `${purpose}: needs ${lengthBytes} bytes, but this CPU's part of memory has ${this.#end - this.#top} left`);
    const pages = Math.ceil((end + SPARE_BYTES) / PAGE_BYTES);
    if (pages > MAX_PAGES) {
      throw new XdplabError(
        'ERR_MEMORY',
        `${purpose}: needs ${lengthBytes} bytes, but the machine has ${MAX_PAGES * PAGE_BYTES - this.#top} of 4 GiB left; declare smaller maps or fewer CPUs`,
      );
    }
    const have = this.wasm.buffer.byteLength / PAGE_BYTES;
    if (pages > have) {
      this.#grow(pages - have, have, purpose);
      this.refresh();
    }
    this.#top = end;
    return address;
  }

  /** The same, as a region whose view survives growth. */
  region(lengthBytes: number, alignment: number, purpose: string): Region {
    return new Region(this, this.allocate(lengthBytes, alignment, purpose), lengthBytes);
  }

  /**
   * For what will be read here and there: on pages of 4 KiB nearly every read of a table of a million entries waits for
   * where the page is, too.
   */
  preferHugePages(address: number, lengthBytes: number): void {
    openNative()?.adviseHugePages(this.bytes(address, lengthBytes));
  }

  /** Borrowed: valid until the memory grows. */
  bytes(address: number, lengthBytes: number): Uint8Array {
    return this.u8.subarray(address, address + lengthBytes);
  }

  /** Twice as much as there was, so that many maps do not each replace the views: what is never touched costs nothing. */
  #grow(needPages: number, havePages: number, purpose: string): void {
    const wanted = Math.min(MAX_PAGES - havePages, Math.max(needPages, havePages));
    for (const pages of [wanted, needPages]) {
      try {
        this.wasm.grow(pages);
        return;
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
      }
    }
    throw new XdplabError('ERR_MEMORY', `${purpose}: the system gives no ${needPages * PAGE_BYTES} bytes more; declare smaller maps or raise the limit of address space`);
  }

  /** Makes the views anew, where another thread may have made the memory grow. */
  refresh(): void {
    const { buffer } = this.wasm;
    if (this.u8?.buffer === buffer) return;
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.u64 = new BigUint64Array(buffer);
    this.view = new DataView(buffer);
  }
}

/** A stretch of machine memory. Its views are made anew after the memory has grown. */
export class Region {
  readonly memory: MachineMemory;
  readonly address: number;
  readonly lengthBytes: number;
  #bytes: Uint8Array | undefined;
  #view: DataView | undefined;

  constructor(memory: MachineMemory, address: number, lengthBytes: number) {
    this.memory = memory;
    this.address = address;
    this.lengthBytes = lengthBytes;
  }

  /** Borrowed: valid until the memory grows. */
  get bytes(): Uint8Array {
    if (this.#bytes?.buffer !== this.memory.wasm.buffer) {
      this.#bytes = this.memory.bytes(this.address, this.lengthBytes);
    }
    return this.#bytes!;
  }

  /** Borrowed as `bytes` are. */
  get view(): DataView {
    if (this.#view?.buffer !== this.memory.wasm.buffer) this.#view = new DataView(this.memory.wasm.buffer, this.address, this.lengthBytes);
    return this.#view!;
  }
}
