/**
 * Programs that were accepted before, by a digest of everything the verifier looks at, itself included: a program is
 * verified again when it, its maps, its types or this program's code changed.
 */
import { release } from 'node:os';
import { declarationOf, type ProgramSpec } from '../bpf/spec.ts';
import { keyOf } from '../system/code-digest.ts';
import type { VerifyOptions } from './verify.ts';

export interface Proofs {
  /** By slot, 1 where some path went; undefined for what is not known to be accepted. */
  get(key: string): Uint8Array | undefined;
  add(key: string, reached: Uint8Array): void;
}

const MOST_IN_MEMORY = 256;

/** Kept as long as the process lives; the ones that came first go first. */
export class ProofMemory implements Proofs {
  readonly #known = new Map<string, Uint8Array>();

  get(key: string): Uint8Array | undefined {
    return this.#known.get(key);
  }

  add(key: string, reached: Uint8Array): void {
    this.#known.set(key, reached);
    if (this.#known.size > MOST_IN_MEMORY) this.#known.delete(this.#known.keys().next().value!);
  }
}

/** Names and lines decide nothing, and who watches neither. All else counts, so that what is added later does. */
export function proofKey(spec: ProgramSpec, { maps, btf, kernelBtf, observer: _observer, ...options }: VerifyOptions): string {
  const { name: _name, section: _section, lines: _lines, ...program } = spec;
  const used = new Set(spec.instructions.flatMap((one) => (one.kind === 'load_imm64' && (one.value.kind === 'map' || one.value.kind === 'map_value') ? [one.value.map] : [])));
  return keyOf({
    program,
    options: { ...options, type: spec.type ?? options.type },
    maps: [...used].map((name) => maps.get(name)).map((map) => map && { ...declarationOf(map), constants: map.frozen ? map.contents : undefined }),
    // The running kernel's types are as its release has them.
    kernel: kernelBtf?.bytes ?? release(),
    types: btf?.bytes,
  });
}
