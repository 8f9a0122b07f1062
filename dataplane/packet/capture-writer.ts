/**
 * Writes captures: pcapng with verdicts as xdpdump writes them, so that Wireshark's `frame.verdict.ebpf_xdp`
 * and `frame.verdict.ebpf_tc` filter on them, or plain nanosecond pcap.
 *
 * Nothing is allocated per packet: a packet is numbers and a stretch of an array the caller owns.
 */
import type { LeftInterfaces } from './left-packets.ts';
import { OutputFile, type OutputFileOptions } from './output-file.ts';
import type { PacketBatch } from './packet-batch.ts';
import { PcapWriter } from './pcap-writer.ts';
import { PcapngWriter } from './pcapng-writer.ts';

export interface OutputInterface {
  readonly name?: string;
  /** Shown by Wireshark beside the interface, for what has no field of its own (an ifindex). */
  readonly comment?: string;
  /** LINKTYPE_ number, Ethernet unless given. */
  readonly linkType?: number;
  /** Bytes kept of each packet, 0 for all. */
  readonly snapLength?: number;
  /** The octet of if_tsresol, 9 (nanoseconds) unless given: the unit of the timestamps given with its packets. */
  readonly resolution?: number;
}

/** epb_flags, bits 0 and 1. */
export const DIRECTION = { unknown: 0, inbound: 1, outbound: 2 } as const;
export type Direction = (typeof DIRECTION)[keyof typeof DIRECTION];

export interface PacketNotes {
  readonly direction?: Direction;
  readonly comment?: string;
}

export interface CaptureWriter {
  readonly packets: number;
  /** Bytes written so far, before packing. */
  readonly lengthBytes: number;
  /** Announces an interface and returns the index to write packets with. */
  addInterface(description: OutputInterface): number;
  /**
   * Writes `bytes[at, at + lengthBytes)` as one packet. A verdict of NO_VERDICT is left out. `notes` is for
   * rare packets: it allocates.
   */
  write(
    interfaceIndex: number,
    timestampLow: number,
    timestampHigh: number,
    wireLength: number,
    bytes: Uint8Array,
    at: number,
    lengthBytes: number,
    xdpVerdict: number,
    tcVerdict: number,
    notes?: PacketNotes,
  ): void;
  /** Writes packets `first` to `first + count - 1` of a batch as they left the hooks, with their verdicts. */
  writeLeft(batch: PacketBatch, first: number, count: number, interfaces: LeftInterfaces): void;
  /** Gives what is buffered to the operating system. */
  flush(): void;
  /** Before `close`: as of OutputFile. */
  settled(): Promise<void>;
  close(): void;
}

/** The format follows the name: .pcap and .pcap.gz are pcap, everything else ('-' too) pcapng. */
export function openCaptureWriter(path: string, application = 'xdplab', options: OutputFileOptions = {}): CaptureWriter {
  const output = new OutputFile(path, options);
  return /\.pcap(\.gz)?$/.test(path) ? new PcapWriter(output, path) : new PcapngWriter(output, application);
}
