import { expect, test } from 'vitest';
import { measure, type Benchmark, type MeasureOptions } from '../../dataplane/measure/rounds.ts';

/** A benchmark that takes what `times` says, and notes in `log` what is asked of it. */
function scripted(name: string, log: string[], times: readonly number[]): Benchmark {
  let next = 0;
  return {
    name,
    restore: () => void log.push(`restore ${name}`),
    sample: () => {
      log.push(name);
      return times[next++]!;
    },
    describe: () => `${name} ran ${next} times`,
    close: () => void log.push(`close ${name}`),
  };
}

const rounds = (warmup: number, counted: number): MeasureOptions => ({ warmup: { rounds: warmup, turnNs: 0 }, counted: { rounds: counted, turnNs: 0 } });

test('turns are taken in rounds, there and back again', async () => {
  const log: string[] = [];
  const times = [1, 1, 1];
  await measure([scripted('a', log, times), scripted('b', log, times), scripted('c', log, times)], rounds(1, 2));
  const samples = log.filter((line) => line.length === 1);
  expect(samples.join(' ')).toBe('a b c c b a a b c');
});

test('every turn is preceded by its benchmark’s restore, and benchmarks are closed at the end', async () => {
  const log: string[] = [];
  await measure([scripted('a', log, [1, 1]), scripted('b', log, [1, 1])], rounds(0, 2));
  expect(log).toEqual(['restore a', 'a', 'restore b', 'b', 'restore b', 'b', 'restore a', 'a', 'close a', 'close b']);
});

test('samples of the warm-up do not count', async () => {
  const [measurement] = await measure([scripted('a', [], [1000, 900, 5, 7, 6])], rounds(2, 3));
  expect(measurement!.turns).toEqual([[5], [7], [6]]);
});

test('a turn with time takes sample after sample', async () => {
  const busy: Benchmark = {
    name: 'busy',
    sample: () => {
      const end = performance.now() + 0.1;
      while (performance.now() < end);
      return 1;
    },
  };
  const [measurement] = await measure([busy], { warmup: { rounds: 0, turnNs: 0 }, counted: { rounds: 1, turnNs: 5e6 } });
  expect(measurement!.turns[0]!.length).toBeGreaterThan(1);
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
  await measure([slow], rounds(0, 1));
  expect(log).toEqual(['restored', 'a', 'close a']);
});

test('a benchmark says after its last sample what it did', async () => {
  const [measurement] = await measure([scripted('a', [], [1, 1, 1])], rounds(1, 2));
  expect(measurement!.note).toBe('a ran 3 times');
});

test('an interruption leaves the rounds that were finished', async () => {
  const abort = new AbortController();
  const log: string[] = [];
  const [measurement] = await measure([scripted('a', log, [1, 2, 3])], { ...rounds(0, 3), onRound: (round) => round === 2 && abort.abort(), signal: abort.signal });
  expect(measurement!.turns).toEqual([[1], [2]]);
  expect(log.at(-1)).toBe('close a');
});
