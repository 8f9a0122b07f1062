/**
 * Wireshark's tshark as the second opinion: what it reads of our files is what we wrote, and of any capture it
 * reads what our reader reads. Shown as skipped where it is not installed.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

import { afterAll, describe, expect, test } from 'vitest';

import { openCaptureWriter } from '../../dataplane/packet/capture-writer.ts';
import { NO_VERDICT } from '../../dataplane/packet/packet-batch.ts';
import { join8, pattern, pcapFile, PcapngCraft, readCapture, ScratchFolder } from './crafted-capture.ts';

const scratch = new ScratchFolder();
afterAll(() => scratch.remove());

const isHere = spawnSync('tshark', ['--version']).status === 0;
const traces = new URL('../../traces/', import.meta.url).pathname;

/** One row per packet, a column per field. */
function tshark(path: string, fields: readonly string[], ...flags: readonly string[]): string[][] {
  const columns = fields.flatMap((field) => ['-e', field]);
  const { stdout, status, stderr } = spawnSync('tshark', ['-n', '-r', path, ...flags, '-T', 'fields', ...columns], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  if (status !== 0) throw new Error(stderr);
  return stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => line.split('\t'));
}

const seconds = (timestampNs: bigint) =>
  `${timestampNs / 1_000_000_000n}.${String(timestampNs % 1_000_000_000n).padStart(9, '0')}`;

async function expectSameReading(path: string): Promise<void> {
  const { packets, damage } = await readCapture(path);
  expect(damage).toBeUndefined();
  const ours = packets.map((packet) => [
    String(packet.number),
    seconds(packet.timestampNs),
    String(packet.wire),
    String(packet.bytes.length),
  ]);
  expect(tshark(path, ['frame.number', 'frame.time_epoch', 'frame.len', 'frame.cap_len'])).toEqual(ours);
}

/** A section with one interface and one packet. */
function craft(littleEndian: boolean, resolution: number, units: bigint, offset = 0): Uint8Array {
  const make = new PcapngCraft(littleEndian);
  const options = [make.option(9, Uint8Array.of(resolution)), make.option(14, make.fields([8, offset]))];
  return join8(make.section(), make.interface({ options }), make.packet(pattern(60), { units, wire: 70 }));
}

const text = (verdict: number) => (verdict === NO_VERDICT ? '' : String(verdict));

describe.skipIf(!isHere)('tshark (needs tshark)', () => {
  test.each(['interfaces.pcapng', 'snapped.pcapng', 'packed.pcap.gz', 'jumbo.pcap', 'raw-ip.pcap'])(
    'reads %s as we do',
    async (file) => {
      await expectSameReading(join(traces, file));
    },
  );

  test.each([
    ['big-endian microseconds', pcapFile({ littleEndian: false }, [{ bytes: pattern(60), fraction: 999_999 }])],
    ['nanoseconds', pcapFile({ magic: 0xa1b23c4d }, [{ bytes: pattern(60), fraction: 999_999_999, wire: 90 }])],
    ['modified', pcapFile({ magic: 0xa1b2cd34, extra: 8 }, [{ bytes: pattern(60) }, { bytes: pattern(61) }])],
  ])('reads %s pcap as we do', async (_name, bytes) => {
    await expectSameReading(scratch.file(bytes));
  });

  test('reads other resolutions, offsets, sections and byte orders as we do', async () => {
    const bytes = join8(
      craft(true, 9, 1_700_000_000_123_456_789n),
      craft(false, 3, 1_700_000_000_123n),
      craft(true, 0x80 | 3, 13_600_000_005n),
      craft(true, 6, 5_000_001n, 1_700_000_000),
    );
    await expectSameReading(scratch.file(bytes));
  });

  test('shows both verdicts of what we write, and complains about nothing', () => {
    const path = join(scratch.path, 'verdicts.pcapng');
    const writer = openCaptureWriter(path);
    writer.addInterface({ name: 'eth0', comment: 'ifindex 1' });
    writer.addInterface({ name: 'eth1' });
    const verdicts: readonly (readonly [number, number])[] = [
      [1, NO_VERDICT],
      [2, 0],
      [NO_VERDICT, -1],
      [4, 2],
      [NO_VERDICT, NO_VERDICT],
    ];
    for (const [index, [xdp, tc]] of verdicts.entries())
      writer.write(index % 2, index, 0, 60, pattern(60), 0, 60, xdp, tc);
    writer.close();
    const rows = tshark(path, ['frame.interface_name', 'frame.verdict.ebpf_xdp', 'frame.verdict.ebpf_tc']);
    expect(rows).toEqual(verdicts.map(([xdp, tc], index) => [`eth${index % 2}`, text(xdp), text(tc)]));
  });

  test('finds every checksum of the generated conversations right', () => {
    const checks = ['ip', 'tcp', 'udp'].flatMap((protocol) => ['-o', `${protocol}.check_checksum:TRUE`]);
    for (const file of ['mixed.pcap', 'vlan.pcap', 'syn-flood.pcap', 'imix.pcap']) {
      const rows = tshark(
        join(traces, file),
        [
          'ip.checksum.status',
          'tcp.checksum.status',
          'udp.checksum.status',
          'icmp.checksum.status',
          'icmpv6.checksum.status',
        ],
        ...checks,
      );
      // 1 is good; columns of protocols that a packet does not have are empty.
      expect(new Set(rows.flat())).toEqual(new Set(['', '1']));
    }
  });

  test('finds nothing odd in the sequence numbers of whole TCP conversations', () => {
    expect(
      tshark(join(traces, 'mixed.pcap'), ['frame.number', '_ws.expert.message'], '-Y', 'tcp.analysis.flags'),
    ).toEqual([]);
  });
});
