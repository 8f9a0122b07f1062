/** A small lab whose verdicts go into a ring, as in the server, and what a subscription tells of it. */
import type { Lab } from '../../dataplane/pipeline/lab.ts';
import { DESCRIPTOR, PacketBatch } from '../../dataplane/packet/packet-batch.ts';
import { inTurn } from '../../dataplane/pipeline/pipeline.ts';
import type { LabNames } from '../../dataplane/server/lab-names.ts';
import { createVerdictRing, VerdictRing, VerdictRingWriter } from '../../dataplane/server/verdict-ring.ts';
import type { VerdictSubscription } from '../../dataplane/server/verdict-subscription.ts';

/** Of a packet. */
const MOST_BYTES = 256;

export function namesOf(lab: Lab): LabNames {
  const attachments = lab.pipeline.attachments.map(({ index, device, hook, mode, program }) => ({ index, device: device.name, hook, mode, object: 'o1', program: program.spec.name, verified: true }));
  return { epoch: 1, devices: lab.devices.map(({ name, ifindex }) => ({ name, ifindex })), attachments };
}

export interface RingLab {
  readonly ring: VerdictRing;
  readonly names: LabNames;
  /** Runs the packets in batches, with numbers that go on. `afterPiece` is called whenever the ring was written to. */
  run(packets: readonly Uint8Array[], afterPiece?: () => void): void;
}

export function ringLab(lab: Lab, records: number, { packetsBytes = 1 << 16, batchPackets = 1 }: { readonly packetsBytes?: number; readonly batchPackets?: number } = {}): RingLab {
  const ring = new VerdictRing(createVerdictRing(records, packetsBytes));
  const writer = new VerdictRingWriter(ring.buffers, lab.pipeline);
  const { memory } = lab.machine;
  const batch = new PacketBatch(memory, batchPackets);
  const window = memory.allocate(batchPackets * MOST_BYTES, 64, 'packets');
  lab.pipeline.setInterface(0, lab.devices[0]);
  let number = 0n;
  return {
    ring,
    names: namesOf(lab),
    run(packets, afterPiece = () => {}) {
      for (let first = 0; first < packets.length; first += batchPackets) {
        const some = packets.slice(first, first + batchPackets);
        batch.count = some.length;
        for (const [index, packet] of some.entries()) {
          const [at, address] = [batch.descriptor(index), window + index * MOST_BYTES];
          memory.u8.set(packet, address);
          memory.view.setUint32(at + DESCRIPTOR.address, address, true);
          memory.view.setUint32(at + DESCRIPTOR.captured, packet.length, true);
          memory.view.setUint32(at + DESCRIPTOR.wire, packet.length, true);
          memory.view.setUint32(at + DESCRIPTOR.interface, 0, true);
          memory.view.setBigUint64(at + DESCRIPTOR.timestampNs, 1_700_000_000_000_000_000n + number, true);
          memory.view.setBigUint64(at + DESCRIPTOR.number, ++number, true);
        }
        lab.pipeline.run(batch, inTurn([writer, { looksAt: 'records', finished: afterPiece }]));
      }
    },
  };
}

/** All that there is now. */
export function takeAll(subscription: VerdictSubscription, names: LabNames, nowMs = 0): (Buffer | string)[] {
  const messages: (Buffer | string)[] = [];
  for (;;) {
    const { message, done } = subscription.take(names, nowMs);
    if (message !== undefined) messages.push(message);
    if (done) return messages;
  }
}
