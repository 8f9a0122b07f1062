/** The programs of the object files in the tree, as a kernel without their BTF takes them. */
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { loadObject } from '../../dataplane/bpf/object.ts';
import type { Instruction } from '../../dataplane/bpf/isa.ts';
import type { MapSpec, ProgramSpec } from '../../dataplane/bpf/spec.ts';

const FILES: readonly string[] = [
  'programs/flow_counter.bpf.o', 'programs/tc_firewall.bpf.o', 'programs/xdp_firewall.bpf.o', 'programs/xdp_lb.bpf.o', 'tests/bpf/objects/maps.bpf.o', 'tests/bpf/objects/data.bpf.o',
  'tests/bpf/objects/subprograms.bpf.o',
];

export interface ObjectPrograms {
  readonly programs: readonly ProgramSpec[];
  readonly maps: readonly MapSpec[];
}

/** Maps of different objects may have one name, so each gets its object's. */
export function readObjectPrograms(root: string): ObjectPrograms {
  const programs: ProgramSpec[] = [];
  const maps: MapSpec[] = [];
  for (const [at, file] of FILES.entries()) {
    const spec = loadObject(readFileSync(join(root, file)), { name: basename(file) });
    const named = (name: string): string => `o${at}.${name}`;
    for (const map of spec.maps.values()) maps.push({ ...plain(map), name: named(map.name) });
    for (const program of spec.programs.values()) {
      if (program.type !== 'xdp' && program.type !== 'sched_cls') continue;
      programs.push({ ...program, instructions: program.instructions.map((each) => renamed(each, named)), functions: program.functions.map((each) => ({ ...each, typeId: 0, linkage: 'static' })), lines: [], license: 'GPL' });
    }
  }
  return { programs, maps };
}

/** Without what its types would add. */
function plain(map: MapSpec): MapSpec {
  const { btf: _, slots: __, ...rest } = map;
  return { ...rest, keyTypeId: 0, valueTypeId: 0, pinning: 'none' };
}

function renamed(instruction: Instruction, named: (name: string) => string): Instruction {
  if (instruction.kind !== 'load_imm64' || !('map' in instruction.value)) return instruction;
  return { ...instruction, value: { ...instruction.value, map: named(instruction.value.map) } };
}
