/** Map contents as files give them: slots by name, lists, what was saved, and what is refused with its place. */
import { describe, expect, test } from 'vitest';
import { Lab } from '../../dataplane/pipeline/lab.ts';
import type { MapSpec } from '../../dataplane/bpf/spec.ts';
import { parseYaml } from '../../dataplane/pipeline/yaml.ts';
import { programSpec } from '../pipeline/small-lab.ts';

function map(name: string, type: number, fields: Partial<MapSpec> = {}): [string, MapSpec] {
  return [name, { name, type, keyBytes: 4, valueBytes: 4, maxEntries: 4, flags: 0, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false, ...fields }];
}

const MAPS = new Map([
  map('ports', 1),
  map('weights', 2),
  map('jumps', 3),
  map('tx', 14),
  map('tx_with_programs', 14, { valueBytes: 8 }),
  map('cpus', 16, { valueBytes: 8 }),
  map('free_ports', 22, { keyBytes: 0 }),
  map('last_ports', 23, { keyBytes: 0 }),
]);

function lab(): Lab {
  const made = new Lab({ cpus: 2 });
  for (const name of ['eth0', 'eth1']) made.addDevice({ name });
  const pass = (name: string, attach?: 'xdp_devmap' | 'xdp_cpumap') => ({ ...programSpec(name, 'xdp', 'r0 = 2\nexit'), ...(attach === undefined ? {} : { attach }) });
  const programs = [pass('pass'), pass('on_the_way_out', 'xdp_devmap'), pass('on_that_cpu', 'xdp_cpumap')];
  made.load({ programs: new Map(programs.map((program) => [program.name, program])), maps: MAPS, btf: undefined, license: 'GPL' }, 'small.bpf.o');
  return made;
}

const parse = (text: string): unknown => parseYaml(text, 'lab.yaml', 'ERR_LAB');

describe('contents', () => {
  test.each([
    ['jumps', '[ { key: 1, value: pass } ]', [{ key: 1, value: 'pass' }]],
    ['tx', '{ 2: eth1 }', [{ key: 2, value: 'eth1' }]],
    ['tx', '[ eth0, 3 ]', [{ key: 0, value: 'eth0' }, { key: 1, value: 'eth1' }]],
    ['tx_with_programs', '[ eth0, { ifindex: eth1, bpf_prog: on_the_way_out } ]', [{ key: 0, value: 'eth0' }, { key: 1, value: { ifindex: 'eth1', bpf_prog: 'on_the_way_out' } }]],
    ['cpus', '[ 192, { qsize: 64, bpf_prog: on_that_cpu } ]', [{ key: 0, value: 192 }, { key: 1, value: { qsize: 64, bpf_prog: 'on_that_cpu' } }]],
    ['weights', '[ 7, 8 ]', [{ key: 0, value: 7 }, { key: 1, value: 8 }]],
    ['free_ports', '[ 7, 8 ]', [{ key: '', value: 7 }, { key: '', value: 8 }]],
    ['last_ports', '[ 7, 8 ]', [{ key: '', value: 8 }, { key: '', value: 7 }]],
  ])('of %s given as %s can be saved and given back', (name, text, entries) => {
    const first = lab().map(name);
    first.fill(parse(text), name);
    expect(first.dump().entries).toEqual(entries);
    const second = lab().map(name);
    second.fill(parse(JSON.stringify(first.dump())), name);
    expect(second.dump()).toEqual(first.dump());
  });

  test('may be plain objects, and what dump gave', () => {
    const ports = lab().map('ports');
    const [list, mapping] = [[{ key: 53, value: 1 }], { 123: 2 }];
    for (const contents of [list, mapping]) ports.fill(contents, 'ports');
    const copy = lab().map('ports');
    copy.fill(ports.dump(), 'ports');
    expect([...copy.entries()]).toEqual(expect.arrayContaining([[53, 1], [123, 2]]));
  });

  test('of a queue or stack are pushed in order', () => {
    const made = lab();
    for (const name of ['free_ports', 'last_ports']) made.map(name).fill(parse('[ 1024, 1025 ]'), name);
    expect(made.map('free_ports').map.pop()?.[0]).toBe(1024 & 0xff);
    expect(made.map('last_ports').map.pop()?.[0]).toBe(1025 & 0xff);
  });

  test('name programs of the object that has the map', () => {
    const made = lab();
    const { spec } = made.collections[0]!;
    const other = made.load({ ...spec, maps: new Map([map('other_jumps', 3)]) }, 'other.bpf.o');
    made.map('other_jumps').fill(parse('[ pass ]'), 'other_jumps');
    expect(made.map('other_jumps').map.lookup(new Uint8Array(4))?.[0]).toBe(other.program('pass').id);
  });

  test.each([
    ['ports', '[ 53, 123 ]', 'at[0]: found a value without its key, expected { key, value } in a hash map'],
    ['jumps', '[ { key: 0, value: 42 } ]', 'at[0]: value: found 42, expected the name of a program'],
    ['jumps', '[ passs ]', "at[0]: program 'passs': no object has it, expected one of pass, on_the_way_out, on_that_cpu"],
    ['tx', '{ 0: eth9 }', "at.0: device 'eth9': not in the lab, expected one of eth0, eth1"],
    ['tx', '[ { ifindex: eth1, bpf_prog: on_the_way_out } ]', 'at[0]: value.bpf_prog: found that values of tx have 4 bytes, expected struct bpf_devmap_val or bpf_cpumap_val in its declaration'],
    ['tx_with_programs', '[ { ifindex: eth1, bpf_prog: { fd: 7 } } ]', 'at[0]: value.bpf_prog: found {"fd":7}, expected the name of a program'],
    ['tx_with_programs', '[ { ifindx: eth1 } ]', 'at[0]: value.ifindx: found unknown field, expected an object of ifindex, bpf_prog'],
    ['tx_with_programs', '[ { bpf_prog: on_the_way_out } ]', 'at[0]: value.ifindex: found nothing, expected the name or ifindex of a device'],
    ['tx_with_programs', '[ { ifindex: eth1, bpf_prog: pass } ]', "at[0]: map 'tx_with_programs': update: program pass is of section xdp, expected xdp/devmap (EINVAL)"],
    ['cpus', '[ { qsize: 64, bpf_prog: pass } ]', "at[0]: map 'cpus': update: program pass is of section xdp, expected xdp/cpumap (EINVAL)"],
    ['cpus', '[ many ]', 'at[0]: value: found "many", expected a number of packets'],
    ['weights', '{ 4: 1 }', "at.4: map 'weights' (array): update of key 4: its indexes end at "],
  ])('of %s given as %s are refused', (name, text, message) => {
    expect(() => lab().map(name).fill(parse(text), 'at')).toThrow(message);
  });
});
