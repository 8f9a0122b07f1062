/** Small captures, made by the tests that send them. */
import { openCaptureWriter } from '../../dataplane/packet/capture-writer.ts';
import { ethernet } from '../../dataplane/packet/ethernet.ts';
import { ipv4 } from '../../dataplane/packet/ipv4.ts';
import { NO_VERDICT } from '../../dataplane/packet/packet-batch.ts';
import { udp } from '../../dataplane/packet/udp.ts';
import type { Scratch } from '../cli/run-cli.ts';

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

export function udpTo(destinationPort: number, length = 18): Uint8Array {
  return ethernet({ source: '02:00:00:00:00:0a', destination: '02:00:00:00:00:0b' }, ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }, udp({ sourcePort: 4000, destinationPort }, new Uint8Array(length))));
}

/** A capture file with these packets. */
export function captureOf(scratch: Scratch, name: string, packets: readonly Uint8Array[]): string {
  const path = scratch.at(name);
  const writer = openCaptureWriter(path);
  writer.addInterface({ name: 'eth0' });
  for (const bytes of packets) writer.write(0, 0, 0, bytes.length, bytes, 0, bytes.length, NO_VERDICT, NO_VERDICT);
  writer.close();
  return path;
}
