/**
 * Writes every packet as it left the hooks, with its verdicts, to a capture: one interface per device, and one for
 * each interface of the input whose packets cannot be run.
 */
import { MAX_CAPTURED_BYTES, type CaptureInterface } from '../packet/capture-reader.ts';
import { openCaptureWriter, type CaptureWriter } from '../packet/capture-writer.ts';
import { FRAME } from '../packet/frame.ts';
import { DESCRIPTOR, NO_VERDICT, type PacketBatch } from '../packet/packet-batch.ts';
import type { BatchObserver, Pipeline } from './pipeline.ts';

/** The longest packet of a capture, and what helpers can add to it. */
const LONGEST_BYTES = MAX_CAPTURED_BYTES + FRAME.skbHeadroom + FRAME.size;

export class CaptureOutput implements BatchObserver {
  readonly #writer: CaptureWriter;
  /** Ifindex of the device that a capture interface stands for, 0 for none. */
  readonly #ofInterface: (index: number) => number;
  /** The writer's interface by ifindex. */
  readonly #byIfindex = new Map<number, number>();
  /** And by interface of the input, for those that are no device. */
  readonly #foreign = new Map<number, number>();

  constructor(pipeline: Pipeline, path: string, ofInterface: (index: number) => number) {
    this.#writer = openCaptureWriter(path, 'xdplab', { behind: true });
    this.#ofInterface = ofInterface;
    const unproven = pipeline.attachments.some(({ program }) => program.proof === 'none') ? ', programs not verified' : '';
    for (const { name, ifindex } of pipeline.devices) this.#byIfindex.set(ifindex, this.#writer.addInterface({ name, comment: `ifindex ${ifindex}${unproven}` }));
  }

  /** Interface `index` of the input is no device: its packets are kept as they are. */
  addForeign(index: number, { linkType, name }: CaptureInterface): void {
    if (this.#foreign.has(index)) return;
    this.#foreign.set(index, this.#writer.addInterface({ linkType, ...(name === undefined ? {} : { name }) }));
  }

  finished(batch: PacketBatch, first: number, count: number): void {
    const { u8, u32, i32 } = batch.memory;
    for (let index = first; index < first + count; index++) {
      const at = batch.descriptor(index) >>> 2;
      const address = u32[at + DESCRIPTOR.leftAddress / 4]!;
      // A program may have overwritten its context, where these come from.
      const claimed = u32[at + DESCRIPTOR.leftLength / 4]!;
      const length = claimed <= LONGEST_BYTES && address + claimed <= u8.length ? claimed : 0;
      const left = u32[at + DESCRIPTOR.leftIfindex / 4]!;
      const captured = u32[at + DESCRIPTOR.captured / 4]!;
      // What the capture had cut off was on the wire all the same.
      const wire = length + (u32[at + DESCRIPTOR.wire / 4]! - captured);
      const ingress = i32[at + DESCRIPTOR.tcIngress / 4]!;
      const egress = i32[at + DESCRIPTOR.tcEgress / 4]!;
      const input = u32[at + DESCRIPTOR.interface / 4]!;
      this.#writer.write(
        (left !== 0 ? undefined : this.#foreign.get(input)) ?? this.#byIfindex.get(left !== 0 ? left : this.#ofInterface(input)) ?? 0,
        u32[at + DESCRIPTOR.timestampNs / 4]!,
        u32[at + DESCRIPTOR.timestampNs / 4 + 1]!,
        wire,
        u8,
        address,
        length,
        i32[at + DESCRIPTOR.xdp / 4]!,
        egress !== NO_VERDICT ? egress : ingress,
      );
    }
  }

  flush(): void {
    this.#writer.flush();
  }

  /** Before `close`, so that nothing is on its way. */
  settled(): Promise<void> {
    return this.#writer.settled();
  }

  close(): void {
    this.#writer.close();
  }
}
