/**
 * Maps declared in a section `.maps` by BTF, as libbpf's bpf_helpers.h spells them:
 *
 *   struct {
 *     __uint(type, BPF_MAP_TYPE_HASH);      int (*type)[BPF_MAP_TYPE_HASH]     a number is the length of an array
 *     __type(key, struct flow);             typeof(struct flow) *key
 *     __ulong(map_extra, 5);                enum { __unique_value0 = 5 } map_extra
 *     __array(values, struct inner);        typeof(struct inner) *values[]
 *   } flows SEC(".maps");
 *
 * The variable's bytes mean nothing, but relocations in it fill the slots of `values`.
 */
import type { Btf } from './btf.ts';
import type { BtfComposite, BtfMember } from './btf-type.ts';
import { BPF_MAP_TYPE, isMapOfMaps } from './map-type.ts';
import { addendAt, failObject, isCode, recordsWithin, sectionNamed, sectionOf, type ObjectFile } from './object-file.ts';
import type { MapSpec } from './spec.ts';

/** enum libbpf_pin_type. */
const PIN_NONE = 0;
const PIN_BY_NAME = 1;
/** File descriptors and program ids, and the pointers that initialise them. */
const REFERENCE_BYTES = 4;
const POINTER_BYTES = 8;

/** A map and where in the file it stands: relocations name the place, not the map. */
export interface MapDeclaration {
  readonly spec: MapSpec;
  readonly section: number;
  readonly offset: number;
  /** Of iproute2's maps: programs in a section `id/slot` go into that slot of this program array. */
  readonly programArrayId?: number;
}

interface Draft {
  type: number;
  keyBytes: number;
  valueBytes: number;
  maxEntries: number;
  flags: number;
  pinning: 'none' | 'by_name';
  numaNode?: number;
  mapExtra?: bigint;
  inner?: MapSpec;
  keyTypeId: number;
  valueTypeId: number;
  /** Where the pointers of `values` begin in the variable. */
  valuesAt?: number;
}

interface Reader {
  readonly file: ObjectFile;
  readonly btf: Btf;
  readonly map: string;
  readonly isInner: boolean;
}

function failMember(reader: Reader, member: BtfMember, problem: string): never {
  return failObject(reader.file, `map ${reader.map}: member ${member.name} ${problem}`);
}

/** __uint: a pointer to an array of that length. */
function readNumber(reader: Reader, member: BtfMember): number {
  const { type } = reader.btf.resolve(member.type);
  const pointee = type.kind === 'ptr' ? reader.btf.resolve(type.type).type : type;
  if (type.kind !== 'ptr' || pointee.kind !== 'array') return failMember(reader, member, `is a ${pointee.kind}, expected __uint(${member.name}, …)`);
  return pointee.length;
}

/** __ulong: an enum of one value. */
function readLong(reader: Reader, member: BtfMember): bigint {
  const { type } = reader.btf.resolve(member.type);
  if (type.kind === 'enum' || type.kind === 'enum64') return type.values[0]?.value ?? failMember(reader, member, 'is an enum without a value');
  return BigInt(readNumber(reader, member));
}

/** __type: a pointer to the type. */
function readPointee(reader: Reader, member: BtfMember): number {
  const { type } = reader.btf.resolve(member.type);
  return type.kind === 'ptr' ? type.type : failMember(reader, member, `is a ${type.kind}, expected __type(${member.name}, …)`);
}

function setSize(reader: Reader, member: BtfMember, draft: Draft, field: 'keyBytes' | 'valueBytes', sizeBytes: number): void {
  if (draft[field] !== 0 && draft[field] !== sizeBytes) failMember(reader, member, `says ${sizeBytes} bytes, but ${draft[field]} were said before`);
  draft[field] = sizeBytes;
}

function readValues(reader: Reader, member: BtfMember, draft: Draft): void {
  const array = reader.btf.resolve(member.type).type;
  const pointer = array.kind === 'array' ? reader.btf.resolve(array.type).type : array;
  if (reader.isInner) failMember(reader, member, 'is not possible in an inner map');
  if (array.kind !== 'array' || pointer.kind !== 'ptr') return failMember(reader, member, 'is not an array of pointers, expected __array(values, …)');
  const element = reader.btf.resolve(pointer.type).type;
  draft.valuesAt = member.offsetBits / 8;
  setSize(reader, member, draft, 'valueBytes', REFERENCE_BYTES);
  if (draft.type === BPF_MAP_TYPE.prog_array) {
    if (element.kind !== 'func_proto') failMember(reader, member, `has elements of kind ${element.kind}, expected functions`);
    return;
  }
  if (!isMapOfMaps(draft.type)) failMember(reader, member, `is for maps of maps and of programs, not for type ${draft.type}; give the type first`);
  if (element.kind !== 'struct') return failMember(reader, member, `has elements of kind ${element.kind}, expected a map's struct`);
  const inner: Reader = { ...reader, map: `${reader.map}.inner`, isInner: true };
  draft.inner = toSpec(inner, readDefinition(inner, element));
}

/** What each member of a declaration says. */
const MEMBERS: Readonly<Record<string, (reader: Reader, member: BtfMember, draft: Draft) => void>> = {
  type: (reader, member, draft) => void (draft.type = readNumber(reader, member)),
  max_entries: (reader, member, draft) => void (draft.maxEntries = readNumber(reader, member)),
  map_flags: (reader, member, draft) => void (draft.flags = readNumber(reader, member)),
  numa_node: (reader, member, draft) => void (draft.numaNode = readNumber(reader, member)),
  key_size: (reader, member, draft) => setSize(reader, member, draft, 'keyBytes', readNumber(reader, member)),
  value_size: (reader, member, draft) => setSize(reader, member, draft, 'valueBytes', readNumber(reader, member)),
  key: (reader, member, draft) => {
    draft.keyTypeId = readPointee(reader, member);
    setSize(reader, member, draft, 'keyBytes', reader.btf.sizeBytes(draft.keyTypeId));
  },
  value: (reader, member, draft) => {
    draft.valueTypeId = readPointee(reader, member);
    setSize(reader, member, draft, 'valueBytes', reader.btf.sizeBytes(draft.valueTypeId));
  },
  map_extra: (reader, member, draft) => void (draft.mapExtra = BigInt.asUintN(64, readLong(reader, member))),
  pinning: (reader, member, draft) => {
    const pinning = readNumber(reader, member);
    if (reader.isInner) failMember(reader, member, 'is not possible in an inner map');
    if (pinning !== PIN_NONE && pinning !== PIN_BY_NAME) failMember(reader, member, `is ${pinning}, expected LIBBPF_PIN_NONE (0) or LIBBPF_PIN_BY_NAME (1)`);
    draft.pinning = pinning === PIN_BY_NAME ? 'by_name' : 'none';
  },
  values: readValues,
};

function readDefinition(reader: Reader, definition: BtfComposite): Draft {
  const draft: Draft = { type: 0, keyBytes: 0, valueBytes: 0, maxEntries: 0, flags: 0, pinning: 'none', keyTypeId: 0, valueTypeId: 0 };
  const seen = new Set<string>();
  for (const member of definition.members) {
    if (seen.has(member.name)) failMember(reader, member, 'is there twice');
    seen.add(member.name);
    if (!Object.hasOwn(MEMBERS, member.name)) failMember(reader, member, `is unknown; expected ${Object.keys(MEMBERS).join(', ')}`);
    MEMBERS[member.name]!(reader, member, draft);
  }
  if (draft.type === 0) failObject(reader.file, `map ${reader.map}: no type; expected __uint(type, BPF_MAP_TYPE_…)`);
  return draft;
}

function toSpec(reader: Reader, draft: Draft, slots?: ReadonlyMap<number, string>): MapSpec {
  const { valuesAt: _, ...attributes } = draft;
  return { name: reader.map, ...attributes, frozen: false, btf: reader.btf, ...(slots && slots.size > 0 ? { slots } : {}) };
}

/** The slots that relocations in a map's variable fill: a map's or a function's name by index. */
function readSlots(file: ObjectFile, draft: Draft, at: { readonly section: number; readonly offset: number; readonly sizeBytes: number }, nameOfMap: (offset: number) => string | undefined): Map<number, string> {
  const slots = new Map<number, string>();
  const section = file.elf.sections[at.section]!;
  for (const relocation of recordsWithin(file.elf.relocations.get(at.section), at.offset, at.offset + at.sizeBytes)) {
    const { symbol } = relocation;
    const slot = (relocation.offset - at.offset - (draft.valuesAt ?? Number.NaN)) / POINTER_BYTES;
    if (!Number.isInteger(slot) || slot < 0) failObject(file, `section ${section.name}: the relocation at ${relocation.offset} (${symbol.name}) is not a slot of values`);
    const target = sectionOf(file.elf, symbol);
    const name = target?.index === at.section ? nameOfMap(symbol.value + addendAt(section, relocation)) : target && isCode(target) ? symbol.name : undefined;
    if (name === undefined) failObject(file, `section ${section.name}: slot ${slot} is initialised with ${symbol.name}, which is neither a map nor a function`);
    slots.set(slot, name);
  }
  return slots;
}

/** The maps of section `.maps`. */
export function readMapDeclarations(file: ObjectFile): MapDeclaration[] {
  const section = sectionNamed(file.elf, '.maps');
  if (section === undefined) return [];
  const { btf } = file;
  if (btf === undefined) return failObject(file, 'section .maps needs BTF to be understood; compile with -g');
  const [datasecId] = btf.idsByName('.maps', 'datasec');
  const datasec = datasecId === undefined ? undefined : btf.type(datasecId);
  if (datasec?.kind !== 'datasec') return failObject(file, 'section .maps is not described by the BTF; compile with -g');
  const places = datasec.variables.map((place) => {
    const variable = btf.type(place.type);
    if (variable.kind !== 'var') return failObject(file, `section .maps has a ${variable.kind}, expected variables`);
    if (place.offset + place.sizeBytes > section.sizeBytes) failObject(file, `map ${variable.name} ends at ${place.offset + place.sizeBytes}, but section .maps has ${section.sizeBytes} bytes`);
    return { ...place, section: section.index, name: variable.name, definitionId: variable.type };
  });
  places.sort((a, b) => a.offset - b.offset);
  places.forEach((place, index) => {
    const before = places[index - 1];
    if (before !== undefined && before.offset + before.sizeBytes > place.offset) failObject(file, `maps ${before.name} and ${place.name} overlap in section .maps`);
  });
  const names = new Map(places.map((place) => [place.offset, place.name]));
  return places.map((place) => {
    const reader: Reader = { file, btf, map: place.name, isInner: false };
    const definition = btf.resolve(place.definitionId).type;
    if (definition.kind !== 'struct') return failObject(file, `map ${place.name} is declared as a ${definition.kind}, expected a struct of __uint and __type`);
    const draft = readDefinition(reader, definition);
    const slots = readSlots(file, draft, place, (offset) => names.get(offset));
    return { spec: toSpec(reader, draft, slots), section: section.index, offset: place.offset };
  });
}
