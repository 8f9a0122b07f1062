/**
 * Devices with programs attached to their hooks, and the packet loop that runs over them. Devices are fixed; between
 * two calls of `run` other programs may be attached. Programs in slots of maps are added when they first run.
 */
import { FAULT, CPU_BLOCK } from '../machine/cpu.ts';
import type { Machine } from '../machine/machine.ts';
import type { NetworkDevice } from '../machine/network.ts';
import type { Region } from '../machine/memory.ts';
import { XdplabError } from '../errors.ts';
import { timersOf } from '../helpers/timer.ts';
import { hookByName } from '../hooks/index.ts';
import { HOOK_NAMES, OUTCOMES, type HookName, type VerdictMode } from '../hooks/hook.ts';
import { SK_BUFF, XDP_MD } from '../packet/frame.ts';
import { DESCRIPTOR, type PacketBatch } from '../packet/packet-batch.ts';
import type { VerifiedProgram } from '../program/program.ts';
import { compileModule } from '../wasm/compile.ts';
import { broadcastTargets } from './broadcast.ts';
import { ATTACHMENT, DEVICE, DEVICE_FLAG, FROM_HOST, LOOP, MAX_CHAINS, MAX_IN_SLOTS, OTHER_VERDICT_SLOT, RECORD, VERDICT_SLOTS } from './layout.ts';
import { DROP_REASON, type DropReason } from './outcome.ts';
import { writeLinkAddresses } from './neighbour.ts';
import { DEFAULT_KEY, TOEPLITZ_TABLE_BYTES, toeplitzTable } from './receive-side-scaling.ts';
import type { LoopImports } from './loop/loop-code.ts';
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
  /** `records` are the verdict records of packets `first` to `first + count - 1` of the batch, in order. */
  finished(batch: PacketBatch, first: number, count: number, records: DataView, recordCount: number): void;
}

/** Several that look, one after the other. */
export function inTurn(observers: readonly BatchObserver[]): BatchObserver {
  const [first, ...others] = observers;
  return first !== undefined && others.length === 0 ? first : { finished: (...args) => observers.forEach((each) => each.finished(...args)) };
}

const ARENA_BYTES = 4 << 20;
/** Room for the records of as many packets as run between two looks at them, and of a few that meet every program. */
const RECORDS_BYTES = 1 << 17;
const MOST_RECORDS_PACKETS = 4;
/** Programs that may be attached to a hook later, where fewer are at first: as libxdp's dispatcher takes, and a few more. */
const ROOM_IN_CHAIN = 16;
/** Records have 16 bits for the index. */
const MOST_ATTACHMENTS = 1 << 16;
export const MAX_INTERFACES = 1024;

const FAULT_REASON: Readonly<Record<number, DropReason>> = {
  [FAULT.memory]: 'PROGRAM_TRAP',
  [FAULT.budget]: 'PROGRAM_BUDGET',
  [FAULT.depth]: 'PROGRAM_TRAP',
  [FAULT.unsupported]: 'PROGRAM_UNSUPPORTED',
  [FAULT.null]: 'PROGRAM_NULL',
};

export class Pipeline {
  readonly machine: Machine;
  readonly devices: readonly NetworkDevice[];
  /** Called with every copy of a packet that leaves by a device beside the packet: broadcasts and clones. The bytes are borrowed; replaced by whoever sends. */
  onCopy: (ifindex: number, bytes: Uint8Array) => void = () => {};
  readonly #attachments: Attachment[] = [];
  readonly #chains: (readonly Attachment[])[] = [];
  /** Of each hook of each device what runs now, empty ones left out. */
  #attached: readonly (readonly Attachment[])[] = [];
  /** By index of the attachment: its record. */
  readonly #attachmentRecords: number[] = [];
  readonly #longestChain: number;
  readonly #programById: (id: number) => VerifiedProgram | undefined;
  readonly #outcomes = new Map<VerdictMode, number>();
  readonly #cells: number;
  readonly #deviceTable: number;
  readonly #interfaces: number;
  readonly #arena: number;
  readonly #records: Region;
  readonly #makeLoop: (observed: boolean) => PacketLoop;
  /** For packets that someone looks at, and for packets that nobody does; each made when it is first needed. */
  readonly #loops = new Map<boolean, PacketLoop>();
  /** The one that runs. */
  #loop!: PacketLoop;

  /** `programById` finds programs that are in slots of maps. */
  constructor(machine: Machine, devices: readonly NetworkDevice[], attachments: readonly WantedAttachment[], programById: (id: number) => VerifiedProgram | undefined) {
    this.machine = machine;
    this.devices = devices;
    this.#programById = programById;
    const { memory } = machine;
    this.#cells = memory.allocate(LOOP.size, 64, 'packet loop');
    this.#deviceTable = memory.allocate(devices.length * DEVICE.size, 64, 'devices');
    this.#interfaces = memory.allocate(MAX_INTERFACES * 4, 64, 'capture interfaces');
    this.#arena = memory.allocate(ARENA_BYTES, 4096, 'frames');
    this.#longestChain = Math.max(ROOM_IN_CHAIN, longestChain(chainsOf(devices, attachments)));
    const recordBytesPerPacket = RECORD.size * (MAX_CHAINS * this.#longestChain + MAX_IN_SLOTS);
    this.#records = memory.region(Math.max(RECORDS_BYTES, recordBytesPerPacket * MOST_RECORDS_PACKETS), 64, 'verdict records');
    const xdpContext = memory.allocate(XDP_MD.size, 64, 'XDP context');
    const at = {
      cpuBlock: machine.cpuBlock,
      cells: this.#cells,
      xdpContext,
      skbContext: memory.allocate(SK_BUFF.size, 64, 'skb'),
      arena: this.#arena,
      arenaEnd: this.#arena + ARENA_BYTES,
      records: this.#records.address,
      recordsEnd: this.#records.address + this.#records.lengthBytes,
      recordBytesPerPacket,
      devices: this.#deviceTable,
      devicesEnd: this.#deviceTable + devices.length * DEVICE.size,
      interfaces: this.#interfaces,
      interfaceCount: MAX_INTERFACES,
      toeplitz: this.#allocateToeplitz(),
      instructionBudget: machine.instructionBudget,
    };
    this.#writeDevices();
    this.attach(attachments);
    const imports = {
      machine: { memory: memory.wasm, programs: machine.programTable },
      loop: {
        broadcast: (map: number, exclude: number, lengthBytes: number): number => {
          const targets = broadcastTargets(machine, map, exclude, lengthBytes);
          const data = memory.view.getUint32(xdpContext + XDP_MD.data, true);
          for (const ifindex of targets) this.#sendCopy(ifindex, memory.bytes(data, lengthBytes));
          return targets.length;
        },
        timers: () => void timersOf(machine).run(memory.view.getBigUint64(machine.cell(CPU_BLOCK.descriptor) + DESCRIPTOR.timestampNs, true), rethrowBugs),
        records: () => machine.tellOfRecords(),
        link: (ifindex: number, nextHop: number, data: number): number => Number(writeLinkAddresses(machine, ifindex, nextHop >>> 0, data >>> 0)),
        attachInSlot: (program: number, device: number, mode: number): number => this.#attachInSlot(program, device >>> 0, mode),
      } satisfies LoopImports,
    };
    this.#makeLoop = (observed) => new WebAssembly.Instance(compileModule(emitPacketLoop({ ...at, observed })), imports).exports as unknown as PacketLoop;
    machine.network.onClone = ({ ifindex, toIngress, bytes }) => {
      if (toIngress) this.#countSent(ifindex, bytes.length);
      else this.#sendCopy(ifindex, bytes);
    };
    this.#drain();
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
    let record = this.machine.memory.allocate(fresh.length * ATTACHMENT.size, 64, 'attachments');
    this.#attached = chains.map((chain, index) => {
      const same = kept[index];
      if (same !== undefined) return same;
      const made = chain.map((one) => {
        const attachment = { ...one, index: this.#attachments.length };
        this.#attachments.push(attachment);
        this.#attachmentRecords.push(record);
        this.#writeAttachment(attachment);
        record += ATTACHMENT.size;
        return attachment;
      });
      this.#chains.push(made);
      return made;
    });
    this.#writeChains();
  }

  /** Packets of capture interface `index` arrive at `device`; undefined: they cannot be run, and are counted as such. `fromHost`: the host sends them there, whatever address they carry. */
  setInterface(index: number, device: NetworkDevice | undefined, { fromHost = false }: { readonly fromHost?: boolean } = {}): void {
    if (index >= MAX_INTERFACES) {
      throw new XdplabError('ERR_CAPTURE', `capture interface ${index}: at most ${MAX_INTERFACES} interfaces are supported; split the capture`);
    }
    const address = device === undefined ? 0 : this.#deviceTable + this.devices.indexOf(device) * DEVICE.size;
    this.machine.memory.u32[(this.#interfaces >>> 2) + index] = address | (fromHost ? FROM_HOST : 0);
  }

  /** Compiles what packets run through, whether someone looks at them or not; otherwise the first that run wait for it. */
  prepare(observed: boolean): void {
    let loop = this.#loops.get(observed);
    if (loop === undefined) this.#loops.set(observed, (loop = this.#makeLoop(observed)));
    this.#loop = loop;
  }

  /** Runs the packets of the batch from `first` on. Without an observer frames and records are re-used at once, which is faster. */
  run(batch: PacketBatch, observer?: BatchObserver, first = 0): void {
    this.prepare(observer !== undefined);
    let done = first;
    while (done < batch.count) {
      const begun = done;
      try {
        done += this.#loop.run(batch.descriptor(done), batch.count - done);
      } catch (error) {
        this.#stop(error);
        done = this.#stoppedAt(batch, done) + 1;
        this.machine.tellOfRecords();
      }
      if (observer) {
        const { bytes, address, lengthBytes } = this.#records;
        const length = this.#cell(LOOP.recordCursor) - address;
        if (length < 0 || length > lengthBytes || length % RECORD.size !== 0) throw this.#overwritten();
        observer.finished(batch, begun, done - begun, new DataView(bytes.buffer, bytes.byteOffset, length), length / RECORD.size);
      }
      this.#drain();
    }
  }

  /** A u64 counter of the packet loop: `LOOP.reasons` and so on, by index. */
  counter(offset: number, index = 0): number {
    return this.#counterAt(this.#cells + offset + 8 * index);
  }

  /** Packets and bytes by verdict slot, and faults, of one attachment. */
  attachmentCounters(attachment: Attachment): { readonly packets: readonly number[]; readonly bytes: readonly number[]; readonly faults: number } {
    const base = this.#attachmentRecords[attachment.index]!;
    const slots = Array.from({ length: VERDICT_SLOTS }, (_, slot) => base + ATTACHMENT.verdicts + 16 * slot);
    return {
      packets: slots.map((address) => this.#counterAt(address)),
      bytes: slots.map((address) => this.#counterAt(address + 8)),
      faults: this.#counterAt(base + ATTACHMENT.faults),
    };
  }

  deviceCounters(device: NetworkDevice): { readonly rxPackets: number; readonly rxBytes: number; readonly txPackets: number; readonly txBytes: number } {
    const base = this.#deviceTable + this.devices.indexOf(device) * DEVICE.size;
    return {
      rxPackets: this.#counterAt(base + DEVICE.rxPackets),
      rxBytes: this.#counterAt(base + DEVICE.rxBytes),
      txPackets: this.#counterAt(base + DEVICE.txPackets),
      txBytes: this.#counterAt(base + DEVICE.txBytes),
    };
  }

  /** A program trapped: ends its packet with the verdict Linux gives a program that fails, and says why. Other errors are ours. */
  #stop(error: unknown): void {
    const { machine } = this;
    const known = machine.cell(CPU_BLOCK.fault);
    if (known === FAULT.none) rethrowBugs(error);
    const fault = known === FAULT.none ? FAULT.memory : known;
    machine.setCell(CPU_BLOCK.fault, FAULT.none);
    const name = HOOK_NAMES[this.#cell(LOOP.hook)];
    if (name === undefined) throw this.#overwritten();
    try {
      this.#loop.stop(fault, hookByName(name).onFault.code, DROP_REASON[FAULT_REASON[fault] ?? 'PROGRAM_TRAP']);
    } catch {
      throw this.#overwritten();
    }
  }

  /** What only a program can do that Linux's verifier would refuse. */
  #overwritten(): XdplabError {
    const id = this.machine.cell(CPU_BLOCK.programId);
    const name = this.attachments.find(({ program }) => program.id === id)?.program.spec.name ?? `${id}`;
    return new XdplabError('ERR_PROGRAM', `program '${name}': overwrote tables of the simulated machine, so the run cannot go on; check the bounds of its stores`);
  }

  /** The packet of the batch whose program was stopped. A program may have overwritten even that: then the first that is open. */
  #stoppedAt(batch: PacketBatch, first: number): number {
    const index = (this.machine.cell(CPU_BLOCK.descriptor) - batch.region.address) / DESCRIPTOR.size;
    return Number.isInteger(index) && index >= first && index < batch.count ? index : first;
  }

  #drain(): void {
    this.#setCell(LOOP.recordCursor, this.#records.address);
    this.#setCell(LOOP.arenaCursor, this.#arena);
  }

  #allocateToeplitz(): number {
    const address = this.machine.memory.allocate(TOEPLITZ_TABLE_BYTES, 64, 'receive-side scaling');
    this.machine.memory.u32.set(toeplitzTable(DEFAULT_KEY), address >>> 2);
    return address;
  }

  /** A program runs from a slot for a device for the first time. */
  #attachInSlot(programId: number, deviceRecord: number, modeNumber: number): number {
    const { memory } = this.machine;
    const device = this.devices[(deviceRecord - this.#deviceTable) / DEVICE.size];
    const mode = Object.keys(hookByName(IN_SLOT_HOOK).modes)[modeNumber];
    const program = this.#programById(programId);
    if (device === undefined || mode === undefined || program === undefined) return 0;
    const attachment = { index: this.#attachments.length, device, hook: IN_SLOT_HOOK, mode, program };
    const record = memory.allocate(ATTACHMENT.size, 64, 'attachments');
    this.#attachments.push(attachment);
    this.#chains.push([attachment]);
    this.#attachmentRecords.push(record);
    this.#writeAttachment(attachment);
    const { view } = memory;
    view.setUint32(record + ATTACHMENT.next, view.getUint32(deviceRecord + DEVICE.inSlots, true), true);
    view.setUint32(deviceRecord + DEVICE.inSlots, record, true);
    return record;
  }

  #writeAttachment({ index, hook, mode, program }: Attachment): void {
    const outcomes = this.#outcomesOf(hookByName(hook).modes[mode]!);
    const { view } = this.machine.memory;
    const base = this.#attachmentRecords[index]!;
    view.setUint32(base + ATTACHMENT.programId, program.id, true);
    view.setUint32(base + ATTACHMENT.outcomes, outcomes, true);
    view.setUint32(base + ATTACHMENT.index, index, true);
    view.setUint32(base + ATTACHMENT.mode, Object.keys(hookByName(hook).modes).indexOf(mode), true);
  }

  /** Address of the mode's outcome table. */
  #outcomesOf(mode: VerdictMode): number {
    let address = this.#outcomes.get(mode);
    if (address === undefined) {
      const { memory } = this.machine;
      address = memory.allocate(VERDICT_SLOTS, 16, 'verdicts');
      memory.bytes(address, VERDICT_SLOTS).set(outcomeTable(mode));
      this.#outcomes.set(mode, address);
    }
    return address;
  }

  #writeDevices(): void {
    const { memory } = this.machine;
    const { view } = memory;
    this.devices.forEach((device, position) => {
      const base = this.#deviceTable + position * DEVICE.size;
      view.setUint32(base + DEVICE.ifindex, device.ifindex, true);
      view.setUint32(base + DEVICE.mtu, device.mtuBytes, true);
      view.setUint32(base + DEVICE.peer, device.peer ?? 0, true);
      view.setUint32(base + DEVICE.queues, device.queues ?? 1, true);
      memory.bytes(base + DEVICE.mac, 6).set(device.mac);
      const knowsOwn = device.mac.some((byte) => byte !== 0);
      view.setUint32(base + DEVICE.flags, (device.up ? DEVICE_FLAG.up : 0) | (knowsOwn ? DEVICE_FLAG.knowsOwn : 0), true);
    });
  }

  /** The records of a chain are one behind the other. */
  #writeChains(): void {
    const { view } = this.machine.memory;
    this.devices.forEach((device, position) => {
      const base = this.#deviceTable + position * DEVICE.size;
      for (const [hook, field] of [['xdp', DEVICE.xdp], ['tc-ingress', DEVICE.tcIngress], ['tc-egress', DEVICE.tcEgress]] as const) {
        const chain = this.#attached.find(([first]) => first!.device === device && first!.hook === hook) ?? [];
        const begin = chain.length === 0 ? 0 : this.#attachmentRecords[chain[0]!.index]!;
        view.setUint32(base + field, begin, true);
        view.setUint32(base + field + 4, begin + chain.length * ATTACHMENT.size, true);
      }
    });
  }

  #sendCopy(ifindex: number, bytes: Uint8Array): void {
    this.#countSent(ifindex, bytes.length);
    this.onCopy(ifindex, bytes);
  }

  /** Copies of a packet: broadcasts and clones. */
  #countSent(ifindex: number, lengthBytes: number): void {
    const position = this.devices.findIndex((device) => device.ifindex === ifindex);
    if (position < 0) return;
    const base = (this.#deviceTable + position * DEVICE.size) >>> 3;
    const { u64 } = this.machine.memory;
    u64[base + DEVICE.txPackets / 8]! += 1n;
    u64[base + DEVICE.txBytes / 8]! += BigInt(lengthBytes);
  }

  #counterAt(address: number): number {
    return Number(this.machine.memory.u64[address >>> 3]!);
  }

  #cell(offset: number): number {
    return this.machine.memory.u32[(this.#cells + offset) >>> 2]!;
  }

  #setCell(offset: number, value: number): void {
    this.machine.memory.u32[(this.#cells + offset) >>> 2] = value;
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

/** Programs trap and run out of memory's bounds; anything else is a mistake of ours. */
function rethrowBugs(error: unknown): void {
  if (!(error instanceof WebAssembly.RuntimeError) && !(error instanceof RangeError)) throw error;
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
