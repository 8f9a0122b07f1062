/** The bundled programs on the bundled captures: every instruction of some packets of each is as the verifier says. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import type { Lab } from '../../dataplane/pipeline/lab.ts';
import { openLab } from '../../dataplane/pipeline/open-lab.ts';
import { replay } from '../../dataplane/pipeline/replay.ts';
import type { CheckingInterpreter } from '../../dataplane/soundness/checking-interpreter.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const CAPTURES = readdirSync(join(ROOT, 'traces')).filter((name) => /\.pcap(ng)?(\.gz)?$/.test(name));
const PACKETS = 40;

const checkedIn = (lab: Lab): number => (lab.engine as CheckingInterpreter).checked;

let demo: Lab;
beforeAll(async () => {
  ({ lab: demo } = await openLab({ file: join(ROOT, 'programs/demo.yaml'), check: true }));
}, 120_000);

test.each(CAPTURES)('%s through the demonstration lab', { timeout: 60_000 }, async (capture) => {
  const before = checkedIn(demo);
  const { packets } = await replay(demo, join(ROOT, 'traces', capture), { limit: PACKETS });
  expect(packets).toBeGreaterThan(0);
  // Without Ethernet headers no program runs.
  if (capture !== 'raw-ip.pcap') expect(checkedIn(demo) - before).toBeGreaterThan(packets * 10);
});

test('demo.pcapng through the flow counter', { timeout: 60_000 }, async () => {
  const { lab } = await openLab({ programs: [{ hook: 'xdp', program: join(ROOT, 'programs/flow_counter.bpf.o') }], check: true });
  await replay(lab, join(ROOT, 'traces/demo.pcapng'), { limit: PACKETS });
  expect(checkedIn(lab)).toBeGreaterThan(PACKETS * 10);
});
