/**
 * An object file come alive in a machine: its maps made, its programs linked to them as they are asked for.
 *
 * Maps pinned by name (LIBBPF_PIN_BY_NAME) are one map for all collections that share a `PinnedMaps`. A program is
 * loaded when first wanted, and with it those that its program arrays name, so that an object may hold programs
 * that cannot be loaded as long as nobody uses them.
 */
import { XdplabError } from '../errors.ts';
import { checkProgram } from '../bpf/check.ts';
import { kernelOnlyType, whyNoType } from '../bpf/section-name.ts';
import type { CollectionSpec, MapSpec, ProgramSpec, ProgramType } from '../bpf/spec.ts';
import { HELPER_NAMES, helpersOf, kfuncOf } from '../helpers/index.ts';
import { HOOKS } from '../hooks/index.ts';
import type { Machine } from '../machine/machine.ts';
import { createMap, type BpfMap } from '../maps/bpf-map.ts';
import { mapsOf } from '../maps/map-registry.ts';
import type { Program, VerifiedProgram } from './program.ts';

export type PinnedMaps = Map<string, BpfMap>;

export interface CollectionOptions {
  /** The object's name, for messages. */
  readonly name: string;
  readonly pinned: PinnedMaps;
  /** Verifies a linked program, or throws. */
  readonly admit: (program: Program) => VerifiedProgram;
  /** Hands it to the engine. */
  readonly load: (program: VerifiedProgram) => void;
}

/** What has to agree for two declarations to be one map: libbpf's map_is_reuse_compat. */
const PINNED_FACTS = ['type', 'keyBytes', 'valueBytes', 'maxEntries', 'flags'] as const satisfies readonly (keyof MapSpec)[];

/** Whether two declarations can be one map. */
export function isDeclaredAlike(one: MapSpec, other: MapSpec): boolean {
  return PINNED_FACTS.every((fact) => one[fact] === other[fact]);
}

const RUNNABLE_TYPES: readonly ProgramType[] = [...new Set(HOOKS.flatMap((hook) => hook.programTypes))];

export class Collection {
  readonly name: string;
  readonly spec: CollectionSpec;
  readonly maps: ReadonlyMap<string, BpfMap>;
  readonly #machine: Machine;
  readonly #options: CollectionOptions;
  readonly #programs = new Map<string, VerifiedProgram>();

  constructor(machine: Machine, spec: CollectionSpec, options: CollectionOptions) {
    this.name = options.name;
    this.spec = spec;
    this.#machine = machine;
    this.#options = options;
    const maps = new Map<string, BpfMap>();
    for (const map of spec.maps.values()) maps.set(map.name, this.#map(map));
    this.maps = maps;
    for (const map of maps.values()) {
      if (map.type.holds !== 'maps') continue;
      for (const [slot, inner] of map.spec.slots ?? []) map.setMap(slot, this.#namedMap(inner, map.name));
    }
  }

  /** Links, verifies and loads the program; `name` may be left out when the object has only one. */
  program(name?: string): VerifiedProgram {
    const spec = this.programSpec(name);
    const found = this.#programs.get(spec.name);
    if (found) return found;
    const type = this.#type(spec);
    const helpers = helpersOf(type);
    const isKfunc = (wanted: string): boolean => kfuncOf(wanted, type) !== undefined;
    checkProgram(spec, { isHelper: (id) => helpers.has(id), isKfunc, packetLoads: type !== 'xdp', helperName: (id) => HELPER_NAMES[id] });
    const program = this.#options.admit({ id: this.#machine.allocateProgramId(), spec, type, maps: this.#mapsOf(spec), btf: this.spec.btf });
    // Registered before its successors, which may name it in turn.
    this.#programs.set(spec.name, program);
    mapsOf(this.#machine).addProgram(program);
    this.#options.load(program);
    for (const map of program.maps.values()) this.#fillProgramSlots(map);
    return program;
  }

  /** Those that were asked for so far. */
  get loaded(): readonly VerifiedProgram[] {
    return [...this.#programs.values()];
  }

  /** Name of the program loaded under that id, if it is one of these. */
  programName(id: number): string | undefined {
    return [...this.#programs.values()].find((program) => program.id === id)?.spec.name;
  }

  programSpec(name?: string): ProgramSpec {
    const { programs } = this.spec;
    if (name !== undefined) {
      const spec = programs.get(name) ?? [...programs.values()].find(({ section }) => section === name);
      if (spec) return spec;
      throw new XdplabError('ERR_USAGE', `${this.name}: found no program '${name}', expected one of ${[...programs.keys()].join(', ')}`);
    }
    const [only] = programs.values();
    if (only === undefined) throw new XdplabError('ERR_OBJECT', `${this.name}: found no programs, expected at least one`);
    if (programs.size > 1) {
      throw new XdplabError('ERR_USAGE', `${this.name}: has ${programs.size} programs; say which one: ${this.name}:${[...programs.keys()].join(` or ${this.name}:`)}`);
    }
    return only;
  }

  #type(spec: ProgramSpec): ProgramType {
    if (spec.type) return spec.type;
    const other = kernelOnlyType(spec.section) !== undefined;
    throw new XdplabError(other ? 'ERR_UNSUPPORTED' : 'ERR_OBJECT', `${this.name}: program '${spec.name}': ${whyNoType(spec.section)}${other ? `; expected one of ${RUNNABLE_TYPES.join(', ')}` : ' or in the lab file'}`);
  }

  #map(spec: MapSpec): BpfMap {
    if (spec.pinning === 'none') return createMap(this.#machine, spec);
    const { pinned } = this.#options;
    const shared = pinned.get(spec.name);
    if (shared === undefined) {
      const created = createMap(this.#machine, spec);
      pinned.set(spec.name, created);
      return created;
    }
    for (const fact of PINNED_FACTS) {
      if (shared.spec[fact] === spec[fact]) continue;
      throw new XdplabError(
        'ERR_MAP',
        `${this.name}: pinned map '${spec.name}' has ${fact} ${spec[fact]}, but another object declares it with ${shared.spec[fact]}; objects that share a map must declare it alike`,
      );
    }
    return shared;
  }

  #mapsOf(spec: ProgramSpec): Map<string, BpfMap> {
    const used = new Map<string, BpfMap>();
    for (const instruction of spec.instructions) {
      if (instruction.kind !== 'load_imm64') continue;
      const { value } = instruction;
      if (value.kind === 'map' || value.kind === 'map_value') used.set(value.map, this.#namedMap(value.map, spec.name));
    }
    return used;
  }

  #namedMap(name: string, user: string): BpfMap {
    const map = this.maps.get(name);
    if (map) return map;
    throw new XdplabError('ERR_OBJECT', `${this.name}: ${user} names the map '${name}', which the object does not declare`);
  }

  #fillProgramSlots(map: BpfMap): void {
    if (map.type.holds !== 'programs') return;
    for (const [slot, name] of map.spec.slots ?? []) map.setProgram(slot, this.program(name));
  }
}
