/** What each CPU had of the packets that a hook met. */
import { expect, test } from 'vitest';
import { openLab } from '../../dataplane/pipeline/open-lab.ts';
import { replay } from '../../dataplane/pipeline/replay.ts';
import { object, trace } from '../cli/run-cli.ts';

test.each([1, 2])('with %i CPUs, each hook says how many packets and bytes each of them had, and all are there', async (cpus) => {
  const { lab } = await openLab({ file: object('demo.yaml'), verify: false, cpus });
  try {
    await replay(lab, trace('demo.pcapng'));
    const { hooks } = lab.statistics();
    expect(hooks.map(({ hook }) => hook)).toEqual(['xdp', 'tc-ingress', 'tc-egress']);
    for (const { packets, bytes, cpus: each } of hooks) {
      expect(each.map(({ cpu }) => cpu)).toEqual(Array.from({ length: cpus }, (_, cpu) => cpu));
      expect(each.reduce((sum, one) => sum + one.packets, 0)).toBe(packets);
      expect(each.reduce((sum, one) => sum + one.bytes, 0)).toBe(bytes);
    }
    for (const { packets } of hooks[0]!.cpus) expect(packets).toBeGreaterThan(0);
  } finally {
    lab.close();
  }
});
