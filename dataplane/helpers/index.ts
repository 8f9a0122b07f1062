/**
 * The helpers that programs may call. An id may have several rows, for program types whose contexts or answers
 * differ (bpf_redirect at XDP and at TC), so a helper is found by program type and id.
 */
import { PROGRAM_TYPES, type ProgramType } from '../bpf/spec.ts';
import type { Helper } from './helper.ts';
import { HELPERS } from './table.ts';

export { bindHelper } from './bind.ts';
export { HELPER_NAMES, helperName } from './names.ts';
export { timersOf } from './timer.ts';
export { HELPERS };

const BY_TYPE: ReadonlyMap<ProgramType, ReadonlyMap<number, Helper>> = new Map(
  PROGRAM_TYPES.map((type) => [type, new Map(HELPERS.filter((helper) => helper.programs.includes(type)).map((helper) => [helper.id, helper]))]),
);

/** The helpers that a program of this type may call, by id. */
export function helpersOf(type: ProgramType): ReadonlyMap<number, Helper> {
  return BY_TYPE.get(type)!;
}

/** What a verifier has to know of a helper; an implementation may be missing. */
export type HelperPrototype = Pick<Helper, 'id' | 'name' | 'args' | 'changesPacket' | 'gplOnly'> & {
  readonly returns: string;
  /** The result has to be released. */
  readonly acquires?: true;
  /** Index of the argument whose reference ends. */
  readonly releases?: number;
  /** Bytes of arguments that point to memory of a fixed size. */
  readonly sizes?: readonly (number | undefined)[];
};

const ACQUIRING: ReadonlySet<number> = new Set([84, 85, 99, 131]);
const RELEASING: ReadonlySet<number> = new Set([86, 132, 133]);

export function prototypeOf(id: number, type: ProgramType): HelperPrototype | undefined {
  const helper = BY_TYPE.get(type)!.get(id);
  if (helper === undefined) return undefined;
  return { ...helper, ...(ACQUIRING.has(id) ? { acquires: true as const } : {}), ...(RELEASING.has(id) ? { releases: 0 } : {}) };
}
