/** What the verifier of the tree answers, as the fuzzer counts it. */
import type { MapSpec, ProgramSpec } from '../../dataplane/bpf/spec.ts';

export interface OurVerdict {
  readonly accepted: boolean;
  readonly instructionsProcessed: number;
  readonly refusal?: { readonly slot: number; readonly errno: string; readonly message: string };
}

export type Verify = (spec: ProgramSpec, options: { readonly maps: ReadonlyMap<string, MapSpec>; readonly unprivileged?: boolean }) => OurVerdict;

/** Undefined where the tree has none. */
export async function findVerifier(): Promise<Verify | undefined> {
  try {
    const file = new URL(import.meta.url.endsWith('.ts') ? '../../dataplane/verifier/verify.ts' : '../../dataplane/verifier/verify.js', import.meta.url);
    return ((await import(file.href)) as { readonly verifyProgram: Verify }).verifyProgram;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}
