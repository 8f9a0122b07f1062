/** `--engine kernel` at the command line: the same picture, or one line where programs may not be loaded. */
import { release } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { kernelTitle, whyNoKernel } from '../engine/kernel/kernel-here.ts';
import { object, replaySummary, REPOSITORY, Scratch, trace, xdplab } from './run-cli.ts';

const NOBODY = 65_534;
const LAB = join(REPOSITORY, 'programs/demo.yaml');
const scratch = new Scratch();
afterAll(() => scratch.remove());

test.skipIf(whyNoKernel !== undefined)(kernelTitle('a replay in the kernel counts what a replay here counts, and leaves the same in the maps'), async () => {
  const [here, kernel] = await Promise.all(['wasm', 'kernel'].map((engine) => replaySummary([trace('demo.pcapng'), '--lab', LAB, '--engine', engine, '--maps-out', scratch.at(engine)])));
  expect(kernel!.statistics).toEqual(here!.statistics);
  expect(kernel!.maps).toEqual(here!.maps);
  expect(kernel!.events).toEqual(here!.events);
  const { status, stdout } = await xdplab(['map', 'diff', scratch.at('wasm'), scratch.at('kernel')]);
  expect({ status, stdout }).toEqual({ status: 0, stdout: 'no difference\n' });
}, 60_000);

test.skipIf(whyNoKernel !== undefined)(kernelTitle('the picture says in one line what a run in the kernel does not show'), async () => {
  const { status, stdout, stderr } = await xdplab(['replay', trace('demo.pcapng'), '--xdp', object('xdp_firewall.bpf.o'), '--engine', 'kernel', '--limit', '10']);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(stdout.split('\n')).toContainEqual(expect.stringMatching(new RegExp(`^Programs ran in Linux ${release()} by BPF_PROG_TEST_RUN: a test run is on device lo`)));
});

test.skipIf(process.platform !== 'linux' || process.getuid?.() !== 0)('a user who may not load programs gets one line, and status 5', async () => {
  const { status, stdout, stderr } = await xdplab(['replay', trace('demo.pcapng'), '--lab', LAB, '--engine', 'kernel'], { uid: NOBODY });
  expect({ status, stdout }).toEqual({ status: 5, stdout: '' });
  expect(stderr).toMatch(/^xdplab: programs cannot run in the kernel: [^\n]+; or use another engine\n$/);
});
