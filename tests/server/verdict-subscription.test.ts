/** What a client is told of the verdicts: frames that decode, filters, samples, and an account that is right to the verdict. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { whyNoFilters } from '../../dataplane/devices/packet-filter.ts';
import { ipv4 } from '../../dataplane/packet/ipv4.ts';
import { ethernet } from '../../dataplane/packet/ethernet.ts';
import { udp } from '../../dataplane/packet/udp.ts';
import { decodeVerdicts } from '../../dataplane/server/verdict-decoder.ts';
import { VerdictSubscription, type Encoding, type VerdictRequest } from '../../dataplane/server/verdict-subscription.ts';
import { frame, smallLab } from '../pipeline/small-lab.ts';
import { ringLab, takeAll, type RingLab } from './ring-lab.ts';

/** Drops packets of an odd length, lets the others through; what is let through meets a second program. */
const PARITY = 'r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr3 -= r2\nr3 &= 1\nr0 = 2\nif r3 == 0 goto +1\nr0 = 1\nexit';

const PARITY_LAB = smallLab('wasm', [{ hook: 'xdp', source: PARITY }, { hook: 'tc-ingress', source: 'r0 = 0\nexit' }]);
const lab = (records = 64, sizes: Parameters<typeof ringLab>[2] = {}): RingLab => ringLab(PARITY_LAB, records, sizes);

const passed = frame({ length: 64 });
const lost = frame({ length: 65 });
const subscribe = ({ ring, names }: RingLab, request: VerdictRequest = {}, encoding: Encoding = 'binary'): VerdictSubscription => new VerdictSubscription(ring, names, encoding, request);
const take = (one: VerdictSubscription, { names }: RingLab, nowMs = 0) => takeAll(one, names, nowMs).map((message) => (typeof message === 'string' ? (JSON.parse(message) as Json) : decodeVerdicts(message)));

interface Json {
  readonly next: number;
  readonly verdicts: readonly Readonly<Record<string, unknown>>[];
}

const frames = (one: VerdictSubscription, of: RingLab, nowMs = 0) => takeAll(one, of.names, nowMs).map((message) => decodeVerdicts(message as Buffer));
const rows = (one: VerdictSubscription, of: RingLab) => take(one, of).flatMap((message) => (message as Json).verdicts);

test('a frame has a record for every program that ran, in order', () => {
  const of = lab();
  const client = subscribe(of);
  of.run([passed, lost]);
  const [only] = frames(client, of);
  const read = Array.from({ length: only!.count }, (_, index) => [only!.packet(index), only!.hook(index), only!.attachment(index), only!.verdict(index), only!.length(index), only!.fault(index), only!.ifindex(index)]);
  expect(read).toEqual([[1, 0, 0, 2, 64, 0, 2], [1, 1, 1, 0, 64, 0, 2], [2, 0, 0, 1, 65, 0, 2]]);
  expect(only!.timestampNs(2)).toBe(1_700_000_000_000_000_001n);
  expect(only).toMatchObject({ next: 3, produced: 3, sent: 3, skipped: 0, dropped: 0 });
});

test('the same in JSON says names', () => {
  const of = lab();
  const client = subscribe(of, {}, 'json');
  of.run([lost]);
  expect(take(client, of)).toEqual([
    { type: 'verdicts', next: 1, produced: 1, sent: 1, skipped: 0, dropped: 0, verdicts: [{ sequence: 0, packet: 1, time: '1700000000.000000000', device: 'eth0', hook: 'xdp', program: 'program_0', attachment: 0, verdict: 'XDP_DROP', code: 1, length: 65 }] },
  ]);
});

test('who begins now misses what was, and who resumes misses nothing that is still there', () => {
  const of = lab();
  of.run([lost, lost]);
  const late = subscribe(of);
  const resumed = subscribe(of, { from: 1 });
  const early = subscribe(of, { from: 'oldest' });
  of.run([lost]);
  expect([late, resumed, early].map((one) => frames(one, of)[0]!.count)).toEqual([1, 2, 3]);
});

test('what was overwritten before it was taken is counted as dropped', () => {
  const of = lab(8);
  const client = subscribe(of);
  of.run(Array.from({ length: 20 }, () => lost));
  const [only] = frames(client, of);
  expect(only).toMatchObject({ count: 8, next: 20, produced: 20, sent: 8, skipped: 0, dropped: 12 });
  expect(only!.packet(0)).toBe(13);
});

test.each([
  ['hook', { hook: ['tc-ingress'] }, [[1, 'TCX_NEXT']]],
  ['verdict', { verdict: ['XDP_DROP'] }, [[2, 'XDP_DROP']]],
  ['verdict of another hook', { verdict: ['TCX_DROP'] }, []],
  ['device', { device: ['eth0'] }, [[1, 'XDP_PASS'], [1, 'TCX_NEXT'], [2, 'XDP_DROP']]],
  ['device that is not there', { device: ['eth7'] }, []],
  ['program', { program: ['program_1', 'another'] }, [[1, 'TCX_NEXT']]],
  ['fate', { fate: ['stack'] }, [[1, 'XDP_PASS'], [1, 'TCX_NEXT']]],
  ['reason', { reason: ['XDP'] }, [[2, 'XDP_DROP']]],
  ['two fields', { hook: ['xdp'], fate: ['stack'] }, [[1, 'XDP_PASS']]],
] as const)('a filter by %s', (_what, filter, expected) => {
  const of = ringLab(smallLab('wasm', [{ hook: 'xdp', source: PARITY }, { hook: 'tc-ingress', source: 'r0 = -1\nexit', section: 'tcx/ingress' }]), 64);
  const client = subscribe(of, { filter }, 'json');
  of.ring.snap = client.snapBytes;
  of.run([passed, lost]);
  expect(rows(client, of).map(({ packet, verdict }) => [packet, verdict])).toEqual(expected);
  expect(client.account).toMatchObject({ produced: 3, sent: expected.length, skipped: 3 - expected.length });
});

test.each([
  [{ prefix: ['10.0.0.0/9'] }, [1]],
  [{ prefix: ['10.128.0.0/9'] }, [2]],
  [{ prefix: ['0.0.0.0/0'] }, [1, 2]],
  [{ prefix: ['::/0'] }, []],
  [{ port: [53] }, [1]],
  [{ port: [1000] }, [1, 2]],
  [{ protocol: ['udp'] }, [1, 2]],
  [{ protocol: [6, 'icmp'] }, []],
  [{ prefix: ['192.0.2.1/32'], port: [54] }, [2]],
] as const)('a filter that looks into packets: %j', (filter, expected) => {
  const of = ringLab(smallLab('wasm', [{ hook: 'xdp', source: 'r0 = 1\nexit' }]), 64);
  const client = subscribe(of, { filter }, 'json');
  of.ring.snap = client.snapBytes;
  const packet = (destination: string, port: number): Uint8Array =>
    ethernet({ source: '02:00:00:00:00:02', destination: '02:00:00:00:00:01' }, ipv4({ source: '192.0.2.1', destination }, udp({ sourcePort: 1000, destinationPort: port }, new Uint8Array(8))));
  of.run([packet('10.1.2.3', 53), packet('10.200.2.3', 54), frame()]);
  expect(rows(client, of).map((row) => row['packet'])).toEqual(expected);
});

const noFilters = whyNoFilters();
test.skipIf(noFilters !== undefined)(`a filter by an expression of tcpdump's${noFilters === undefined ? '' : ` (${noFilters})`}`, () => {
  const of = ringLab(smallLab('wasm', [{ hook: 'xdp', source: 'r0 = 1\nexit' }]), 64);
  const packet = (port: number): Uint8Array =>
    ethernet({ source: '02:00:00:00:00:02', destination: '02:00:00:00:00:01' }, ipv4({ source: '192.0.2.1', destination: '10.0.0.1' }, udp({ sourcePort: 1000, destinationPort: port }, new Uint8Array(8))));
  const clients = ['udp port 53', 'host 192.0.2.1 and udp[2:2] & 1 = 0', 'ether host 02:00:00:00:00:02 and not ip6 host ::ffff:10.0.0.1', 'less 60'].map((pcap) => subscribe(of, { filter: { pcap } }, 'json'));
  of.ring.snap = Math.max(...clients.map(({ snapBytes }) => snapBytes));
  of.run([packet(53), packet(54), frame()]);
  expect(clients.map((client) => rows(client, of).map((row) => row['packet']))).toEqual([[1], [2], [1, 2, 3], [1, 2]]);
});

test.each([
  ['port http', "filter 'port http': found 'http', and names are not looked up; write the address or the number"],
  ['host lab.example', "found 'lab'"],
  ['gateway router', "found 'gateway'"],
  ['ether host ab:cd:ef:00:01:02 and host fe80::1 and proto gre', "found 'gre'"],
  ['ip proto 6 protochain 7', "found 'protochain'"],
])('an expression with names is refused, so that nobody is asked for them: %s', (pcap, message) => {
  expect(() => subscribe(lab(), { filter: { pcap } })).toThrow(message);
});

test.skipIf(noFilters !== undefined)('an expression that is none is told where it is wrong', () => {
  expect(() => subscribe(lab(), { filter: { pcap: 'tcp port' } })).toThrow(/^filter 'tcp port': syntax error, ends behind 'port', where more is expected; /);
  expect(() => subscribe(lab(), { filter: { pcap: 'prot tcp' } })).toThrow(/^filter 'prot tcp': syntax error, found 'prot' at the beginning; /);
});

test.each([
  [{ hook: ['tc'] }, "filter.hook: found 'tc', expected one of xdp, tc-ingress, tc-egress"],
  [{ prefix: ['10.0.0.0/33'] }, "filter.prefix: found '10.0.0.0/33', expected a prefix such as 10.0.0.0/8"],
  [{ protocol: ['quic'] }, "filter.protocol: found 'quic', expected a number, or one of hopByHop, icmp"],
  [{ reason: ['BORED'] }, "filter.reason: found 'BORED', expected one of NONE, XDP"],
])('a filter for what there is not is refused: %j', (filter, message) => {
  expect(() => subscribe(lab(), { filter })).toThrow(message);
});

test('one of three packets is packets 1, 4, 7 with all their verdicts', () => {
  const of = lab();
  const client = subscribe(of, { sample: { oneOf: 3 } });
  of.run([passed, passed, lost, lost, passed, passed, passed]);
  const [only] = frames(client, of);
  expect(Array.from({ length: only!.count }, (_, index) => only!.packet(index))).toEqual([1, 1, 4, 7, 7]);
});

test('two a second are two of every verdict, and two more in the next second', () => {
  const of = lab();
  const client = subscribe(of, { sample: { perSecond: 2 } });
  of.run([lost, lost, lost, passed]);
  expect(frames(client, of, 1000)[0]).toMatchObject({ count: 4, skipped: 1 });
  of.run([lost]);
  expect(frames(client, of, 1999)).toEqual([]);
  of.run([lost]);
  expect(frames(client, of, 2000)[0]).toMatchObject({ count: 1 });
});

test('packets come with their records, cut to the length that was asked for', () => {
  const of = ringLab(smallLab('wasm', [{ hook: 'xdp', source: 'r2 = -20\ncall bpf_xdp_adjust_head\nr0 = 3\nexit' }]), 64);
  const client = subscribe(of, { packet: { snap: 40 } });
  of.ring.snap = client.snapBytes;
  of.run([passed, lost]);
  const [only] = frames(client, of);
  const packets = [...only!.packets()];
  expect(packets).toMatchObject([{ number: 1, record: 0, records: 1, wire: 64, captured: 64, left: 84, leftIfindex: 2 }, { number: 2, record: 1, records: 1, captured: 65, left: 85 }]);
  expect([...packets[1]!.before]).toEqual([...lost.subarray(0, 40)]);
  expect([...packets[1]!.after.subarray(20)]).toEqual([...lost.subarray(0, 20)]);
});

test('verdicts whose packets were not kept come without them', () => {
  const of = lab();
  of.run([passed]);
  const client = subscribe(of, { packet: { snap: 64 }, from: 'oldest' });
  of.ring.snap = client.snapBytes;
  of.run([lost]);
  const [only] = frames(client, of);
  expect([...only!.packets()]).toMatchObject([{ number: 2, record: 2, records: 1 }]);
});

test('verdicts of attachments that the client was not told of wait until it was', () => {
  const of = lab();
  const client = subscribe(of);
  of.run([lost]);
  const early = { ...of.names, attachments: of.names.attachments.slice(0, 1) };
  expect(takeAll(client, early)).toEqual([]);
  expect(frames(client, of)[0]!.count).toBe(1);
});

test('after another lab has taken over, what was not taken is dropped', () => {
  const of = lab();
  const client = subscribe(of);
  of.run([lost, lost]);
  of.ring.clear();
  expect(frames(client, of)).toEqual([]);
  expect(client.account).toEqual({ next: 2, produced: 2, sent: 0, skipped: 0, dropped: 2 });
});

test('bytes that are no frame are refused', () => {
  expect(() => decodeVerdicts(new Uint8Array(10))).toThrow('a frame of 10 bytes: expected at least 48');
  expect(() => decodeVerdicts(new Uint8Array(48))).toThrow('a frame of kind 0 with records of 0 bytes: expected kind 1 with 32');
});

test('who chooses gets all that fits and nothing else, whenever it takes, and whoever else does', () => {
  const request = fc.record({ oneOf: fc.integer({ min: 1, max: 3 }), verdict: fc.subarray(['XDP_DROP', 'XDP_PASS', 'TC_ACT_OK'], { minLength: 1 }) });
  const step = fc.record({ packets: fc.array(fc.boolean(), { maxLength: 12 }), takes: fc.array(fc.nat(2), { maxLength: 3 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 10 }), fc.array(request, { minLength: 3, maxLength: 3 }), fc.integer({ min: 1, max: 4 }), (steps, requests, batchPackets) => {
      const of = lab(256, { batchPackets });
      const all = subscribe(of, {}, 'json');
      const clients = requests.map(({ oneOf, verdict }) => ({ client: subscribe(of, { sample: { oneOf }, filter: { verdict } }, 'json'), got: [] as object[] }));
      for (const { packets, takes } of steps) {
        of.run(packets.map((isLost) => (isLost ? lost : passed)));
        for (const turn of takes) clients[turn]!.got.push(...rows(clients[turn]!.client, of));
      }
      const produced = rows(all, of);
      for (const [index, { client, got }] of clients.entries()) {
        const { oneOf, verdict } = requests[index]!;
        got.push(...rows(client, of));
        expect(got).toEqual(produced.filter((row) => verdict.includes(String(row['verdict'])) && (Number(row['packet']) - 1) % oneOf === 0));
      }
    }),
  );
});

test('the account is right whatever runs, is asked for and is overwritten', () => {
  const run = fc.record({ packets: fc.array(fc.boolean(), { maxLength: 30 }), takes: fc.nat(3) });
  const request = fc.record({ oneOf: fc.integer({ min: 1, max: 4 }), verdict: fc.subarray(['XDP_DROP', 'XDP_PASS'], { minLength: 1 }), snap: fc.option(fc.nat(100), { nil: undefined }) });
  fc.assert(
    fc.property(fc.array(run, { maxLength: 8 }), request, fc.constantFrom<Encoding>('binary', 'json'), (runs, { oneOf, verdict, snap }, encoding) => {
      const of = lab(32, { packetsBytes: 4096 });
      const client = subscribe(of, { sample: { oneOf }, filter: { verdict }, ...(snap === undefined ? {} : { packet: { snap } }) }, encoding);
      of.ring.snap = client.snapBytes;
      let received = 0;
      for (const { packets, takes } of runs) {
        of.run(packets.map((isLost) => (isLost ? lost : passed)));
        for (let index = 0; index < takes; index++) {
          for (const message of take(client, of)) {
            received += 'verdicts' in message ? message.verdicts.length : message.count;
            if ('verdicts' in message) continue;
            for (const { captured, before } of message.packets()) expect(Buffer.compare(before, (captured === 65 ? lost : passed).subarray(0, snap))).toBe(0);
          }
        }
      }
      takeAll(client, of.names);
      const { next, produced, sent, skipped, dropped } = client.account;
      expect(sent).toBeGreaterThanOrEqual(received);
      expect(next).toBe(of.ring.head);
      expect(produced).toBe(sent + skipped + dropped);
      expect(produced).toBe(of.ring.head);
    }),
  );
});
