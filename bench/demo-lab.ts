/** One object by itself: of the demonstration lab, at the hooks and with the map contents it has there; or an empty one. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { assemble } from '../dataplane/bpf/assemble.ts';
import { loadObject } from '../dataplane/bpf/object.ts';
import type { CollectionSpec, ProgramSpec } from '../dataplane/bpf/spec.ts';
import type { EngineName } from '../dataplane/engine/engine.ts';
import type { HookName } from '../dataplane/hooks/hook.ts';
import { Lab } from '../dataplane/pipeline/lab.ts';
import { parseLabFile } from '../dataplane/pipeline/lab-file.ts';
import { programsDirectory } from '../programs/objects.ts';
import type { Traffic } from './workloads.ts';

export const DEMO_LAB: string = join(programsDirectory(), 'demo.yaml');

export interface ProgramUnderTest {
  readonly name: string;
  /** Names of its programs. */
  readonly attach: Partial<Record<HookName, string>>;
  readonly traffic: Traffic;
  readonly object: () => CollectionSpec;
}

export const PROGRAMS_UNDER_TEST: readonly ProgramUnderTest[] = [
  { name: 'empty', attach: { xdp: 'empty' }, traffic: 'balanced', object: emptyObject },
  { name: 'flow_counter', attach: { xdp: 'flow_counter' }, traffic: 'balanced', object: () => bundled('flow_counter.bpf.o') },
  { name: 'xdp_firewall', attach: { xdp: 'xdp_firewall' }, traffic: 'balanced', object: () => bundled('xdp_firewall.bpf.o') },
  { name: 'xdp_lb', attach: { xdp: 'xdp_lb' }, traffic: 'balanced', object: () => bundled('xdp_lb.bpf.o') },
  {
    name: 'tc_firewall',
    attach: { 'tc-ingress': 'tc_fw_ingress', 'tc-egress': 'tc_fw_egress' },
    traffic: 'host',
    object: () => bundled('tc_firewall.bpf.o'),
  },
];

export function labOf({ name, attach, object }: ProgramUnderTest, engine: EngineName): Lab {
  const description = parseLabFile(readFileSync(DEMO_LAB, 'utf8'), DEMO_LAB);
  const lab = new Lab({ engine });
  for (const { programs: _programs, peer: _peer, ...device } of description.devices) lab.addDevice(device);
  const collection = lab.load(object(), name);
  for (const [hook, program] of Object.entries(attach)) lab.attach(collection.program(program), { hook: hook as HookName });
  for (const [map, contents] of description.maps) {
    if (collection.maps.has(map)) lab.map(map).fill(contents, `${DEMO_LAB}: maps.${map}`);
  }
  lab.pipeline.setInterface(0, lab.devices[0]);
  return lab;
}

function bundled(name: string): CollectionSpec {
  return loadObject(readFileSync(join(programsDirectory(), name)), { name });
}

/** Drops every packet: what is left is the cost of the packet loop. */
function emptyObject(): CollectionSpec {
  const { instructions } = assemble('r0 = 1\nexit', {});
  const program: ProgramSpec = {
    name: 'empty',
    section: 'xdp',
    type: 'xdp',
    frags: false,
    instructions,
    functions: [{ name: 'empty', slot: 0, typeId: 0, linkage: 'global' }],
    lines: [],
    license: 'GPL',
  };
  return { programs: new Map([['empty', program]]), maps: new Map(), btf: undefined, license: 'GPL' };
}
