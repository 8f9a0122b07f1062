/** What a replay says of its capture. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { replay } from '../../dataplane/pipeline/replay.ts';
import { smallLab } from './small-lab.ts';

const CAPTURE = fileURLToPath(new URL('../../traces/imix.pcap', import.meta.url));
const PACKETS = 400;
const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;
const CAPTURED_BYTES = readFileSync(CAPTURE).length - FILE_HEADER_BYTES - PACKETS * RECORD_HEADER_BYTES;
const GROWTH_BYTES = 20;

describe('bytes', () => {
  test('are those of the capture in the result, and of the packets as they left in the statistics', async () => {
    const lab = smallLab('wasm', [{ hook: 'xdp', source: `r2 = -${GROWTH_BYTES}\ncall bpf_xdp_adjust_head\nr0 = 3\nexit` }]);
    expect(await replay(lab, CAPTURE)).toMatchObject({ packets: PACKETS, bytes: CAPTURED_BYTES });
    expect(lab.statistics()).toMatchObject({ packets: PACKETS, bytes: CAPTURED_BYTES + PACKETS * GROWTH_BYTES });
  });

  test('are those of the packets that ran, where a limit ends a later round', async () => {
    const lab = smallLab('wasm', [{ hook: 'xdp', source: 'r0 = 2\nexit' }]);
    const { packets, bytes } = await replay(lab, CAPTURE, { loops: 3, limit: PACKETS * 2 + 1 });
    expect({ packets, bytes }).toEqual({ packets: PACKETS * 2 + 1, bytes: lab.statistics().bytes });
    expect(bytes).toBeGreaterThan(CAPTURED_BYTES * 2);
  });
});

test('ends soon after it was told to, also where a program that nobody verified takes all that it may for each packet', async () => {
  const lab = smallLab('wasm', [{ hook: 'xdp', source: 'again: r1 = 1\ngoto again' }], { instructionBudget: 1 << 26 });
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 1);
  const { packets, interrupted } = await replay(lab, CAPTURE, { signal: stop.signal });
  expect(interrupted).toBe(true);
  expect(packets).toBeLessThan(4);
});
