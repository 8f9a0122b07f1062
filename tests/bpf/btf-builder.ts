/** Writes BTF by hand, for what compilers do not emit and what hostile files say. */
import { BTF_KINDS, type BtfKind } from '../../dataplane/bpf/btf-type.ts';

interface RawType {
  readonly kind: BtfKind;
  readonly name?: string;
  /** The word at offset 8: size or type. */
  readonly word?: number;
  readonly flag?: boolean;
  /** Words that follow; strings become offsets of names. */
  readonly words?: readonly (number | string)[];
  /** Number of entries; by default as many as the words make. */
  readonly vlen?: number;
}

const WORDS_PER_ENTRY: Partial<Record<BtfKind, number>> = { struct: 3, union: 3, enum: 2, enum64: 3, func_proto: 2, datasec: 3 };

export function buildBtf(types: readonly RawType[]): Uint8Array {
  let strings = '\0';
  const offsets = new Map<string, number>([['', 0]]);
  const nameOffset = (name: string): number => {
    const known = offsets.get(name);
    if (known !== undefined) return known;
    offsets.set(name, strings.length);
    strings += `${name}\0`;
    return strings.length - name.length - 1;
  };
  const words = types.flatMap((type) => {
    const own = (type.words ?? []).map((word) => (typeof word === 'string' ? nameOffset(word) : word));
    const vlen = type.vlen ?? own.length / (WORDS_PER_ENTRY[type.kind] ?? Number.POSITIVE_INFINITY);
    return [nameOffset(type.name ?? ''), (((type.flag ? 1 : 0) << 31) | (BTF_KINDS.indexOf(type.kind) << 24) | vlen) >>> 0, type.word ?? 0, ...own];
  });
  const header = [24, 0, words.length * 4, words.length * 4, strings.length];
  const bytes = new Uint8Array(24 + words.length * 4 + strings.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x1eb9f, true);
  [...header, ...words].forEach((word, index) => view.setUint32(4 + index * 4, word >>> 0, true));
  bytes.set(Buffer.from(strings, 'latin1'), 24 + words.length * 4);
  return bytes;
}

/** `encoding`: 1 signed, 2 char, 4 bool. */
export function int(name: string, sizeBytes: number, encoding = 0): RawType {
  return { kind: 'int', name, word: sizeBytes, words: [(encoding << 24) | (sizeBytes * 8)] };
}
