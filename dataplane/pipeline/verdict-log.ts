/**
 * The verdict log: one JSON line a packet, in capture order. The same capture and seed give the same bytes on every
 * engine, so logs can be compared with diff.
 *
 *   {"packet":7,"time":"1700000000.000000601","device":"eth0","length":66,"verdicts":[{"hook":"xdp",
 *    "program":"xdp_lb","verdict":"XDP_TX","length":86}],"fate":"transmitted","out":"eth0"}
 */
import { FAULT } from '../machine/cpu.ts';
import { hookByName, verdictName } from '../hooks/index.ts';
import { DESCRIPTOR, type PacketBatch } from '../packet/packet-batch.ts';
import { RECORD } from './layout.ts';
import { DROP_REASONS, FATES } from './outcome.ts';
import type { BatchObserver, Pipeline } from './pipeline.ts';

const FAULT_NAMES = Object.keys(FAULT);
const NS_PER_SECOND = 1_000_000_000n;

/** Writes the log line by line to `write`, a stretch of packets at a time. */
export class VerdictLog implements BatchObserver {
  readonly #pipeline: Pipeline;
  readonly #interfaceNames: (index: number) => string;
  readonly #write: (lines: string) => void;

  constructor(pipeline: Pipeline, interfaceNames: (index: number) => string, write: (lines: string) => void) {
    this.#pipeline = pipeline;
    this.#interfaceNames = interfaceNames;
    this.#write = write;
  }

  finished(batch: PacketBatch, first: number, count: number, records: DataView, recordCount: number): void {
    const { view } = batch.memory;
    let lines = '';
    let record = 0;
    for (let index = first; index < first + count; index++) {
      const at = batch.descriptor(index);
      const number = view.getBigUint64(at + DESCRIPTOR.number, true);
      let verdicts = '';
      for (; record < recordCount && records.getBigUint64(record * RECORD.size, true) === number; record++) {
        verdicts += (verdicts === '' ? '' : ',') + this.#verdict(records, record * RECORD.size);
      }
      lines += `{"packet":${number},"time":"${seconds(view.getBigUint64(at + DESCRIPTOR.timestampNs, true))}",`;
      lines += `"device":${JSON.stringify(this.#interfaceNames(view.getUint32(at + DESCRIPTOR.interface, true)))},`;
      lines += `"length":${view.getUint32(at + DESCRIPTOR.captured, true)},"verdicts":[${verdicts}],${this.#fate(view, at)}}\n`;
    }
    this.#write(lines);
  }

  #verdict(records: DataView, at: number): string {
    const attachment = this.#pipeline.attachments[records.getUint16(at + RECORD.attachment, true)]!;
    const verdict = verdictName(hookByName(attachment.hook), attachment.mode, records.getInt32(at + RECORD.verdict, true));
    const fault = records.getUint8(at + RECORD.fault);
    const length = records.getUint32(at + RECORD.length, true);
    const stopped = fault === FAULT.none ? '' : `,"fault":"${FAULT_NAMES[fault]}"`;
    const program = JSON.stringify(attachment.program.spec.name);
    return `{"hook":"${attachment.hook}","program":${program},"verdict":"${verdict}","length":${length}${stopped}}`;
  }

  #fate(view: DataView, at: number): string {
    const fate = FATES[view.getUint16(at + DESCRIPTOR.outcome, true)]!;
    const reason = view.getUint16(at + DESCRIPTOR.reason, true);
    const ifindex = view.getUint32(at + DESCRIPTOR.leftIfindex, true);
    const out = ifindex === 0 ? undefined : this.#pipeline.devices.find((device) => device.ifindex === ifindex);
    return `"fate":"${fate}"${reason === 0 ? '' : `,"reason":"${DROP_REASONS[reason]!.name}"`}${out === undefined ? '' : `,"out":${JSON.stringify(out.name)}`}`;
  }
}

/** Seconds since the epoch with nine decimals. */
export function seconds(timestampNs: bigint): string {
  return `${timestampNs / NS_PER_SECOND}.${(timestampNs % NS_PER_SECOND).toString().padStart(9, '0')}`;
}
