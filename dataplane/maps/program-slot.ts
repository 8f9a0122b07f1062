/** Programs beside a device or a CPU in a slot: each has to be of the section that is for such maps. */
import { MapError } from './map-error.ts';
import { mapsOf } from './map-registry.ts';
import type { MapGeometry } from './map.ts';

/** File descriptor that says: no program. */
const NO_PROGRAM = 0xffff_ffff;

export function namesProgram(id: number): boolean {
  return id !== 0 && id !== NO_PROGRAM;
}

/** Throws unless the program may stand in slots of the map. `kind` is the map's, in the names of sections and attach types. */
export function expectProgramFor({ machine, spec }: MapGeometry, kind: 'devmap' | 'cpumap', id: number): void {
  const program = mapsOf(machine).program(id);
  if (program?.type === 'xdp' && program.spec.attach === `xdp_${kind}`) return;
  const found = program === undefined ? `there is no program of id ${id}` : `program ${program.spec.name} is of section ${program.spec.section}`;
  throw new MapError('EINVAL', `map '${spec.name}': update: ${found}, expected xdp/${kind}`);
}
