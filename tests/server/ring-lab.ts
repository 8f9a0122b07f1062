/** A small lab whose verdicts go into a ring, as in the server, and what a subscription tells of it. */
import type { Lab } from '../../dataplane/pipeline/lab.ts';
import { DESCRIPTOR, PacketBatch } from '../../dataplane/packet/packet-batch.ts';
import type { LabNames } from '../../dataplane/server/lab-names.ts';
import { createVerdictRing, VerdictRing, VerdictRingWriter } from '../../dataplane/server/verdict-ring.ts';
import type { VerdictSubscription } from '../../dataplane/server/verdict-subscription.ts';

export function namesOf(lab: Lab): LabNames {
  const attachments = lab.pipeline.attachments.map(({ index, device, hook, mode, program }) => ({ index, device: device.name, hook, mode, object: 'o1', program: program.spec.name, verified: true }));
  return { epoch: 1, devices: lab.devices.map(({ name, ifindex }) => ({ name, ifindex })), attachments };
}

export interface RingLab {
  readonly ring: VerdictRing;
  readonly names: LabNames;
  /** Runs the packets, each one batch of a packet, with numbers that go on. */
  run(packets: readonly Uint8Array[]): void;
}

export function ringLab(lab: Lab, records: number, packetsBytes = 1 << 16): RingLab {
  const ring = new VerdictRing(createVerdictRing(records, packetsBytes));
  const writer = new VerdictRingWriter(ring.buffers, lab.pipeline);
  const { memory } = lab.machine;
  const batch = new PacketBatch(memory, 1);
  const window = memory.allocate(1 << 16, 64, 'packets');
  lab.pipeline.setInterface(0, lab.devices[0]);
  let number = 0n;
  return {
    ring,
    names: namesOf(lab),
    run(packets) {
      for (const packet of packets) {
        memory.u8.set(packet, window);
        const at = batch.descriptor(0);
        memory.view.setUint32(at + DESCRIPTOR.address, window, true);
        memory.view.setUint32(at + DESCRIPTOR.captured, packet.length, true);
        memory.view.setUint32(at + DESCRIPTOR.wire, packet.length, true);
        memory.view.setUint32(at + DESCRIPTOR.interface, 0, true);
        memory.view.setBigUint64(at + DESCRIPTOR.timestampNs, 1_700_000_000_000_000_000n + number, true);
        memory.view.setBigUint64(at + DESCRIPTOR.number, ++number, true);
        batch.count = 1;
        lab.pipeline.run(batch, writer);
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
