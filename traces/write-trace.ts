/** Puts a trace into a capture file. */
import type { OutputInterface } from '../dataplane/packet/capture-writer.ts';
import { openCaptureWriter } from '../dataplane/packet/capture-writer.ts';
import { NO_VERDICT } from '../dataplane/packet/packet-batch.ts';
import type { TracePacket } from './trace-packet.ts';

/** Where the clocks of all traces start: 2023-11-14 22:13:20 UTC. */
const START_SECONDS = 1_700_000_000n;
const NANOSECONDS = 9;

/** Returns how many packets were written. `interfaces` of pcapng may count time in units of their own. */
export function writeTrace(
  path: string,
  packets: Iterable<TracePacket>,
  interfaces: readonly OutputInterface[] = [{}],
): number {
  const writer = openCaptureWriter(path, 'xdplab traces');
  try {
    for (const description of interfaces) writer.addInterface(description);
    for (const { timeNs, bytes, wireLength = bytes.length, interface: index = 0 } of packets) {
      const units = toUnits(
        START_SECONDS * 1_000_000_000n + BigInt(timeNs),
        interfaces[index]?.resolution ?? NANOSECONDS,
      );
      writer.write(
        index,
        Number(units & 0xffff_ffffn),
        Number(units >> 32n),
        wireLength,
        bytes,
        0,
        bytes.length,
        NO_VERDICT,
        NO_VERDICT,
      );
    }
    return writer.packets;
  } finally {
    writer.close();
  }
}

function toUnits(timeNs: bigint, resolution: number): bigint {
  if (resolution === NANOSECONDS) return timeNs;
  const exponent = BigInt(resolution & 0x7f);
  return (timeNs * (resolution & 0x80 ? 1n << exponent : 10n ** exponent)) / 1_000_000_000n;
}
