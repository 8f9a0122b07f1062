/**
 * The programs of the demonstration lab, packet by packet over the bundled captures, here and in the kernel: verdict,
 * packet and context after each packet, maps and records at the end have to be the same.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { ProgramType } from '../../../dataplane/bpf/spec.ts';
import { KernelOracle } from '../../../dataplane/engine/kernel/kernel-oracle.ts';
import { openLinux } from '../../../dataplane/engine/kernel/linux.ts';
import { TestBench } from '../../../dataplane/engine/test-run.ts';
import { FRAME, LINEAR_BYTES } from '../../../dataplane/packet/frame.ts';
import { openLab } from '../../../dataplane/pipeline/open-lab.ts';
import { capturePackets, TRACES } from './capture-packets.ts';
import { kernelTitle, whyNoKernel } from './kernel-here.ts';

const CAPTURES = readdirSync(TRACES).filter((name) => /\.pcap(ng)?(\.gz)?$/.test(name));
const PROGRAMS = ['xdp_firewall', 'xdp_lb', 'tc_fw_ingress', 'tc_fw_egress'] as const;
/** A run wants an Ethernet header, and here one page; on an skb Linux 6.18.44 wants the whole network header too, where the type says which. */
function fits(type: ProgramType, packet: Uint8Array): boolean {
  const networkHeader = type === 'xdp' ? 0 : { 0x0800: 20, 0x86dd: 40 }[(packet[12]! << 8) | packet[13]!] ?? 0;
  return packet.length >= FRAME.minimumLength + networkHeader && packet.length <= LINEAR_BYTES;
}

const show = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe.skipIf(whyNoKernel !== undefined)(kernelTitle('as in the kernel'), () => {
  const cpus = whyNoKernel === undefined ? openLinux().possibleCpus : 1;
  const oracles: KernelOracle[] = [];
  afterAll(() => oracles.forEach((oracle) => oracle.close()));

  test.each(CAPTURES)('%s', { timeout: 120_000 }, async (capture) => {
    const { lab } = await openLab({ file: join(TRACES, '../programs/demo.yaml'), cpus, parallel: false });
    const oracle = new KernelOracle(lab.machine);
    oracles.push(oracle);
    const bench = new TestBench(lab.machine);
    const programs = PROGRAMS.map((name) => lab.collections.find(({ spec }) => spec.programs.has(name))!.program(name));
    for (const program of programs) oracle.load(program);
    oracle.copyMaps();
    for (const { number, timestampNs, bytes } of await capturePackets(capture)) {
      lab.machine.nowNs = timestampNs;
      for (const program of programs) {
        if (!fits(program.type, bytes)) continue;
        const kernel = oracle.run(program, { packet: bytes });
        const here = bench.run(program, { packet: bytes });
        const where = `packet ${number} through ${program.spec.name}`;
        expect({ ...here, packet: show(here.packet), metadata: show(here.metadata) }, where).toEqual({ ...kernel, packet: show(kernel.packet), metadata: show(kernel.metadata) });
      }
    }
    for (const map of lab.maps.filter(({ type }) => type.holds === 'records')) {
      expect([...map.records()].map(show), map.name).toEqual(oracle.map(map).records().map(show));
    }
    expect(oracle.mapDifferences()).toEqual([]);
  });
});
