/** Builds a lab from what a user names: a lab file, object files for hooks, files with map contents. */
import { readFileSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { XdplabError } from '../errors.ts';
import type { Btf } from '../bpf/btf.ts';
import { constantNames } from '../bpf/loader-settings.ts';
import { defaultKernelBtf, readBtfFile } from '../bpf/kernel-btf.ts';
import { loadObject } from '../bpf/object.ts';
import type { CollectionSpec, ProgramType } from '../bpf/spec.ts';
import type { EngineFactory, EngineName } from '../engine/engine.ts';
import type { HookName } from '../hooks/hook.ts';
import type { CompilerTier } from '../machine/machine.ts';
import type { NetworkDevice } from '../machine/network.ts';
import type { Collection } from '../program/collection.ts';
import type { Cache } from '../system/cache-folder.ts';
import type { Proofs } from '../verifier/proofs.ts';
import { Lab, type DeviceOptions } from './lab.ts';
import { parseLabFile, splitProgram, type Highlight, type LabDescription, type ProgramChoice } from './lab-file.ts';
import { parseYaml } from './yaml.ts';

export interface LabSources {
  /** A lab file. */
  readonly file?: string;
  /** Programs for hooks of the first device, behind those of the lab file: `object[:program]`. */
  readonly programs?: readonly { readonly hook: HookName; readonly program: string }[];
  /** Files with contents for a map, YAML or JSON, written after the lab file's. */
  readonly contents?: readonly { readonly map: string; readonly file: string }[];
  readonly engine?: EngineName | EngineFactory;
  /** The only program that is attached; maps are filled all the same. */
  readonly only?: string;
  /** Object files that are taken instead of others, by the others' names without folder. */
  readonly replace?: ReadonlyMap<string, string>;
  /** Sizes by map name, over those of the lab file. */
  readonly maxEntries?: Readonly<Record<string, number>>;
  readonly check?: boolean;
  /** Type of programs whose section does not say it. */
  readonly type?: ProgramType;
  /** A BTF file that CO-RE relocations are resolved against; the running kernel's, else a bundled one, unless said. */
  readonly btf?: string;
  readonly seed?: number;
  readonly cpus?: number;
  /** `false`: the first CPU runs all packets. */
  readonly parallel?: boolean;
  /** Devices where the lab file has none; one called eth0 unless said. */
  readonly devices?: readonly DeviceOptions[];
  /** How files are read, by the paths that the lab file and these sources name; from the disk unless said. */
  readonly read?: (path: string) => Promise<Uint8Array>;
  readonly tier?: CompilerTier;
  /** As of a Lab. */
  readonly verify?: boolean | 'by-linux';
  /** What was proven before. */
  readonly proofs?: Proofs;
  /** What was compiled before. */
  readonly modules?: Cache;
}

export interface OpenedLab {
  readonly lab: Lab;
  /** Maps that the lab file wants shown. */
  readonly highlights: readonly Highlight[];
  /** The struct that a map's records are, by map name. */
  readonly events: LabDescription['events'];
  /** What maps were filled with, in order, as it stands in the files. */
  readonly contents: readonly (readonly [map: string, contents: unknown])[];
  /** By absolute path. */
  readonly objects: ReadonlyMap<string, Collection>;
}

const NOTHING: LabDescription = { share: [], constants: {}, maxEntries: {}, show: [], events: new Map(), devices: [], routes: [], neighbours: [], maps: new Map() };

export async function openLab(sources: LabSources): Promise<OpenedLab> {
  const { file, read = readBytes } = sources;
  const description = file === undefined ? NOTHING : parseLabFile(textOf(await read(file), file), file);
  const cpus = sources.cpus ?? description.cpus;
  const seed = sources.seed ?? description.seed;
  const lab = new Lab({
    ...(cpus === undefined ? {} : { cpus }),
    ...(seed === undefined ? {} : { seed }),
    ...(sources.tier === undefined ? {} : { tier: sources.tier }),
    ...(sources.parallel === undefined ? {} : { parallel: sources.parallel }),
    ...(sources.engine === undefined ? {} : { engine: sources.engine }),
    ...(sources.verify === undefined ? {} : { verify: sources.verify }),
    ...(sources.proofs === undefined ? {} : { proofs: sources.proofs }),
    ...(sources.modules === undefined ? {} : { modules: sources.modules }),
    ...(sources.check === undefined ? {} : { check: sources.check }),
    share: description.share,
    constants: description.constants,
    maxEntries: { ...description.maxEntries, ...sources.maxEntries },
  });
  const objects = new Objects(lab, sources);
  const folder = file === undefined ? '.' : dirname(file);

  for (const { programs: _programs, peer, ...device } of description.devices) {
    lab.addDevice({ ...device, ...(peer === undefined ? {} : { peer: peerIfindex(description, peer, `${file}: device '${device.name}'`) }) });
  }
  if (lab.devices.length === 0) for (const device of sources.devices ?? [{ name: 'eth0' }]) lab.addDevice(device);
  for (const { name, programs } of description.devices) {
    for (const choice of programs) await objects.attach({ ...choice, object: resolve(folder, choice.object) }, lab.device(name));
  }
  for (const { hook, program } of sources.programs ?? []) await objects.attach({ hook, ...splitProgram(program) }, lab.devices[0]!);
  checkSettings(lab, description, file ?? '');

  for (const { device, ...route } of description.routes) lab.addRoute({ ...route, ifindex: device === undefined ? 0 : lab.device(device).ifindex });
  for (const { device, ...neighbour } of description.neighbours) lab.addNeighbour({ ...neighbour, ifindex: lab.device(device).ifindex });
  const contents: (readonly [string, unknown])[] = [];
  const fill = (map: string, values: unknown, place: string): void => {
    lab.map(map).fill(values, place);
    contents.push([map, values]);
  };
  for (const [name, values] of description.maps) fill(name, values, `${file}: maps.${name}`);
  for (const { map, file: from } of sources.contents ?? []) fill(map, parseYaml(textOf(await read(from), from), from, 'ERR_VALUE'), from);
  return { lab, highlights: description.show, events: description.events, contents, objects: objects.loaded };
}

/** The paths of the objects that these sources name, as `OpenedLab.objects` calls them. */
export function objectPaths({ file, programs = [] }: LabSources, description?: LabDescription): readonly string[] {
  const folder = file === undefined ? '.' : dirname(file);
  const named = (description?.devices ?? []).flatMap((device) => device.programs.map(({ object }) => resolve(folder, object)));
  return [...new Set([...named, ...programs.map(({ program }) => resolve(splitProgram(program).object))])];
}

/** Settings say what every object has of a name; some object must have it. */
function checkSettings(lab: Lab, { constants, maxEntries }: LabDescription, file: string): void {
  const known = {
    constants: lab.maps.flatMap(({ spec }) => constantNames(spec)),
    max_entries: lab.maps.filter(({ spec }) => spec.section === undefined).map(({ name }) => name),
  };
  for (const [setting, names] of [['constants', Object.keys(constants)], ['max_entries', Object.keys(maxEntries)]] as const) {
    const stranger = names.find((name) => !known[setting].includes(name));
    if (stranger !== undefined) throw new XdplabError('ERR_LAB', `${file}: ${setting}.${stranger}: no object has it, expected one of ${known[setting].join(', ') || '(none)'}`);
  }
}

/** A pair names each other before both are there, so the ifindex has to be in the file. */
function peerIfindex({ devices }: LabDescription, peer: string, at: string): number {
  const ifindex = devices.find(({ name }) => name === peer)?.ifindex;
  if (ifindex === undefined) throw new XdplabError('ERR_LAB', `${at}: its peer '${peer}' has no ifindex in the file; give it one`);
  return ifindex;
}

/** Object files by path: two programs of one file share its maps. */
class Objects {
  readonly #lab: Lab;
  readonly #type: ProgramType | undefined;
  readonly #btf: string | undefined;
  readonly #read: (path: string) => Promise<Uint8Array>;
  readonly #only: string | undefined;
  readonly #replace: ReadonlyMap<string, string>;
  readonly loaded = new Map<string, Collection>();

  constructor(lab: Lab, { type, btf, read = readBytes, only, replace = new Map() }: LabSources) {
    this.#lab = lab;
    this.#only = only;
    this.#replace = replace;
    this.#type = type;
    this.#btf = btf;
    this.#read = read;
  }

  async attach(choice: ProgramChoice, device: NetworkDevice): Promise<void> {
    const { hook, object, program, mode } = choice;
    const collection = await this.#load(object, choice.type ?? this.#type);
    if (this.#only !== undefined && collection.programSpec(program).name !== this.#only) return;
    this.#lab.attach(collection.program(program), { hook, device, ...(mode === undefined ? {} : { mode }) });
  }

  async #load(file: string, type: ProgramType | undefined): Promise<Collection> {
    const name = basename(file);
    const taken = this.#replace.get(name) ?? file;
    const path = resolve(taken);
    const found = this.loaded.get(path);
    if (found) return found;
    const spec = parseObject(await this.#read(taken), name, { ...(type === undefined ? {} : { type }), ...(this.#btf === undefined ? {} : { btf: this.#btf }) });
    const collection = this.#lab.load(spec, name);
    this.loaded.set(path, collection);
    return collection;
  }
}

export interface ObjectOptions {
  readonly type?: ProgramType;
  /** The file that CO-RE relocations are resolved against. */
  readonly btf?: string;
}

/** The Spec of an object file. */
export async function readObject(file: string, options: ObjectOptions = {}): Promise<CollectionSpec> {
  return parseObject(await readBytes(file), basename(file), options);
}

export function parseObject(bytes: Uint8Array, name: string, { type, btf }: ObjectOptions = {}): CollectionSpec {
  const kernelBtf = btf === undefined ? defaultKernelBtf : (): Btf => readBtfFile(btf);
  return loadObject(bytes, { name, kernelBtf, ...(type === undefined ? {} : { type }) });
}

/** People write no longer files, and JavaScript holds no text that is much longer. */
const LONGEST_TEXT_BYTES = 256 << 20;

function textOf(bytes: Uint8Array, file: string): string {
  if (bytes.length > LONGEST_TEXT_BYTES) throw new XdplabError('ERR_FILE', `${file}: found ${bytes.length} bytes, expected at most ${LONGEST_TEXT_BYTES} of YAML or JSON`);
  return new TextDecoder().decode(bytes);
}

/** The bytes of a file, or one line that says why not. */
export async function readBytes(file: string): Promise<Uint8Array> {
  try {
    return readFileSync(file);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    const known: Readonly<Record<string, string>> = { ENOENT: 'there is no such file', EACCES: 'it may not be read', EISDIR: 'it is a folder' };
    throw new XdplabError('ERR_FILE', `${file}: ${known[code] ?? code}; give the path of a readable file`);
  }
}
