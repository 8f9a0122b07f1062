/** The ways to get packets of a live interface, the best first. */
import { XdplabError } from '../errors.ts';
import { whatPacketSocketsMiss, whyNoPacketSockets } from './packet-socket.ts';
import { PacketRing } from './packet-ring.ts';
import { CapSource, whyNoCap } from './cap-source.ts';
import type { CaptureBackend } from './device.ts';

const afPacket: CaptureBackend = {
  name: 'af_packet',
  text: 'packet sockets of Linux with a ring of memory (TPACKET_V3)',
  missing: whatPacketSocketsMiss,
  refused: whyNoPacketSockets,
  open: async (device, options) => new PacketRing(device, options),
};

const cap: CaptureBackend = {
  name: 'cap',
  text: "libpcap, by the package cap: without the kernel's times and counts of losses",
  missing: whyNoCap,
  refused: whyNoRight,
  open: async (device, options) => {
    // Before libpcap, which has more to say of an interface.
    const refused = whyNoRight();
    if (refused !== undefined) throw new XdplabError('ERR_PRIVILEGE', refused);
    return new CapSource(device, options);
  },
};

/** On Linux libpcap takes packet sockets too; elsewhere, who may is known when it is tried. */
function whyNoRight(): string | undefined {
  return whatPacketSocketsMiss() === undefined ? whyNoPacketSockets() : undefined;
}

export const BACKENDS: readonly CaptureBackend[] = [afPacket, cap];
