/**
 * A bump in the wire: sends what became of packets out of interfaces. What programs pass leaves on the other side,
 * XDP_TX goes back where it came from, a redirect leaves by the interface that the device stands for, what is dropped
 * is gone. Packets of one direction keep their order; nothing is allocated per packet.
 */
import type { PacketSender, SentCounts } from '../devices/packet-sender.ts';
import type { Region } from '../machine/memory.ts';
import { MAX_CAPTURED_BYTES } from '../packet/capture-reader.ts';
import { FRAME } from '../packet/frame.ts';
import { DESCRIPTOR, type PacketBatch } from '../packet/packet-batch.ts';
import type { Lab } from '../pipeline/lab.ts';
import { FATE } from '../pipeline/outcome.ts';
import type { BatchObserver } from '../pipeline/pipeline.ts';

/** The longest that a packet can be in the end. */
const LONGEST_BYTES = MAX_CAPTURED_BYTES + FRAME.skbHeadroom + FRAME.size;
const COPIES_BYTES = 1 << 20;

export interface Port {
  /** Ifindex of the device of the lab that stands for the interface. */
  readonly ifindex: number;
  readonly sender: PacketSender;
}

export interface InlineCounts {
  readonly sent: readonly ({ readonly interface: string } & SentCounts)[];
  /** Redirected to devices that stand for no interface, or spoilt by a program that Linux would refuse. */
  readonly nowhere: number;
}

export class Inline implements BatchObserver {
  /** By interface of a packet: where it leaves when it is passed. */
  readonly #otherSide: readonly PacketSender[];
  readonly #byIfindex: ReadonlyMap<number, PacketSender>;
  readonly #senders: readonly PacketSender[];
  /** Copies beside packets wait here to be sent. */
  readonly #copies: Region;
  #copiesEnd = 0;
  #nowhere = 0;

  /** Packets of interface 0 come in at `left`, of 1 at `right`; `others` is where redirects may lead besides. */
  constructor(lab: Lab, left: Port, right: Port, others: readonly Port[] = []) {
    const ports = [left, right, ...others];
    this.#otherSide = [right.sender, left.sender];
    this.#byIfindex = new Map(ports.map(({ ifindex, sender }) => [ifindex, sender]));
    this.#senders = [...new Set(ports.map(({ sender }) => sender))];
    this.#copies = lab.machine.memory.region(COPIES_BYTES, 64, 'copies of packets');
    lab.pipeline.onCopy = (ifindex, bytes) => this.#copy(ifindex, bytes);
  }

  get counts(): InlineCounts {
    return { sent: this.#senders.map((sender) => ({ interface: sender.interface.name, ...sender.counts })), nowhere: this.#nowhere };
  }

  finished(batch: PacketBatch, first: number, count: number): void {
    const { u8, u16, u32 } = batch.memory;
    for (let index = first; index < first + count; index++) {
      const at = batch.descriptor(index);
      const fate = u16[(at + DESCRIPTOR.outcome) >>> 1];
      const left = u32[(at + DESCRIPTOR.leftIfindex) >>> 2]!;
      let sender: PacketSender | undefined;
      if (fate === FATE.stack) sender = this.#otherSide[u32[(at + DESCRIPTOR.interface) >>> 2]!];
      // A broadcast has left as copies, and by no device itself.
      else if ((fate === FATE.transmitted || fate === FATE.redirected) && left !== 0) sender = this.#byIfindex.get(left);
      else continue;
      const address = u32[(at + DESCRIPTOR.leftAddress) >>> 2]!;
      const length = u32[(at + DESCRIPTOR.leftLength) >>> 2]!;
      // A program may have overwritten its context, where these come from: what lies outside of machine memory is not sent.
      if (sender === undefined || length > LONGEST_BYTES || address + length > u8.length) this.#nowhere++;
      else sender.add(address, length);
    }
    // Frames are used again for what runs next.
    this.#flush();
  }

  #copy(ifindex: number, bytes: Uint8Array): void {
    const sender = this.#byIfindex.get(ifindex);
    if (sender === undefined || bytes.length > COPIES_BYTES) {
      this.#nowhere++;
      return;
    }
    if (this.#copiesEnd + bytes.length > COPIES_BYTES) this.#flush();
    this.#copies.bytes.set(bytes, this.#copiesEnd);
    sender.add(this.#copies.address + this.#copiesEnd, bytes.length);
    this.#copiesEnd += bytes.length;
  }

  #flush(): void {
    for (const sender of this.#senders) sender.flush();
    this.#copiesEnd = 0;
  }
}
