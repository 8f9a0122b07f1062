/** One file format of captures: turns what lies in the window into descriptors. */
import type { XdplabError } from '../errors.ts';
import type { CaptureInterface } from './capture-reader.ts';
import type { PacketBatch } from './packet-batch.ts';

export interface CaptureWalk {
  readonly format: 'pcap' | 'pcapng';
  readonly interfaces: readonly CaptureInterface[];
  /** Set by a `walk` that met damage before any packet. */
  readonly damage: XdplabError | undefined;
  /** Describes the packets that lie whole in the window, from its start; 0 when more bytes are needed. */
  walk(batch: PacketBatch): number;
  /** What is missing of the record at the window's start, for the message when the bytes end in it. */
  cut(): string;
}
