/**
 * Writes every packet as it left the hooks, with its verdicts, to a capture: one interface per device, and one for
 * each interface of the input whose packets cannot be run.
 */
import type { NetworkDevice } from '../machine/network.ts';
import type { CaptureInterface } from '../packet/capture-reader.ts';
import { openCaptureWriter, type CaptureWriter } from '../packet/capture-writer.ts';
import type { PacketBatch } from '../packet/packet-batch.ts';
import type { BatchObserver, Pipeline } from './pipeline.ts';

export class CaptureOutput implements BatchObserver {
  readonly #writer: CaptureWriter;
  /** The writer's interface by ifindex, and by interface of the input. */
  readonly #interfaces: { readonly ofDevice: Map<number, number>; readonly ofInput: number[] } = { ofDevice: new Map(), ofInput: [] };

  constructor(pipeline: Pipeline, path: string) {
    this.#writer = openCaptureWriter(path, 'xdplab', { behind: true });
    const unproven = pipeline.attachments.some(({ program }) => program.proof === 'none') ? ', programs not verified' : '';
    for (const { name, ifindex } of pipeline.devices) this.#interfaces.ofDevice.set(ifindex, this.#writer.addInterface({ name, comment: `ifindex ${ifindex}${unproven}` }));
  }

  /** An interface of the input, before its first packet. Packets of one that is no device are kept as they are. */
  addInput(index: number, device: NetworkDevice | undefined, description?: CaptureInterface): void {
    const { ofDevice, ofInput } = this.#interfaces;
    if (ofInput[index] !== undefined) return;
    ofInput[index] = device === undefined && description !== undefined ? this.#addForeign(description) : (ofDevice.get(device?.ifindex ?? 0) ?? 0);
  }

  finished(batch: PacketBatch, first: number, count: number): void {
    this.#writer.writeLeft(batch, first, count, this.#interfaces);
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

  #addForeign({ linkType, name }: CaptureInterface): number {
    return this.#writer.addInterface({ linkType, ...(name === undefined ? {} : { name }) });
  }
}
