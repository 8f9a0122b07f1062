/** Threads of CPUs that end without a word: a run never waits for them. */
import { expect, test } from 'vitest';
import { object, trace, xdplab } from '../../cli/run-cli.ts';

/** Runs in every thread before its own code; of CPU 1 it makes one that does `deed` when its turn `turn` begins, from 1. */
function dying(turn: number, deed: string): string {
  const code = `import { workerData } from 'node:worker_threads';
    if (workerData?.image?.cpu === 1) {
      const { wait } = Atomics;
      let turns = 0;
      Atomics.wait = (...args) => {
        const result = wait(...args);
        if (++turns === ${turn}) { ${deed} }
        return result;
      };
      if (${turn} === 0) { ${deed} }
    }`;
  return `--import data:text/javascript,${encodeURIComponent(code)}`;
}

test.each([
  ['does not get as far as its first turn', dying(0, 'process.exit(7);'), 'exit status 7'],
  ['ends in the middle of a run', dying(2, 'process.exit(7);'), 'exit status 7'],
  ['runs out of memory', `--max-old-space-size=96 ${dying(2, 'for (const all = [];;) all.push(new Array(100_000).fill(0));')}`, 'Worker terminated due to reaching memory limit: JS heap out of memory'],
])('a CPU whose thread %s ends the run with one line', { timeout: 60_000 }, async (_what, options, why) => {
  const run = await xdplab(['replay', trace('imix.pcap'), '--no-verify', '--xdp', object('xdp_firewall.bpf.o'), '--cpus', '2', '--loop', '20'], { env: { NODE_OPTIONS: options } });
  expect({ status: run.status, stderr: run.stderr }).toEqual({ status: 1, stderr: `xdplab: CPU 1: its thread has ended (${why}), so the run cannot go on; give fewer CPUs, or more memory\n` });
});
