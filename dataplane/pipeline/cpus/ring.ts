/**
 * Between the thread that reads packets and the threads of CPUs, in machine memory: for each CPU a ring of descriptors,
 * as a NIC has one for each queue, and a few words by which the two take turns. Both are each other's guests: while a
 * CPU runs its ring, nobody else touches it or what is attached, and while it waits, it touches nothing.
 *
 *   turn      0 i32 turn       counts up when there is something to do
 *             4 i32 done       the last turn that was finished; -1 before the CPU is there, -2 once its thread has ended
 *             8 u32 count      descriptors in the ring; or of packets that others left, whose addresses are in the list
 *            12 u32 flags      TURN_FLAG
 *            16 u32 reports    not 0 where the CPU has sent a message about what happened
 *            20 u32 keeps      what is kept of the packets: index in KEPT of the loop's code
 *            24 u32 first      address of the first descriptor to run
 *
 *   spread   one for each CPU, for the code that fills the rings (spread-code.ts):
 *             0 u32 ring       address of the descriptors
 *             4 u32 count      how many there are
 *             8 u32 room       bytes for frames that are left; where nobody looks, all packets have one frame, and it is large
 *            12 u32 records    the next record that was not gathered
 *            16 u32 recordsEnd
 *            20 u32 gathered   descriptors that were
 *            24 u32 later      the next record of packets that others left for the CPU, in its own order
 *            28 u32 laterEnd
 *            32 u32 received   descriptors that are there, where the CPU reads packets by itself
 */
import type { MessagePort } from 'node:worker_threads';
import type { RingImage } from '../../devices/ring-reader.ts';
import type { ErrorCode } from '../../errors.ts';
import type { CpuImage, MachineEvent } from '../../machine/machine.ts';
import type { NetworkImage } from '../../machine/network.ts';
import type { MapImage } from '../../maps/map-image.ts';
import type { ProgramImage } from '../../engine/program-image.ts';
import type { Kept, LoopConstants } from '../loop/loop-code.ts';

export const TURN = { turn: 0, done: 4, count: 8, flags: 12, reports: 16, keeps: 20, first: 24, size: 64 } as const;

/** In `done`. */
export const DONE = { notThere: -1, ended: -2 } as const;

export const TURN_FLAG = {
  /** There are messages for the CPU. */
  news: 1,
  /** Somebody wants the records of ring buffers. */
  records: 2,
  /** Somebody wants the copies of packets. */
  copies: 4,
  /** Packets go on that CPUs have left for each other. */
  resume: 8,
  /** It describes what has come to its own ring of the interface, and runs nothing. */
  receive: 16,
} as const;

export const SPREAD = { ring: 0, count: 4, room: 8, records: 12, recordsEnd: 16, gathered: 20, later: 24, laterEnd: 28, received: 32, size: 64 } as const;

/** Most packets that a CPU runs in a turn. To wake threads and to wait for them takes as long as a few thousand packets. */
export const RING_PACKETS = 65_536;

/** What the thread of a CPU begins with. */
export interface CpuStart {
  readonly image: CpuImage;
  readonly at: Pick<LoopConstants, 'cells' | 'xdpContext' | 'devices' | 'devicesEnd'>;
  /** Addresses of its TURN and its ring. */
  readonly turn: number;
  readonly ring: number;
  /** Of u32 addresses. */
  readonly list: number;
  readonly port: MessagePort;
}

/** What is new since the last turn. */
export interface CpuNews {
  readonly maps: readonly MapImage[];
  readonly programs: readonly ProgramImage[];
  readonly network?: NetworkImage;
  /** The packet loop for what is attached now. */
  readonly loop?: { readonly keeps: Kept; readonly module: WebAssembly.Module; readonly programs: readonly number[] };
  /** What it reads packets from by itself. */
  readonly ring?: RingImage;
  /** Names of programs by id, for messages. */
  readonly names: readonly (readonly [id: number, name: string])[];
}

/** What happened on a CPU besides verdicts, each with the low half of the number of its packet. */
export interface CpuReport {
  readonly events: readonly { readonly packet: number; readonly event: MachineEvent }[];
  readonly copies: readonly { readonly packet: number; readonly ifindex: number; readonly bytes: Uint8Array }[];
  /** Why the CPU cannot go on. */
  readonly failure?: { readonly code?: ErrorCode; readonly message: string };
}

/** A thread has ended, which it never does by itself. */
export interface CpuEnd {
  readonly cpu: number;
  readonly why: string;
}
