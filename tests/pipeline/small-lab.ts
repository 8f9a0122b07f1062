/** Labs of tiny programs written in assembly, and packets for them. */
import { assemble } from '../../dataplane/bpf/assemble.ts';
import type { MapSpec, ProgramSpec, ProgramType } from '../../dataplane/bpf/spec.ts';
import type { EngineName } from '../../dataplane/engine/engine.ts';
import { HELPER_NAMES } from '../../dataplane/helpers/index.ts';
import type { HookName } from '../../dataplane/hooks/hook.ts';
import { Lab, type DeviceOptions } from '../../dataplane/pipeline/lab.ts';

export const ENGINE_NAMES = ['wasm', 'interpreter'] as const satisfies readonly EngineName[];

export interface SmallProgram {
  readonly hook: HookName;
  readonly source: string;
  readonly device?: string;
  readonly section?: string;
}

const TYPE: Readonly<Record<HookName, ProgramType>> = { xdp: 'xdp', 'tc-ingress': 'sched_cls', 'tc-egress': 'sched_cls' };

export function programSpec(name: string, hook: HookName, source: string, section?: string): ProgramSpec {
  const { instructions } = assemble(source, { helper: (helper) => HELPER_NAMES.indexOf(helper) });
  return { name, section: section ?? (hook === 'xdp' ? 'xdp' : 'tc'), type: TYPE[hook], frags: false, instructions, functions: [{ name, slot: 0, typeId: 0, linkage: 'global' }], lines: [], license: 'GPL', ...(section?.startsWith('tcx/') ? { attach: section.replace('/', '_') } : {}) };
}

export function mapSpec(fields: Partial<MapSpec>): MapSpec {
  return { name: 'map', type: 2, keyBytes: 4, valueBytes: 8, maxEntries: 1, flags: 0, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false, ...fields };
}

/** `more` are programs of the object that are attached to no hook. Not verified unless said: programs here are as short as what they show allows. */
export function smallLab(
  engine: EngineName,
  programs: readonly SmallProgram[],
  options: { readonly devices?: readonly DeviceOptions[]; readonly maps?: readonly MapSpec[]; readonly more?: readonly ProgramSpec[]; readonly instructionBudget?: number; readonly verify?: boolean; readonly cpus?: number } = {},
): Lab {
  const lab = new Lab({ engine, verify: options.verify ?? false, instructionBudget: options.instructionBudget ?? 1 << 20, cpus: options.cpus ?? 1 });
  for (const device of options.devices ?? [{ name: 'eth0' }]) lab.addDevice(device);
  const specs = [...programs.map(({ hook, source, section }, index) => programSpec(`program_${index}`, hook, source, section)), ...(options.more ?? [])];
  const collection = lab.load(
    { programs: new Map(specs.map((spec) => [spec.name, spec])), maps: new Map((options.maps ?? []).map((map) => [map.name, map])), btf: undefined, license: 'GPL' },
    'small.bpf.o',
  );
  programs.forEach(({ hook, device }, index) => lab.attach(collection.program(`program_${index}`), { hook, device: lab.device(device ?? 'eth0') }));
  return lab;
}

/** An Ethernet frame with an IPv4-like payload of counting bytes. */
export function frame(options: { readonly length?: number; readonly destination?: string; readonly source?: string; readonly type?: number; readonly vlan?: number } = {}): Uint8Array {
  const { length = 64, destination = '02:00:00:00:00:01', source = '02:00:00:00:00:02', type = 0x0800, vlan } = options;
  const mac = (text: string): number[] => text.split(':').map((byte) => Number.parseInt(byte, 16));
  const tag = vlan === undefined ? [] : [0x81, 0x00, vlan >> 8, vlan & 0xff];
  const header = [...mac(destination), ...mac(source), ...tag, type >> 8, type & 0xff];
  return Uint8Array.from({ length }, (_, index) => header[index] ?? index & 0xff);
}
