/**
 * An object's BTF as the kernel takes it (Linux Documentation/bpf/btf.rst): the same types under the same ids, with what
 * libbpf changes before it loads them, and with what programs need and the object may lack:
 *
 *   - sections have the sizes and offsets that the linker gave them, and their variables are in order
 *   - a function has the linkage of its symbol: hidden ones are static, and are verified where they are called
 *   - what is declared only, and stands for something of the kernel, becomes `void *`: the kernel knows no extern
 *   - functions without a type get `int function(void)`, so that every program has function information
 *   - the text of source lines is among the strings
 */
import type { Btf } from '../../bpf/btf.ts';
import { BTF_KINDS, BTF_LINKAGE, type BtfKind, type BtfLinkage, type BtfType } from '../../bpf/btf-type.ts';
import type { FunctionSpec, ProgramSpec } from '../../bpf/spec.ts';

const MAGIC = 0xeb9f;
const VERSION = 1;
const HEADER_BYTES = 24;
const KIND_FLAG = 0x8000_0000;
const INT = { signed: 1 << 24, char: 2 << 24, bool: 4 << 24 } as const;

const PLACEHOLDER: BtfType = { kind: 'ptr', type: 0 };

/** What stands behind the first 8 bytes of a type: the word at 8, then its kind's own. */
interface Record {
  readonly name: string;
  readonly kind: BtfKind;
  readonly flag?: boolean;
  readonly vlen?: number;
  readonly words: readonly number[];
}

export class BtfImage {
  readonly #typed: boolean;
  /** Type of functions that have none. */
  readonly #untyped: number;
  readonly #strings = new Map<string, number>([['', 0]]);
  readonly #texts: Uint8Array[] = [Uint8Array.of(0)];
  readonly #types: number[] = [];
  #stringBytes = 1;

  constructor(btf: Btf | undefined, programs: Iterable<ProgramSpec>) {
    const linkages = new Map<number, BtfLinkage>();
    for (const { functions, lines } of programs) {
      for (const { typeId, linkage } of functions) linkages.set(typeId, linkage);
      for (const { file, text } of lines) [file, text].forEach((each) => this.text(each));
      for (const { name } of functions) this.text(name);
    }
    this.#typed = btf !== undefined;
    for (const [id, type] of btf?.types() ?? []) {
      const shown = type.kind === 'func' ? { ...type, linkage: linkages.get(id) ?? type.linkage } : type;
      this.#add(isOutside(btf!, shown) ? PLACEHOLDER : shown);
    }
    const first = btf?.typeCount ?? 1;
    this.#add({ kind: 'int', name: 'int', sizeBytes: 4, signed: true, char: false, bool: false, offsetBits: 0, bits: 32 });
    this.#add({ kind: 'func_proto', returnType: first, parameters: [] });
    this.#add({ kind: 'func', name: 'function', type: first + 1, linkage: 'static' });
    this.#untyped = first + 2;
  }

  /** Of the FUNC. */
  functionId({ typeId }: FunctionSpec): number {
    return this.#typed && typeId !== 0 ? typeId : this.#untyped;
  }

  /** Offset among the strings: of what the programs' functions and lines are called. */
  text(text: string): number {
    let offset = this.#strings.get(text);
    if (offset === undefined) {
      const bytes = new TextEncoder().encode(`${text}\0`);
      offset = this.#stringBytes;
      this.#strings.set(text, offset);
      this.#texts.push(bytes);
      this.#stringBytes += bytes.length;
    }
    return offset;
  }

  bytes(): Uint8Array {
    const typeBytes = this.#types.length * 4;
    const bytes = new Uint8Array(HEADER_BYTES + typeBytes + this.#stringBytes);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, MAGIC, true);
    view.setUint8(2, VERSION);
    [HEADER_BYTES, 0, typeBytes, typeBytes, this.#stringBytes].forEach((word, index) => view.setUint32(4 + 4 * index, word, true));
    this.#types.forEach((word, index) => view.setUint32(HEADER_BYTES + 4 * index, word, true));
    let at = HEADER_BYTES + typeBytes;
    for (const text of this.#texts) {
      bytes.set(text, at);
      at += text.length;
    }
    return bytes;
  }

  #add(type: BtfType): void {
    const { name, kind, flag = false, vlen = 0, words } = this.#record(type);
    this.#types.push(this.text(name), ((flag ? KIND_FLAG : 0) | (BTF_KINDS.indexOf(kind) << 24) | vlen) >>> 0, ...words.map((word) => word >>> 0));
  }

  #record(type: BtfType): Record {
    switch (type.kind) {
      case 'void':
        return { name: '', kind: 'ptr', words: [0] };
      case 'int': {
        const encoding = (type.signed ? INT.signed : 0) | (type.char ? INT.char : 0) | (type.bool ? INT.bool : 0);
        return { name: type.name, kind: type.kind, words: [type.sizeBytes, encoding | (type.offsetBits << 16) | type.bits] };
      }
      case 'ptr':
        return { name: '', kind: type.kind, words: [type.type] };
      case 'array':
        return { name: '', kind: type.kind, words: [0, type.type, type.indexType, type.length] };
      case 'struct':
      case 'union': {
        const flag = type.members.some(({ bitfieldBits }) => bitfieldBits !== 0);
        const members = type.members.flatMap(({ name, type: id, offsetBits, bitfieldBits }) => [this.text(name), id, offsetBits | (bitfieldBits << 24)]);
        return { name: type.name, kind: type.kind, flag, vlen: type.members.length, words: [type.sizeBytes, ...members] };
      }
      case 'enum':
      case 'enum64': {
        const halves = (value: bigint): number[] => [Number(BigInt.asUintN(32, value)), Number(BigInt.asUintN(32, value >> 32n))];
        const values = type.values.flatMap(({ name, value }) => [this.text(name), ...halves(value).slice(0, type.kind === 'enum' ? 1 : 2)]);
        return { name: type.name, kind: type.kind, flag: type.signed, vlen: type.values.length, words: [type.sizeBytes, ...values] };
      }
      case 'fwd':
        return { name: type.name, kind: type.kind, flag: type.of === 'union', words: [0] };
      case 'typedef':
      case 'volatile':
      case 'const':
      case 'restrict':
      case 'type_tag':
        return { name: type.name, kind: type.kind, words: [type.type] };
      case 'func':
        return { name: type.name, kind: type.kind, vlen: BTF_LINKAGE.indexOf(type.linkage), words: [type.type] };
      case 'func_proto':
        return { name: '', kind: type.kind, vlen: type.parameters.length, words: [type.returnType, ...type.parameters.flatMap(({ name, type: id }) => [this.text(name), id])] };
      case 'var':
        return { name: type.name, kind: type.kind, words: [type.type, BTF_LINKAGE.indexOf(type.linkage)] };
      case 'datasec': {
        const variables = type.variables.toSorted((a, b) => a.offset - b.offset);
        return { name: type.name, kind: type.kind, vlen: variables.length, words: [type.sizeBytes, ...variables.flatMap(({ type: id, offset, sizeBytes }) => [id, offset, sizeBytes])] };
      }
      case 'float':
        return { name: type.name, kind: type.kind, words: [type.sizeBytes] };
      case 'decl_tag':
        return { name: type.name, kind: type.kind, words: [type.type, type.component] };
      default:
        return type satisfies never;
    }
  }
}

/** Declared here, defined in the kernel; or a section of such, or one that has nothing in it, or a tag of one of these. */
function isOutside(btf: Btf, type: BtfType): boolean {
  switch (type.kind) {
    case 'func':
    case 'var':
      return type.linkage === 'extern';
    case 'datasec':
      return type.sizeBytes === 0 || type.variables.some(({ type: id }) => isOutside(btf, btf.type(id)));
    case 'decl_tag':
      return isOutside(btf, btf.type(type.type));
    default:
      return false;
  }
}
