/**
 * An object file as a CollectionSpec: what `clang -target bpf` wrote, read the way libbpf reads it.
 *
 * A pure function: the same bytes give the same Spec, and bytes that are not an object give one XdplabError with one
 * line. Nothing is created and nothing is run.
 */
import { XdplabError } from '../errors.ts';
import type { Btf } from './btf.ts';
import { bundledBtf } from './bundled-btf.ts';
import { indexFunctions, readFunctions, resolveReferences, type CodeFunction, type ReferenceScope } from './code-function.ts';
import { CoreRelocator } from './core-relocate.ts';
import { dataKind, dataSectionMap } from './data-section.ts';
import { exceptionCallbacks } from './declaration-tags.ts';
import { readExterns } from './extern.ts';
import { readLegacyMaps, tailCallPlace } from './legacy-map.ts';
import { linkProgram } from './link-program.ts';
import { readMapDeclarations } from './map-declaration.ts';
import { BPF_MAP_TYPE } from './map-type.ts';
import { failObject, openObject, recordsWithin, type ObjectFile } from './object-file.ts';
import { kernelOnlyType, sectionMeaning } from './section-name.ts';
import type { CollectionSpec, MapSpec, ProgramSpec, ProgramType } from './spec.ts';

export interface LoadOptions {
  /** The file's name, with or without folders: begins the errors, and names the maps of data sections. `object` unless said. */
  readonly name?: string;
  /** The type of programs whose section does not say. */
  readonly type?: ProgramType;
  /** What CO-RE relocations and kernel symbols are resolved against: a function is called only if there are any. Default: bundledBtf. */
  readonly kernelBtf?: Btf | (() => Btf);
  /** Kernel configuration for `__kconfig` variables, as in .config: `{ CONFIG_HZ: '1000' }`. */
  readonly kernelConfig?: Readonly<Record<string, string>>;
}

/** Programs share subprograms, so a small file could ask for any amount; real ones stay far below. */
const MAX_LINKED = 1 << 23;

const SLOT_BYTES = 8;

interface Maps {
  readonly specs: Map<string, MapSpec>;
  /** Names of iproute2's program arrays, by their id. */
  readonly programArrays: ReadonlyMap<number, string>;
  readonly mapAt: ReferenceScope['mapAt'];
  readonly dataMap: ReferenceScope['dataMap'];
}

function readMaps(file: ObjectFile): Maps {
  const specs = new Map<string, MapSpec>();
  const add = (spec: MapSpec): void => {
    if (specs.has(spec.name)) failObject(file, `two maps are named ${spec.name}`);
    specs.set(spec.name, spec);
  };
  const declared = new Map<string, string>();
  const programArrays = new Map<number, string>();
  for (const { spec, section, offset, programArrayId } of [...readMapDeclarations(file), ...readLegacyMaps(file)]) {
    add(spec);
    declared.set(`${section}:${offset}`, spec.name);
    if (programArrayId !== undefined) programArrays.set(programArrayId, spec.name);
  }
  const data = new Map<number, string>();
  for (const section of file.elf.sections) {
    const kind = dataKind(section);
    if (kind === undefined) continue;
    const spec = dataSectionMap(file, section, kind);
    // Two long section names may be cut to the same: the second keeps its full name.
    const named = specs.has(spec.name) ? { ...spec, name: section.name } : spec;
    add(named);
    data.set(section.index, named.name);
  }
  return { specs, programArrays, mapAt: (section, offset) => declared.get(`${section}:${offset}`), dataMap: (section) => data.get(section) };
}

/** Fits the functions to the kernel they are to run on. */
function relocateFunctions(file: ObjectFile, functions: readonly CodeFunction[], kernelBtf: () => Btf): void {
  const { btf, btfExt } = file;
  if (btf === undefined || btfExt === undefined || btfExt.core.size === 0) return;
  let relocator: CoreRelocator | undefined;
  for (const code of functions) {
    for (const record of recordsWithin(btfExt.core.get(code.section.name), code.startBytes, code.endBytes)) {
      relocator ??= new CoreRelocator(btf, kernelBtf());
      const slot = (record.offset - code.startBytes) / SLOT_BYTES;
      const reason = relocator.relocate(code.instructions, slot, record, `${file.where}: ${code.name}`);
      if (reason !== undefined) code.unresolved.push({ slot, reason });
    }
    code.unresolved.sort((a, b) => a.slot - b.slot);
  }
}

/** Functions in `.text` are there to be called, unless there is nothing else. */
function isEntry(code: CodeFunction, count: number): boolean {
  return code.linkage !== 'static' && (code.section.name !== '.text' || count === 1);
}

function toProgram(file: ObjectFile, entry: CodeFunction, exceptionCallback: CodeFunction | undefined, options: LoadOptions): ProgramSpec {
  const meaning = sectionMeaning(entry.section.name);
  const { unresolved, ...code } = linkProgram(entry, exceptionCallback);
  return {
    name: entry.name,
    section: entry.section.name,
    type: meaning.type ?? (kernelOnlyType(entry.section.name) === undefined ? options.type : undefined),
    frags: meaning.frags,
    ...(meaning.attach === undefined ? {} : { attach: meaning.attach }),
    ...(meaning.autoload ? {} : { autoload: false }),
    ...code,
    ...(unresolved.length === 0 ? {} : { unresolved }),
    license: file.license,
  };
}

/** As iproute2 does for programs in sections `id/slot`. */
function fillProgramArrays(maps: Maps, programs: Iterable<ProgramSpec>): void {
  const slots = new Map<string, Map<number, string>>();
  for (const program of programs) {
    const place = tailCallPlace(program.section);
    const map = place && maps.programArrays.get(place.id);
    if (place === undefined || map === undefined) continue;
    if (!slots.has(map)) slots.set(map, new Map());
    slots.get(map)!.set(place.slot, program.name);
  }
  for (const [name, filled] of slots) maps.specs.set(name, { ...maps.specs.get(name)!, slots: filled });
}

function checkSlots(file: ObjectFile, maps: ReadonlyMap<string, MapSpec>, programs: ReadonlyMap<string, ProgramSpec>): void {
  for (const map of maps.values()) {
    const isPrograms = map.type === BPF_MAP_TYPE.prog_array;
    for (const [slot, target] of map.slots ?? []) {
      if (!(isPrograms ? programs : maps).has(target)) failObject(file, `map ${map.name}: slot ${slot} is initialised with ${target}, which is not a ${isPrograms ? 'program' : 'map'}`);
      if (slot >= map.maxEntries) failObject(file, `map ${map.name}: slot ${slot} is initialised, but there are ${map.maxEntries}`);
    }
  }
}

export function loadObject(bytes: Uint8Array, options: LoadOptions = {}): CollectionSpec {
  if (!(bytes instanceof Uint8Array)) throw new XdplabError('ERR_USAGE', `loadObject: found ${bytes === null ? 'null' : typeof bytes}, expected the bytes of an object file, as readFile gives them`);
  const file = openObject(bytes, options.name ?? 'object');
  const maps = readMaps(file);
  const externs = readExterns(file, options.kernelConfig);
  if (externs.kconfig) maps.specs.set(externs.kconfig.name, externs.kconfig);

  const functions = readFunctions(file);
  const functionAt = indexFunctions(functions);
  const kernelBtf = (): Btf => {
    const { kernelBtf: given = bundledBtf } = options;
    return typeof given === 'function' ? given() : given;
  };
  const scope: ReferenceScope = {
    mapAt: maps.mapAt,
    dataMap: maps.dataMap,
    externs: externs.bySymbol,
    kernelId: (name, kind) => kernelBtf().idsByName(name, kind)[0],
  };
  for (const code of functions) resolveReferences(file, code, functionAt, scope);
  relocateFunctions(file, functions, kernelBtf);

  const programs = new Map<string, ProgramSpec>();
  const byName = new Map(functions.map((code) => [code.name, code]));
  let linked = 0;
  for (const code of functions) {
    if (!isEntry(code, functions.length)) continue;
    if (programs.has(code.name)) failObject(file, `two programs are named ${code.name}`);
    const named = exceptionCallbacks(file.btf, code.typeId);
    const program = toProgram(file, code, named.length === 1 ? byName.get(named[0]!) : undefined, options);
    linked += program.instructions.length + program.lines.length;
    if (linked > MAX_LINKED) failObject(file, `more than ${MAX_LINKED} instructions and lines once subprograms are put into programs`);
    programs.set(code.name, program);
  }
  fillProgramArrays(maps, programs.values());
  checkSlots(file, maps.specs, programs);
  return { programs, maps: maps.specs, btf: file.btf, license: file.license };
}
