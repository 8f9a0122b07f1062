import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { nativeCompiler, nativeYardstick } from '../../../bench/native/native.ts';
import { makeTrace } from '../../../dataplane/measure/workload.ts';
import { openLab } from '../../../dataplane/pipeline/open-lab.ts';
import { programsDirectory } from '../../../programs/objects.ts';

const compiler = nativeCompiler();

describe.skipIf(compiler === undefined)('programs as native code (needs clang)', () => {
  test.each(['xdp_lb', 'xdp_firewall'])('%s runs over the packets and maps of the lab', async (program) => {
    const scratch = mkdtempSync(join(tmpdir(), 'xdplab-native-'));
    try {
      const { lab } = await openLab({ file: join(programsDirectory(), 'demo.yaml'), only: program });
      const maps = [...lab.pipeline.attachments[0]!.program.maps.values()];
      const trace = makeTrace({ name: '1k', flows: 50, to: '10.0.0.100:80', mac: Uint8Array.of(2, 0, 0, 0, 0, 1) });
      const native = nativeYardstick(compiler!, scratch)({ program, maps, trace });
      for (const benchmark of [native.program, native.empty]) {
        await benchmark.restore!();
        expect(await benchmark.sample()).toBeGreaterThan(0.1);
      }
      await native.program.close!();
      const verdicts = native.program.describe!();
      expect(verdicts).toMatch(program === 'xdp_lb' ? /^XDP_REDIRECT 100\.0 %$/ : /^XDP_PASS 100\.0 %$/);
    } finally {
      rmSync(scratch, { recursive: true });
    }
  });
});
