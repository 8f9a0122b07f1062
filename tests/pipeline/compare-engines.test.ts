/** One packet on all engines: what is compared, and what is said where they differ or cannot be asked. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { ProgramSpec } from '../../dataplane/bpf/spec.ts';
import type { EngineName } from '../../dataplane/engine/engine.ts';
import { compareEngines } from '../../dataplane/pipeline/compare-engines.ts';
import { Lab } from '../../dataplane/pipeline/lab.ts';
import { openLab } from '../../dataplane/pipeline/open-lab.ts';
import { capturePackets, TRACES } from '../engine/kernel/capture-packets.ts';
import { programSpec } from '../engine/kernel/kernel-bench.ts';
import { kernelTitle, whyNoKernel } from '../engine/kernel/kernel-here.ts';

const open = async (engine: EngineName): Promise<Lab> => (await openLab({ file: join(TRACES, '../programs/demo.yaml'), engine })).lab;
/** A stretch with handshakes, drops and encapsulation; programs that Linux runs on every packet of it. */
const inputs = (await capturePackets('demo.pcapng')).filter(({ bytes }) => bytes.length >= 60).slice(0, 200).map(({ bytes }) => ({ packet: bytes }));

test.each(['xdp_firewall', 'xdp_lb', 'tc_fw_ingress', 'tc_fw_egress'])('%s: all engines of this machine agree on verdicts, bytes, contexts, records and maps', { timeout: 60_000 }, async (program) => {
  const { engines, missing, runs, differences } = await compareEngines({ open, program, inputs });
  expect(differences).toEqual([]);
  expect(runs).toHaveLength(inputs.length);
  expect(engines).toEqual(whyNoKernel === undefined ? ['wasm', 'interpreter', 'kernel'] : ['wasm', 'interpreter']);
  expect(missing.map(({ why }) => why)).toEqual(whyNoKernel === undefined ? [] : [whyNoKernel]);
});

test('where engines differ, it says in what', async () => {
  const other = async (engine: EngineName): Promise<Lab> => {
    const lab = await open(engine);
    if (engine === 'interpreter') lab.map('deny_v4').set('0.0.0.0/0', 1);
    return lab;
  };
  const { differences } = await compareEngines({ open: other, program: 'xdp_firewall', inputs: inputs.slice(0, 40), engines: ['wasm', 'interpreter'] });
  const codes = differences.filter(({ what }) => what === 'code');
  expect(codes[0]?.found).toEqual({ wasm: '2', interpreter: '1' });
  expect(differences.some(({ input, what }) => input === undefined && what.startsWith('maps.fw_counters['))).toBe(true);
  expect(differences.find(({ what }) => what.startsWith('maps.deny_v4['))?.found).toEqual({ interpreter: '01000000' });
});

test('a program that no object has is refused', async () => {
  await expect(compareEngines({ open, program: 'nat', inputs })).rejects.toThrow(/^program 'nat': no object of the lab has it, expected one of .*xdp_firewall/);
});

test.each([
  ['socket_filter', 'socket'],
  ['cgroup_skb', 'cgroup_skb/ingress'],
] as const)('a program of type %s is refused: it is verified, and not run', async (type, section) => {
  const filter: ProgramSpec = { ...programSpec('r0 = *(u32 *)(r1 +0)\nr0 &= 1\nexit', type), section };
  const withFilter = (engine: EngineName): Lab => {
    const lab = new Lab({ engine });
    lab.load({ programs: new Map([['case', filter]]), maps: new Map(), btf: undefined, license: 'GPL' }, 'case');
    return lab;
  };
  await expect(compareEngines({ open: withFilter, program: 'case', inputs, engines: ['wasm'] })).rejects.toThrow(`program 'case': programs of type ${type} are verified, and not run; expected one of type xdp, sched_cls, sched_act`);
});

test.skipIf(whyNoKernel !== undefined)(kernelTitle('a run that Linux does not make is no difference: it is told with its reason, and made nowhere'), { timeout: 60_000 }, async () => {
  const [whole] = inputs.filter(({ packet }) => packet[12] === 0x08 && packet[13] === 0x00);
  const part = { packet: whole!.packet.subarray(0, 20) };
  const { runs, notMade, differences } = await compareEngines({ open, program: 'tc_fw_ingress', inputs: [whole!, part, whole!] });
  expect(differences).toEqual([]);
  expect(runs.map(({ length }) => length)).toEqual([3, 0, 3]);
  expect(notMade).toEqual([{ input: 1, engine: 'kernel', why: "program 'tc_fw_ingress' in the kernel: a run on 20 bytes is refused (EINVAL)" }]);
});
