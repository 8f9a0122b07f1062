/**
 * Maps declared in a section `maps`, as objects did before BTF: structs of u32 that each project extended.
 *
 *   0 type  4 key_size  8 value_size  12 max_entries  16 map_flags                   20 bytes: libbpf
 *   20 inner_map_idx                                                                 24 bytes
 *   20 inner_map_idx  24 numa_node                                                   28 bytes: the kernel's samples
 *   20 id  24 pinning  28 inner_id  32 inner_idx                                     36 bytes: iproute2
 *
 * The size of an entry is told by the size of the symbols, else by their number. `maps/name` holds one map, as old Katran and gobpf wrote.
 */
import type { Btf } from './btf.ts';
import { SHN, STT, type ElfSection, type ElfSymbol } from './elf.ts';
import type { MapDeclaration } from './map-declaration.ts';
import { BPF_MAP_TYPE, isMapOfMaps } from './map-type.ts';
import { failObject, type ObjectFile } from './object-file.ts';
import type { MapSpec } from './spec.ts';

const ENTRY_BYTES = { libbpf: 20, withInner: 24, samples: 28, iproute2: 36 } as const;

/** Ids can be shared, so that a small file could name any number of inner maps. */
const MAX_NAMED = 1 << 20;

interface Entry {
  readonly name: string;
  readonly offset: number;
  readonly section: ElfSection;
  /** Index within its section. */
  readonly index: number;
  readonly words: readonly number[];
}

/** `BPF_ANNOTATE_KV_PAIR(name, key, value)` leaves a struct of that name with the two members. */
function annotatedTypes(btf: Btf | undefined, name: string): { keyTypeId: number; valueTypeId: number } {
  const none = { keyTypeId: 0, valueTypeId: 0 };
  const [id] = btf?.idsByName(`____btf_map_${name}`, 'struct') ?? [];
  const type = id === undefined ? undefined : btf?.type(id);
  if (type?.kind !== 'struct') return none;
  const memberType = (member: string): number => type.members.find((candidate) => candidate.name === member)?.type ?? 0;
  return { keyTypeId: memberType('key'), valueTypeId: memberType('value') };
}

function isMapSymbol(symbol: ElfSymbol): boolean {
  return (symbol.type === STT.OBJECT || symbol.type === STT.NOTYPE) && symbol.name !== '' && symbol.section !== SHN.UNDEF;
}

function readEntries(file: ObjectFile, section: ElfSection): Entry[] {
  const symbols = (file.elf.symbolsOf.get(section.index) ?? []).filter(isMapSymbol);
  const byOffset = new Map(symbols.map((symbol) => [symbol.value, symbol] as const));
  if (byOffset.size === 0) return [];
  // Linked objects keep definitions that another has replaced, so that the symbols leave gaps.
  const sizes: readonly number[] = Object.values(ENTRY_BYTES);
  const entryBytes = [symbols[0]!.sizeBytes, section.sizeBytes / byOffset.size].find((size) => sizes.includes(size));
  if (entryBytes === undefined) {
    return failObject(file, `section ${section.name}: ${byOffset.size} maps in ${section.sizeBytes} bytes, expected entries of ${sizes.join(', ')} bytes`);
  }
  const view = new DataView(section.bytes.buffer, section.bytes.byteOffset, section.bytes.byteLength);
  return [...byOffset.values()].toSorted((a, b) => a.value - b.value).map((symbol) => {
    if (symbol.value % entryBytes !== 0 || symbol.value + entryBytes > section.bytes.length) failObject(file, `section ${section.name}: map ${symbol.name} is at ${symbol.value}, expected a multiple of ${entryBytes}`);
    const index = symbol.value / entryBytes;
    const words = Array.from({ length: entryBytes / 4 }, (_, word) => view.getUint32(symbol.value + word * 4, true));
    return { name: symbol.name, offset: symbol.value, section, index, words };
  });
}

function toSpec(file: ObjectFile, entry: Entry): MapSpec {
  const [type = 0, keyBytes = 0, valueBytes = 0, maxEntries = 0, flags = 0] = entry.words;
  const pinned = isIproute2(entry) && entry.words[6] !== 0;
  const numaNode = entry.words.length * 4 === ENTRY_BYTES.samples ? entry.words[6] : undefined;
  return {
    name: entry.name, type, keyBytes, valueBytes, maxEntries, flags,
    pinning: pinned ? 'by_name' : 'none',
    ...(numaNode ? { numaNode } : {}),
    ...annotatedTypes(file.btf, entry.name),
    frozen: false,
    ...(file.btf ? { btf: file.btf } : {}),
  };
}

/** All entries by what an outer map may name them by. */
interface Siblings {
  /** iproute2's ids, which several may share. */
  readonly byId: ReadonlyMap<number, readonly Entry[]>;
  /** Section and index. */
  readonly byIndex: ReadonlyMap<string, Entry>;
}

/** The entries that stand for the inner maps of `outer`, where it says any: iproute2 puts each in a slot. */
function innersOf(siblings: Siblings, outer: Entry): readonly Entry[] {
  const [type, , , , , first = 0, , innerId = 0] = outer.words;
  if (type === undefined || !isMapOfMaps(type)) return [];
  if (isIproute2(outer)) return (siblings.byId.get(innerId) ?? []).filter((entry) => entry !== outer);
  const inner = outer.words.length * 4 === ENTRY_BYTES.libbpf ? undefined : siblings.byIndex.get(`${outer.section.index}:${first}`);
  return inner === undefined || inner === outer ? [] : [inner];
}

function isIproute2(entry: Entry): boolean {
  return entry.words.length * 4 === ENTRY_BYTES.iproute2;
}

const TAIL_CALL_SECTION = /^(0x[0-9a-f]+|\d+)\/(0x[0-9a-f]+|\d+)$/i;

/** Sections `7/1`: the program belongs into slot 1 of the program array whose id is 7. */
export function tailCallPlace(section: string): { readonly id: number; readonly slot: number } | undefined {
  const [, id, slot] = TAIL_CALL_SECTION.exec(section) ?? [];
  return id === undefined || slot === undefined ? undefined : { id: Number(id), slot: Number(slot) };
}

/** The maps of sections `maps` and `maps/…`. */
export function readLegacyMaps(file: ObjectFile): MapDeclaration[] {
  const sections = file.elf.sections.filter((section) => (section.name === 'maps' || section.name.startsWith('maps/')) && section.bytes.length > 0);
  const entries = sections.flatMap((section) => readEntries(file, section));
  const specs = new Map(entries.map((entry) => [entry, toSpec(file, entry)]));
  const byId = new Map<number, Entry[]>();
  for (const entry of entries.filter(isIproute2)) {
    const list = byId.get(entry.words[5]!);
    if (list === undefined) byId.set(entry.words[5]!, [entry]);
    else list.push(entry);
  }
  const siblings: Siblings = { byId, byIndex: new Map(entries.map((entry) => [`${entry.section.index}:${entry.index}`, entry] as const)) };
  let named = 0;
  return entries.map((entry) => {
    const spec = specs.get(entry)!;
    const inners = innersOf(siblings, entry);
    named += inners.length;
    if (named > MAX_NAMED) failObject(file, `more than ${MAX_NAMED} inner maps`);
    const isTailCallMap = isIproute2(entry) && spec.type === BPF_MAP_TYPE.prog_array;
    const place = { section: entry.section.index, offset: entry.offset, ...(isTailCallMap ? { programArrayId: entry.words[5]! } : {}) };
    if (inners[0] === undefined) return { ...place, spec };
    // An inner_idx that is no slot of the outer map, −1 first of all, is a template only.
    const slots = new Map(inners.filter((inner) => isIproute2(inner) && inner.words[8]! < spec.maxEntries).map((inner) => [inner.words[8]!, inner.name] as const));
    return { ...place, spec: { ...spec, inner: specs.get(inners[0])!, ...(slots.size > 0 ? { slots } : {}) } };
  });
}
