/**
 * The tables that the packet loop reads and writes in machine memory, little-endian.
 *
 * A device record:                          An attachment: a program at a hook of a device.
 *    0 u32 ifindex                             0 u32 programId
 *    4 u32 mtu                                 4 u32 outcomes   address of its mode's outcome table
 *    8 u8[6] mac, two bytes of nothing         8 u32 index      place among all attachments
 *   16 u32 flags      DEVICE_FLAG             12 u32 hook       index in HOOK_NAMES
 *   20 u32 rss, see below                      16 verdicts       16 × { u64 packets, u64 bytes }, by verdict slot
 *   24 u64 rxPackets, 32 u64 rxBytes         272 u64 faults
 *   40 u64 txPackets, 48 u64 txBytes         280 u32 next     in the list of those in slots, 0 at its end
 *   56 u32 peer       ifindex of the other end of a pair, 0 if it has none
 *   60 u32 inSlots    first of a list of attachments: programs in slots of maps that have run for the device
 *
 * Of `rss`, receive-side-scaling.ts: it is 0 where the device has one queue.
 *
 * A verdict slot is the return code + 1, and 15 for codes that are in no slot: -1 is 0, XDP_ABORTED and TC_ACT_OK
 * are 1, and so on. An outcome table is 16 bytes, by verdict slot: the number of the Outcome.
 *
 * A verdict record, one for every program that was run on a packet:
 *    0 u64 number       the packet's place in the capture, from 1
 *    8 u64 timestampNs
 *   16 u32 length       of the packet after the program
 *   20 u32 ifindex      of the device where the packet was: for a program in a slot, where it came in
 *   24 i32 verdict      as returned
 *   28 u16 attachment   index
 *   30 u8  hook         index in HOOK_NAMES
 *   31 u8  fault        FAULT_*: why the program was stopped, 0 if it was not
 */
import { XDP_MD } from '../packet/frame.ts';

export const DEVICE = {
  ifindex: 0,
  mtu: 4,
  mac: 8,
  flags: 16,
  rss: 20,
  rxPackets: 24,
  rxBytes: 32,
  txPackets: 40,
  txBytes: 48,
  peer: 56,
  inSlots: 60,
  size: 64,
} as const;

export const DEVICE_FLAG = {
  up: 1,
  /** Its address is known: packets from it were sent by the host and go through egress. An all-zero MAC is unknown. */
  knowsOwn: 2,
} as const;

/** Of an entry of the table of interfaces, beside the address of a device record: who has sent its packets, where that is known. Else their source address says it. */
export const SENDER = { host: 1, wire: 2, mask: 3 } as const;
export type Sender = Exclude<keyof typeof SENDER, 'mask'>;

export const ATTACHMENT = { programId: 0, outcomes: 4, index: 8, hook: 12, verdicts: 16, faults: 272, next: 280, size: 320 } as const;

export { OTHER_VERDICT_SLOT, VERDICT_SLOTS, verdictSlot } from '../hooks/hook.ts';

export const RECORD = { number: 0, timestampNs: 8, length: 16, ifindex: 20, verdict: 24, attachment: 28, hook: 30, fault: 31, size: 32 } as const;

/** Cells of the packet loop itself. */
export const LOOP = {
  /** Where the next record goes. */
  recordCursor: 0,
  /** Where the next frame goes. */
  arenaCursor: 4,
  /** Where the room for records ends. */
  recordsEnd: 8,
  /** Attachment that runs now, for the case that it faults. */
  attachment: 12,
  hops: 20,
  /** Where the next packet goes that is handed to another CPU. */
  handedOver: 24,
  /** Counters, u64 each, by drop reason: packets dropped or rejected for it. */
  reasons: 64,
  /** Counters, u64 each, by fate: packets and bytes. */
  fatePackets: 64 + 8 * 32,
  fateBytes: 64 + 8 * 48,
  truncated: 64 + 8 * 64,
  /** Counter, u64: bytes of packets as they came in, whatever became of them. */
  bytes: 64 + 8 * 65,
  size: 1024,
} as const;

/** A packet that a CPUMAP hands to another CPU, as the first leaves it. */
export const HANDOVER = {
  cpu: 0,
  /** In the slot, 0 for none. */
  program: 4,
  /** Of its device: offset in the table of devices, of which each CPU has its own. */
  device: 8,
  descriptor: 12,
  /** What time it is for the packet, u64. */
  now: 16,
  /** struct xdp_md, and what is behind it. */
  context: 24,
  size: 24 + XDP_MD.size,
} as const;

/** Hops between devices that one packet may make: Linux's XMIT_RECURSION_LIMIT. */
export const MAX_HOPS = 8;

/** Chains that one packet may meet: XDP and TC where it comes in, one more with each hop. */
export const MAX_CHAINS = 2 + MAX_HOPS;

/** Programs in slots that one packet may meet: of a CPUMAP, then of a DEVMAP. */
export const MAX_IN_SLOTS = 2;
