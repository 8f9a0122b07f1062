/** A live run over sources of the test's own: what is judged, how it ends, and that the account is exact. */
import { expect, test } from 'vitest';
import { parseMac } from '../../dataplane/address.ts';
import type { LiveInterface, PacketSource, SourceCounts } from '../../dataplane/devices/device.ts';
import { XdplabError } from '../../dataplane/errors.ts';
import { DESCRIPTOR, type PacketBatch } from '../../dataplane/packet/packet-batch.ts';
import { devicesFor, live, type LiveSnapshot } from '../../dataplane/live/live.ts';
import type { DeviceOptions, Lab } from '../../dataplane/pipeline/lab.ts';
import { frame, smallLab } from '../pipeline/small-lab.ts';

const DROP = 'r0 = 1\nexit';

/** Gives so many packets, `each` at a time, and has lost others; it says nothing more once it was stopped, but still has what came in. */
class Given implements PacketSource {
  readonly backend = 'af_packet';
  readonly knowsLosses = true;
  readonly waitMs = 1;
  readonly outgoingIndex: number | undefined;
  readonly interface: LiveInterface;
  readonly index: number;
  failed: XdplabError | undefined;
  stopped = false;
  onRead: (left: number) => void = () => {};
  readonly #lab: Lab;
  readonly #packets: number;
  readonly #each: number;
  readonly #lost: number;
  #left: number;

  constructor(lab: Lab, { name = 'eth0', index = 0, packets = 0, each = 10, lost = 0 }: { name?: string; index?: number; packets?: number; each?: number; lost?: number }) {
    this.#lab = lab;
    this.index = index;
    this.interface = { name, ifindex: 1, mac: new Uint8Array(6), mtuBytes: 1500, up: true, ethernet: true };
    [this.#packets, this.#left, this.#each, this.#lost] = [packets, packets, each, lost];
  }

  read(batch: PacketBatch): number {
    this.onRead(this.#left);
    const { memory } = this.#lab.machine;
    const count = Math.min(this.#left, this.#each, batch.capacity);
    const packet = frame();
    const at = memory.usedBytes - packet.length;
    memory.u8.set(packet, at);
    for (let index = 0; index < count; index++) {
      memory.u32.set([at, packet.length, packet.length, this.index], batch.descriptor(index) >>> 2);
      memory.view.setBigUint64(batch.descriptor(index) + DESCRIPTOR.timestampNs, BigInt(this.#packets - this.#left + index), true);
    }
    this.#left -= count;
    return (batch.count = count);
  }

  counts(): SourceCounts {
    return { received: this.#packets + this.#lost, ringDrops: this.#lost };
  }

  stop(): void {
    this.stopped = true;
  }

  failure(): XdplabError | undefined {
    return this.failed;
  }

  close(): void {}
}

/** Room that sources put their packet into. */
function labOf(devices: readonly DeviceOptions[] = [{ name: 'eth0' }]): Lab {
  const lab = smallLab('wasm', [{ hook: 'xdp', source: DROP }], { devices });
  void lab.pipeline;
  lab.machine.memory.allocate(4096, 64, 'packets of the test');
  return lab;
}

test('judges what has come in when it is stopped, numbers it, and leaves nothing in flight', async () => {
  const lab = labOf();
  const stop = new AbortController();
  const source = new Given(lab, { packets: 1000, each: 7, lost: 5 });
  source.onRead = (left) => left < 500 && stop.abort();
  const numbers: bigint[] = [];
  const observer = {
    finished: (batch: PacketBatch, first: number, count: number) => {
      for (let index = first; index < first + count; index++) numbers.push(batch.memory.view.getBigUint64(batch.descriptor(index) + DESCRIPTOR.number, true));
    },
  };
  const { packets, bytes, accounting, interrupted } = await live(lab, [source], { signal: stop.signal, observer });
  expect({ packets, bytes, interrupted, stopped: source.stopped }).toEqual({ packets: 1000, bytes: 64_000, interrupted: true, stopped: true });
  expect(accounting).toEqual({ received: 1005, ringDrops: 5, rejected: 0, inFlight: 0, verdicts: { dropped: 1000 } });
  expect(numbers).toEqual(Array.from({ length: 1000 }, (_, index) => BigInt(index + 1)));
});

test('leaves what has come in in flight where it is to be abandoned', async () => {
  const lab = labOf();
  const source = new Given(lab, { packets: 1000 });
  const { accounting } = await live(lab, [source], { signal: AbortSignal.abort(), abandon: AbortSignal.abort() });
  expect(accounting).toMatchObject({ received: 1000, inFlight: 1000, verdicts: {} });
});

test('ends after a count, over all sources, with the rest in flight', async () => {
  const lab = labOf([{ name: 'eth0' }, { name: 'eth1' }]);
  const sources = [new Given(lab, { packets: 100 }), new Given(lab, { packets: 100, name: 'eth1', index: 1 })];
  const { packets, accounting, interrupted } = await live(lab, sources, { count: 73 });
  expect({ packets, interrupted }).toEqual({ packets: 73, interrupted: false });
  expect(accounting).toMatchObject({ received: 200, inFlight: 127, verdicts: { dropped: 40, stack: 33 } });
});

test('counts only its own packets, in a lab where others ran before', async () => {
  const lab = labOf();
  for (let packet = 0; packet < 3; packet++) lab.run(frame());
  const { accounting } = await live(lab, [new Given(lab, { packets: 20 })], { count: 20 });
  expect(accounting).toEqual({ received: 20, ringDrops: 0, rejected: 0, inFlight: 0, verdicts: { dropped: 20 } });
});

test('what came in meets the XDP program, also with the address of the device as its source', async () => {
  const lab = labOf([{ name: 'eth0', mac: parseMac('02:00:00:00:00:02')! }]);
  const { accounting } = await live(lab, [new Given(lab, { packets: 20 })], { count: 20 });
  expect(accounting.verdicts).toEqual({ dropped: 20 });
});

test('tells snapshots while it runs, each of which adds up', async () => {
  const lab = labOf();
  const source = new Given(lab, { packets: 3000, each: 1, lost: 9 });
  const snapshots: LiveSnapshot[] = [];
  await live(lab, [source], { count: 3000, snapshotMs: 1e-9, onSnapshot: (snapshot) => snapshots.push(snapshot) });
  expect(snapshots.length).toBeGreaterThan(0);
  for (const { elapsedNs, busyNs } of snapshots) expect([elapsedNs, busyNs].map(Number.isInteger)).toEqual([true, true]);
  for (const { packets, accounting } of snapshots) expect(accounting).toMatchObject({ received: 3009, ringDrops: 9, inFlight: 3000 - packets, verdicts: { dropped: packets } });
});

test('ends when an interface has failed, and says why', async () => {
  const lab = labOf();
  const source = new Given(lab, { packets: 10 });
  source.failed = new XdplabError('ERR_DEVICE', 'eth0: gone');
  const { failure, accounting } = await live(lab, [source]);
  expect(failure?.message).toBe('eth0: gone');
  expect(accounting).toMatchObject({ received: 10, inFlight: 0 });
});

test('an interface is the device of its name, else the next that stands for none', async () => {
  const names = (devices: readonly string[], interfaces: readonly string[]): (string | undefined)[] => devicesFor(smallLab('wasm', [], { devices: devices.map((name) => ({ name })) }), interfaces).map((device) => device?.name);
  expect(names(['eth0', 'eth1'], ['veth0', 'veth1'])).toEqual(['eth0', 'eth1']);
  expect(names(['eth0', 'eth1'], ['eth1', 'veth1'])).toEqual(['eth1', 'eth0']);
  expect(names(['eth0'], ['veth0', 'veth1'])).toEqual(['eth0', undefined]);
  const lab = labOf();
  await expect(live(lab, [new Given(lab, {}), new Given(lab, { name: 'veth1', index: 1 })])).rejects.toThrow("interface 'veth1': the lab has no device left for it; add one of its name");
});
