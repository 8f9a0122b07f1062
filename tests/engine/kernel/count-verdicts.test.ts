/** A program that counts its verdicts answers what it answers without, and counts each answer. */
import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { loadObject } from '../../../dataplane/bpf/object.ts';
import { VERDICTS_MAP, withVerdictCounts } from '../../../dataplane/engine/kernel/count-verdicts.ts';
import { createKernelMap } from '../../../dataplane/engine/kernel/kernel-map.ts';
import { KernelOracle } from '../../../dataplane/engine/kernel/kernel-oracle.ts';
import { openLinux } from '../../../dataplane/engine/kernel/linux.ts';
import { VERDICT_SLOTS } from '../../../dataplane/hooks/hook.ts';
import { u32Bytes } from '../../../dataplane/maps/slot-array.ts';
import { Lab } from '../../../dataplane/pipeline/lab.ts';
import { object } from '../../cli/run-cli.ts';
import { capturePackets } from './capture-packets.ts';
import { kernelTitle, whyNoKernel } from './kernel-here.ts';

describe.skipIf(whyNoKernel !== undefined)(kernelTitle('with verdicts counted'), () => {
  const closing: (() => void)[] = [];
  afterAll(() => closing.forEach((close) => close()));

  test.each([['xdp_firewall.bpf.o', 'xdp_firewall'], ['tc_firewall.bpf.o', 'tc_fw_ingress'], ['flow_counter.bpf.o', undefined]])('%s answers the same', async (file, name) => {
    const packets = (await capturePackets('malformed.pcap')).concat(await capturePackets('mixed.pcap')).filter(({ bytes }) => bytes.length >= 60).slice(0, 300);
    const linux = openLinux();
    const counts = createKernelMap(linux, VERDICTS_MAP);
    closing.push(() => counts.close());
    const answers = [false, true].map((counted) => {
      const lab = new Lab({ verify: false, cpus: linux.possibleCpus });
      const program = lab.load(loadObject(readFileSync(object(file)), { name: file }), file).program(name);
      const oracle = new KernelOracle(lab.machine, counted ? { adapt: ({ spec }) => withVerdictCounts(spec), addedMap: () => counts } : {});
      closing.push(() => oracle.close());
      oracle.load(program);
      return packets.map(({ bytes, timestampNs }) => {
        lab.machine.nowNs = timestampNs;
        const { code, packet } = oracle.run(program, { packet: bytes });
        return [code, Buffer.from(packet).toString('hex')] as const;
      });
    });
    expect(answers[1]).toEqual(answers[0]);
    const expected = Array.from({ length: VERDICT_SLOTS }, (_, slot) => answers[0]!.filter(([code]) => code + 1 === slot).length);
    const found = expected.map((_, slot) => {
      const value = new DataView(Uint8Array.from(counts.lookup(u32Bytes(slot))!).buffer);
      return Array.from({ length: linux.possibleCpus }, (__, cpu) => Number(value.getBigUint64(8 * cpu, true))).reduce((sum, one) => sum + one, 0);
    });
    expect(found).toEqual(expected);
  });
});
