/**
 * The helpers that programs may call. An id may have several rows, for program types whose contexts or answers
 * differ (bpf_redirect at XDP and at TC), so a helper is found by program type and id.
 */
import { PROGRAM_TYPES, type ProgramType } from '../bpf/spec.ts';
import type { Helper, HelperPrototype } from './helper.ts';
import { PROTOTYPES } from './prototypes.ts';
import { HELPERS } from './table.ts';

export { bindHelper } from './bind.ts';
export { HELPER_NAMES, helperName } from './names.ts';
export { timersOf } from './timer.ts';
export type { HelperPrototype };
export { HELPERS, PROTOTYPES };

const BY_TYPE: ReadonlyMap<ProgramType, ReadonlyMap<number, Helper>> = new Map(
  PROGRAM_TYPES.map((type) => [type, new Map(HELPERS.filter((helper) => helper.programs.includes(type)).map((helper) => [helper.id, helper]))]),
);

/** The helpers that a program of this type may call, by id. */
export function helpersOf(type: ProgramType): ReadonlyMap<number, Helper> {
  return BY_TYPE.get(type)!;
}

const PROTOTYPES_BY_TYPE: ReadonlyMap<ProgramType, ReadonlyMap<number, HelperPrototype>> = new Map(
  PROGRAM_TYPES.map((type) => [type, new Map(PROTOTYPES.filter(({ programs }) => programs.includes(type)).map((prototype) => [prototype.id, prototype]))]),
);

/** What Linux knows of a helper that a program of this type may call, whether it can be run here or not. */
export function prototypeOf(id: number, type: ProgramType): Helper | HelperPrototype | undefined {
  return BY_TYPE.get(type)!.get(id) ?? PROTOTYPES_BY_TYPE.get(type)!.get(id);
}
