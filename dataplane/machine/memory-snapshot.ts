/**
 * Everything in a machine's memory at one moment: maps, counters, contexts, packets, the random generator. Maps take
 * far more than they use, so pages that hold only zeros are not kept, and pages that still do are not written.
 */
import type { MachineMemory } from './memory.ts';

const PAGE_BYTES = 65_536;
const ZEROS = Buffer.alloc(PAGE_BYTES);

export class MemorySnapshot {
  readonly #memory: MachineMemory;
  readonly #lengthBytes: number;
  /** By address. */
  readonly #pages = new Map<number, Buffer>();

  constructor(memory: MachineMemory) {
    this.#memory = memory;
    this.#lengthBytes = memory.usedBytes;
    for (const { address, bytes } of this.#each()) {
      if (!isZero(bytes)) this.#pages.set(address, Buffer.from(bytes));
    }
  }

  /** What was allocated since then is left alone. */
  restore(): void {
    for (const { address, bytes } of this.#each()) {
      const page = this.#pages.get(address);
      if (page) bytes.set(page);
      else if (!isZero(bytes)) bytes.fill(0);
    }
  }

  *#each(): Generator<{ readonly address: number; readonly bytes: Buffer }, void> {
    const { buffer } = this.#memory.wasm;
    for (let address = 0; address < this.#lengthBytes; address += PAGE_BYTES) {
      yield { address, bytes: Buffer.from(buffer, address, Math.min(PAGE_BYTES, this.#lengthBytes - address)) };
    }
  }
}

function isZero(bytes: Buffer): boolean {
  return bytes.equals(bytes.length === PAGE_BYTES ? ZEROS : ZEROS.subarray(0, bytes.length));
}
