/**
 * NUL-terminated strings in a block of bytes, as ELF string tables and the string section of BTF keep them.
 *
 * What comes out is safe to print: control characters and bytes that are not UTF-8 are spelled `\x1b`, so that a
 * name in a hostile object cannot break a line, move a terminal's cursor or turn the text around.
 */

const UNPRINTABLE = /[\p{Cc}\p{Cf}\u2028\u2029]/gu;
const PLAIN = /^[\x20-\x7e]*$/;

/** Longer strings are cut: without a limit, many offsets into one long string would take quadratic time. */
const MAX_STRING_BYTES = 1024;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Tabs are common in the source lines that BTF keeps. */
function escapeCharacter(character: string): string {
  if (character === '\t') return ' ';
  const code = character.codePointAt(0)!;
  return code > 0xff ? `\\u{${code.toString(16)}}` : `\\x${code.toString(16).padStart(2, '0')}`;
}

function decodeText(bytes: Buffer): string {
  const ascii = bytes.toString('latin1');
  if (PLAIN.test(ascii)) return ascii;
  try {
    return utf8.decode(bytes).replaceAll(UNPRINTABLE, escapeCharacter);
  } catch {
    return ascii.replaceAll(/[^\x20-\x7e]/g, escapeCharacter);
  }
}

export class StringTable {
  readonly lengthBytes: number;
  readonly #bytes: Buffer;
  readonly #texts = new Map<number, string>();
  #latin1: string | undefined;

  /** `bytes` is borrowed and must not change. */
  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.lengthBytes = bytes.length;
  }

  /** Undefined where `offset` is outside of the table; a last string without NUL ends where the table does. */
  at(offset: number): string | undefined {
    if (offset === 0 && this.lengthBytes === 0) return '';
    if (offset >= this.lengthBytes) return undefined;
    let text = this.#texts.get(offset);
    if (text === undefined) {
      const window = this.#bytes.subarray(offset, offset + MAX_STRING_BYTES);
      const end = window.indexOf(0);
      text = decodeText(end < 0 ? window : window.subarray(0, end));
      this.#texts.set(offset, text);
    }
    return text;
  }

  /** For looking up many names: one character for each byte, nothing made printable. Five times as fast as `at`. */
  raw(offset: number): string {
    this.#latin1 ??= this.#bytes.toString('latin1');
    const window = this.#latin1.slice(offset, offset + MAX_STRING_BYTES);
    const end = window.indexOf('\0');
    return end < 0 ? window : window.slice(0, end);
  }
}

/** The string that `bytes` begins with: up to its first NUL or its end. */
export function readString(bytes: Uint8Array): string {
  return new StringTable(bytes).at(0) ?? '';
}
