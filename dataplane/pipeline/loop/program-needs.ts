/** What the packet loop has to set up or to look after for a program, by the functions that it calls. */
import { calleeOf } from '../../helpers/index.ts';
import type { VerifiedProgram } from '../../program/program.ts';

const REDIRECT_HELPERS: ReadonlySet<string> = new Set(['redirect', 'redirect_map', 'redirect_peer', 'redirect_neigh']);

/** Whether what it does is not all in its instructions: nobody has proven them, or it goes on as a program that is in a map. */
export function mayDoAnything({ proof, spec, type }: VerifiedProgram): boolean {
  return proof === 'none' || spec.instructions.some((instruction) => instruction.kind === 'call' && calleeOf(instruction.target, type)?.name === 'tail_call');
}

/** Whether a redirect may have been asked for when it is done. */
export function mayRedirect(program: VerifiedProgram): boolean {
  return mayDoAnything(program) || program.spec.instructions.some((instruction) => instruction.kind === 'call' && REDIRECT_HELPERS.has(calleeOf(instruction.target, program.type)?.name ?? ''));
}
