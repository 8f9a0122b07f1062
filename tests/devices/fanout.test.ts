/** Sources in worker threads that share the packets of an interface. */
import { afterAll, expect, test } from 'vitest';
import { ethernet } from '../../dataplane/packet/ethernet.ts';
import { ipv4 } from '../../dataplane/packet/ipv4.ts';
import { udp } from '../../dataplane/packet/udp.ts';
import { REPOSITORY, Scratch } from '../cli/run-cli.ts';
import { captureOf } from './sample-packets.ts';
import { holds, Namespace, namespaceTitle, whyNoNamespaces, type Accounting } from './veth-pair.ts';

const FLOWS = 64;
const FIRST_PORT = 5000;
const scratch = new Scratch();
afterAll(() => scratch.remove());

test.skipIf(whyNoNamespaces !== undefined)(namespaceTitle('each packet comes to one of them, and packets of a flow to the same'), { timeout: 60_000 }, async () => {
  const flow = (port: number): Uint8Array => ethernet({ source: '02:00:00:00:00:0a', destination: '02:00:00:00:00:0b' }, ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }, udp({ sourcePort: port, destinationPort: 9 }, new Uint8Array(18))));
  const capture = captureOf(scratch, 'flows.pcap', Array.from({ length: FLOWS }, (_, index) => flow(FIRST_PORT + index)));
  const here = new Namespace();
  try {
    here.pair('near', 'far');
    const threads = here.start(process.execPath, `${REPOSITORY}tests/devices/fanout-workers.mjs`, 'near');
    let [said, errors] = ['', ''];
    const ready = new Promise<void>((resolve) => threads.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()) && resolve()));
    threads.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
    const ended = new Promise<void>((resolve) => threads.on('close', () => resolve()));
    await Promise.race([ready, ended]);
    const sent = await here.send('far', capture, '--loop', '50');
    threads.stdin.end();
    await ended;
    expect(errors).toBe('');
    const results = JSON.parse(said.split('\n')[1]!) as { readonly accounting: Accounting; readonly ports: Readonly<Record<string, number>> }[];
    expect(results.every(({ accounting }) => holds(accounting) && accounting.inFlight === 0)).toBe(true);
    expect(results.reduce((sum, { accounting }) => sum + accounting.received, 0)).toBe(sent);
    const ports = results.flatMap((result) => Object.entries(result.ports));
    expect(ports.map(([port]) => Number(port)).toSorted((a, b) => a - b)).toEqual(Array.from({ length: FLOWS }, (_, index) => FIRST_PORT + index));
    expect(ports.every(([, packets]) => packets === 50)).toBe(true);
    expect(results.every((result) => Object.keys(result.ports).length > 0)).toBe(true);
  } finally {
    here.remove();
  }
});
