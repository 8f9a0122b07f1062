/** The demonstration lab over every bundled capture: both engines, and a second run, have to agree to the byte. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import type { EngineName } from '../../dataplane/engine/engine.ts';
import { CaptureOutput } from '../../dataplane/pipeline/capture-output.ts';
import { EventLog } from '../../dataplane/pipeline/event-log.ts';
import { openLab } from '../../dataplane/pipeline/open-lab.ts';
import { replay } from '../../dataplane/pipeline/replay.ts';
import type { Statistics } from '../../dataplane/pipeline/statistics.ts';
import { VerdictLog } from '../../dataplane/pipeline/verdict-log.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const CAPTURES = readdirSync(join(ROOT, 'traces')).filter((name) => /\.pcap(ng)?(\.gz)?$/.test(name));
const folder = mkdtempSync(join(tmpdir(), 'xdplab-'));
afterAll(() => rmSync(folder, { recursive: true }));

interface Outcome {
  readonly log: string;
  readonly events: string;
  readonly maps: readonly object[];
  readonly capture: Buffer;
  readonly statistics: Statistics;
}

async function run(capture: string, engine: EngineName): Promise<Outcome> {
  const { lab, events: types } = await openLab({ file: join(ROOT, 'programs/demo.yaml'), engine });
  const path = join(folder, `${engine}.pcapng`);
  const output = new CaptureOutput(lab.pipeline, path);
  let log = '';
  let events = '';
  const verdicts = new VerdictLog(lab.pipeline, () => 'eth0', (lines) => (log += lines));
  new EventLog(lab, types, (lines) => (events += lines));
  await replay(lab, join(ROOT, 'traces', capture), {
    observer: { finished: (...args) => [output, verdicts].forEach((each) => each.finished(...args)) },
  });
  output.close();
  return { log, events, maps: lab.maps.map(({ name }) => lab.map(name).dump()), capture: readFileSync(path), statistics: lab.statistics() };
}

test.each(CAPTURES)('%s gives the same verdicts, packets, maps and events on both engines and when run again', async (capture) => {
  const wasm = await run(capture, 'wasm');
  const again = await run(capture, 'wasm');
  const interpreter = await run(capture, 'interpreter');
  for (const other of [again, interpreter]) {
    expect(other.log).toBe(wasm.log);
    expect(other.events).toBe(wasm.events);
    expect(other.maps).toEqual(wasm.maps);
    expect(other.capture.equals(wasm.capture)).toBe(true);
    expect(other.statistics).toEqual(wasm.statistics);
  }
  const lines = wasm.log.split('\n').length - 1;
  expect(wasm.statistics.packets).toBe(lines);
  expect(wasm.statistics.fates.reduce((sum, { packets }) => sum + packets, 0)).toBe(lines);
});
