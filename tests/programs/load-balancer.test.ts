import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { valueCodec } from '../../dataplane/bpf/btf-value.ts';
import { loadObject } from '../../dataplane/bpf/object.ts';
import { XdplabError } from '../../dataplane/errors.ts';
import { MAX_BACKENDS, MAX_VIPS, RING_SIZE, loadBalancerMaps } from '../../programs/load-balancer.ts';
import { programsDirectory } from '../../programs/objects.ts';

const WEB = { vip: '10.0.0.100', port: 80, protocol: 'tcp', backends: [{ address: '10.1.0.1' }, { address: '10.1.0.2' }] };
const DNS = { vip: 'FD00::0100', port: 53, protocol: 'udp', stateless: true, affinity: 'source', backends: [{ address: '10.1.0.2' }, { address: 'fd00:1::1' }] };

describe('the load balancer maps', () => {
  const maps = loadBalancerMaps([WEB, DNS]);

  it('hold a VIP per service, and one per address that answers echo requests', () => {
    expect(maps.vips).toEqual([
      { key: { address: '10.0.0.100', port: 80, protocol: 'tcp' }, value: { id: 0, flags: 0 } },
      { key: { address: 'fd00::100', port: 53, protocol: 'udp' }, value: { id: 1, flags: 3 } },
      { key: { address: '10.0.0.100', port: 0, protocol: 'icmp' }, value: { id: 2, flags: 0 } },
      { key: { address: 'fd00::100', port: 0, protocol: 'icmpv6' }, value: { id: 3, flags: 0 } },
    ]);
  });

  it('hold a backend once, whichever services it serves, and none under number 0', () => {
    expect(maps.backends).toEqual([
      { key: 1, value: { address: '10.1.0.1', state: 'BACKEND_UP' } },
      { key: 2, value: { address: '10.1.0.2', state: 'BACKEND_UP' } },
      { key: 3, value: { address: 'fd00:1::1', state: 'BACKEND_UP' } },
    ]);
  });

  it('hold the rings one after the other', () => {
    expect(maps.lb_rings).toHaveLength(2 * RING_SIZE);
    expect(new Set(maps.lb_rings.slice(0, RING_SIZE))).toEqual(new Set([1, 2]));
    expect(new Set(maps.lb_rings.slice(RING_SIZE))).toEqual(new Set([2, 3]));
  });

  it('take draining and failed backends out of the ring; only failed ones are down', () => {
    const { backends, lb_rings } = loadBalancerMaps([
      { ...WEB, echo: false, backends: [{ address: '10.1.0.1' }, { address: '10.1.0.2', state: 'draining' }, { address: '10.1.0.3', state: 'down' }] },
    ]);
    expect(new Set(lb_rings)).toEqual(new Set([1]));
    expect(backends.map(({ value }) => value.state)).toEqual(['BACKEND_UP', 'BACKEND_UP', 'BACKEND_DOWN']);
  });

  it('are what the types of the program can hold', () => {
    const object = loadObject(readFileSync(join(programsDirectory(), 'xdp_lb.bpf.o')), { name: 'xdp_lb.bpf.o' });
    const spec = object.maps.get('vips')!;
    const key = valueCodec(spec.btf, spec.keyTypeId, spec.keyBytes);
    for (const vip of maps.vips) expect(key.read(key.write(vip.key, 'vips'))).toEqual(vip.key);
    const { btf, valueTypeId, valueBytes } = object.maps.get('backends')!;
    const value = valueCodec(btf, valueTypeId, valueBytes);
    for (const backend of maps.backends) expect(value.read(value.write(backend.value, 'backends'))).toEqual(backend.value);
  });

  it('have the sizes of the program', () => {
    const source = readFileSync(join(programsDirectory(), 'xdp_lb.bpf.c'), 'utf8');
    const define = (name: string): number => Number(new RegExp(`#define ${name} (\\d+)`).exec(source)?.[1]);
    expect([define('RING_SIZE'), define('MAX_VIPS'), define('MAX_BACKENDS')]).toEqual([RING_SIZE, MAX_VIPS, MAX_BACKENDS]);
  });
});

describe('a bad load-balancer section is refused with the place', () => {
  it.each([
    [{}, 'load-balancer is {}; expected a list of services'],
    [[7], 'load-balancer[0] is 7'],
    [[{ ...WEB, vip: '10.0.0' }], 'load-balancer[0].vip is "10.0.0"; expected an IPv4 or IPv6 address'],
    [[{ ...WEB, port: 0 }], 'load-balancer[0].port is 0; expected 1 to 65535'],
    [[{ ...WEB, protocol: 'icmp' }], 'load-balancer[0].protocol is "icmp"; expected tcp or udp'],
    [[{ ...WEB, backend: [] }], 'load-balancer[0] has an unknown field backend'],
    [[{ ...WEB, backends: [] }], 'load-balancer[0].backends is []; expected a list of backends'],
    [[WEB, { ...WEB, backends: [{}] }], 'load-balancer[1] is a second service for 10.0.0.100 port 80 tcp'],
    [[{ ...WEB, backends: [{ address: '10.1.0.1', weight: -1 }] }], 'load-balancer[0].backends[0].weight is -1'],
    [[{ ...WEB, backends: [{ address: 'fd00::1' }, { address: 'fd00:0::1' }] }], 'backends[1] is a second backend fd00::1'],
    [[{ ...WEB, backends: [{ address: '10.1.0.1', state: 'gone' }] }], 'state is "gone"; expected up or draining or down'],
    [[WEB, { ...DNS, backends: [{ address: '10.1.0.1', state: 'down' }] }], 'backend 10.1.0.1 is down for one VIP only'],
    [Array.from({ length: 64 }, (_, index) => ({ ...WEB, port: index + 1 })), 'need 65 VIP entries'],
  ])('%j', (services, message) => {
    expect(() => loadBalancerMaps(services)).toThrow(XdplabError);
    expect(() => loadBalancerMaps(services)).toThrow(message);
  });
});
