/** Ctrl-C, and readers that go away. */
import { afterAll, describe, expect, test } from 'vitest';
import { readFileSync } from 'node:fs';
import { readCapture } from '../packet/crafted-capture.ts';
import { ended, object, Scratch, start, trace, xdplab } from './run-cli.ts';

const scratch = new Scratch();
afterAll(() => scratch.remove());

describe('Ctrl-C', () => {
  test('in the middle of a long loop prints the summary so far and ends with 130', async () => {
    const child = start(['replay', trace('imix.pcap'), '--xdp', object('flow_counter.bpf.o'), '--loop', '1000000000', '--verdicts', '-']);
    child.stdout.once('data', () => child.kill('SIGINT'));
    const { status, stdout, stderr } = await ended(child);
    expect(status).toBe(130);
    const packets = stdout.split('\n').length - 1;
    expect(stderr).toContain(`${packets.toLocaleString('en-US')} packets, `);
    expect(stderr).toMatch(/^interrupted: [\d.]+ [kM]? ?packets\/s/m);
    expect(JSON.parse(stdout.slice(stdout.lastIndexOf('\n', stdout.length - 2) + 1))).toMatchObject({ packet: packets });
  });

  test('does not wait for the time of the next packet', async () => {
    const child = start(['replay', trace('imix.pcap'), '--speed', '0.0001x', '--out', '-']);
    child.stdout.once('data', () => child.kill('SIGINT'));
    const { status, stdoutBytes, stderr } = await ended(child);
    expect(status).toBe(130);
    expect(stderr).toMatch(/^interrupted: /m);
    const { packets, damage } = await readCapture(scratch.file('so-far.pcapng', stdoutBytes));
    expect(damage).toBeUndefined();
    expect(packets.length).toBeGreaterThan(0);
    expect(stderr).toContain(`${packets.length} packets`);
  });

  test('does not wait for bytes that do not come', async () => {
    const child = start(['replay', '-', '--speed', 'original', '--verdicts', '-']);
    const capture = readFileSync(trace('imix.pcap'));
    child.stdin.write(capture.subarray(0, 24 + 16 + capture.readUInt32LE(32)));
    child.stdout.once('data', () => child.kill('SIGINT'));
    const { status, stdout, stderr } = await ended(child);
    expect({ status, lines: stdout.split('\n').length - 1 }).toEqual({ status: 130, lines: 1 });
    expect(stderr).toMatch(/^interrupted: /m);
    expect(stderr).not.toContain('xdplab:');
    child.stdin.destroy();
  });
});

describe('a reader that goes away', () => {
  const left = async (args: readonly string[]): Promise<{ status: number | null; stderr: string }> => {
    const child = start(args);
    child.stdout.once('data', () => child.stdout.destroy());
    const { status, stderr } = await ended(child);
    return { status, stderr };
  };

  test.each([
    ['of verdicts', ['replay', trace('demo.pcapng'), '--xdp', object('flow_counter.bpf.o'), '--loop', '1000', '--verdicts', '-']],
    ['of packets', ['replay', trace('demo.pcapng'), '--xdp', object('flow_counter.bpf.o'), '--loop', '1000', '--out', '-']],
    ['of a listing', ['dump', object('xdp_firewall.bpf.o')]],
  ])('%s ends the command quietly', async (_what, args) => {
    expect(await left(args)).toEqual({ status: 0, stderr: '' });
  });

  test('leaves what goes to files complete', async () => {
    const out = scratch.at('kept.pcapng');
    expect(await left(['replay', trace('demo.pcapng'), '--loop', '50', '--verdicts', '-', '--out', out])).toEqual({ status: 0, stderr: '' });
    const { packets, damage } = await readCapture(out);
    expect(damage).toBeUndefined();
    expect(packets.length).toBeGreaterThan(0);
  });
});

test('a full disk is one line and status 1', async () => {
  const runs = await Promise.all([xdplab(['replay', trace('demo.pcapng'), '--out', '/dev/full']), xdplab(['replay', trace('imix.pcap'), '--verdicts', '/dev/full'])]);
  for (const run of runs) expect(run).toMatchObject({ status: 1, stdout: '', stderr: 'xdplab: /dev/full: ENOSPC: no space left on device, write\n' });
});
