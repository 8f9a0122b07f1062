/**
 * What a capture is to the rest of the program: packets that appear in a window of machine memory, a batch of
 * descriptors at a time. Files: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
 *
 * Invariant: reading ends either at the end or at damage, and every packet before the damage was delivered.
 * `read` throws nothing but what a caller's own mistake causes.
 */
import { XdplabError } from '../errors.ts';
import type { PacketBatch } from './packet-batch.ts';

/** The link type an XDP program can look at (tcpdump.org/linktypes.html). */
export const LINK_TYPE_ETHERNET = 1;

/** No packet is longer: what libpcap and Wireshark hold to, and what keeps nonsense lengths harmless. */
export const MAX_CAPTURED_BYTES = 262_144;

export interface CaptureInterface {
  /** LINKTYPE_ number without the flag bits that pcap keeps beside it. */
  readonly linkType: number;
  /** The capture's own name for it, control characters replaced. */
  readonly name?: string;
  /** Bytes kept of each packet, 0 for all. */
  readonly snapLength: number;
  /** As people write it: '10^-6' or '2^-20' seconds. */
  readonly resolution: string;
  /** Bytes of Ethernet checksum at the end of each packet. They are left out, as a NIC leaves them out. */
  readonly fcsBytes: number;
}

export interface CaptureReader {
  readonly format: 'pcap' | 'pcapng';
  readonly compression: 'none' | 'gzip' | 'zstd';
  /** Grows as the capture describes more of them. A descriptor's `interface` is an index into it. */
  readonly interfaces: readonly CaptureInterface[];
  /**
   * Fills `batch` from its first descriptor with the next packets, sets `batch.count` and returns it; 0 at the
   * end. Answers a promise only when bytes have to be waited for, which a file never asks.
   * Borrowed: the addresses point into the window and are valid until the next call.
   */
  read(batch: PacketBatch): number | Promise<number>;
  /** Set when `read` has answered 0 because of damage: one line with the offset. */
  readonly damage: XdplabError | undefined;
  /** Bytes taken from the file or stream, before decompression. */
  readonly bytesRead: number;
  /** Its size, where it is known. */
  readonly totalBytes: number | undefined;
  close(): Promise<void>;
}

/** `trace.pcap: byte 40: record 1 says … were captured, expected …`. */
export function captureDamage(name: string, offset: number, problem: string): XdplabError {
  return new XdplabError('ERR_CAPTURE', `${name}: byte ${offset}: ${problem}; what came before it was read`);
}

/** Text from a capture is printed on terminals: control characters become U+FFFD. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are the ones that must not reach a terminal
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '\uFFFD');
}
