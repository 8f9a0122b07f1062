/** A lab with one of the bundled programs, and what the tests of the programs say about a packet. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BtfValue } from '../../dataplane/bpf/btf-value.ts';
import { loadObject } from '../../dataplane/bpf/object.ts';
import type { EngineName } from '../../dataplane/engine/engine.ts';
import type { Payload } from '../../dataplane/packet/layer.ts';
import { ethernet } from '../../dataplane/packet/ethernet.ts';
import { Lab } from '../../dataplane/pipeline/lab.ts';
import { sumCpus } from '../../dataplane/program/typed-map.ts';
import { programsDirectory } from '../../programs/objects.ts';

export const ENGINE_NAMES: readonly EngineName[] = ['interpreter', 'wasm'];

export const HOST_MAC = '02:00:00:00:00:01';
export const ROUTER_MAC = '02:00:00:00:00:99';

export function programSpec(name: string): ReturnType<typeof loadObject> {
  const file = `${name}.bpf.o`;
  return loadObject(readFileSync(join(programsDirectory(), file)), { name: file });
}

/** `name` at XDP of eth0. */
export function xdpLab(name: string, engine: EngineName): Lab {
  const lab = new Lab({ engine });
  const eth0 = lab.addDevice({ name: 'eth0' });
  lab.attach(lab.load(programSpec(name), name).program(name), { hook: 'xdp', device: eth0 });
  return lab;
}

export function frame(payload: Payload): Uint8Array {
  return ethernet({ destination: HOST_MAC, source: ROUTER_MAC }, payload);
}

/** The packets that a per-CPU map of counters counted, by key; of one `part` of its values where they have parts. */
export function packetCounts(lab: Lab, map: string, part?: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [key, value] of lab.map(map).entries()) {
    const sum = sumCpus(value);
    const counter = part === undefined ? sum : (sum as Readonly<Record<string, BtfValue>>)[part];
    const packets = Number(typeof counter === 'object' ? (counter as { readonly packets: number }).packets : counter);
    if (packets > 0) counts.set(String(key), packets);
  }
  return counts;
}

/** The keys whose counters `run` raised. */
export function counted(lab: Lab, map: string, run: () => void, part?: string): string[] {
  const before = packetCounts(lab, map, part);
  run();
  return [...packetCounts(lab, map, part)].filter(([key, packets]) => packets !== before.get(key)).map(([key]) => key);
}
