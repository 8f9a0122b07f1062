/**
 * The tables of layout.ts in machine memory, as one CPU's packet loop has them: what is attached where, counters, frames,
 * contexts and records. Every CPU that runs has its own, so that no two write to one cache line.
 */
import { XdplabError } from '../errors.ts';
import { HOOK_NAMES } from '../hooks/hook.ts';
import type { Machine } from '../machine/machine.ts';
import type { MachineMemory, Region } from '../machine/memory.ts';
import type { NetworkDevice } from '../machine/network.ts';
import { SK_BUFF, XDP_MD } from '../packet/frame.ts';
import { MAX_INTERFACES } from '../packet/packet-batch.ts';
import { ATTACHMENT, DEVICE, DEVICE_FLAG, HANDOVER, LOOP, RECORD, SENDER, VERDICT_SLOTS, type Sender } from './layout.ts';
import type { Chain } from './loop/chain.ts';
import type { LoopConstants } from './loop/loop-code.ts';
import type { Attachment } from './pipeline.ts';

export interface LoopTablesOptions {
  readonly arenaBytes: number;
  readonly recordsBytes: number;
  /** The most that one packet leaves. */
  readonly recordBytesPerPacket: number;
  /** Packets that may be left for other CPUs. */
  readonly mostHandedOver: number;
  /** By device: what its queues are chosen by. */
  readonly rss: readonly number[];
}

export interface DeviceCounters {
  readonly rxPackets: number;
  readonly rxBytes: number;
  readonly txPackets: number;
  readonly txBytes: number;
}

export class LoopTables {
  /** What the loop's code needs to know. */
  readonly at: Omit<LoopConstants, 'keeps' | 'chains' | 'spread' | 'handsOver'>;
  readonly records: Region;
  /** Where they begin now. */
  recordsAt = 0;
  /** Where packets are left for other CPUs. */
  readonly handovers: number;
  readonly #memory: MachineMemory;
  readonly #devices: readonly NetworkDevice[];
  /** By index of the attachment: its record. */
  readonly #attachments: number[] = [];

  /** For the machine's CPU of the moment. */
  constructor(machine: Machine, devices: readonly NetworkDevice[], { arenaBytes, recordsBytes, recordBytesPerPacket, mostHandedOver, rss }: LoopTablesOptions) {
    const { memory } = machine;
    this.#memory = memory;
    this.#devices = devices;
    const cells = memory.allocate(LOOP.size, 64, 'packet loop');
    const deviceTable = memory.allocate(devices.length * DEVICE.size, 64, 'devices');
    const interfaces = memory.allocate(MAX_INTERFACES * 4, 64, 'capture interfaces');
    const arena = memory.allocate(arenaBytes, 4096, 'frames');
    this.records = memory.region(recordsBytes, 64, 'verdict records');
    this.handovers = memory.allocate(mostHandedOver * HANDOVER.size, 64, 'packets for other CPUs');
    this.at = {
      cpuBlock: machine.cpuBlock,
      sharedMemory: machine.parallel,
      cells,
      xdpContext: memory.allocate(XDP_MD.size, 64, 'XDP context'),
      skbContext: memory.allocate(SK_BUFF.size, 64, 'skb'),
      arena,
      arenaEnd: arena + arenaBytes,
      records: this.records.address,
      recordBytesPerPacket,
      devices: deviceTable,
      devicesEnd: deviceTable + devices.length * DEVICE.size,
      ifindexes: devices.map(({ ifindex }) => ifindex),
      interfaces,
      interfaceCount: MAX_INTERFACES,
      instructionBudget: machine.instructionBudget,
      anyKnowsOwn: devices.some(knowsOwn),
      anyQueues: rss.some((address) => address !== 0),
    };
    this.#writeDevices(rss);
    this.drain();
  }

  /** The device whose record is at the address. */
  deviceAt(record: number): NetworkDevice | undefined {
    return this.#devices[(record - this.at.devices) / DEVICE.size];
  }

  /** Of a program that was attached, by index: where its record is. */
  attachmentRecord(index: number): number {
    return this.#attachments[index]!;
  }

  /** `sender`: who sends packets there, whatever address they carry; unless said, the device's own address says it. No device: they cannot be run. */
  setInterface(index: number, device: NetworkDevice | undefined, sender: Sender | undefined): void {
    const entry = device === undefined ? 0 : this.#recordOf(device) | (sender === undefined ? 0 : SENDER[sender]);
    this.#memory.u32[(this.at.interfaces >>> 2) + index] = entry;
  }

  /** Records for attachments. `outcomes`: where the outcome table of each is. */
  addAttachments(attachments: readonly Attachment[], outcomes: readonly number[]): void {
    const first = this.#memory.allocate(attachments.length * ATTACHMENT.size, 64, 'attachments');
    const { view } = this.#memory;
    attachments.forEach(({ index, hook, program }, position) => {
      const record = first + position * ATTACHMENT.size;
      this.#attachments[index] = record;
      view.setUint32(record + ATTACHMENT.programId, program.id, true);
      view.setUint32(record + ATTACHMENT.outcomes, outcomes[position]!, true);
      view.setUint32(record + ATTACHMENT.index, index, true);
      view.setUint32(record + ATTACHMENT.hook, HOOK_NAMES.indexOf(hook), true);
    });
  }

  /** The same for a program in slots of maps, which the loop finds by its device. */
  addInSlot(attachment: Attachment, outcomes: number): void {
    this.addAttachments([attachment], [outcomes]);
    const { view } = this.#memory;
    const [record, device] = [this.#attachments[attachment.index]!, this.#recordOf(attachment.device)];
    view.setUint32(record + ATTACHMENT.next, view.getUint32(device + DEVICE.inSlots, true), true);
    view.setUint32(device + DEVICE.inSlots, record, true);
  }

  /** A chain as it stands in the loop's code. */
  chain(attachments: readonly Attachment[]): Chain {
    const { device, hook } = attachments[0]!;
    const { u32 } = this.#memory;
    const links = attachments.map(({ index, mode, program }) => {
      const attachment = this.#attachments[index]!;
      return { attachment, outcomes: u32[(attachment + ATTACHMENT.outcomes) >>> 2]!, index, mode, program };
    });
    return { hook, device: this.#recordOf(device), ifindex: device.ifindex, links };
  }

  /** Counts a copy that leaves beside its packet: broadcasts and clones. */
  countSent(ifindex: number, lengthBytes: number): void {
    countSent(this.#memory, this.at, ifindex, lengthBytes);
  }

  /** A u64 counter of the packet loop: `LOOP.reasons` and so on, by index. */
  counter(offset: number, index = 0): number {
    return this.#counterAt(this.at.cells + offset + 8 * index);
  }

  /** Packets and bytes by verdict slot, and faults, of one attachment. */
  attachmentCounters(index: number): { readonly packets: readonly number[]; readonly bytes: readonly number[]; readonly faults: number } {
    const base = this.#attachments[index]!;
    const slots = Array.from({ length: VERDICT_SLOTS }, (_, slot) => base + ATTACHMENT.verdicts + 16 * slot);
    return {
      packets: slots.map((address) => this.#counterAt(address)),
      bytes: slots.map((address) => this.#counterAt(address + 8)),
      faults: this.#counterAt(base + ATTACHMENT.faults),
    };
  }

  /** The lower 32 bits of a counter of an attachment's: allocates nothing. */
  verdicts(index: number, slot: number): number {
    return this.#memory.u32[(this.#attachments[index]! + ATTACHMENT.verdicts + 16 * slot) >>> 2]!;
  }

  /** Counts packets that met an attachment elsewhere; nothing is known of their bytes. */
  addVerdicts(index: number, slot: number, packets: number): void {
    this.#add(this.#attachments[index]! + ATTACHMENT.verdicts + 16 * slot, packets);
  }

  /** A counter of the packet loop, as `counter` reads it. */
  addToCounter(offset: number, index: number, packets: number): void {
    this.#add(this.at.cells + offset + 8 * index, packets);
  }

  addReceived(device: NetworkDevice, packets: number): void {
    this.#add(this.#recordOf(device) + DEVICE.rxPackets, packets);
  }

  deviceCounters(device: NetworkDevice): DeviceCounters {
    const base = this.#recordOf(device);
    return {
      rxPackets: this.#counterAt(base + DEVICE.rxPackets),
      rxBytes: this.#counterAt(base + DEVICE.rxBytes),
      txPackets: this.#counterAt(base + DEVICE.txPackets),
      txBytes: this.#counterAt(base + DEVICE.txBytes),
    };
  }

  /** Makes all room for frames and records free. `recordsAt`: where as much room for records is as there is here. */
  drain(recordsAt: number = this.at.records): void {
    const { u32 } = this.#memory;
    this.recordsAt = recordsAt;
    u32[(this.at.cells + LOOP.recordCursor) >>> 2] = recordsAt;
    u32[(this.at.cells + LOOP.recordsEnd) >>> 2] = recordsAt + this.records.lengthBytes;
    u32[(this.at.cells + LOOP.arenaCursor) >>> 2] = this.at.arena;
    u32[(this.at.cells + LOOP.handedOver) >>> 2] = this.handovers;
  }

  /** Addresses of the HANDOVERs that the loop left. */
  get handedOver(): readonly number[] {
    const end = this.#memory.u32[(this.at.cells + LOOP.handedOver) >>> 2]!;
    return Array.from({ length: (end - this.handovers) / HANDOVER.size }, (_, index) => this.handovers + index * HANDOVER.size);
  }

  /** Where the loop's records end; undefined where a program has overwritten that. */
  get recordsEnd(): number | undefined {
    const end = this.#memory.u32[(this.at.cells + LOOP.recordCursor) >>> 2]!;
    const length = end - this.recordsAt;
    return length < 0 || length > this.records.lengthBytes || length % RECORD.size !== 0 ? undefined : end;
  }

  #recordOf(device: NetworkDevice): number {
    return this.at.devices + this.#devices.indexOf(device) * DEVICE.size;
  }

  #writeDevices(rss: readonly number[]): void {
    const { view, u8 } = this.#memory;
    for (const [position, device] of this.#devices.entries()) {
      const base = this.#recordOf(device);
      view.setUint32(base + DEVICE.ifindex, device.ifindex, true);
      view.setUint32(base + DEVICE.mtu, device.mtuBytes, true);
      view.setUint32(base + DEVICE.peer, device.peer ?? 0, true);
      view.setUint32(base + DEVICE.rss, rss[position]!, true);
      u8.set(device.mac, base + DEVICE.mac);
      view.setUint32(base + DEVICE.flags, (device.up ? DEVICE_FLAG.up : 0) | (knowsOwn(device) ? DEVICE_FLAG.knowsOwn : 0), true);
    }
  }

  #add(address: number, packets: number): void {
    this.#memory.u64[address >>> 3]! += BigInt(packets);
  }

  #counterAt(address: number): number {
    return Number(this.#memory.u64[address >>> 3]!);
  }
}

/** In the records of a CPU's devices. */
export function countSent({ view, u64 }: MachineMemory, { devices, devicesEnd }: Pick<LoopConstants, 'devices' | 'devicesEnd'>, ifindex: number, lengthBytes: number): void {
  for (let device = devices; device < devicesEnd; device += DEVICE.size) {
    if (view.getUint32(device + DEVICE.ifindex, true) !== ifindex) continue;
    u64[(device + DEVICE.txPackets) >>> 3]! += 1n;
    u64[(device + DEVICE.txBytes) >>> 3]! += BigInt(lengthBytes);
    return;
  }
}

/** What only a program can do that Linux's verifier would refuse. */
export function tablesOverwritten(who: string): XdplabError {
  return new XdplabError('ERR_PROGRAM', `${who} overwrote tables of the simulated machine, so the run cannot go on; check the bounds of its stores`);
}

/** All zeros stand for an address that the lab does not say. */
function knowsOwn({ mac }: NetworkDevice): boolean {
  return mac.some((byte) => byte !== 0);
}
