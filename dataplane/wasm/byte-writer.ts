/**
 * Bytes that double their room when it is used up, and the places in them where a function index is still to come:
 * imports precede definitions in the index space, so indices are known only when a module is put together.
 */
import { unsignedLeb, type Callee, type Code } from './expression.ts';

export class ByteWriter {
  #buffer: Uint8Array<ArrayBuffer>;
  #length = 0;
  readonly #callees: { readonly at: number; readonly callee: Callee }[] = [];

  constructor(capacityBytes = 256) {
    this.#buffer = new Uint8Array(capacityBytes);
  }

  get lengthBytes(): number {
    return this.#length;
  }

  write(code: Code): void {
    for (let index = 0; index < code.length; index++) {
      const item = code[index]!;
      if (typeof item === 'number') this.byte(item);
      else if (Array.isArray(item)) this.write(item as Code);
      else if (item instanceof Uint8Array) this.#append(item);
      else this.#callees.push({ at: this.#length, callee: item as Callee });
    }
  }

  byte(byte: number): void {
    if (this.#length === this.#buffer.length) this.#reserve(1);
    this.#buffer[this.#length++] = byte;
  }

  /** What was written, with function indices as they are now. */
  bytes(): Uint8Array<ArrayBuffer> {
    if (this.#callees.length === 0) return this.#buffer.slice(0, this.#length);
    const out = new ByteWriter(this.#length + 2 * this.#callees.length);
    let from = 0;
    for (const { at, callee } of this.#callees) {
      out.#append(this.#buffer.subarray(from, at));
      out.write(unsignedLeb(callee.index));
      from = at;
    }
    out.#append(this.#buffer.subarray(from, this.#length));
    return out.bytes();
  }

  #append(bytes: Uint8Array): void {
    if (this.#length + bytes.length > this.#buffer.length) this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #reserve(lengthBytes: number): void {
    const larger = new Uint8Array((this.#length + lengthBytes) * 2);
    larger.set(this.#buffer);
    this.#buffer = larger;
  }
}
