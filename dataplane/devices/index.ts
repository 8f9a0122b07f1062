/** The ways to get packets of a live interface, the best first. */
import { whyNoPacketSockets } from './packet-socket.ts';
import { PacketRing } from './packet-ring.ts';
import type { CaptureBackend } from './device.ts';

const afPacket: CaptureBackend = {
  name: 'af_packet',
  text: 'packet sockets of Linux with a ring of memory (TPACKET_V3)',
  missing: async () => whyNoPacketSockets(),
  open: async (device, options) => new PacketRing(device, options),
};

export const BACKENDS: readonly CaptureBackend[] = [afPacket];
