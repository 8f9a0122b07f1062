import { join } from 'node:path';
import { expect, test } from 'vitest';
import { whyNoLinux } from '../../dataplane/engine/kernel/linux.ts';
import { benchmarkLab, type BenchmarkOptions } from '../../dataplane/measure/benchmark-lab.ts';
import { makeTrace } from '../../dataplane/measure/workload.ts';
import { programsDirectory } from '../../programs/objects.ts';

const MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
const counter = join(programsDirectory(), 'flow_counter.bpf.o');
const demo = join(programsDirectory(), 'demo.yaml');
const quick = (options: Partial<BenchmarkOptions> = {}): BenchmarkOptions => ({
  // Verified elsewhere.
  sources: { programs: [{ hook: 'xdp', program: counter }], verify: false },
  engines: ['wasm', 'interpreter'],
  trace: (hook) => makeTrace({ name: '1k', flows: 50, to: '10.0.0.100:80', mac: MAC, outward: hook === 'tc-egress' }),
  runs: 3,
  durationSeconds: 0.003,
  warmupSeconds: 0.001,
  ...options,
});

test('a program is measured on each engine, and its cost is counted', async () => {
  const { programs, tiers, settings } = await benchmarkLab(quick());
  expect(programs).toHaveLength(1);
  const [{ name, hook, nsPerPacket, series, cost, fates }] = programs as [(typeof programs)[0]];
  expect([name, hook, fates]).toEqual(['flow_counter', 'xdp', 'stack 100.0 %']);
  expect(nsPerPacket.wasm).toBeGreaterThan(nsPerPacket.wasmNet!);
  expect(series.wasm!.turns).toHaveLength(3);
  expect(series.interpreterEmpty!.turns).toHaveLength(3);
  expect(cost!.maps).toEqual([expect.objectContaining({ map: 'flows', hits: cost!.packets, inserts: 0 })]);
  expect(Object.keys(tiers)).toEqual(['wasm', 'interpreter']);
  expect(settings.runs).toBe(3);
});

test('counted costs are the same from run to run', async () => {
  const [first, second] = [await benchmarkLab(quick({ engines: ['wasm'] })), await benchmarkLab(quick({ engines: ['wasm'] }))];
  expect(second.programs[0]!.cost).toEqual(first.programs[0]!.cost);
});

test('with fresh maps every flow is new to every sample', async () => {
  const { programs } = await benchmarkLab(quick({ engines: ['wasm'], freshMaps: true }));
  expect(programs[0]!.cost!.maps).toEqual([expect.objectContaining({ map: 'flows', inserts: 50 })]);
});

test('the programs of a lab are measured each by itself and together, on their way out too', async () => {
  const firewall = join(programsDirectory(), 'tc_firewall.bpf.o');
  const sources = {
    devices: [{ name: 'eth0', mac: MAC }],
    verify: false,
    programs: [{ hook: 'xdp', program: counter } as const, { hook: 'tc-ingress', program: `${firewall}:tc_fw_ingress` } as const, { hook: 'tc-egress', program: `${firewall}:tc_fw_egress` } as const],
  };
  const { programs } = await benchmarkLab(quick({ sources, engines: ['wasm'] }));
  expect(programs.map(({ name, hook }) => [name, hook])).toEqual([
    ['flow_counter', 'xdp'],
    ['tc_fw_ingress', 'tc-ingress'],
    ['tc_fw_egress', 'tc-egress'],
    ['all programs', undefined],
  ]);
  for (const { cost } of programs) expect(cost!.perPacket.instructions.min).toBeGreaterThan(20);
});

test('a program beside itself is no different', async () => {
  const { programs } = await benchmarkLab(quick({ engines: ['wasm'], versus: counter }));
  expect(programs[0]!.versus).toMatchObject({ object: counter, engine: 'wasm', cost: programs[0]!.cost });
});

test('an object without the program to compare is refused by its own name', async () => {
  const firewall = join(programsDirectory(), 'xdp_firewall.bpf.o');
  await expect(benchmarkLab(quick({ engines: ['wasm'], versus: firewall }))).rejects.toThrow(`--vs ${firewall}: found no program 'flow_counter', expected one of xdp_firewall`);
});

test('a program that is not there is refused by name', async () => {
  await expect(benchmarkLab(quick({ programs: ['nobody'] }))).rejects.toThrow("program 'nobody': not attached in this lab, expected one of flow_counter");
});

test.skipIf(whyNoLinux() !== undefined)('the kernel runs the same packets, net of an empty program', async () => {
  const { programs } = await benchmarkLab(quick({ sources: { file: demo, verify: false }, programs: ['xdp_lb'], engines: ['wasm', 'kernel'] }));
  for (const { nsPerPacket, speedupVsKernelNet, missing } of programs) {
    expect(missing).toEqual([]);
    expect(nsPerPacket.kernel).toBeGreaterThan(1);
    expect(speedupVsKernelNet).toBe(nsPerPacket.kernelNet! / nsPerPacket.wasm!);
  }
});
