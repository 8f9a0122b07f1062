/** A packet that runs again: which line it left by, and nothing of it stays. */
import { expect, test } from 'vitest';
import type { LineInfo, ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { Rerunner } from '../../dataplane/insight/rerun.ts';
import { WatchedPrograms } from '../../dataplane/insight/watched-programs.ts';
import { openLab } from '../../dataplane/pipeline/open-lab.ts';
import { Lab } from '../../dataplane/pipeline/lab.ts';
import { replay } from '../../dataplane/pipeline/replay.ts';
import { object, trace } from '../cli/run-cli.ts';
import { frame, programSpec, smallLab } from '../pipeline/small-lab.ts';

test.each([1, 2])('with %i CPUs, maps, counters, clock and random numbers are as if it had not run', async (cpus) => {
  const { lab } = await openLab({ file: object('demo.yaml'), verify: false, cpus });
  await replay(lab, trace('demo.pcapng'), { limit: 1000 });
  const { memory } = lab.machine;
  const rerunner = new Rerunner(lab, new WatchedPrograms(lab));
  rerunner.run(frame(), { device: lab.devices[0]! });
  const [statistics, used] = [lab.statistics(), memory.usedBytes];
  const before = memory.u8.slice(0, used);
  for (let run = 0; run < 3; run++) rerunner.run(frame({ type: 0x0806 }), { device: lab.devices[0]! });
  expect(lab.statistics()).toEqual(statistics);
  expect(memory.usedBytes).toBe(used);
  expect(Buffer.compare(memory.u8.subarray(0, used), before)).toBe(0);
  await replay(lab, trace('demo.pcapng'), { limit: 100 });
  expect(lab.statistics().packets).toBe(1100);
  lab.close();
});

test.each([['wire', ['xdp']], ['host', ['tc-egress']], [undefined, ['tc-egress']]] as const)('a packet with the address of its device, sent by %s, meets %s', (sender, hooks) => {
  const lab = smallLab('wasm', [{ hook: 'xdp', source: 'r0 = 1\nexit' }, { hook: 'tc-egress', source: 'r0 = 0\nexit' }], { devices: [{ name: 'eth0', mac: Uint8Array.of(2, 0, 0, 0, 0, 2) }] });
  const { verdicts } = new Rerunner(lab, new WatchedPrograms(lab)).run(frame({ source: '02:00:00:00:00:02' }), sender === undefined ? {} : { sender });
  expect(verdicts.map(({ hook }) => hook)).toEqual(hooks);
});

test('records and lines that programs send are heard by nobody', () => {
  const source = `*(u64 *)(r10 -8) = 0x6968
     r1 = r10
     r1 += -8
     r2 = 3
     call bpf_trace_printk
     r0 = 2
     exit`;
  const lab = smallLab('wasm', [{ hook: 'xdp', source }]);
  let heard = 0;
  lab.machine.onEvent = () => heard++;
  new Rerunner(lab, new WatchedPrograms(lab)).run(frame(), { device: lab.devices[0]! });
  expect(heard).toBe(0);
  lab.run(frame());
  expect(heard).toBe(1);
});

interface Written {
  readonly source: string;
  /** By slot. */
  readonly lines: Readonly<Record<number, string>>;
}

function rerunOf({ source, lines }: Written, packet = frame()) {
  const infos = Object.entries(lines).map(([slot, text], index): LineInfo => ({ slot: Number(slot), file: 'a.c', line: index + 1, column: 1, text }));
  const spec: ProgramSpec = { ...programSpec('written', 'xdp', source), lines: infos };
  const lab = new Lab({ verify: false });
  const program = lab.load({ programs: new Map([['written', spec]]), maps: new Map(), btf: undefined, license: 'GPL' }, 'written.bpf.o').program();
  lab.attach(program, { hook: 'xdp' });
  return new Rerunner(lab, new WatchedPrograms(lab)).run(packet, { device: lab.devices[0]! });
}

test('the verdict is of the return that ran, though all leave by one exit', () => {
  const written = {
    source: `r2 = *(u32 *)(r1 +0)
     r3 = *(u8 *)(r2 +12)
     r6 = 1
     if r3 == 8 goto out
     r6 = 2
     out: r0 = r6
     exit`,
    lines: { 0: 'kind = *(u8 *)data;', 2: 'return XDP_DROP;', 3: 'if (kind == 8)', 4: 'return XDP_PASS;', 5: '}' },
  };
  const [dropped] = rerunOf(written).runs;
  expect(dropped).toMatchObject({ instructions: 6, returned: { slot: 2, line: { line: 2, text: 'return XDP_DROP;' }, lineIs: 'return' } });
  expect(dropped!.lines.map(({ line }) => line.line)).toEqual([1, 2, 3, 5]);
  expect(rerunOf(written, frame({ type: 0x86dd })).runs[0]).toMatchObject({ returned: { slot: 4, line: { line: 4 } } });
});

test('a value that was kept on the stack is still known, and one that a function returned is that of its line', () => {
  const written = {
    source: `call get
     *(u64 *)(r10 -8) = r0
     r0 = 9
     r0 = *(u64 *)(r10 -8)
     exit
     get: r0 = 1
     exit`,
    lines: { 0: 'int verdict = get();', 3: 'return verdict;', 5: 'return XDP_DROP;' },
  };
  expect(rerunOf(written).runs[0]).toMatchObject({ returned: { slot: 5, line: { text: 'return XDP_DROP;' } } });
});

test('where the compiler has joined all returns, it is the last condition', () => {
  const written = {
    source: `r2 = *(u32 *)(r1 +0)
     r3 = *(u8 *)(r2 +12)
     r0 = 1
     if r3 == 8 goto out
     r0 = 2
     out: exit`,
    lines: { 0: 'kind = *(u8 *)data;', 3: 'if (kind == 8)', 4: 'count++;', 5: '}' },
  };
  expect(rerunOf(written).runs[0]).toMatchObject({ returned: { slot: 2, line: { text: 'if (kind == 8)' }, lineIs: 'condition' } });
});

test('a variable that is returned is not said to have got its value there', () => {
  const written = { source: 'r0 = 1\nr2 = *(u32 *)(r1 +0)\nexit', lines: { 0: 'verdict = XDP_DROP;', 1: 'data = (void *)ctx->data;', 2: 'return verdict;' } };
  expect(rerunOf(written).runs[0]).toMatchObject({ returned: { slot: 0, line: { text: 'return verdict;' }, lineIs: 'return' } });
  const straight = { source: 'r0 = 1\nexit', lines: { 0: 'verdict = XDP_DROP;', 1: '}' } };
  expect(rerunOf(straight).runs[0]).toMatchObject({ returned: { slot: 0, line: { text: 'verdict = XDP_DROP;' }, lineIs: 'value' } });
});

test('a program that was stopped has returned nothing', () => {
  expect(rerunOf({ source: 'r1 = -64\nr0 = *(u64 *)(r1 +0)\nexit', lines: {} })).toMatchObject({ verdicts: [{ faulted: true }], runs: [{ instructions: 2 }] });
});
