/**
 * The helpers and kernel functions that programs may call. An id may have several rows, for program types whose contexts or answers
 * differ (bpf_redirect at XDP and at TC), so a helper is found by program type and id.
 */
import { PROGRAM_TYPES, type ProgramType } from '../bpf/spec.ts';
import type { CallTarget } from '../bpf/isa.ts';
import type { Callable, Helper, HelperPrototype } from './helper.ts';
import { KFUNCS } from './kfunc-table.ts';
import type { Kfunc } from './kfunc.ts';
import { PROTOTYPES } from './prototypes.ts';
import { HELPERS } from './table.ts';

export { bindHelper } from './bind.ts';
export { capabilityFor } from './capabilities.ts';
export { HELPER_NAMES, helperName } from './names.ts';
export { timersOf } from './timer.ts';
export type { Callable, HelperPrototype, Kfunc };
export { HELPERS, KFUNCS, PROTOTYPES };

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

const KFUNCS_BY_NAME: ReadonlyMap<string, readonly Kfunc[]> = new Map(KFUNCS.map(({ name }) => [name, KFUNCS.filter((other) => other.name === name)]));

/** A kernel function by its name, for whichever type of program. */
export function kfuncNamed(name: string | undefined): Kfunc | undefined {
  return name === undefined ? undefined : KFUNCS_BY_NAME.get(name)?.[0];
}

/** The kernel functions that a program of this type may call. */
export function kfuncOf(name: string | undefined, type: ProgramType): Kfunc | undefined {
  return name === undefined ? undefined : KFUNCS_BY_NAME.get(name)?.find(({ programs }) => programs.includes(type));
}

/** The helper or kernel function of that name that a program of this type may call. */
export function calleeNamed(name: string, type: ProgramType): Callable | undefined {
  return [...helpersOf(type).values()].find((helper) => helper.name === name) ?? kfuncOf(name, type);
}

/** What a call of a program of this type calls, where that is not the program's own function. */
export function calleeOf(target: CallTarget, type: ProgramType): Callable | undefined {
  switch (target.kind) {
    case 'helper':
      return helpersOf(type).get(target.id);
    case 'kfunc':
      return kfuncOf(target.name, type);
    default:
      return undefined;
  }
}
