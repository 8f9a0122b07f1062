/** `xdplab replay --check`. */
import { expect, test } from 'vitest';
import { object, trace, xdplab } from './run-cli.ts';

const COUNTER = object('flow_counter.bpf.o');

test('--check says how many instructions did what the verifier had proven', async () => {
  const { status, stdout, stderr } = await xdplab(['replay', trace('imix.pcap'), '--xdp', COUNTER, '--check', '--limit', '20']);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(stdout).toContain('engine interpreter');
  expect(Number(/checked: ([\d,]+) instructions did what the verifier had proven/.exec(stdout)?.[1]?.replaceAll(',', ''))).toBeGreaterThan(20 * 10);
});

test('--check is not for another engine', async () => {
  expect(await xdplab(['replay', trace('imix.pcap'), '--xdp', COUNTER, '--check', '--engine', 'wasm'])).toMatchObject({
    status: 2, stdout: '', stderr: "xdplab: option '--check' cannot be used with option '--engine <name>'; --help says what there is\n",
  });
});
