/** A verifier as the fuzzer asks it: ours is one, and a test may bring another. */
import type { MapSpec, ProgramSpec } from '../../dataplane/bpf/spec.ts';
import type { User } from '../../dataplane/verifier/user.ts';
import { verifyProgram } from '../../dataplane/verifier/verify.ts';

export interface OurVerdict {
  readonly accepted: boolean;
  readonly instructionsProcessed: number;
  /** By slot, 1 where some path went. */
  readonly reached: Uint8Array;
  readonly refusal?: { readonly slot: number; readonly errno: string; readonly message: string };
}

export type Verify = (spec: ProgramSpec, options: { readonly maps: ReadonlyMap<string, MapSpec>; readonly cpus?: number; readonly user?: User }) => OurVerdict;

export const ourVerifier: Verify = verifyProgram;
