/** Counting while packets run: exact over its sample, and nothing else is different. */
import { expect, test } from 'vitest';
import { InstructionCounts } from '../../dataplane/insight/instruction-counts.ts';
import { WatchedPrograms } from '../../dataplane/insight/watched-programs.ts';
import type { LineInfo, ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { Lab } from '../../dataplane/pipeline/lab.ts';
import { openLab } from '../../dataplane/pipeline/open-lab.ts';
import { replay } from '../../dataplane/pipeline/replay.ts';
import { object, trace } from '../cli/run-cli.ts';
import { frame, mapSpec, programSpec, smallLab } from '../pipeline/small-lab.ts';

/** Packets of type 0x0800 go one way, others the other. */
const FORK = `r2 = *(u32 *)(r1 +0)
     r3 = *(u8 *)(r2 +12)
     r0 = 2
     if r3 == 8 goto out
     r0 = 1
     out: exit`;
const OTHER = frame({ type: 0x86dd });

test('every instruction of the packets that run is counted, from the first request on', () => {
  const lab = smallLab('wasm', [{ hook: 'xdp', source: FORK }]);
  const [program] = lab.programs;
  const counts = new InstructionCounts(new WatchedPrograms(lab));
  lab.run(frame());
  expect(counts.of(program!)).toEqual({ runs: 0, instructions: [], lines: [] });
  for (const packet of [frame(), frame(), OTHER]) lab.run(packet);
  expect(counts.of(program!)).toEqual({ runs: 3, instructions: [0, 1, 2, 3, 4, 5].map((slot) => ({ slot, times: slot === 4 ? 1 : 3 })), lines: [] });
  counts.stop();
});

test('a sample ends after so many runs, and then nothing is counted for a while', () => {
  const lab = smallLab('wasm', [{ hook: 'xdp', source: FORK }]);
  const own: unknown = lab.machine.programTable.get(lab.programs[0]!.id);
  const counts = new InstructionCounts(new WatchedPrograms(lab));
  counts.of(lab.programs[0]);
  for (let run = 0; run < 1000; run++) lab.run(frame());
  expect(counts.of(lab.programs[0])).toMatchObject({ runs: 256 });
  expect(lab.machine.programTable.get(lab.programs[0]!.id)).toBe(own);
  counts.stop();
});

test('what programs answer, and what is in maps, is the same while it counts', () => {
  const source = `*(u32 *)(r10 -4) = 0
     r1 = map[map]
     r2 = r10
     r2 += -4
     call bpf_map_lookup_elem
     if r0 == 0 goto out
     r1 = *(u64 *)(r0 +0)
     r1 += 1
     *(u64 *)(r0 +0) = r1
     out: r0 = 2
     exit`;
  const lab = smallLab('wasm', [{ hook: 'xdp', source }], { maps: [mapSpec({})] });
  const counts = new InstructionCounts(new WatchedPrograms(lab));
  const answers = [lab.run(frame())];
  counts.of(lab.programs[0]);
  for (let run = 0; run < 300; run++) answers.push(lab.run(frame()));
  expect(new Set(answers.map(({ fate, verdicts }) => `${fate} ${verdicts[0]!.verdict}`)).size).toBe(1);
  expect(lab.map('map').get(0)).toBe(301);
  expect(counts.of(lab.programs[0])).toMatchObject({ runs: 256 });
  counts.stop();
});

const lines: readonly LineInfo[] = [
  { slot: 0, file: 'a.c', line: 3, column: 1, text: 'if (kind == 8)' },
  { slot: 4, file: 'a.c', line: 5, column: 1, text: 'return XDP_DROP;' },
  { slot: 5, file: 'a.c', line: 3, column: 1, text: 'if (kind == 8)' },
];

test('a line of C is counted as its most frequent instruction, wherever the compiler has put the parts of it', () => {
  const spec: ProgramSpec = { ...programSpec('fork', 'xdp', FORK), lines };
  const lab = new Lab({ verify: false });
  const program = lab.load({ programs: new Map([['fork', spec]]), maps: new Map(), btf: undefined, license: 'GPL' }, 'fork.bpf.o').program();
  lab.attach(program, { hook: 'xdp' });
  const counts = new InstructionCounts(new WatchedPrograms(lab));
  counts.of(program);
  for (const packet of [frame(), frame(), OTHER]) lab.run(packet);
  expect(counts.of(program).lines).toEqual([
    { file: 'a.c', line: 3, times: 3, instructions: 15 },
    { file: 'a.c', line: 5, times: 1, instructions: 1 },
  ]);
  counts.stop();
});

test('where several CPUs run packets, the first runs those that are counted, and then all of them again', async () => {
  const { lab } = await openLab({ file: object('demo.yaml'), verify: false, cpus: 2 });
  const counts = new InstructionCounts(new WatchedPrograms(lab));
  const firewall = lab.programs.find(({ spec }) => spec.name === 'xdp_firewall');
  counts.of(firewall);
  await replay(lab, trace('demo.pcapng'));
  const { runs, instructions } = counts.of(firewall);
  counts.stop();
  expect(runs).toBeGreaterThan(0);
  expect(instructions[0]).toEqual({ slot: 0, times: runs });
  const { packets, hooks } = lab.statistics();
  expect(packets).toBe(4765);
  expect(hooks[0]!.cpus[1]!.packets).toBeGreaterThan(0);
  lab.close();
});
