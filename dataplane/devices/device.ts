/**
 * What a live interface is to the rest of the program: packets that appear in machine memory, a batch of descriptors
 * at a time, and exact counts of what came in. A backend is one way to get them from the operating system.
 *
 * Invariant, to the packet: what a source has received = what it dropped for want of room + what `read` has delivered
 * + what is still to be read.
 */
import type { MachineMemory } from '../machine/memory.ts';
import type { PacketBatch } from '../packet/packet-batch.ts';
import type { XdplabError } from '../errors.ts';
import type { RingImage } from './ring-reader.ts';

export interface LiveInterface {
  readonly name: string;
  readonly ifindex: number;
  /** 6 bytes; zero where it has none. */
  readonly mac: Uint8Array;
  readonly mtuBytes: number;
  readonly up: boolean;
  /** Whether its packets begin with an Ethernet header. */
  readonly ethernet: boolean;
  /** The bridge or bond it belongs to. */
  readonly master?: string;
}

export interface SourceOptions {
  /** Where packets are put. */
  readonly memory: MachineMemory;
  /** `interface` in the descriptors of packets that come in. */
  readonly index?: number;
  /** And of packets that this host sends; without it they are left out. */
  readonly outgoingIndex?: number;
  /** Bytes kept of each packet; all unless said. */
  readonly snapLength?: number;
  /** A tcpdump filter expression: packets that it does not match are not received. */
  readonly filter?: string;
  /** Packets for other hosts too, where the interface would leave them out. */
  readonly promiscuous?: boolean;
  /** Room for packets that wait to be read. */
  readonly bufferBytes?: number;
  /** A number of 16 bits: sources of it on one interface share its packets, those of a flow with one of them (af_packet). */
  readonly fanout?: number;
  /** Packets are wanted soon rather than many at a time, and as on a wire: with the checksums, and in the pieces, that a sender left to its NIC. */
  readonly forwarding?: boolean;
}

export interface SourceCounts {
  /** Packets that came in, those that were dropped for want of room among them. */
  readonly received: number;
  readonly ringDrops: number;
}

export interface PacketSource {
  readonly interface: LiveInterface;
  /** As they were asked for. */
  readonly index: number;
  readonly outgoingIndex: number | undefined;
  readonly backend: BackendName;
  /** False where the system may have lost packets before this source, and does not say how many. */
  readonly knowsLosses: boolean;
  /** One for each CPU of the lab, where they can read packets by themselves in place of `read`. */
  readonly rings?: readonly RingImage[];
  /** How long packets may wait before it is worth to ask for them again. */
  readonly waitMs: number;
  /**
   * Fills `batch` from its first descriptor with the next packets, all but their numbers, sets `batch.count` and
   * returns it; 0 where none waits. Never waits itself.
   * Borrowed: the addresses are valid until the next call.
   */
  read(batch: PacketBatch): number;
  /** Up to now. */
  counts(): SourceCounts;
  /** Nothing comes in from now on; what has come in is still there to be read. */
  stop(): void;
  /** Why nothing comes in any more: the interface went down or away. */
  failure(): XdplabError | undefined;
  close(): void;
}

export type BackendName = 'af_packet' | 'cap';

export interface CaptureBackend {
  readonly name: BackendName;
  /** What it is, for people. */
  readonly text: string;
  /** What is not there to use it, and how to get it; undefined where nothing is missing. */
  missing(): string | undefined;
  /** Why this process may not use it, as far as that can be known before; undefined where it may. */
  refused(): string | undefined;
  /** Throws ERR_PRIVILEGE where this process may not, ERR_DEVICE where the interface does not give packets. */
  open(device: LiveInterface, options: SourceOptions): Promise<PacketSource>;
}
