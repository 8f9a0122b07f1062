/**
 * A lab: a machine, its devices, the objects loaded into it and the programs attached to hooks. Built by these
 * calls or from a lab file. The first packet fixes the devices; objects and programs may come and go between packets.
 *
 *   const lab = new Lab();
 *   const eth0 = lab.addDevice({ name: 'eth0' });
 *   const object = lab.load(loadObject(bytes, { name: 'firewall.bpf.o' }), 'firewall.bpf.o');
 *   lab.attach(object.program(), { hook: 'xdp', device: eth0 });
 *   lab.map('deny').set('192.0.2.0/24', 1);
 *   lab.run(packet).fate; // 'dropped'
 */
import { XdplabError } from '../errors.ts';
import { applySettings, type LoaderSettings } from '../bpf/loader-settings.ts';
import type { CollectionSpec, MapSpec } from '../bpf/spec.ts';
import { ENGINES } from '../engine/index.ts';
import type { Engine, EngineFactory, EngineName } from '../engine/engine.ts';
import { hookByName, HOOKS, verdictName } from '../hooks/index.ts';
import { HOOK_NAMES, type HookName } from '../hooks/hook.ts';
import { Machine, MOST_CPUS, type MachineOptions } from '../machine/machine.ts';
import type { Neighbour, NetworkDevice, Route } from '../machine/network.ts';
import type { BpfMap } from '../maps/bpf-map.ts';
import { DESCRIPTOR, PacketBatch } from '../packet/packet-batch.ts';
import { Collection, isDeclaredAlike, type PinnedMaps } from '../program/collection.ts';
import { unverified, type Program, type VerifiedProgram } from '../program/program.ts';
import { TypedMap } from '../program/typed-map.ts';
import { createCheckingInterpreter, type CheckingInterpreter } from '../soundness/checking-interpreter.ts';
import { admit } from '../verifier/admit.ts';
import { ProofMemory, type Proofs } from '../verifier/proofs.ts';
import { RECORD, type Sender } from './layout.ts';
import { DROP_REASONS, FATES, type DropReason, type Fate } from './outcome.ts';
import { differences, whyOneCpu } from './cpus/differences.ts';
import { Pipeline, type Attachment, type WantedAttachment } from './pipeline.ts';
import { readStatistics, type Statistics } from './statistics.ts';

export interface LabOptions extends MachineOptions, LoaderSettings {
  /** `wasm` unless said; or what makes one. */
  readonly engine?: EngineName | EngineFactory;
  /** Run in the interpreter, and compare every instruction with what the verifier found: soundness/. */
  readonly check?: boolean;
  /** Maps of these names are one map for all objects, as if they were pinned by name. */
  readonly share?: readonly string[];
  /** `false` runs programs that nobody has proven: what they do wrong stops a packet, not the lab. Linux, on the engine `kernel`, verifies them all the same. `by-linux`: it does before they run, which they do there and not here. */
  readonly verify?: boolean | 'by-linux';
  /** What was proven before; what this process has proven unless said. */
  readonly proofs?: Proofs;
}

/** What a device is made of; everything but the name has a default. */
export type DeviceOptions = Pick<NetworkDevice, 'name'> & Partial<Omit<NetworkDevice, 'name'>>;

export interface AttachOptions {
  readonly hook: HookName;
  /** The first device unless said. */
  readonly device?: NetworkDevice;
  /** `tcx` or `clsact` at TC: by the program's section unless said. */
  readonly mode?: string;
}

/** How one packet is run. */
export interface RunOptions {
  /** The first one unless said. */
  readonly device?: NetworkDevice;
  /** Who sends it, whatever address it carries; unless said, what has the device's own is the host's. */
  readonly sender?: Sender;
  /** The machine's clock unless said. */
  readonly timestampNs?: bigint;
}

/** What happened to one packet. */
export interface PacketResult {
  readonly verdicts: readonly { readonly hook: HookName; readonly device: string; readonly program: string; readonly verdict: string; readonly code: number; readonly faulted: boolean }[];
  readonly fate: Fate;
  /** Why it was dropped or not run. */
  readonly reason?: DropReason;
  /** The device it left through. */
  readonly out?: string;
  /** The packet as it left. */
  readonly bytes: Uint8Array;
}

export interface LoadOptions {
  /** As of the lab, for this object alone. */
  readonly verify?: boolean;
}

export interface Replacement {
  readonly collection: Collection;
  /** Maps with what was in them. */
  readonly kept: readonly BpfMap[];
  /** Maps that the old version has not, or declares otherwise. */
  readonly fresh: readonly BpfMap[];
}

const FIRST_IFINDEX = 2;
const DEFAULT_MTU = 1500;
const ALL_UNKNOWN = new Uint8Array(6);
const ONE_PACKET_BYTES = 1 << 18;
/** Said wherever results are read. */
export const NOT_VERIFIED = 'Programs were not verified, as you wished; xdplab verify says whether Linux would load them.';
const provenHere = new ProofMemory();

export class Lab {
  readonly machine: Machine;
  readonly engine: Engine;
  /** Whether programs are proven before they run, by us or by Linux, unless their own load says otherwise. */
  readonly verifies: boolean;
  readonly #devices: NetworkDevice[] = [];
  #collections: Collection[] = [];
  /** Replaced ones: their programs may still be in slots of maps. */
  readonly #retired: Collection[] = [];
  #attachments: WantedAttachment[] = [];
  readonly #pinned: PinnedMaps = new Map();
  readonly #share: ReadonlySet<string>;
  readonly #settings: LoaderSettings;
  readonly #byLinux: boolean;
  readonly #proofs: Proofs;
  /** The engine, where runs are checked. */
  readonly #checking: CheckingInterpreter | undefined;
  #pipeline: Pipeline | undefined;
  #single: { readonly batch: PacketBatch; readonly window: number } | undefined;

  constructor(options: LabOptions = {}) {
    const { cpus = 1, check = false, engine = check ? 'interpreter' : 'wasm' } = options;
    if (!Number.isInteger(cpus) || cpus < 1 || cpus > MOST_CPUS) throw new XdplabError('ERR_LAB', `cpus: found ${cpus}, expected a whole number from 1 to ${MOST_CPUS}`);
    if (typeof engine === 'string') expectOneOf('engine', engine, Object.keys(ENGINES));
    if (check && (options.verify ?? true) !== true) throw new XdplabError('ERR_LAB', `verify: ${options.verify} was given, but only what is verified can be checked; leave it out`);
    if (check && engine !== 'interpreter') throw new XdplabError('ERR_LAB', `engine: found '${String(engine)}', but what is to be checked runs in the interpreter; leave the engine out`);
    this.machine = new Machine({ ...options, parallel: cpus > 1 && engine === 'wasm' && (options.parallel ?? true) });
    this.#checking = check ? createCheckingInterpreter(this.machine) : undefined;
    this.engine = this.#checking ?? (typeof engine === 'string' ? ENGINES[engine] : engine)(this.machine);
    this.#share = new Set(options.share);
    this.#settings = options;
    this.#byLinux = this.engine.verifies === true || options.verify === 'by-linux';
    this.verifies = this.#byLinux || options.verify !== false;
    this.#proofs = options.proofs ?? provenHere;
  }

  /** Whether all programs are ones that Linux would load. */
  get verified(): boolean {
    return this.verifies && this.#attachments.every(({ program }) => program.proof !== 'none');
  }

  /** What whoever reads the results has to know, each in a line. */
  get remarks(): readonly string[] {
    return [...(this.engine.remarks ?? []), ...this.#cpuRemarks, ...(this.verified ? [] : [NOT_VERIFIED])];
  }

  get #cpuRemarks(): readonly string[] {
    const { machine: { cpus, parallel }, engine } = this;
    if (cpus === 1) return [];
    const why = whyOneCpu(engine);
    if (why !== undefined || !parallel) return [`CPU 0 ran all packets, and the others are there for the layout of per-CPU maps: ${why ?? 'so it was asked'}.`];
    return differences(engine.parallel!, [...new Set(this.#attachments.map(({ device }) => device))], cpus);
  }

  get devices(): readonly NetworkDevice[] {
    return this.#devices;
  }

  get collections(): readonly Collection[] {
    return this.#collections;
  }

  /** Every map of every object, shared ones once. */
  get maps(): readonly BpfMap[] {
    return [...new Set(this.#collections.flatMap(({ maps }) => [...maps.values()]))];
  }

  /** Every program that may run: those of objects that were replaced may still be in slots of maps. */
  get programs(): readonly VerifiedProgram[] {
    return [...this.#collections, ...this.#retired].flatMap(({ loaded }) => loaded);
  }

  addDevice(options: DeviceOptions): NetworkDevice {
    this.#changing('a device');
    const device: NetworkDevice = {
      ifindex: Math.max(FIRST_IFINDEX, ...this.#devices.map(({ ifindex }) => ifindex + 1)),
      mac: ALL_UNKNOWN,
      mtuBytes: DEFAULT_MTU,
      up: true,
      forwarding: true,
      addresses: [],
      ...options,
    };
    const twin = this.#devices.find(({ name, ifindex }) => name === device.name || ifindex === device.ifindex);
    if (twin) throw new XdplabError('ERR_LAB', `device '${device.name}': name or ifindex ${device.ifindex} is taken by '${twin.name}'; each device needs its own`);
    this.#devices.push(device);
    this.machine.network.addDevice(device);
    return device;
  }

  device(name: string): NetworkDevice {
    const found = this.#devices.find((device) => device.name === name);
    if (found) return found;
    throw new XdplabError('ERR_LAB', `device '${name}': not in the lab, expected one of ${this.#devices.map((device) => device.name).join(', ')}`);
  }

  addRoute(route: Route): void {
    this.machine.network.addRoute(route);
  }

  addNeighbour(neighbour: Neighbour): void {
    this.machine.network.addNeighbour(neighbour);
  }

  /** Makes an object's maps. Its programs are compiled when they are attached. */
  load(spec: CollectionSpec, name: string, options: LoadOptions = {}): Collection {
    const collection = this.#collection(spec, name, options);
    this.#collections.push(collection);
    return collection;
  }

  /**
   * Another version of an object takes its place between two packets. Maps that both declare alike are one, with what is
   * in them; global variables begin anew. Each attached program is replaced by the one of its name, in slots of program
   * arrays too. Where this throws, the old one stays.
   */
  replace(old: Collection, spec: CollectionSpec, name: string, options: LoadOptions = {}): Replacement {
    const collection = this.#collection(spec, name, options, old);
    const successorOf = (program: VerifiedProgram): VerifiedProgram => (ownsProgram(old, program) ? collection.program(program.spec.name) : program);
    const attachments = this.#attachments.map((attachment) => ({ ...attachment, program: successorOf(attachment.program) }));
    attachments.forEach((attachment) => this.#checkAttachable(attachment.program, attachment));
    this.#pipeline?.attach(attachments);
    this.#attachments = attachments;
    this.#collections = this.#collections.map((one) => (one === old ? collection : one));
    this.#retired.push(old);
    for (const map of collection.maps.values()) if (this.#isShared(map.spec)) this.#pinned.set(map.name, map);
    for (const map of this.maps.filter(({ type }) => type.holds === 'programs')) {
      for (const [key, value] of map.entries()) {
        const before = old.programName(new DataView(value.buffer, value.byteOffset).getUint32(0, true));
        if (before !== undefined && spec.programs.has(before)) map.setProgram(key, collection.program(before));
      }
    }
    const declared = [...collection.maps.values()].filter((map) => map.spec.section === undefined);
    const isKept = (map: BpfMap): boolean => old.maps.get(map.name) === map;
    return { collection, kept: declared.filter(isKept), fresh: declared.filter((map) => !isKept(map)) };
  }

  /** Takes an object's maps away. None of its programs may be attached. */
  unload(collection: Collection): void {
    const user = this.#attachments.find(({ program }) => ownsProgram(collection, program));
    if (user) throw new XdplabError('ERR_LAB', `${collection.name}: its program '${user.program.spec.name}' is attached to ${user.hook} of ${user.device.name}; detach it first`);
    this.#collections = this.#collections.filter((one) => one !== collection);
    this.#retired.push(collection);
  }

  /** Puts the program behind those that are at the hook already. */
  attach(program: VerifiedProgram, options: AttachOptions): void {
    expectOneOf('hook', options.hook, HOOK_NAMES);
    const device = options.device ?? this.#devices[0] ?? this.addDevice({ name: 'eth0' });
    const mode = this.#checkAttachable(program, { ...options, device });
    this.#change([...this.#attachments, { device, hook: options.hook, mode, program }]);
  }

  /** `attachment` is one of `pipeline.attached`. */
  detach(attachment: Attachment): void {
    const { device, hook, mode, program } = attachment;
    const position = this.#attachments.findIndex((one) => one.device === device && one.hook === hook && one.mode === mode && one.program === program);
    if (position < 0) throw new XdplabError('ERR_LAB', `program '${program.spec.name}': is not attached to ${hook} of ${device.name}`);
    this.#change(this.#attachments.toSpliced(position, 1));
  }

  #change(attachments: WantedAttachment[]): void {
    this.#pipeline?.attach(attachments);
    this.#attachments = attachments;
  }

  /** Throws ERR_LAB where the program cannot be at the hook; answers the mode it is attached in. */
  #checkAttachable(program: Program, options: AttachOptions & { readonly device: NetworkDevice }): string {
    const hook = hookByName(options.hook);
    const { device } = options;
    if (!hook.programTypes.includes(program.type)) {
      throw new XdplabError('ERR_LAB', `program '${program.spec.name}': is of type ${program.type}, but ${hook.name} of ${device.name} runs ${hook.programTypes.join(' and ')}; attach it to ${HOOKS.filter(({ programTypes }) => programTypes.includes(program.type)).map(({ name }) => name).join(' or ') || 'no hook here'}`);
    }
    const { attach = '' } = program.spec;
    if (attach === 'xdp_devmap' || attach === 'xdp_cpumap') {
      throw new XdplabError('ERR_LAB', `program '${program.spec.name}': its section '${program.spec.section}' makes it a program for slots of a ${attach.slice(4)}; put it into one with bpf_prog, or change its section to xdp`);
    }
    // A section such as tc/ingress is attached as libbpf attaches it: by tcx.
    const mode = options.mode ?? Object.keys(hook.modes).find((name) => attach.startsWith(`${name}_`)) ?? hook.defaultMode;
    const modes = Object.keys(hook.modes).filter((name) => !hook.modes[name]!.inSlots);
    if (!modes.includes(mode)) throw new XdplabError('ERR_LAB', `program '${program.spec.name}': mode '${mode}' at ${hook.name}, expected ${modes.join(' or ')}`);
    return mode;
  }

  #isShared({ name, pinning }: MapSpec): boolean {
    return pinning === 'by_name' || this.#share.has(name);
  }

  /** `old`: an object whose maps are taken over where both declare them alike. */
  #collection(spec: CollectionSpec, name: string, { verify = true }: LoadOptions, old?: Collection): Collection {
    const configured = applySettings(spec, this.#settings, `${name}: `);
    const pinned = old === undefined ? this.#pinned : new Map([...this.#pinned, ...[...configured.maps.values()].flatMap((map) => reusable(old, map))]);
    const maps = new Map([...configured.maps].map(([key, map]) => [key, this.#isShared(map) || (old !== undefined && pinned.has(map.name)) ? ({ ...map, pinning: 'by_name' } as const) : map]));
    const declared = { ...configured, maps };
    return new Collection(this.machine, declared, { name, pinned, admit: (program) => this.#admit(program, declared, verify), load: (program) => this.engine.load(program) });
  }

  /** The map of that name, as JavaScript values. Of an object's data sections: `.bss` or `object.bss`; of one of several objects: `object.bpf.o:map`. */
  map(name: string): TypedMap {
    const found = this.maps.filter((map) => map.name === name || map.spec.section === name || this.#fullName(map) === name);
    const [map, other] = found;
    if (map === undefined) {
      throw new XdplabError('ERR_LAB', `map '${name}': no object declares it, expected one of ${this.maps.map((known) => this.mapName(known)).join(', ') || '(none)'}`);
    }
    if (other) throw new XdplabError('ERR_LAB', `map '${name}': ${found.length} objects have one of their own; share it (share: [${name}]) or say which: ${found.map((each) => this.#fullName(each)).join(' or ')}`);
    return this.typed(map);
  }

  /** What to call a map so that no other is meant: `map`, or `object.bpf.o:map`. */
  mapName(map: BpfMap): string {
    return this.maps.some((other) => other !== map && other.name === map.name) ? this.#fullName(map) : map.name;
  }

  typed(map: BpfMap): TypedMap {
    return new TypedMap(map, {
      map: (inner) => this.map(inner).map,
      program: (wanted) => this.#programNamed(wanted, map).id,
      programName: (id) => this.#programById(id)?.spec.name,
      device: (wanted) => this.device(wanted).ifindex,
      deviceName: (ifindex) => this.#devices.find((device) => device.ifindex === ifindex)?.name,
    });
  }

  /** What carries packets; made when first asked for, and then devices are fixed. */
  get pipeline(): Pipeline {
    if (this.#pipeline === undefined) {
      if (this.#devices.length === 0) this.addDevice({ name: 'eth0' });
      this.#pipeline = new Pipeline(this.machine, this.engine, this.#devices, this.#attachments, (id) => this.#programById(id));
    }
    return this.#pipeline;
  }

  /** Runs one packet, as if it came in at `device` (the first unless said). */
  run(packet: Uint8Array, options: RunOptions = {}): PacketResult {
    const { pipeline, machine } = this;
    this.#single ??= { batch: new PacketBatch(machine.memory, 1), window: machine.memory.allocate(ONE_PACKET_BYTES, 64, 'packet') };
    const { batch, window } = this.#single;
    if (packet.length > ONE_PACKET_BYTES) throw new XdplabError('ERR_VALUE', `packet: found ${packet.length} bytes, expected at most ${ONE_PACKET_BYTES}`);
    machine.memory.u8.set(packet, window);
    pipeline.setInterface(0, options.device ?? this.#devices[0], options.sender);
    const { view } = machine.memory;
    const at = batch.descriptor(0);
    view.setUint32(at + DESCRIPTOR.address, window, true);
    view.setUint32(at + DESCRIPTOR.captured, packet.length, true);
    view.setUint32(at + DESCRIPTOR.wire, packet.length, true);
    view.setUint32(at + DESCRIPTOR.interface, 0, true);
    view.setBigUint64(at + DESCRIPTOR.timestampNs, options.timestampNs ?? machine.nowNs, true);
    view.setBigUint64(at + DESCRIPTOR.number, view.getBigUint64(at + DESCRIPTOR.number, true) + 1n, true);
    batch.count = 1;
    let result: PacketResult | undefined;
    pipeline.run(batch, { finished: (_batch, _first, _count, records, recordCount) => (result = this.#result(at, records, recordCount)) });
    return result!;
  }

  statistics(): Statistics {
    return readStatistics(this.pipeline);
  }

  /** Gives back what the engine took of the operating system, which the end of the process does too. Nothing can run afterwards. */
  close(): void {
    this.#pipeline?.close();
    this.engine.close?.();
  }

  #admit(program: Program, { maps, btf }: CollectionSpec, verify: boolean): VerifiedProgram {
    if (this.#byLinux) return { ...program, proof: 'by-linux' };
    if (!verify || !this.verifies) return unverified(program);
    if (this.#checking !== undefined) return this.#checking.admit(program, btf);
    return admit(program, { maps, btf, cpus: this.machine.cpus }, this.#proofs);
  }

  #result(at: number, records: DataView, recordCount: number): PacketResult {
    const { memory } = this.machine;
    const verdicts = Array.from({ length: recordCount }, (_, index) => {
      const record = index * RECORD.size;
      const { hook, mode, device, program } = this.pipeline.attachments[records.getUint16(record + RECORD.attachment, true)]!;
      const code = records.getInt32(record + RECORD.verdict, true);
      const faulted = records.getUint8(record + RECORD.fault) !== 0;
      return { hook, device: device.name, program: program.spec.name, verdict: verdictName(hookByName(hook), mode, code), code, faulted };
    });
    const reason = memory.view.getUint16(at + DESCRIPTOR.reason, true);
    const out = memory.view.getUint32(at + DESCRIPTOR.leftIfindex, true);
    const name = this.#devices.find(({ ifindex }) => ifindex === out)?.name;
    return {
      verdicts,
      fate: FATES[memory.view.getUint16(at + DESCRIPTOR.outcome, true)]!,
      ...(reason === 0 ? {} : { reason: DROP_REASONS[reason]!.name }),
      ...(name === undefined ? {} : { out: name }),
      bytes: memory.bytes(memory.view.getUint32(at + DESCRIPTOR.leftAddress, true), memory.view.getUint32(at + DESCRIPTOR.leftLength, true)).slice(),
    };
  }

  #fullName(map: BpfMap): string {
    const owner = this.#collections.find(({ maps }) => [...maps.values()].includes(map));
    return `${owner?.name ?? ''}:${map.name}`;
  }

  #programById(id: number): VerifiedProgram | undefined {
    return this.programs.find((program) => program.id === id);
  }

  /** Of several programs of a name, the one of an object that has the map. */
  #programNamed(name: string, map: BpfMap): VerifiedProgram {
    const owners = this.#collections.filter(({ spec }) => spec.programs.has(name));
    const owner = owners.find(({ maps }) => [...maps.values()].includes(map)) ?? owners[0];
    if (owner) return owner.program(name);
    throw new XdplabError('ERR_LAB', `program '${name}': no object has it, expected one of ${this.#collections.flatMap(({ spec }) => [...spec.programs.keys()]).join(', ')}`);
  }

  #changing(what: string): void {
    if (this.#pipeline) throw new XdplabError('ERR_LAB', `${what} cannot be added once packets have run; build the lab with it`);
  }
}

function ownsProgram(collection: Collection, program: Program): boolean {
  return collection.programName(program.id) !== undefined;
}

/** The map that `declared` may go on with. */
function reusable(old: Collection, declared: MapSpec): [string, BpfMap][] {
  const map = old.maps.get(declared.name);
  return map !== undefined && declared.section === undefined && isDeclaredAlike(map.spec, declared) ? [[declared.name, map]] : [];
}

/** Not everybody who calls this has a compiler that knows the names. */
function expectOneOf(what: string, value: string, known: readonly string[]): void {
  if (!known.includes(value)) throw new XdplabError('ERR_LAB', `${what}: found '${value}', expected one of ${known.join(', ')}`);
}
