/**
 * Global variables: each `.data*`, `.rodata*` and `.bss*` section is an array map of one value, named as libbpf names it.
 */
import { SHF, SHT, type ElfSection } from './elf.ts';
import { BPF_MAP_TYPE } from './map-type.ts';
import { failObject, type ObjectFile } from './object-file.ts';
import type { MapSpec } from './spec.ts';

/** uapi/linux/bpf.h. */
const BPF_F_RDONLY_PROG = 1 << 7;
const BPF_F_MMAPABLE = 1 << 10;
/** BPF_OBJ_NAME_LEN − 1. */
const MAX_NAME = 15;
/** What libbpf keeps free for the section's name at least. */
const SECTION_NAME_ROOM = 7;
const KEY_BYTES = 4;

/**
 * The object's name, cut so that the section's fits, then the section's: `xdp_lb.rodata`, `xdp_fire.rodata`. Sections
 * with a suffix (`.data.counters`) stand alone.
 */
export function internalMapName(prefix: string, section: string): string {
  const sectionRoom = Math.min(MAX_NAME, Math.max(SECTION_NAME_ROOM, section.length));
  const shown = section.includes('.', 1) ? '' : prefix.slice(0, MAX_NAME - sectionRoom);
  return `${shown}${section.slice(0, sectionRoom)}`.replaceAll(/[^A-Za-z0-9_.]/g, '_');
}

export type DataKind = 'data' | 'rodata' | 'bss';

export function dataKind(section: ElfSection): DataKind | undefined {
  if ((section.flags & SHF.ALLOC) === 0 || section.sizeBytes === 0) return undefined;
  const kind = /^\.(data|rodata|bss)(\.|$)/.exec(section.name)?.[1] as DataKind | undefined;
  return (kind === 'bss') === (section.type === SHT.NOBITS) ? kind : undefined;
}

/** The map of a section with such a kind. */
export function dataSectionMap(file: ObjectFile, section: ElfSection, kind: DataKind): MapSpec {
  if (section.sizeBytes > 0x7fffffff) failObject(file, `section ${section.name} has ${section.sizeBytes} bytes, more than a map can hold`);
  const { btf } = file;
  const [datasecId = 0] = btf?.idsByName(section.name, 'datasec') ?? [];
  const datasec = datasecId === 0 ? undefined : btf?.type(datasecId);
  const hasGlobals = datasec?.kind === 'datasec' && datasec.variables.some((place) => {
    const variable = btf?.type(place.type);
    return variable?.kind === 'var' && variable.linkage !== 'static';
  });
  return {
    name: internalMapName(file.prefix, section.name),
    section: section.name,
    type: BPF_MAP_TYPE.array,
    keyBytes: KEY_BYTES,
    valueBytes: section.sizeBytes,
    maxEntries: 1,
    flags: (kind === 'rodata' ? BPF_F_RDONLY_PROG : 0) | (hasGlobals ? BPF_F_MMAPABLE : 0),
    pinning: 'none',
    keyTypeId: 0,
    valueTypeId: datasecId,
    ...(kind === 'bss' ? {} : { contents: section.bytes.slice() }),
    frozen: kind === 'rodata',
    ...(btf ? { btf } : {}),
  };
}
