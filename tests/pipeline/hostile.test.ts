/** Programs that no verifier has seen: whatever they do, the process goes on, and says one line when a lab cannot. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { XdplabError } from '../../dataplane/errors.ts';
import { CaptureOutput } from '../../dataplane/pipeline/capture-output.ts';
import { VerdictLog } from '../../dataplane/pipeline/verdict-log.ts';
import { DESCRIPTOR, PacketBatch } from '../../dataplane/packet/packet-batch.ts';
import { ENGINE_NAMES, frame, smallLab } from './small-lab.ts';

const folder = mkdtempSync(join(tmpdir(), 'xdplab-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Where the machine keeps its own tables, and beyond all memory. */
const address = fc.oneof(fc.integer({ min: 0x1_0000, max: 0x3_0000 }), fc.integer({ min: 0, max: 0x7f_ffff }), fc.constantFrom(0xffff_fff8, 0x8000_0000));
const value = fc.oneof(fc.constantFrom(0, 1, -1, 0x7fff_ffff, 0x1_0040), fc.integer());
const statement = fc.oneof(
  fc.tuple(address, value, fc.constantFrom('u8', 'u16', 'u32', 'u64')).map(([at, what, size]) => `r2 = 0x${at.toString(16)}\nr3 = ${what}\n*(${size} *)(r2 +0) = r3`),
  fc.tuple(fc.integer({ min: -8, max: 400 }), value).map(([offset, what]) => `r3 = ${what}\n*(u32 *)(r6 ${offset < 0 ? '' : '+'}${offset}) = r3`),
  fc.tuple(fc.constantFrom('bpf_redirect', 'bpf_xdp_adjust_head', 'bpf_xdp_adjust_tail', 'bpf_csum_diff'), value, value).map(
    ([helper, a, b]) => `r1 = r6\nr2 = ${a}\nr3 = ${b}\nr4 = ${a}\nr5 = 0\ncall ${helper}`,
  ),
);
const hostile = fc.tuple(fc.array(statement, { minLength: 1, maxLength: 8, size: 'max' }), fc.integer({ min: -1, max: 5 }));

test.each(ENGINE_NAMES)('with the %s engine, a program that writes anywhere stops nothing but its lab', (engine) => {
  fc.assert(
    fc.property(hostile, ([statements, code]) => {
      const lab = smallLab(engine, [{ hook: 'xdp', source: `r6 = r1\n${statements.join('\n')}\nr0 = ${code}\nexit` }]);
      const { memory } = lab.machine;
      const batch = new PacketBatch(memory, 4);
      const window = memory.allocate(4096, 64, 'window');
      batch.count = 4;
      for (let index = 0; index < 4; index++) {
        const at = batch.descriptor(index);
        memory.u8.set(frame(), window);
        for (const [field, amount] of [[DESCRIPTOR.address, window], [DESCRIPTOR.captured, 64], [DESCRIPTOR.wire, 64], [DESCRIPTOR.number, index + 1]] as const) {
          memory.view.setUint32(at + field, amount, true);
        }
      }
      const output = new CaptureOutput(lab.pipeline, join(folder, 'out.pcapng'));
      const log = new VerdictLog(lab.pipeline, () => 'eth0', () => {});
      try {
        lab.pipeline.setInterface(0, lab.devices[0]);
        lab.pipeline.run(batch, { finished: (...args) => [output, log].forEach((observer) => observer.finished(...args)) });
        lab.statistics();
      } catch (error) {
        expect(error).toBeInstanceOf(XdplabError);
      } finally {
        output.close();
      }
    }),
    { numRuns: 150 },
  );
});
