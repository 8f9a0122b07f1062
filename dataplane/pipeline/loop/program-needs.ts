/** What the packet loop has to set up or to look after for a program, by the helpers that it calls. */
import { HELPER_NAMES } from '../../helpers/index.ts';
import type { VerifiedProgram } from '../../program/program.ts';

const REDIRECT_HELPERS = ['redirect', 'redirect_map', 'redirect_peer', 'redirect_neigh'] as const;

/** Names of the helpers that it calls. */
export function helpersCalled({ spec }: Pick<VerifiedProgram, 'spec'>): ReadonlySet<string> {
  return new Set(spec.instructions.flatMap((instruction) => (instruction.kind === 'call' && instruction.target.kind === 'helper' ? [HELPER_NAMES[instruction.target.id] ?? ''] : [])));
}

/** Whether what it does is not all in its instructions: nobody has proven them, or it goes on as a program that is in a map. */
export function mayDoAnything(program: VerifiedProgram): boolean {
  return program.proof === 'none' || helpersCalled(program).has('tail_call');
}

/** Whether a redirect may have been asked for when it is done. */
export function mayRedirect(program: VerifiedProgram): boolean {
  const called = helpersCalled(program);
  return mayDoAnything(program) || REDIRECT_HELPERS.some((name) => called.has(name));
}
