import { describe, expect, it } from 'vitest';
import { echoRest, icmp, ICMP_TYPE, icmpv6, ICMPV6_TYPE } from '../../dataplane/packet/icmp.ts';
import { ipv4, type Ipv4Fields } from '../../dataplane/packet/ipv4.ts';
import { ipv6 } from '../../dataplane/packet/ipv6.ts';
import type { Layer, Payload } from '../../dataplane/packet/layer.ts';
import { tcp, TCP_FLAG } from '../../dataplane/packet/tcp.ts';
import { udp } from '../../dataplane/packet/udp.ts';
import { vlan } from '../../dataplane/packet/vlan.ts';
import { Lab } from '../../dataplane/pipeline/lab.ts';
import { programSpec as smallProgram } from '../pipeline/small-lab.ts';
import { counted, ENGINE_NAMES, frame, programSpec } from './program-lab.ts';

const HOST = '10.0.0.1';
const HOST6 = 'fd00::1';
const CLIENT = '198.18.0.5';
const { fin, syn, rst, psh, ack } = TCP_FLAG;
const SECOND_NS = 1_000_000_000n;
const START_NS = 1_000n * SECOND_NS;

const toHost = (payload: Payload, fields: Partial<Ipv4Fields> = {}): Layer => ipv4({ source: CLIENT, destination: HOST, ...fields }, payload);
const fromHost = (payload: Payload, fields: Partial<Ipv4Fields> = {}): Layer => ipv4({ source: HOST, destination: CLIENT, ...fields }, payload);
const ssh = (flags: number, client = 1000): Layer => tcp({ sourcePort: client, destinationPort: 22, flags });
const sshReply = (flags: number, client = 1000): Layer => tcp({ sourcePort: 22, destinationPort: client, flags });

/** Sends what comes in at another device out of eth0: the packets of the host. */
const TO_ETH0 = 'r1 = 2\nr2 = 0\ncall bpf_redirect\nexit';

describe.each(ENGINE_NAMES)('tc_firewall on the %s engine', (engine) => {
  class Firewall {
    readonly lab = new Lab({ engine });
    nowNs = START_NS;

    constructor(config: { one_sided?: number; pick_up?: number } = {}) {
      const { lab } = this;
      const eth0 = lab.addDevice({ name: 'eth0', ifindex: 2 });
      const host = lab.addDevice({ name: 'host', ifindex: 3 });
      const object = lab.load(programSpec('tc_firewall'), 'tc_firewall.bpf.o');
      lab.attach(object.program('tc_fw_ingress'), { hook: 'tc-ingress', device: eth0 });
      lab.attach(object.program('tc_fw_egress'), { hook: 'tc-egress', device: eth0 });
      const out = smallProgram('to_eth0', 'tc-ingress', TO_ETH0);
      lab.attach(lab.load({ programs: new Map([['to_eth0', out]]), maps: new Map(), btf: undefined, license: 'GPL' }, 'out').program('to_eth0'), { hook: 'tc-ingress', device: host });
      lab.map('ct_config').set(0, { one_sided: 0, pick_up: 0, ...config });
      lab.map('inbound_rules').set({ protocol: 'tcp', port: 22 }, { id: 1, from: 'FROM_TRUSTED' });
      lab.map('inbound_rules').set({ protocol: 'tcp', port: 8080 }, { id: 2, from: 'FROM_ANYONE' });
      lab.map('inbound_rules').set({ protocol: 'icmp', port: 8 }, { id: 3, from: 'FROM_ANYONE' });
      lab.map('inbound_rules').set({ protocol: 'udp', port: 5353 }, { id: 4, from: 'FROM_ANYONE' });
      lab.map('trusted_v4').set('198.18.0.0/15', 1);
    }

    in(payload: Payload): string {
      return this.send('ingress', 'eth0', payload);
    }

    out(payload: Payload): string {
      return this.send('egress', 'host', payload);
    }

    /** The verdict that was counted; the one that was returned must agree. */
    private send(direction: 'ingress' | 'egress', device: string, payload: Payload): string {
      let returned = '';
      const run = (): void => {
        const { verdicts } = this.lab.run(frame(payload), { device: this.lab.device(device), timestampNs: this.nowNs });
        returned = verdicts.find((one) => one.device === 'eth0' && one.hook === `tc-${direction}`)!.verdict;
      };
      const [verdict, ...more] = counted(this.lab, 'ct_counters', run, direction);
      expect(more).toEqual([]);
      expect(returned).toMatch(verdict!.startsWith('CT_DROP') ? /SHOT|DROP/ : /UNSPEC|NEXT/);
      return verdict!;
    }

    state(local_port: number, remote_port: number, protocol = 'tcp'): unknown {
      const connection = this.lab.map('connections').get({ local: HOST, remote: CLIENT, local_port, remote_port, protocol });
      return (connection as { readonly state: unknown } | undefined)?.state;
    }
  }

  it('follows a TCP connection from SYN to the last ACK', () => {
    const firewall = new Firewall();
    const steps: readonly (readonly ['in' | 'out', number, string, string])[] = [
      ['in', syn, 'CT_PASS_NEW', 'CT_SYN_SENT'],
      ['in', syn, 'CT_PASS_CONNECTION', 'CT_SYN_SENT'],
      ['in', ack, 'CT_DROP_BAD_STATE', 'CT_SYN_SENT'],
      ['out', syn | ack, 'CT_PASS_CONNECTION', 'CT_SYN_RECEIVED'],
      ['in', ack, 'CT_PASS_CONNECTION', 'CT_ESTABLISHED'],
      ['in', psh | ack, 'CT_PASS_CONNECTION', 'CT_ESTABLISHED'],
      ['out', psh | ack, 'CT_PASS_CONNECTION', 'CT_ESTABLISHED'],
      ['in', syn | ack, 'CT_DROP_BAD_STATE', 'CT_ESTABLISHED'],
      ['in', fin | ack, 'CT_PASS_CONNECTION', 'CT_FIN_WAIT'],
      ['out', psh | ack, 'CT_PASS_CONNECTION', 'CT_FIN_WAIT'],
      ['out', fin | ack, 'CT_PASS_CONNECTION', 'CT_LAST_ACK'],
      ['in', ack, 'CT_PASS_CONNECTION', 'CT_CLOSED'],
      ['in', syn, 'CT_PASS_NEW', 'CT_SYN_SENT'],
      ['out', rst | ack, 'CT_PASS_CONNECTION', 'CT_CLOSED'],
    ];
    for (const [index, [way, flags, verdict, state]] of steps.entries()) {
      const found = way === 'in' ? firewall.in(toHost(ssh(flags))) : firewall.out(fromHost(sshReply(flags)));
      expect([index, found, firewall.state(22, 1000)]).toEqual([index, verdict, state]);
    }
  });

  it('counts the packets and bytes of a connection both ways', () => {
    const firewall = new Firewall();
    firewall.in(toHost(ssh(syn)));
    firewall.out(fromHost(sshReply(syn | ack)));
    firewall.in(toHost(ssh(ack)));
    const key = { local: HOST, remote: CLIENT, local_port: 22, remote_port: 1000, protocol: 'tcp' };
    expect(firewall.lab.map('connections').get(key)).toMatchObject({ ingress: { packets: 2, bytes: 108 }, egress: { packets: 1, bytes: 54 }, opened_by: 'CT_INGRESS' });
    expect(firewall.lab.map('inbound_opened').get(1)).toEqual([1]);
  });

  it('finds the connection of a tagged packet', () => {
    const firewall = new Firewall();
    firewall.in(toHost(ssh(syn)));
    expect(firewall.in(vlan({ id: 3 }, toHost(ssh(syn))))).toBe('CT_PASS_CONNECTION');
  });

  it('lets inbound connections open by rule only, and by trust where the rule asks for it', () => {
    const firewall = new Firewall();
    const knock = (destinationPort: number, source: string): string => firewall.in(toHost(tcp({ sourcePort: 1, destinationPort, flags: syn }), { source }));
    expect(knock(22, CLIENT)).toBe('CT_PASS_NEW');
    expect(knock(22, '203.0.113.66')).toBe('CT_DROP_UNTRUSTED');
    expect(knock(8080, '203.0.113.66')).toBe('CT_PASS_NEW');
    expect(knock(23, CLIENT)).toBe('CT_DROP_NO_RULE');
  });

  it('drops TCP that belongs to no connection, in and out', () => {
    const firewall = new Firewall();
    expect(firewall.in(toHost(ssh(ack)))).toBe('CT_DROP_NO_CONNECTION');
    expect(firewall.in(toHost(ssh(syn | ack)))).toBe('CT_DROP_NO_CONNECTION');
    expect(firewall.out(fromHost(sshReply(rst)))).toBe('CT_DROP_NO_CONNECTION');
    expect(firewall.in(toHost(ssh(0)))).toBe('CT_DROP_BAD_HEADER');
  });

  it('lets the host open connections and lets the answers in', () => {
    const firewall = new Firewall();
    const query = udp({ sourcePort: 5000, destinationPort: 53 });
    const answer = udp({ sourcePort: 53, destinationPort: 5000 });
    expect(firewall.in(toHost(answer))).toBe('CT_DROP_NO_RULE');
    expect(firewall.out(fromHost(query))).toBe('CT_PASS_NEW');
    expect(firewall.state(5000, 53, 'udp')).toBe('CT_UNREPLIED');
    expect(firewall.in(toHost(answer))).toBe('CT_PASS_CONNECTION');
    expect(firewall.state(5000, 53, 'udp')).toBe('CT_REPLIED');
  });

  it('forgets what is silent for longer than its state allows', () => {
    const firewall = new Firewall();
    const query = udp({ sourcePort: 5000, destinationPort: 53 });
    const answer = udp({ sourcePort: 53, destinationPort: 5000 });
    firewall.out(fromHost(query));
    firewall.nowNs += 29n * SECOND_NS;
    expect(firewall.in(toHost(answer))).toBe('CT_PASS_CONNECTION');
    firewall.nowNs += 119n * SECOND_NS;
    expect(firewall.in(toHost(answer))).toBe('CT_PASS_CONNECTION');
    firewall.nowNs += 120n * SECOND_NS;
    expect(firewall.in(toHost(answer))).toBe('CT_DROP_NO_RULE');
  });

  it('knows echo requests and replies by their identity', () => {
    const firewall = new Firewall();
    const echo = (type: number, identity: number): Layer => icmp({ type, rest: echoRest(identity, 1) });
    expect(firewall.in(toHost(echo(ICMP_TYPE.echo, 7)))).toBe('CT_PASS_NEW');
    expect(firewall.out(fromHost(echo(ICMP_TYPE.echoReply, 7)))).toBe('CT_PASS_CONNECTION');
    expect(firewall.in(toHost(echo(ICMP_TYPE.echoReply, 8)))).toBe('CT_DROP_UNRELATED');
    expect(firewall.in(toHost(icmp({ type: 13 })))).toBe('CT_DROP_NO_RULE');
  });

  it('lets ICMP errors pass that quote a packet of a connection, and only from the side that can know', () => {
    const firewall = new Firewall();
    firewall.in(toHost(ssh(syn)));
    const error = (quote: Layer): Layer => icmp({ type: ICMP_TYPE.unreachable, code: 4 }, quote.bytes.subarray(0, 28));
    expect(firewall.in(toHost(error(fromHost(sshReply(ack))), { source: '203.0.113.9' }))).toBe('CT_PASS_RELATED');
    expect(firewall.out(fromHost(error(toHost(ssh(ack)))))).toBe('CT_PASS_RELATED');
    expect(firewall.in(toHost(error(toHost(ssh(ack)))))).toBe('CT_DROP_UNRELATED');
    expect(firewall.in(toHost(error(fromHost(sshReply(ack, 1001)))))).toBe('CT_DROP_UNRELATED');
  });

  it('lets "packet too big" pass, and neighbour discovery always', () => {
    const firewall = new Firewall();
    const peer = '2001:db8::9';
    const opening = ipv6({ source: HOST6, destination: peer }, tcp({ sourcePort: 1, destinationPort: 2, flags: syn }));
    expect(firewall.out(opening)).toBe('CT_PASS_NEW');
    expect(firewall.in(ipv6({ source: '2001:db8::ff', destination: HOST6 }, icmpv6({ type: ICMPV6_TYPE.packetTooBig, rest: 1280 }, opening.bytes)))).toBe('CT_PASS_RELATED');
    expect(firewall.in(ipv6({ source: 'fe80::1', destination: HOST6 }, icmpv6({ type: ICMPV6_TYPE.neighborSolicitation }, new Uint8Array(16))))).toBe('CT_PASS_NEIGHBOUR');
  });

  it('lets later fragments pass when their first one did', () => {
    const firewall = new Firewall();
    const pieces = (destinationPort: number, identification: number): [Layer, Layer] => {
      const { bytes } = udp({ sourcePort: 1, destinationPort }, new Uint8Array(1600));
      const fields = { protocol: 17, identification };
      return [toHost(bytes.subarray(0, 800), { ...fields, moreFragments: true }), toHost(bytes.subarray(800), { ...fields, fragmentOffset: 800 })];
    };
    const [first, later] = pieces(5353, 9);
    expect(firewall.in(later)).toBe('CT_DROP_FRAGMENT');
    expect(firewall.in(first)).toBe('CT_PASS_NEW');
    expect(firewall.in(later)).toBe('CT_PASS_FRAGMENT');
    firewall.nowNs += 60n * SECOND_NS;
    expect(firewall.in(later)).toBe('CT_DROP_FRAGMENT');
    const [denied, behind] = pieces(99, 10);
    expect(firewall.in(denied)).toBe('CT_DROP_NO_RULE');
    expect(firewall.in(behind)).toBe('CT_DROP_FRAGMENT');
  });

  it('does without the answers where it sees one side only', () => {
    const firewall = new Firewall({ one_sided: 1 });
    const states = [syn, ack, fin | ack].map((flags) => [firewall.in(toHost(ssh(flags))), firewall.state(22, 1000)]);
    expect(states).toEqual([['CT_PASS_NEW', 'CT_SYN_SENT'], ['CT_PASS_CONNECTION', 'CT_ESTABLISHED'], ['CT_PASS_CONNECTION', 'CT_FIN_WAIT']]);
  });

  it('takes up connections under way where told, inbound by rule', () => {
    const firewall = new Firewall({ pick_up: 1 });
    expect(firewall.in(toHost(ssh(psh | ack)))).toBe('CT_PASS_NEW');
    expect(firewall.state(22, 1000)).toBe('CT_ESTABLISHED');
    expect(firewall.in(toHost(tcp({ sourcePort: 1, destinationPort: 25, flags: ack })))).toBe('CT_DROP_NO_RULE');
    expect(firewall.out(fromHost(tcp({ sourcePort: 9, destinationPort: 99, flags: ack })))).toBe('CT_PASS_NEW');
  });
});
