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
import { secondsOf } from '../packet/timestamp.ts';
import { jsonText } from './json-text.ts';
import { RECORD, VERDICT_SLOTS } from './layout.ts';
import { DROP_REASONS, FATES } from './outcome.ts';
import type { BatchObserver, Pipeline } from './pipeline.ts';

const FAULT_NAMES = Object.keys(FAULT);
const NS_PER_SECOND = 1_000_000_000;
const TWO_32 = 4_294_967_296;

/** Writes the log line by line to `write`, a stretch of packets at a time. What lines have in common is made once. */
export class VerdictLog implements BatchObserver {
  readonly looksAt = 'descriptors';
  readonly #pipeline: Pipeline;
  readonly #interfaceNames: (index: number) => string;
  readonly #write: (lines: string) => void;
  /** By interface: the name as JSON. */
  readonly #names: string[] = [];
  /** By attachment, then by verdict slot: a verdict up to its length. */
  readonly #verdicts: (string | undefined)[][] = [];
  readonly #fates = new Map<number, string>();
  #second = -1;
  /** `#second` as text, with its point. */
  #secondText = '';

  /** An interface's name is asked for once, at its first packet. */
  constructor(pipeline: Pipeline, interfaceNames: (index: number) => string, write: (lines: string) => void) {
    this.#pipeline = pipeline;
    this.#interfaceNames = interfaceNames;
    this.#write = write;
  }

  finished(batch: PacketBatch, first: number, count: number, records: DataView, recordCount: number): void {
    const { u32 } = batch.memory;
    let lines = '';
    let record = 0;
    for (let index = first; index < first + count; index++) {
      const at = batch.descriptor(index) >>> 2;
      const low = u32[at + DESCRIPTOR.number / 4]!;
      const number = low + u32[at + DESCRIPTOR.number / 4 + 1]! * TWO_32;
      let verdicts = '';
      // Packets of one batch differ in the lower half of their numbers.
      for (; record < recordCount && records.getUint32(record * RECORD.size, true) === low; record++) {
        verdicts += (verdicts === '' ? '' : ',') + this.#verdict(records, record * RECORD.size);
      }
      lines += `{"packet":${number},"time":"${this.#time(u32, at + DESCRIPTOR.timestampNs / 4)}","device":${this.#name(u32[at + DESCRIPTOR.interface / 4]!)},`;
      lines += `"length":${u32[at + DESCRIPTOR.captured / 4]!},"verdicts":[${verdicts}],${this.#fate(u32, at)}}\n`;
    }
    this.#write(lines);
  }

  #time(u32: Uint32Array, word: number): string {
    const low = u32[word]!;
    const second = secondsOf(low, u32[word + 1]!);
    if (second !== this.#second) {
      this.#second = second;
      this.#secondText = `${second}.`;
    }
    // What is left after the seconds is below 2^30, so the lower words alone give it.
    const rest = (low - Math.imul(second, NS_PER_SECOND)) >>> 0;
    return this.#secondText + String(rest).padStart(9, '0');
  }

  #name(interfaceIndex: number): string {
    return (this.#names[interfaceIndex] ??= jsonText(this.#interfaceNames(interfaceIndex)));
  }

  #verdict(records: DataView, at: number): string {
    const attachment = records.getUint16(at + RECORD.attachment, true);
    const code = records.getInt32(at + RECORD.verdict, true);
    const fault = records.getUint8(at + RECORD.fault);
    const known = (this.#verdicts[attachment] ??= []);
    // Codes that are no verdicts are not kept: a program may return millions of them.
    const start = known[code + 1] ?? this.#verdictStart(attachment, code);
    if (code >= -1 && code < VERDICT_SLOTS) known[code + 1] = start;
    const stopped = fault === FAULT.none ? '' : `,"fault":"${FAULT_NAMES[fault]}"`;
    return `${start}${records.getUint32(at + RECORD.length, true)}${stopped}}`;
  }

  #verdictStart(index: number, code: number): string {
    const { hook, mode, program } = this.#pipeline.attachments[index]!;
    const { inSlots = false } = hookByName(hook).modes[mode]!;
    return `{"hook":"${hook}",${inSlots ? `"mode":"${mode}",` : ''}"program":${jsonText(program.spec.name)},${program.proof === 'none' ? '"verified":false,' : ''}"verdict":"${verdictName(hookByName(hook), mode, code)}","length":`;
  }

  #fate(u32: Uint32Array, at: number): string {
    const outcome = u32[at + DESCRIPTOR.outcome / 4]!;
    const ifindex = u32[at + DESCRIPTOR.leftIfindex / 4]!;
    const key = outcome + ifindex * TWO_32;
    let text = this.#fates.get(key);
    if (text === undefined) {
      const reason = outcome >>> 16;
      const out = ifindex === 0 ? undefined : this.#pipeline.devices.find((device) => device.ifindex === ifindex);
      text = `"fate":"${FATES[outcome & 0xffff]!}"${reason === 0 ? '' : `,"reason":"${DROP_REASONS[reason]!.name}"`}${out === undefined ? '' : `,"out":${jsonText(out.name)}`}`;
      this.#fates.set(key, text);
    }
    return text;
  }
}

/** Seconds since the epoch with nine decimals. */
export function seconds(timestampNs: bigint): string {
  return `${timestampNs / BigInt(NS_PER_SECOND)}.${(timestampNs % BigInt(NS_PER_SECOND)).toString().padStart(9, '0')}`;
}
