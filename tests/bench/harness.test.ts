import { expect, test } from 'vitest';
import { measure, type Benchmark } from '../../bench/harness.ts';

/** A benchmark that takes what `times` says, and notes in `log` what is asked of it. */
function scripted(name: string, log: string[], times: readonly number[], packets = 1): Benchmark {
  let next = 0;
  return {
    name,
    group: 'scripted',
    packets,
    restore: () => void log.push(`restore ${name}`),
    sample: () => {
      log.push(name);
      return times[next++]!;
    },
    describe: () => `${name} ran ${next} times`,
    close: () => void log.push(`close ${name}`),
  };
}

test('samples are taken in rounds, one of each benchmark after the other', async () => {
  const log: string[] = [];
  const times = [1, 1, 1];
  await measure([scripted('a', log, times), scripted('b', log, times), scripted('c', log, times)], { warmup: 1, counted: 2 });
  const samples = log.filter((line) => line.length === 1);
  expect(samples.join(' ')).toBe('a b c a b c a b c');
});

test('every sample is preceded by its benchmark’s restore, and benchmarks are closed at the end', async () => {
  const log: string[] = [];
  await measure([scripted('a', log, [1, 1]), scripted('b', log, [1, 1])], { warmup: 0, counted: 2 });
  expect(log).toEqual(['restore a', 'a', 'restore b', 'b', 'restore a', 'a', 'restore b', 'b', 'close a', 'close b']);
});

test('samples of the warm-up do not count', async () => {
  const [measurement] = await measure([scripted('a', [], [1000, 900, 5, 7, 6])], { warmup: 2, counted: 3 });
  expect(measurement!.nsPerPacket).toEqual([5, 7, 6]);
});

test('times are per packet', async () => {
  const [measurement] = await measure([scripted('a', [], [3000], 100)], { warmup: 0, counted: 1 });
  expect(measurement!.nsPerPacket).toEqual([30]);
});

test('restoring may take its time, and is waited for', async () => {
  const log: string[] = [];
  const slow: Benchmark = {
    ...scripted('a', log, [1]),
    restore: async () => {
      await new Promise((resolve) => setTimeout(resolve, 1));
      log.push('restored');
    },
  };
  await measure([slow], { warmup: 0, counted: 1 });
  expect(log).toEqual(['restored', 'a', 'close a']);
});

test('a benchmark says after its last sample what it did', async () => {
  const [measurement] = await measure([scripted('a', [], [1, 1, 1])], { warmup: 1, counted: 2 });
  expect(measurement!.note).toBe('a ran 3 times');
});
