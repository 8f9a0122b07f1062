/**
 * CO-RE: fits a program to the kernel it is to run on (Linux Documentation/bpf/llvm_reloc.rst and libbpf's relo_core.c).
 *
 * A record names an instruction, a type of the program and a path in it; the value that the compiler wrote there is
 * replaced by the kernel's. What the kernel does not have becomes a call of helper 0xbad2310, as with libbpf: programs
 * ask first and jump over it, and the verifier sees that they do.
 */
import { XdplabError } from '../errors.ts';
import type { Btf } from './btf.ts';
import { essentialName } from './btf.ts';
import type { CoreRecord } from './btf-ext.ts';
import { btfName, type BtfEnum, type BtfType } from './btf-type.ts';
import { candidates, CoreMatcher } from './core-match.ts';
import { matchAccess, parseAccess, type Access } from './core-access.ts';
import type { AccessBytes, Instruction } from './isa.ts';
import { poison } from './poison.ts';

/** enum bpf_core_relo_kind, by number. */
const KINDS = [
  'field_byte_offset', 'field_byte_size', 'field_exists', 'field_signed', 'field_lshift_u64', 'field_rshift_u64',
  'type_id_local', 'type_id_target', 'type_exists', 'type_size', 'enumval_exists', 'enumval_value', 'type_matches',
] as const;
type Kind = (typeof KINDS)[number];
type FieldKind = Extract<Kind, `field_${string}`>;

/** What a relocation makes of one side: the value, and for offsets what is there, to fit the width of loads. */
interface Value {
  readonly value: bigint;
  /** The value that the compiler wrote may differ, as it does for bitfields and type ids. */
  readonly unchecked?: boolean;
  readonly field?: { readonly sizeBytes: number; readonly type: BtfType };
}

interface Result {
  readonly local: Value;
  /** Undefined: poison. */
  readonly target: Value | undefined;
}

/** Applies the records of one function to its instructions. */
export class CoreRelocator {
  readonly #local: Btf;
  readonly #target: Btf;
  readonly #matcher: CoreMatcher;
  /** Programs ask the same thing many times. */
  readonly #results = new Map<string, Result>();
  readonly #enumerators = new WeakMap<BtfType, ReadonlyMap<string, bigint>>();

  constructor(local: Btf, target: Btf) {
    this.#local = local;
    this.#target = target;
    this.#matcher = new CoreMatcher(local, target);
  }

  /** `where` begins errors: file and function. Returns why the instruction was poisoned, else undefined. */
  relocate(instructions: Instruction[], slot: number, record: CoreRecord, where: string): string | undefined {
    const at = `${where}: instruction ${slot}`;
    const kind = KINDS[record.kind] ?? fail(at, `CO-RE relocation of unknown kind ${record.kind}`);
    const name = this.#local.describe(record.typeId);
    const question = `${kind} ${record.typeId} ${record.access}`;
    const result = this.#results.get(question) ?? this.#resolve(kind, record, at);
    this.#results.set(question, result);
    const problem = result.target === undefined ? `${this.#target.where} has no ${subject(kind, name, record, this.#local)}` : patch(instructions, slot, result.local, result.target, at);
    if (problem === undefined) return undefined;
    poison(instructions, slot);
    return problem;
  }

  #resolve(kind: Kind, record: CoreRecord, at: string): Result {
    if (kind === 'type_id_local') return { local: { value: 0n, unchecked: true }, target: { value: BigInt(record.typeId) } };
    const local = this.#parse(kind, record, at);
    if (btfName(this.#local.type(record.typeId)) === '') fail(at, `CO-RE relocation of an anonymous ${this.#local.type(record.typeId).kind}, which has no name to be found by`);
    const own = this.#evaluate(kind, local, record, at) ?? fail(at, `CO-RE relocation ${kind} of a field that has no such value`);
    let found: { readonly access: Access | undefined; readonly value: Value | undefined } | undefined;
    for (const id of candidates(this.#local, record.typeId, this.#target)) {
      const access = this.#match(kind, local, record, id);
      if (access === undefined) continue;
      const value = this.#evaluate(kind, access, record, at);
      if (found !== undefined && (found.access?.offsetBits !== access.offsetBits || found.value?.value !== value?.value)) {
        fail(at, `${this.#local.describe(record.typeId)} is in ${this.#target.where} more than once, with different answers; use a flavour of the right one`);
      }
      found ??= { access, value };
    }
    return { local: own, target: found === undefined ? missing(kind) : found.value };
  }

  #parse(kind: Kind, record: CoreRecord, at: string): Access {
    if (kind.startsWith('field_')) return parseAccess(this.#local, record.typeId, record.access) ?? fail(at, `CO-RE access ${record.access} is not in ${this.#local.describe(record.typeId)}`);
    return { btf: this.#local, rootId: record.typeId, steps: [], offsetBits: 0 };
  }

  #match(kind: Kind, local: Access, record: CoreRecord, id: number): Access | undefined {
    const root: Access = { btf: this.#target, rootId: id, steps: [], offsetBits: 0 };
    if (kind.startsWith('field_')) return matchAccess(local, this.#target, id, this.#matcher);
    if (kind.startsWith('enumval_')) return this.#enumerator(root, record) === undefined ? undefined : root;
    return (kind === 'type_matches' ? this.#matcher.typesMatch(record.typeId, id) : this.#matcher.typesCompatible(record.typeId, id)) ? root : undefined;
  }

  /** The value of the enumerator that the record names, in the program's enum or the kernel's. */
  #enumerator(access: Access, record: CoreRecord): bigint | undefined {
    const own = this.#local.resolve(record.typeId).type;
    const type = access.btf.resolve(access.rootId).type;
    if ((own.kind !== 'enum' && own.kind !== 'enum64') || (type.kind !== 'enum' && type.kind !== 'enum64')) return undefined;
    const name = own.values[Number(record.access)]?.name;
    return name === undefined ? undefined : this.#valuesOf(type).get(essentialName(name));
  }

  /** By essential name; the first of a name counts. */
  #valuesOf(type: BtfEnum): ReadonlyMap<string, bigint> {
    let values = this.#enumerators.get(type);
    if (values === undefined) this.#enumerators.set(type, (values = new Map(type.values.toReversed().map((one) => [essentialName(one.name), one.value] as const))));
    return values;
  }

  #evaluate(kind: Kind, access: Access, record: CoreRecord, at: string): Value | undefined {
    switch (kind) {
      case 'type_id_local':
      case 'type_id_target':
        return { value: BigInt(access.rootId), unchecked: true };
      case 'type_exists':
      case 'type_matches':
        return { value: 1n };
      case 'type_size':
        return { value: BigInt(access.btf.sizeBytes(access.rootId)) };
      case 'enumval_exists':
        return this.#enumerator(access, record) === undefined ? undefined : { value: 1n };
      case 'enumval_value': {
        const value = this.#enumerator(access, record);
        return value === undefined ? undefined : { value };
      }
      default:
        return kind === 'field_exists' ? { value: 1n } : evaluateField(kind, access, at);
    }
  }
}

function fail(at: string, problem: string): never {
  throw new XdplabError('ERR_CORE', `${at}: ${problem}`);
}

/** What a question has as its answer when nothing matches; undefined where only poison will do. */
function missing(kind: Kind): Value | undefined {
  return kind.startsWith('type_') || kind.endsWith('_exists') ? { value: 0n } : undefined;
}

function subject(kind: Kind, name: string, record: CoreRecord, btf: Btf): string {
  if (kind.startsWith('enumval_')) {
    const type = btf.resolve(record.typeId).type;
    return `${'values' in type ? (type.values[Number(record.access)]?.name ?? 'value') : 'value'} in ${name}`;
  }
  const path = parseAccess(btf, record.typeId, record.access)?.steps.slice(1).map((step) => (step.member ? `.${step.member.name}` : `[${step.index}]`)).join('') ?? '';
  return `${name}${path}`;
}

function innermost(btf: Btf, id: number): { readonly type: BtfType; readonly sizeBytes: number } {
  let current = btf.resolve(id);
  for (let depth = 0; current.type.kind === 'array' && depth < 32; depth++) current = btf.resolve(current.type.type);
  return { type: current.type, sizeBytes: btf.sizeBytes(current.id) };
}

function evaluateField(kind: Exclude<FieldKind, 'field_exists'>, access: Access, at: string): Value {
  const { btf, offsetBits } = access;
  const step = access.steps.at(-1)!;
  if (step.member === undefined) {
    if (kind === 'field_byte_offset') return { value: BigInt(Math.floor(offsetBits / 8)), field: innermost(btf, step.typeId) };
    return kind === 'field_byte_size' ? { value: BigInt(btf.sizeBytes(step.typeId)) } : fail(at, `CO-RE relocation ${kind} of an array's element`);
  }
  const { id, type } = btf.resolve(step.member.type);
  const place = placeOf(access, btf.sizeBytes(id), at);
  const { byteOffset, sizeBytes, bits, isBitfield } = place;
  switch (kind) {
    case 'field_byte_offset':
      return isBitfield ? { value: BigInt(byteOffset), unchecked: true } : { value: BigInt(byteOffset), field: innermost(btf, id) };
    case 'field_byte_size':
      return { value: BigInt(sizeBytes), unchecked: isBitfield };
    case 'field_signed':
      return { value: 'signed' in type && type.signed ? 1n : 0n };
    case 'field_lshift_u64':
      return { value: BigInt(64 - (offsetBits + bits - byteOffset * 8)), unchecked: isBitfield };
    case 'field_rshift_u64':
      return { value: BigInt(64 - bits) };
  }
}

/** Where a field is loaded from: a bitfield with the smallest aligned integer that holds it. */
function placeOf(access: Access, typeBytes: number, at: string): { byteOffset: number; sizeBytes: number; bits: number; isBitfield: boolean } {
  const bits = bitfieldBits(access);
  if (bits === 0) return { byteOffset: Math.floor(access.offsetBits / 8), sizeBytes: typeBytes, bits: typeBytes * 8, isBitfield: false };
  let sizeBytes = Math.max(1, typeBytes);
  const offsetFor = (size: number): number => Math.floor(access.offsetBits / 8 / size) * size;
  while (access.offsetBits + bits - offsetFor(sizeBytes) * 8 > sizeBytes * 8) {
    if (sizeBytes >= 8) fail(at, `a bitfield of ${bits} bits at bit ${access.offsetBits} does not fit an aligned load`);
    sizeBytes *= 2;
  }
  return { byteOffset: offsetFor(sizeBytes), sizeBytes, bits, isBitfield: true };
}

function bitfieldBits(access: Access): number {
  const { member } = access.steps.at(-1)!;
  if (member === undefined) return 0;
  if (member.bitfieldBits !== 0) return member.bitfieldBits;
  const type = access.btf.resolve(member.type).type;
  return type.kind === 'int' && type.bits !== type.sizeBytes * 8 ? type.bits : 0;
}

/** Puts the kernel's value in. Returns why it cannot be. */
function patch(instructions: Instruction[], slot: number, local: Value, target: Value, at: string): string | undefined {
  const instruction = instructions[slot];
  const check = (found: bigint): void => {
    if (!local.unchecked && !target.unchecked && found !== local.value) fail(at, `CO-RE expects ${local.value} here, found ${found}; the object is damaged or was changed after compiling`);
  };
  switch (instruction?.kind) {
    case 'alu': {
      if (instruction.source.kind !== 'immediate') break;
      check(BigInt.asIntN(32, BigInt(instruction.source.value)));
      instructions[slot] = { ...instruction, source: { kind: 'immediate', value: Number(BigInt.asIntN(32, target.value)) } };
      return undefined;
    }
    case 'load_imm64': {
      if (instruction.value.kind !== 'constant') break;
      check(instruction.value.value);
      instructions[slot] = { ...instruction, value: { kind: 'constant', value: BigInt.asUintN(64, target.value) } };
      return undefined;
    }
    case 'load':
    case 'store':
    case 'atomic': {
      check(BigInt(instruction.offset));
      if (target.value > 0x7fffn) fail(at, `the field is at ${target.value} in the kernel, but an instruction reaches only 32767`);
      if (!sizesAgree(local, target)) return 'the field has another size in the kernel, and is not an unsigned integer or a pointer';
      const bytes = target.field === undefined || local.field === undefined || target.field.sizeBytes === local.field.sizeBytes ? instruction.bytes : target.field.sizeBytes;
      if (local.field !== undefined && bytes !== instruction.bytes && instruction.bytes !== local.field.sizeBytes) fail(at, `accesses ${instruction.bytes} bytes of a field of ${local.field.sizeBytes}`);
      if (![1, 2, 4, 8].includes(bytes)) fail(at, `the field has ${bytes} bytes in the kernel`);
      instructions[slot] = { ...instruction, offset: Number(target.value), bytes: bytes as AccessBytes };
      return undefined;
    }
    default:
  }
  return fail(at, `CO-RE relocation of a ${instruction?.kind ?? 'missing instruction'}, expected a load, a store or an immediate`);
}

/** Loads may change their width for pointers and for unsigned integers, which fill with zeros. */
function sizesAgree(local: Value, target: Value): boolean {
  if (local.field === undefined || target.field === undefined || local.field.sizeBytes === target.field.sizeBytes) return true;
  const [ours, theirs] = [local.field.type, target.field.type];
  return (ours.kind === 'ptr' && theirs.kind === 'ptr') || (ours.kind === 'int' && theirs.kind === 'int' && !ours.signed && !theirs.signed);
}
