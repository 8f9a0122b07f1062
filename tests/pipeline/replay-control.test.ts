/** A replay that is paused, hurried and moved while it runs. The packets of imix.pcap say by their numbers which of them ran. */
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { DESCRIPTOR } from '../../dataplane/packet/packet-batch.ts';
import type { BatchObserver } from '../../dataplane/pipeline/pipeline.ts';
import { paceText, parsePace } from '../../dataplane/pipeline/pace.ts';
import { ReplayControl } from '../../dataplane/pipeline/replay-control.ts';
import { replay, type ReplayOptions, type ReplayProgress, type ReplayResult } from '../../dataplane/pipeline/replay.ts';
import { pcapFile, ScratchFolder } from '../packet/crafted-capture.ts';
import { frame, smallLab } from './small-lab.ts';

const CAPTURE = fileURLToPath(new URL('../../traces/imix.pcap', import.meta.url));
const PACKETS = 400;

interface Watched {
  readonly result: ReplayResult;
  readonly numbers: readonly number[];
  readonly timesNs: readonly bigint[];
  readonly progress: readonly ReplayProgress[];
}

/** `act` is called with how many packets have run after each stretch. */
async function watch(control: ReplayControl, act: (packets: number, progress: ReplayProgress) => void, options: ReplayOptions = {}, capture = CAPTURE): Promise<Watched> {
  const lab = smallLab('wasm', [{ hook: 'xdp', source: 'r0 = 2\nexit' }]);
  const [numbers, timesNs, progress]: [number[], bigint[], ReplayProgress[]] = [[], [], []];
  const observer: BatchObserver = {
    finished(batch, first, count) {
      for (let index = first; index < first + count; index++) {
        numbers.push(Number(batch.memory.u64[(batch.descriptor(index) + DESCRIPTOR.number) >>> 3]));
        timesNs.push(batch.timestampNs(index));
      }
    },
  };
  const result = await replay(lab, capture, {
    ...options,
    control,
    observer,
    onProgress: (now) => {
      progress.push(now);
      act(numbers.length, now);
    },
  });
  return { result, numbers, timesNs, progress };
}

const upTo = (last: number, from = 1): number[] => Array.from({ length: last - from + 1 }, (_, index) => from + index);
const slow = (): ReplayControl => new ReplayControl({ pace: { kind: 'rate', packetsPerSecond: 0.001 } });

test('a paused replay waits until it is told to go on', async () => {
  const control = new ReplayControl({ paused: true });
  let released = false;
  setTimeout(() => {
    released = true;
    control.paused = false;
  }, 20);
  const { numbers } = await watch(control, () => expect(released).toBe(true));
  expect(numbers).toEqual(upTo(PACKETS));
});

test('another pace ends the wait for a packet', async () => {
  const control = slow();
  const { numbers, result } = await watch(control, (packets) => {
    if (packets === 1) setTimeout(() => (control.pace = { kind: 'top' }), 5);
  });
  expect(numbers).toEqual(upTo(PACKETS));
  expect(result).toMatchObject({ packets: PACKETS });
});

test('a pause in the middle of a batch keeps what comes next', async () => {
  const control = slow();
  const { numbers } = await watch(control, (packets) => {
    if (packets !== 1) return;
    control.paused = true;
    control.pace = { kind: 'top' };
    setTimeout(() => (control.paused = false), 5);
  });
  expect(numbers).toEqual(upTo(PACKETS));
});

test('in the middle of a batch, the bytes are those of the packets that have run', async () => {
  const control = slow();
  const { progress } = await watch(control, (packets) => {
    if (packets === 1) control.pace = { kind: 'top' };
  });
  const first = await watch(new ReplayControl(), () => {}, { limit: 1 });
  expect(progress[0]).toMatchObject({ packets: 1, bytes: first.result.bytes });
  expect(progress.at(-1)!.bytes).toBe((await watch(new ReplayControl(), () => {})).result.bytes);
});

test('a seek forward leaves out what is in between', async () => {
  const control = slow();
  const { numbers, result } = await watch(control, (packets) => {
    if (packets !== 1 || control.pace.kind === 'top') return;
    control.pace = { kind: 'top' };
    control.seek(300);
  });
  expect(numbers).toEqual([1, ...upTo(PACKETS, 300)]);
  expect(result.packets).toBe(numbers.length);
});

test('a seek backward runs packets again, and time goes on', async () => {
  const control = slow();
  const { numbers, timesNs, progress } = await watch(control, (packets) => {
    if (packets !== 1 || control.pace.kind === 'top') return;
    control.pace = { kind: 'top' };
    control.seek(1);
  });
  expect(numbers).toEqual([1, ...upTo(PACKETS)]);
  expect(timesNs.every((time, index) => index === 0 || time >= timesNs[index - 1]!)).toBe(true);
  expect(progress.at(-1)).toMatchObject({ place: PACKETS, packets: 1 + PACKETS, round: 1 });
});

test('numbers go on from round to round, also after a seek', async () => {
  const control = slow();
  const { numbers } = await watch(
    control,
    (packets) => {
      if (packets !== 1 || control.pace.kind === 'top') return;
      control.pace = { kind: 'top' };
      control.seek(399);
    },
    { loops: 2 },
  );
  expect(numbers).toEqual([1, 399, 400, ...upTo(800, 401)]);
});

test('times go on from round to round as they came, whatever bits they have', async () => {
  const files = new ScratchFolder();
  try {
    const seconds = [0, 1, 2, 5, 9];
    const capture = files.file(pcapFile({}, seconds.map((second) => ({ seconds: 1_700_000_000 + second, bytes: frame() }))));
    const { timesNs } = await watch(new ReplayControl(), () => {}, { loops: 40 }, capture);
    const gapNs = timesNs[seconds.length]! - timesNs[seconds.length - 1]!;
    expect(gapNs).toBeGreaterThan(0n);
    expect(timesNs).toEqual(Array.from({ length: 40 }, (_, round) => seconds.map((second) => BigInt(1_700_000_000 + 9 * round + second) * 1_000_000_000n + BigInt(round) * gapNs)).flat());
  } finally {
    files.remove();
  }
});

test('a paused replay that is moved stays paused, and says where it is', async () => {
  const control = new ReplayControl({ paused: true });
  setTimeout(() => control.seek(350), 5);
  const { numbers, progress } = await watch(control, (packets, { place }) => {
    if (packets > 0) return;
    expect(place).toBe(349);
    setTimeout(() => (control.paused = false), 5);
  });
  expect(numbers).toEqual(upTo(PACKETS, 350));
  expect(progress.length).toBeGreaterThan(1);
});

test('a replay that is stopped while it is paused ends', async () => {
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 5);
  const { result } = await watch(new ReplayControl({ paused: true }), () => {}, { signal: stop.signal });
  expect(result).toMatchObject({ packets: 0, interrupted: true });
});

test.each(['top', 'original', '2x', '0.5x', '10000pps'])('the pace %s is written as it is read', (text) => {
  expect(paceText(parsePace(text))).toBe(text);
});
