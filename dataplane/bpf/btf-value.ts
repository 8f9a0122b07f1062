/**
 * Keys and values of maps as JavaScript values, by their BTF type.
 *
 * Types say most: integers are numbers (bigints past 53 bits), enums their names, structs objects, `char[]` text. The
 * conventions of network code say the rest: `__be32` and `struct in_addr` are IPv4 addresses, `struct in6_addr` and
 * 16 bytes named like an address IPv6, `__be16` a number in host order, `__u8[6]` a MAC address, a `__u8` named
 * protocol `tcp`, a `prefixlen` before an address a prefix, and an integer whose typedef has the name of an enum one of
 * its enumerators (array keys must be integers to the kernel). CONVENTIONS below is the whole list.
 *
 * Writing what was read gives the same bytes.
 */
import type { Btf } from './btf.ts';
import type { BtfArray, BtfComposite, BtfDatasec, BtfEnum, BtfMember, BtfType } from './btf-type.ts';
import { isModifier } from './btf-type.ts';
import { ipv4Codec, ipv6Codec, macCodec, networkOrderCodec, prefixCodec, protocolCodec, unsureIpv4Codec } from './address-codec.ts';
import { arrayCodec, emptyCodec, recordCodec, type ChoicePart, type FieldPart, type Part } from './composite-codec.ts';
import { boolCodec, bytesCodec, enumCodec, floatCodec, integerCodec, textCodec } from './scalar-codec.ts';
import { BPF_MAP_TYPE } from './map-type.ts';
import type { MapSpec } from './spec.ts';
import { failValue, viewOf, type BtfValue, type Codec } from './value-codec.ts';

export type { BtfValue } from './value-codec.ts';

/** Names, written with underscores or not, that make a number or bytes an address. */
const ADDRESS_WORDS = /^([sdlr]?(addr|address|ip|ipv?[46])|(src|dst)(ip)?(v?[46])?|[vr]ip|source|destination|dest|nexthop|gateway|gw|network|local|remote|peer|host)$/;
/** Numbers in network order that are not addresses. */
const NOT_ADDRESS_WORDS = /^(id|seq|ack|label|flowlabel|flow|vni|spi|teid|ts|tsval|tsecr|timestamp|cookie|mark|length|len|checksum|csum)$/;
const PROTOCOL_NAME = /^_*(ip|l4|inner|next)?_?(proto|protocol|nexthdr|next_header)$/;
const PREFIX_LENGTH_NAME = /^_*(lpm_?)?prefix_?(len|length|bits)$/;
const PADDING_NAME = /^_*(pad|padding|unused|reserved|rsvd)_*\d*$/;
/** Typedefs and structs whose 16 bytes are an address. */
const IPV6_TYPE_NAME = /(^|_)(in6|ip_?v?6|v6)_?(addr|address)?(_t)?$/;
const BIG_ENDIAN_TYPEDEF = /^(__)?be(16|32|64)$|^in_(port|addr)_t$/;
/** Structs that only the kernel writes. */
const KERNEL_OWNED = new Set(['bpf_spin_lock', 'bpf_timer', 'bpf_wq', 'bpf_list_head', 'bpf_list_node', 'bpf_rb_root', 'bpf_rb_node', 'bpf_refcount', 'bpf_res_spin_lock']);

const HASHES: ReadonlySet<number> = new Set([BPF_MAP_TYPE.hash, BPF_MAP_TYPE.percpu_hash, BPF_MAP_TYPE.lru_hash, BPF_MAP_TYPE.lru_percpu_hash]);
/** Stands for the name of a hash's whole key, which nobody names: a `__u32` may well be an address. */
const HASH_KEY = '(key)';
/** __int128. */
const MAX_INT_BYTES = 16;
/** Types nest no deeper, and give no more values. */
const MAX_NESTING = 64;
const MAX_MEMBERS = 1 << 16;
const MAX_LEAVES = 1 << 24;

function wordsOf(name: string): string[] {
  return name.replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2').toLowerCase().split('_').filter((word) => word !== '');
}

function isAddressName(name: string): boolean {
  return wordsOf(name).some((word) => ADDRESS_WORDS.test(word));
}

class CodecBuilder {
  readonly #btf: Btf;
  readonly #built = new Map<string, Codec>();

  constructor(btf: Btf) {
    this.#btf = btf;
  }

  /** `name` is the member's: conventions go by it. */
  build(id: number, name: string, depth = 0): Codec {
    if (depth > MAX_NESTING) this.#btf.fail(id, `nested more than ${MAX_NESTING} deep, or contains itself`);
    const key = `${id} ${name}`;
    const known = this.#built.get(key);
    if (known !== undefined) return known;
    const codec = this.#create(id, name, depth);
    if (codec.leaves > MAX_LEAVES) this.#btf.fail(id, `${codec.leaves} values are too many to show`);
    this.#built.set(key, codec);
    return codec;
  }

  #create(id: number, name: string, depth: number): Codec {
    const typedefs: string[] = [];
    let current = this.#btf.type(id);
    for (let steps = 0; isModifier(current); steps++) {
      if (steps > MAX_NESTING) this.#btf.fail(id, 'a typedef that refers to itself');
      if (current.kind === 'typedef') typedefs.push(current.name);
      current = this.#btf.type(current.type);
    }
    if (current.kind === 'int' && (current.sizeBytes < 1 || current.sizeBytes > MAX_INT_BYTES)) this.#btf.fail(id, `an integer of ${current.sizeBytes} bytes`);
    return this.#byConvention(current, typedefs, name) ?? this.#byType(id, current, typedefs, name, depth);
  }

  #byConvention(type: BtfType, typedefs: readonly string[], name: string): Codec | undefined {
    switch (type.kind) {
      case 'int':
        if (typedefs.some((typedef) => BIG_ENDIAN_TYPEDEF.test(typedef))) return type.sizeBytes === 4 && !wordsOf(name).some((word) => NOT_ADDRESS_WORDS.test(word)) ? ipv4Codec : networkOrderCodec(type.sizeBytes);
        if (type.sizeBytes === 1 && !type.bool && PROTOCOL_NAME.test(name)) return protocolCodec;
        for (const enumeration of typedefs.flatMap((typedef) => this.#enumsNamed(typedef))) {
          if (enumeration.sizeBytes === type.sizeBytes) return enumCodec(enumeration);
        }
        return type.sizeBytes === 4 && !type.signed && (name === HASH_KEY || isAddressName(name)) ? unsureIpv4Codec() : undefined;
      case 'struct':
      case 'union':
        if (type.name === 'in_addr' && type.sizeBytes === 4) return ipv4Codec;
        return type.sizeBytes === 16 && [type.name, ...typedefs].some((one) => IPV6_TYPE_NAME.test(one)) ? ipv6Codec : undefined;
      case 'array':
        return this.#arrayByConvention(type, typedefs, name);
      default:
        return undefined;
    }
  }

  #arrayByConvention(array: BtfArray, typedefs: readonly string[], name: string): Codec | undefined {
    const element = this.#btf.resolve(array.type).type;
    if (element.kind !== 'int' || element.signed || element.bool) return undefined;
    const sizeBytes = element.sizeBytes * array.length;
    if (element.sizeBytes === 1 && sizeBytes === 6) return macCodec;
    if (element.sizeBytes === 1 && sizeBytes === 4 && isAddressName(name)) return ipv4Codec;
    if (sizeBytes !== 16) return undefined;
    const isNetworkOrder = this.#typedefsOf(array.type).some((typedef) => BIG_ENDIAN_TYPEDEF.test(typedef));
    return isNetworkOrder || isAddressName(name) || typedefs.some((typedef) => IPV6_TYPE_NAME.test(typedef)) ? ipv6Codec : undefined;
  }

  #enumsNamed(name: string): BtfEnum[] {
    return this.#btf.idsByName(name, 'enum').flatMap((id) => {
      const type = this.#btf.type(id);
      return type.kind === 'enum' ? [type] : [];
    });
  }

  #typedefsOf(id: number): string[] {
    const names: string[] = [];
    let type = this.#btf.type(id);
    for (let steps = 0; isModifier(type) && steps < MAX_NESTING; steps++) {
      if (type.kind === 'typedef') names.push(type.name);
      type = this.#btf.type(type.type);
    }
    return names;
  }

  #byType(id: number, type: BtfType, typedefs: readonly string[], name: string, depth: number): Codec {
    switch (type.kind) {
      case 'int':
        return type.bool && type.sizeBytes === 1 ? boolCodec() : integerCodec({ sizeBytes: type.sizeBytes, signed: type.signed });
      case 'ptr':
        return integerCodec({ sizeBytes: 8 });
      case 'enum':
      case 'enum64':
        return [1, 2, 4, 8].includes(type.sizeBytes) ? enumCodec(type) : this.#btf.fail(id, `an enum of ${type.sizeBytes} bytes`);
      case 'float':
        return type.sizeBytes === 4 || type.sizeBytes === 8 ? floatCodec(type.sizeBytes) : bytesCodec(type.sizeBytes, 'text');
      case 'array':
        return this.#array(id, type, name, depth);
      case 'struct':
      case 'union':
        return this.#composite(id, type, depth);
      case 'var':
        return this.build(type.type, name, depth + 1);
      case 'datasec':
        return this.#datasec(id, type, depth);
      default:
        return this.#btf.fail(id, `a ${typedefs[0] ?? type.kind} has no value`);
    }
  }

  #array(id: number, type: BtfArray, name: string, depth: number): Codec {
    const sizeBytes = this.#btf.sizeBytes(id);
    if (sizeBytes === 0) return emptyCodec;
    const element = this.#btf.resolve(type.type).type;
    if (element.kind === 'int' && element.sizeBytes === 1 && !element.bool) return element.name === 'char' || element.char ? textCodec(sizeBytes) : bytesCodec(sizeBytes, 'list');
    return arrayCodec(type.length, this.build(type.type, name, depth + 1));
  }

  #composite(id: number, type: BtfComposite, depth: number): Codec {
    const parts = this.#parts(id, type, 0, depth, { left: MAX_MEMBERS });
    const fields = recordCodec(type.sizeBytes, parts);
    const addressBytes = type.kind === 'struct' ? this.#prefixAddressBytes(type) : undefined;
    return addressBytes === undefined ? fields : prefixCodec(addressBytes, fields);
  }

  /** The members from `base` on; those of anonymous ones in their place. */
  #parts(id: number, type: BtfComposite, base: number, depth: number, budget: { left: number }): Part[] {
    budget.left -= type.members.length;
    if (budget.left < 0) this.#btf.fail(id, `more than ${MAX_MEMBERS} members`);
    if (depth > MAX_NESTING) this.#btf.fail(id, `nested more than ${MAX_NESTING} deep, or contains itself`);
    const perMember = type.members.map((member): Part[] => {
      const inner = this.#btf.resolve(member.type);
      if (member.name !== '' || (inner.type.kind !== 'struct' && inner.type.kind !== 'union')) return member.name === '' ? [] : [this.#field(id, type, member, base, depth)];
      const offset = this.#byteOffset(id, type, member, inner.type.sizeBytes);
      return this.#parts(inner.id, inner.type, base + offset, depth + 1, budget);
    });
    if (type.kind === 'struct') return perMember.flat();
    const choice: ChoicePart = { kind: 'choice', alternatives: perMember.filter((parts) => parts.length > 0) };
    return choice.alternatives.length === 0 ? [] : [choice];
  }

  #byteOffset(id: number, type: BtfComposite, member: BtfMember, sizeBytes: number): number {
    const offset = member.offsetBits / 8;
    if (!Number.isInteger(offset) || offset + sizeBytes > type.sizeBytes) this.#btf.fail(id, `member ${member.name || '(anonymous)'} spans ${offset} to ${offset + sizeBytes} of ${type.sizeBytes} bytes`);
    return offset;
  }

  #field(id: number, type: BtfComposite, member: BtfMember, base: number, depth: number): FieldPart {
    const { name } = member;
    const inner = this.#btf.resolve(member.type).type;
    const bitfield = this.#bitfield(id, type, member);
    if (bitfield !== undefined) return { ...bitfield, offset: base + bitfield.offset };
    const codec = this.build(member.type, name, depth + 1);
    const isOwned = inner.kind === 'struct' && KERNEL_OWNED.has(inner.name);
    return { kind: 'field', name, offset: base + this.#byteOffset(id, type, member, codec.sizeBytes), codec, optional: PADDING_NAME.test(name) || isOwned || codec.sizeBytes === 0 };
  }

  #bitfield(id: number, type: BtfComposite, member: BtfMember): FieldPart | undefined {
    const inner = this.#btf.resolve(member.type).type;
    if (inner.kind !== 'int' && inner.kind !== 'enum' && inner.kind !== 'enum64') return undefined;
    // Old compilers put the width into the integer instead of the member.
    const narrow = inner.kind === 'int' && (inner.offsetBits !== 0 || inner.bits !== inner.sizeBytes * 8) && member.bitfieldBits === 0;
    const bits = member.bitfieldBits || (narrow ? inner.bits : 0);
    if (bits === 0) return undefined;
    const offsetBits = member.offsetBits + (narrow ? inner.offsetBits : 0);
    const offset = Math.floor(offsetBits / 8);
    const shiftBits = offsetBits % 8;
    const sizeBytes = Math.ceil((shiftBits + bits) / 8);
    if (bits > inner.sizeBytes * 8 || bits > 128 || offset + sizeBytes > type.sizeBytes) this.#btf.fail(id, `bitfield ${member.name} of ${bits} bits at ${offsetBits} is outside of its type or struct`);
    const codec = inner.kind === 'int' ? integerCodec({ sizeBytes, signed: inner.signed, bits, shiftBits }) : { ...enumCodec(inner, { bits, shiftBits }), sizeBytes };
    return { kind: 'field', name: member.name, offset, codec, optional: PADDING_NAME.test(member.name) };
  }

  /** For `{ u32 prefixlen; address }`, whatever the two are called and wrapped in: the address's length. */
  #prefixAddressBytes(type: BtfComposite): 4 | 16 | undefined {
    const [first, ...rest] = type.members;
    const others = rest.filter((member) => this.#btf.sizeBytes(member.type) > 0);
    const [address] = others;
    if (first === undefined || address === undefined || others.length !== 1 || address.offsetBits !== 32 || !this.#isPrefixLength(first)) return undefined;
    const sizeBytes = this.#btf.sizeBytes(address.type);
    return (sizeBytes === 4 || sizeBytes === 16) && type.sizeBytes === 4 + sizeBytes && this.#isAddress(address.type) ? sizeBytes : undefined;
  }

  #isPrefixLength(member: BtfMember): boolean {
    const type = this.#btf.resolve(member.type).type;
    if (type.kind === 'struct' && type.sizeBytes === 4) return type.members[0] !== undefined && PREFIX_LENGTH_NAME.test(type.members[0].name);
    return type.kind === 'int' && type.sizeBytes === 4 && PREFIX_LENGTH_NAME.test(member.name);
  }

  #isAddress(id: number): boolean {
    const type = this.#btf.resolve(id).type;
    if (type.kind === 'array') return this.#btf.resolve(type.type).type.kind === 'int';
    if (type.kind === 'union') return type.members.every((member) => this.#btf.resolve(member.type).type.kind !== 'union' && this.#isAddress(member.type));
    return type.kind === 'int' || (type.kind === 'struct' && (type.name === 'in_addr' || IPV6_TYPE_NAME.test(type.name)));
  }

  /** Global variables by name: writing some leaves the others. */
  #datasec(id: number, type: BtfDatasec, depth: number): Codec {
    const parts = type.variables.flatMap((place): FieldPart[] => {
      const variable = this.#btf.type(place.type);
      if (variable.kind !== 'var') return [];
      const codec = this.build(variable.type, variable.name, depth + 1);
      if (place.offset + codec.sizeBytes > type.sizeBytes) this.#btf.fail(id, `variable ${variable.name} ends at ${place.offset + codec.sizeBytes} of ${type.sizeBytes} bytes`);
      return [{ kind: 'field', name: variable.name, offset: place.offset, codec, optional: false }];
    });
    return recordCodec(type.sizeBytes, parts, true);
  }
}

/** Reads and writes the keys or values of one map. */
export interface ValueCodec {
  readonly sizeBytes: number;
  /** What can be written, in words. */
  readonly expected: string;
  read(bytes: Uint8Array, offset?: number): BtfValue;
  /** New bytes; `over` gives what global variables that are not named keep. `path` begins each error: `vips[3].key`. */
  write(value: unknown, path: string, over?: Uint8Array): Uint8Array;
}

const builders = new WeakMap<Btf, CodecBuilder>();

function codecOf(btf: Btf, typeId: number, name: string): Codec {
  let builder = builders.get(btf);
  if (builder === undefined) builders.set(btf, (builder = new CodecBuilder(btf)));
  return builder.build(typeId, name);
}

/** Without a type: integers of the sizes that integers have, and bytes. */
function untypedCodec(sizeBytes: number): Codec {
  return [1, 2, 4, 8].includes(sizeBytes) ? integerCodec({ sizeBytes }) : bytesCodec(sizeBytes, 'text');
}

/** Of an LPM trie without BTF: the kernel says that a prefix length is first. */
function untypedPrefixCodec(addressBytes: 4 | 16): Codec {
  const fields: Part[] = [
    { kind: 'field', name: 'prefixlen', offset: 0, codec: integerCodec({ sizeBytes: 4 }), optional: false },
    { kind: 'field', name: 'data', offset: 4, codec: addressBytes === 4 ? ipv4Codec : ipv6Codec, optional: false },
  ];
  return prefixCodec(addressBytes, recordCodec(4 + addressBytes, fields));
}

/** Of a map's keys. */
export function mapKeyCodec(map: MapSpec): ValueCodec {
  const addressBytes = map.keyBytes - 4;
  if (map.type === BPF_MAP_TYPE.lpm_trie && map.keyTypeId === 0 && (addressBytes === 4 || addressBytes === 16)) return wrap(untypedPrefixCodec(addressBytes), map.keyBytes);
  return valueCodec(map.btf, map.keyTypeId, map.keyBytes, HASHES.has(map.type) ? HASH_KEY : '');
}

/** Of a map's values: of one CPU for per-CPU maps, of the global variables for a data section. */
export function mapValueCodec(map: MapSpec): ValueCodec {
  return valueCodec(map.btf, map.valueTypeId, map.valueBytes);
}

/** `typeId` 0 stands for an unknown type. `sizeBytes` is the map's own size, which a type must agree with. Conventions go by `name`. */
export function valueCodec(btf: Btf | undefined, typeId: number, sizeBytes: number, name = ''): ValueCodec {
  const typed = btf === undefined || typeId === 0 ? undefined : codecOf(btf, typeId, name);
  return wrap(typed?.sizeBytes === sizeBytes ? typed : untypedCodec(sizeBytes), sizeBytes);
}

function wrap(codec: Codec, sizeBytes: number): ValueCodec {
  return {
    sizeBytes,
    expected: codec.expected,
    read: (bytes, offset = 0) => {
      if (offset + sizeBytes > bytes.length) throw new RangeError(`reading ${sizeBytes} bytes at ${offset} of ${bytes.length}`);
      return codec.read(viewOf(bytes), offset);
    },
    write: (value, path, over) => {
      if (value instanceof Uint8Array && value.length !== sizeBytes) failValue(path, `found ${value.length} bytes, expected ${sizeBytes}`);
      if (value instanceof Uint8Array) return value.slice();
      const bytes = new Uint8Array(sizeBytes);
      if (over !== undefined) bytes.set(over.subarray(0, sizeBytes));
      codec.write(viewOf(bytes), 0, value, path);
      return bytes;
    },
  };
}
