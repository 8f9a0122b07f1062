/** Which programs of an object a command is about: all of them unless one is named, by its name or section. */
import type { CollectionSpec, ProgramSpec } from '../bpf/spec.ts';
import { XdplabError } from '../errors.ts';

export function chosenPrograms(spec: CollectionSpec, object: string, name: string | undefined): readonly ProgramSpec[] {
  const all = [...spec.programs.values()];
  const found = name === undefined ? all : all.filter((program) => program.name === name || program.section === name);
  if (found.length === 0) throw new XdplabError('ERR_USAGE', `${object}: found no program${name === undefined ? 's' : ` '${name}', expected one of ${all.map((program) => program.name).join(', ')}`}`);
  return found;
}
