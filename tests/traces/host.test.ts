import { beforeAll, describe, expect, test } from 'vitest';
import { macBytes } from '../../dataplane/packet/address.ts';
import { readIpv4 } from '../../dataplane/packet/ipv4.ts';
import { readTcp, TCP_FLAG } from '../../dataplane/packet/tcp.ts';
import { openLab } from '../../dataplane/pipeline/open-lab.ts';
import { replay } from '../../dataplane/pipeline/replay.ts';
import type { Lab } from '../../dataplane/pipeline/lab.ts';
import { demoTraffic } from '../../traces/demo.ts';
import { HOST, MAC, REMOTE } from '../../traces/network.ts';

const repository = new URL('../../', import.meta.url).pathname;

describe('in the demo', () => {
  const device = Buffer.from(macBytes(MAC.device));
  const frames = [...demoTraffic()].map(({ bytes }) => Buffer.from(bytes));
  const sentByHost = (frame: Buffer): boolean => frame.subarray(6, 12).equals(device);

  test('a frame is of the host if, and only if, its IPv4 source is', () => {
    for (const frame of frames) {
      const ip = frame.readUInt16BE(12) === 0x0800 ? readIpv4(frame, 14) : undefined;
      if (ip !== undefined) expect(sentByHost(frame)).toBe(ip.source === HOST);
    }
    expect(frames.filter(sentByHost).length).toBeGreaterThan(500);
  });

  test('the host opens connections, and is answered with sequence numbers that fit', () => {
    const next = new Map<string, number>();
    let opened = 0;
    for (const frame of frames) {
      const ip = readIpv4(frame, 14);
      const tcp = ip && readTcp(frame, 14 + ip.headerLength);
      if (!tcp || ip.protocol !== 6 || ![ip.source, ip.destination].includes(REMOTE.mirror.address)) continue;
      const port = sentByHost(frame) ? tcp.sourcePort : tcp.destinationPort;
      const isSyn = tcp.flags === TCP_FLAG.syn;
      if (isSyn) expect(sentByHost(frame)).toBe(true);
      opened += isSyn ? 1 : 0;
      const [own, peer] = [`${port} ${sentByHost(frame)}`, `${port} ${!sentByHost(frame)}`];
      if (next.has(own)) expect(tcp.sequence).toBe(next.get(own));
      if (tcp.flags & TCP_FLAG.ack && next.has(peer)) expect(tcp.acknowledgment).toBe(next.get(peer));
      const payload = ip.totalLength - ip.headerLength - tcp.headerLength;
      next.set(own, (tcp.sequence + payload + (tcp.flags & (TCP_FLAG.syn | TCP_FLAG.fin) ? 1 : 0)) >>> 0);
    }
    expect(opened).toBe(3);
  });
});

describe('the demonstration', () => {
  let lab: Lab;
  beforeAll(async () => {
    ({ lab } = await openLab({ file: `${repository}programs/demo.yaml` }));
    await replay(lab, `${repository}traces/demo.pcapng`);
  });
  const counters = (verdict: string): Record<'ingress' | 'egress', number> => {
    const perCpu = lab.map('ct_counters').get(verdict) as { ingress: { packets: bigint }; egress: { packets: bigint } }[];
    const sum = (way: 'ingress' | 'egress'): number => perCpu.reduce((total, cpu) => total + Number(cpu[way].packets), 0);
    return { ingress: sum('ingress'), egress: sum('egress') };
  };

  test('has every hook pass packets and drop some', () => {
    const { hooks } = lab.statistics();
    expect(hooks.map(({ hook }) => hook)).toEqual(['xdp', 'tc-ingress', 'tc-egress']);
    for (const { verdicts } of hooks) {
      expect(verdicts.filter(({ outcome }) => outcome === 'drop')).toHaveLength(1);
      expect(verdicts.filter(({ outcome }) => outcome === 'next' || outcome === 'pass').length).toBeGreaterThan(0);
    }
  });

  test('has connections that are opened and known again in both directions', () => {
    for (const verdict of ['CT_PASS_NEW', 'CT_PASS_CONNECTION', 'CT_PASS_NEIGHBOUR', 'CT_PASS_NOT_IP']) {
      const { ingress, egress } = counters(verdict);
      expect(ingress, verdict).toBeGreaterThan(0);
      expect(egress, verdict).toBeGreaterThan(0);
    }
  });

  test('has a reason for every kind of drop that a stateful firewall makes', () => {
    for (const verdict of ['CT_DROP_NO_RULE', 'CT_DROP_UNTRUSTED', 'CT_DROP_NO_CONNECTION', 'CT_DROP_UNRELATED', 'CT_DROP_FRAGMENT']) {
      expect(counters(verdict).ingress, verdict).toBeGreaterThan(0);
    }
    for (const verdict of ['CT_DROP_NO_CONNECTION', 'CT_DROP_UNRELATED']) expect(counters(verdict).egress, verdict).toBeGreaterThan(0);
    expect(counters('CT_PASS_RELATED').ingress).toBe(3);
  });

  test('spreads web flows over their backends as the weights say', () => {
    const flows = [1, 2, 3].map((backend) => {
      const perCpu = lab.map('backend_stats').get(backend) as { flows: bigint }[];
      return perCpu.reduce((total, cpu) => total + Number(cpu.flows), 0);
    });
    const all = flows.reduce((total, one) => total + one, 0);
    for (const [index, share] of [0.25, 0.25, 0.5].entries()) expect(Math.abs(flows[index]! / all - share)).toBeLessThan(0.05);
  });
});
