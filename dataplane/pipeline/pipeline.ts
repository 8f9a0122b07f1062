/**
 * Devices with programs attached to their hooks, and the packet loop that runs over them. Devices are fixed; between
 * two calls of `run` other programs may be attached. Programs in slots of maps are added when they first run.
 */
import type { RingImage } from '../devices/ring-reader.ts';
import type { Engine } from '../engine/engine.ts';
import type { Machine } from '../machine/machine.ts';
import type { NetworkDevice } from '../machine/network.ts';
import { XdplabError } from '../errors.ts';
import { hookByName } from '../hooks/index.ts';
import { HOOK_NAMES, OUTCOMES, type HookName, type VerdictMode } from '../hooks/hook.ts';
import { MAX_INTERFACES, type PacketBatch } from '../packet/packet-batch.ts';
import type { VerifiedProgram } from '../program/program.ts';
import { compileModule } from '../wasm/compile.ts';
import { LOOP, MAX_CHAINS, MAX_IN_SLOTS, OTHER_VERDICT_SLOT, RECORD, VERDICT_SLOTS, type Sender } from './layout.ts';
import { LoopRunner } from './loop-runner.ts';
import { LoopTables, type DeviceCounters } from './loop-tables.ts';
import { spreadOf, writeReceiveSideScaling } from './receive-side-scaling.ts';
import { CpuSet, type Received } from './cpus/cpu-set.ts';
import { whyOneCpu } from './cpus/differences.ts';
import { KEPT, type Kept, type Watched } from './loop/loop-code.ts';
import { IN_SLOT_HOOK } from './loop/in-slot.ts';
import { emitPacketLoop, type PacketLoop } from './packet-loop.ts';

export interface Attachment {
  /** Its place in `Pipeline.attachments`, which verdict records hold. Never used again for another. */
  readonly index: number;
  readonly device: NetworkDevice;
  readonly hook: HookName;
  /** One of the hook's modes. */
  readonly mode: string;
  readonly program: VerifiedProgram;
}

/** Looks at a stretch of finished packets. Descriptors, frames and records are borrowed: valid until it returns. */
export interface BatchObserver {
  /** `records`: at nothing else; `descriptors`: at what became of packets too, but not at their bytes as they left, of which only the last are there then. `packets` unless said. */
  readonly looksAt?: Watched;
  /** Where in machine memory the records of the packets that run next are to lie, and where there is room for that many bytes of them. Unless said, and where several CPUs run, they lie where the next ones overwrite them. */
  recordsAt?(lengthBytes: number): number | undefined;
  /** `records` are the verdict records of packets `first` to `first + count - 1` of the batch, in order. */
  finished(batch: PacketBatch, first: number, count: number, records: DataView, recordCount: number): void;
}

/** Several that look, one after the other. */
export function inTurn(observers: readonly BatchObserver[]): BatchObserver {
  const [first, ...others] = observers;
  if (first !== undefined && others.length === 0) return first;
  return {
    get looksAt() {
      return KEPT.findLast((kept): kept is Watched => observers.some((each) => keptFor(each) === kept))!;
    },
    recordsAt: (lengthBytes) => observers.find((each) => each.recordsAt)?.recordsAt?.(lengthBytes),
    finished: (batch, first, count, records, recordCount) => {
      const { byteOffset, byteLength } = records;
      let view = records;
      for (const each of observers) {
        each.finished(batch, first, count, view, recordCount);
        // One that takes memory at its first packets may have made it grow, and views of before are worth nothing then.
        const { buffer } = batch.memory.u8;
        if (view.buffer !== buffer) view = new DataView(buffer, byteOffset, byteLength);
      }
    },
  };
}

const ARENA_BYTES = 4 << 20;
/** Above this, each has less room. */
const MANY_CPUS = 16;
/** The mode of programs in slots, by the attach type of their section. */
const IN_SLOTS: Readonly<Record<string, string>> = { xdp_devmap: 'devmap', xdp_cpumap: 'cpumap' };
/** Room for the records of as many packets as run between two looks at them, and of a few that meet every program. */
const RECORDS_BYTES = 1 << 17;
const MOST_RECORDS_PACKETS = 4;
/** Programs that may be attached to a hook later, where fewer are at first: as libxdp's dispatcher takes, and a few more. */
const ROOM_IN_CHAIN = 16;
/** Records have 16 bits for the index. */
const MOST_ATTACHMENTS = 1 << 16;
/** Packets in a stretch while somebody watches every instruction; batches are far longer where several CPUs run them. */
const MOST_WATCHED = 256;

export class Pipeline {
  readonly machine: Machine;
  readonly #engine: Engine;
  /** Of the programs that were loaded, how many were looked at for slots. */
  #slotsAttached = 0;
  /** What was found of so many programs. */
  #oneCpu: { readonly loaded: number; readonly why: string | undefined } | undefined;
  readonly devices: readonly NetworkDevice[];
  /** Called with every copy of a packet that leaves by a device beside the packet: broadcasts and clones. The bytes are borrowed; replaced by whoever sends. */
  onCopy: ((ifindex: number, bytes: Uint8Array) => void) | undefined;
  readonly #attachments: Attachment[] = [];
  readonly #chains: (readonly Attachment[])[] = [];
  /** Of each hook of each device what runs now, empty ones left out. */
  #attached: readonly (readonly Attachment[])[] = [];
  readonly #longestChain: number;
  readonly #programById: (id: number) => VerifiedProgram | undefined;
  readonly #outcomes = new Map<VerdictMode, number>();
  /** Of each CPU that may run. */
  readonly #tables: readonly LoopTables[];
  readonly #cpus: CpuSet | undefined;
  readonly #runner: LoopRunner;
  /** Whose entry functions are in the machine's table: loops are bound to those that were there when they were made. */
  entries: 'engine' | 'watched' = 'engine';
  /** Of what is attached, by what is kept of packets; each made when it is first needed. */
  readonly #modules = new Map<Kept, WebAssembly.Module>();
  /** By whose entries they call, too. */
  readonly #loops = new Map<string, PacketLoop>();

  /** `programById` finds programs that are in slots of maps. */
  constructor(machine: Machine, engine: Engine, devices: readonly NetworkDevice[], attachments: readonly WantedAttachment[], programById: (id: number) => VerifiedProgram | undefined) {
    this.machine = machine;
    this.#engine = engine;
    this.devices = devices;
    this.#programById = programById;
    this.#longestChain = Math.max(ROOM_IN_CHAIN, longestChain(chainsOf(devices, attachments)));
    const recordBytesPerPacket = RECORD.size * (MAX_CHAINS * this.#longestChain + MAX_IN_SLOTS);
    const recordsBytes = Math.max(RECORDS_BYTES, recordBytesPerPacket * MOST_RECORDS_PACKETS);
    const cpus = machine.parallel ? machine.cpus : 1;
    const rss = writeReceiveSideScaling(machine.memory, devices, cpus);
    // Of several CPUs each has to have room for what one may leave.
    const arenaBytes = cpus > MANY_CPUS ? ARENA_BYTES / 4 : ARENA_BYTES;
    const sizes = { arenaBytes, recordsBytes: cpus === 1 ? recordsBytes : arenaBytes };
    this.#tables = Array.from({ length: cpus }, (_, cpu) => machine.onCpu(cpu, () => new LoopTables(machine, devices, { ...sizes, recordBytesPerPacket, mostHandedOver: cpus === 1 ? 0 : Math.floor(sizes.recordsBytes / recordBytesPerPacket), rss })));
    this.#cpus = cpus > 1 && engine.parallel !== undefined ? new CpuSet(machine, this.#tables, engine.parallel, devices.every((device) => spreadOf(device, cpus).queues <= cpus)) : undefined;
    this.#runner = new LoopRunner(machine, this.#tables[0]!.at, {
      copy: (ifindex, bytes) => this.#sendCopy(ifindex, bytes),
      attachInSlot: (program, device, mode) => this.#attachInSlot(program, device, mode),
      version: () => this.#attached,
      programName: (id) => this.attachments.find(({ program }) => program.id === id)?.program.spec.name,
    });
    this.attach(attachments);
    machine.network.onClone = ({ ifindex, toIngress, bytes }) => {
      if (toIngress) this.#tables[0]!.countSent(ifindex, bytes.length);
      else this.#sendCopy(ifindex, bytes);
    };
  }

  /** All that ever were, by index: first in the order they run, then those that came later and programs in slots of maps, in the order they first ran. */
  get attachments(): readonly Attachment[] {
    return this.#attachments;
  }

  /** All chains that ever were: programs that ran one after the other at a hook of a device. A program in a slot is one by itself. */
  get chains(): readonly (readonly Attachment[])[] {
    return this.#chains;
  }

  /** What runs from the next packet on, in that order. */
  get attached(): readonly Attachment[] {
    return this.#attached.flat();
  }

  /** Takes the place of all that is attached, from the next packet on. Hooks where nothing changes keep their attachments; a chain that changes is a new one, and the counters of the old one stand still. */
  attach(wanted: readonly WantedAttachment[]): void {
    const chains = chainsOf(this.devices, wanted);
    if (longestChain(chains) > this.#longestChain) throw new XdplabError('ERR_LAB', `a hook has ${longestChain(chains)} programs, expected at most ${this.#longestChain} once packets have run; build the lab with them`);
    const kept = chains.map((chain) => this.#attached.find((before) => isSameChain(before, chain)));
    const fresh = chains.filter((_, index) => kept[index] === undefined).flat();
    if (this.#attachments.length + fresh.length > MOST_ATTACHMENTS) throw new XdplabError('ERR_LAB', `attachments have changed too often: found ${this.#attachments.length} of them, expected at most ${MOST_ATTACHMENTS}; build the lab anew`);
    const made = new Map(fresh.map((one) => [one, this.#register(one)] as const));
    const outcomes = [...made.values()].map((attachment) => this.#outcomesOf(attachment));
    for (const tables of this.#tables) tables.addAttachments([...made.values()], outcomes);
    this.#attached = chains.map((chain, index) => {
      const same = kept[index];
      if (same !== undefined) return same;
      const attachments = chain.map((one) => made.get(one)!);
      this.#chains.push(attachments);
      return attachments;
    });
    this.#modules.clear();
    this.#loops.clear();
    this.#runner.lookAheadOf(this.attached.map(({ program }) => program.id));
  }

  /** Packets of capture interface `index` arrive at `device`; undefined: they cannot be run, and are counted as such. `sender`: who sends them there, whatever address they carry; unless said, those of the device's own address are the host's. */
  setInterface(index: number, device: NetworkDevice | undefined, sender?: Sender): void {
    if (index >= MAX_INTERFACES) {
      throw new XdplabError('ERR_CAPTURE', `capture interface ${index}: at most ${MAX_INTERFACES} interfaces are supported; split the capture`);
    }
    for (const tables of this.#tables) tables.setInterface(index, device, sender);
  }

  /** Compiles what packets run through, for whoever looks at them; otherwise the first that run wait for it. */
  prepare(observer?: BatchObserver): void {
    const keeps = keptFor(observer);
    if (this.#runsParallel) this.#cpus!.prepare(keeps, this.#attached);
    else this.#loop(keeps);
  }

  #loop(keeps: Kept): PacketLoop {
    const key = `${this.entries} ${keeps}`;
    let loop = this.#loops.get(key);
    if (loop === undefined) this.#loops.set(key, (loop = this.#runner.instantiate(this.#module(keeps))));
    return loop;
  }

  #module(keeps: Kept): WebAssembly.Module {
    let module = this.#modules.get(keeps);
    if (module === undefined) {
      const [tables] = this.#tables as readonly [LoopTables];
      const chains = this.#attached.map((chain) => tables.chain(chain));
      this.#modules.set(keeps, (module = compileModule(emitPacketLoop({ ...tables.at, keeps, chains, spread: false, handsOver: false }), this.machine.tier)));
    }
    return module;
  }

  /** Runs the packets of the batch from `first` on. Without an observer frames and records are re-used at once, which is faster. */
  run(batch: PacketBatch, observer?: BatchObserver, first = 0): void {
    const keeps = keptFor(observer);
    const [tables] = this.#tables as readonly [LoopTables];
    let done = first;
    while (done < batch.count) {
      // Asked for each stretch: whoever watches may have seen enough.
      if (this.#runsParallel) {
        this.#attachInSlots();
        this.#cpus!.run(batch, done, keeps, this.#attached, { observer, onCopy: this.onCopy, wantsRecords: this.machine.onRecords !== undefined });
        return;
      }
      const begun = done;
      tables.drain(observer?.recordsAt?.(tables.records.lengthBytes));
      const most = this.entries === 'watched' ? MOST_WATCHED : Infinity;
      done += this.#runner.run(this.#loop(keeps), batch.descriptor(done), Math.min(batch.count - done, most));
      if (observer) {
        const { recordsAt, recordsEnd } = tables;
        if (recordsEnd === undefined) throw this.#runner.overwritten();
        const length = recordsEnd - recordsAt;
        observer.finished(batch, begun, done - begun, new DataView(batch.memory.u8.buffer, recordsAt, length), length / RECORD.size);
      }
    }
  }

  /** Packets that CPUs receive by themselves from rings, one for each, numbered from `number` on, at most `most`. `batch` is for who looks. Undefined where one CPU runs all packets: they are to be read for it. */
  receive(rings: readonly RingImage[], batch: PacketBatch, number: number, most: number, observer?: BatchObserver): Received | undefined {
    if (!this.#runsParallel) return undefined;
    this.#attachInSlots();
    return this.#cpus!.receive(rings, batch, number, most, keptFor(observer), this.#attached, { observer, onCopy: this.onCopy, wantsRecords: this.machine.onRecords !== undefined });
  }

  /** A u64 counter of the packet loop: `LOOP.reasons` and so on, by index. */
  counter(offset: number, index = 0): number {
    return this.#tables.reduce((sum, tables) => sum + tables.counter(offset, index), 0);
  }

  /** Packets and bytes by verdict slot, and faults, of one attachment. */
  attachmentCounters({ index }: Attachment): ReturnType<LoopTables['attachmentCounters']> {
    const each = this.#tables.map((tables) => tables.attachmentCounters(index));
    const sum = (of: 'packets' | 'bytes'): number[] => each[0]![of].map((_, slot) => each.reduce((total, counters) => total + counters[of][slot]!, 0));
    return { packets: sum('packets'), bytes: sum('bytes'), faults: each.reduce((total, { faults }) => total + faults, 0) };
  }

  /** Packets that the attachment of that index gave a verdict in that slot, modulo 2^32: for those who ask for each batch whether there were any. */
  verdicts(index: number, slot: number): number {
    let verdicts = 0;
    for (const tables of this.#tables) verdicts += tables.verdicts(index, slot);
    return verdicts >>> 0;
  }

  /** Packets and bytes of one attachment, by the CPU that ran it. */
  cpuCounters({ index }: Attachment): readonly { readonly packets: number; readonly bytes: number }[] {
    const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);
    return this.#tables.map((tables) => tables.attachmentCounters(index)).map(({ packets, bytes }) => ({ packets: sum(packets), bytes: sum(bytes) }));
  }

  /** Counts packets that met an attachment elsewhere, by verdict slot. `ended`: what became of them, where that was the end of their way. */
  addVerdicts(attachment: Attachment, slot: number, packets: number, ended?: { readonly fate: number; readonly reason?: number | undefined }): void {
    const [tables] = this.#tables as readonly [LoopTables];
    tables.addVerdicts(attachment.index, slot, packets);
    if (ended === undefined) return;
    tables.addToCounter(LOOP.fatePackets, ended.fate, packets);
    if (ended.reason !== undefined) tables.addToCounter(LOOP.reasons, ended.reason, packets);
  }

  /** Counts packets that came in there, and ran elsewhere. */
  addReceived(device: NetworkDevice, packets: number): void {
    this.#tables[0]!.addReceived(device, packets);
  }

  deviceCounters(device: NetworkDevice): DeviceCounters {
    const each = this.#tables.map((tables) => tables.deviceCounters(device));
    const sum = (of: keyof DeviceCounters): number => each.reduce((total, counters) => total + counters[of], 0);
    return { rxPackets: sum('rxPackets'), rxBytes: sum('rxBytes'), txPackets: sum('txPackets'), txBytes: sum('txBytes') };
  }

  /** Time that several CPUs ran packets, all at once. What a NIC does is not in it: which queue a packet comes to. */
  get turnsNs(): number {
    return this.#cpus?.turnsNs ?? 0;
  }

  /** Ends the threads of CPUs. Nothing can run afterwards. */
  close(): void {
    this.#cpus?.close();
  }

  /** Why the first CPU runs all packets, where there are others; undefined where they run too. */
  get oneCpu(): string | undefined {
    const loaded = this.#engine.parallel?.loaded.length ?? 0;
    if (this.#oneCpu?.loaded !== loaded) this.#oneCpu = { loaded, why: whyOneCpu(this.#engine) };
    return this.#oneCpu.why;
  }

  /** Whether several CPUs run the packets, and not the first alone. */
  get #runsParallel(): boolean {
    return this.#cpus !== undefined && this.entries === 'engine' && this.oneCpu === undefined;
  }

  /** A CPU attaches nothing: what may be in slots of maps is attached before, at every device. */
  #attachInSlots(): void {
    const { loaded } = this.#engine.parallel!;
    for (; this.#slotsAttached < loaded.length; this.#slotsAttached++) {
      const program = loaded[this.#slotsAttached]!;
      const mode = IN_SLOTS[program.spec.attach ?? ''];
      if (mode === undefined) continue;
      for (const device of this.devices) {
        this.#addInSlot({ device, hook: IN_SLOT_HOOK, mode, program });
      }
    }
  }

  #register(wanted: WantedAttachment): Attachment {
    const attachment = { ...wanted, index: this.#attachments.length };
    this.#attachments.push(attachment);
    return attachment;
  }

  /** A program runs from a slot for a device for the first time: its record, 0 where it cannot. */
  #attachInSlot(programId: number, deviceRecord: number, modeNumber: number): number {
    const [tables] = this.#tables as readonly [LoopTables];
    const device = tables.deviceAt(deviceRecord);
    const mode = Object.keys(hookByName(IN_SLOT_HOOK).modes)[modeNumber];
    const program = this.#programById(programId);
    if (device === undefined || mode === undefined || program === undefined) return 0;
    return tables.attachmentRecord(this.#addInSlot({ device, hook: IN_SLOT_HOOK, mode, program }).index);
  }

  #addInSlot(wanted: WantedAttachment): Attachment {
    const attachment = this.#register(wanted);
    this.#chains.push([attachment]);
    for (const tables of this.#tables) tables.addInSlot(attachment, this.#outcomesOf(attachment));
    return attachment;
  }

  /** Address of the outcome table of the attachment's mode. */
  #outcomesOf({ hook, mode: name }: WantedAttachment): number {
    const mode = hookByName(hook).modes[name]!;
    let address = this.#outcomes.get(mode);
    if (address === undefined) {
      const { memory } = this.machine;
      address = memory.allocate(VERDICT_SLOTS, 16, 'verdicts');
      memory.bytes(address, VERDICT_SLOTS).set(outcomeTable(mode));
      this.#outcomes.set(mode, address);
    }
    return address;
  }

  #sendCopy(ifindex: number, bytes: Uint8Array): void {
    this.#tables[0]!.countSent(ifindex, bytes.length);
    this.onCopy?.(ifindex, bytes);
  }
}

export type WantedAttachment = Omit<Attachment, 'index'>;

/** Chains in the order they run: device by device, hook by hook, a hook's modes in the hook's order. */
function chainsOf(devices: readonly NetworkDevice[], wanted: readonly WantedAttachment[]): WantedAttachment[][] {
  const modeRank = ({ hook, mode }: WantedAttachment): number => Object.keys(hookByName(hook).modes).indexOf(mode);
  return devices
    .flatMap((device) => HOOK_NAMES.map((hook) => wanted.filter((one) => one.device === device && one.hook === hook).toSorted((a, b) => modeRank(a) - modeRank(b))))
    .filter(({ length }) => length > 0);
}

function longestChain(chains: readonly (readonly WantedAttachment[])[]): number {
  return Math.max(0, ...chains.map(({ length }) => length));
}

function isSameChain(before: readonly Attachment[], chain: readonly WantedAttachment[]): boolean {
  return before.length === chain.length && before.every(({ device, hook, mode, program }, index) => {
    const one = chain[index]!;
    return one.device === device && one.hook === hook && one.mode === mode && one.program === program;
  });
}

function keptFor(observer: BatchObserver | undefined): Kept {
  return observer === undefined ? 'counters' : (observer.looksAt ?? 'packets');
}

/** The mode's outcomes by verdict slot. */
function outcomeTable(mode: VerdictMode): Uint8Array {
  const table = new Uint8Array(VERDICT_SLOTS).fill(OUTCOMES.indexOf(mode.unknown));
  for (const { code, outcome } of mode.verdicts) {
    if (code + 1 >= OTHER_VERDICT_SLOT) throw new RangeError(`verdict ${code} has no slot`);
    table[code + 1] = OUTCOMES.indexOf(outcome);
  }
  return table;
}
