/**
 * Programs that were accepted before, by a digest of everything the verifier looks at, itself included: a program is
 * verified again when it, its maps, its types or this program's code changed.
 */
import { createHash } from 'node:crypto';
import { release } from 'node:os';
import type { MapSpec, ProgramSpec } from '../bpf/spec.ts';
import { codeDigest } from '../system/code-digest.ts';
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
  const { instructions } = spec;
  const used = new Set(instructions.flatMap((one) => (one.kind === 'load_imm64' && (one.value.kind === 'map' || one.value.kind === 'map_value') ? [one.value.map] : [])));
  // The running kernel's types are as its release has them.
  const facts = { ...program, options: { ...options, type: spec.type ?? options.type }, maps: [...used].map((name) => [name, maps.get(name)]), kernel: kernelBtf?.bytes ?? release() };
  const digest = createHash('sha256').update(codeDigest()).update(JSON.stringify(facts, plain));
  if (btf !== undefined) digest.update(btf.bytes);
  return digest.digest('hex');
}

/** Of a map's contents only those count that never change. */
function plain(key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return `${value}n`;
  if (value instanceof Uint8Array) return createHash('sha256').update(value).digest('hex');
  if (value instanceof Map) return [...value];
  if (isMapSpec(value)) {
    const { btf: _btf, contents, ...facts } = value;
    return value.frozen ? { ...facts, frozenContents: contents } : facts;
  }
  return key === 'btf' ? undefined : value;
}

function isMapSpec(value: unknown): value is MapSpec {
  return typeof value === 'object' && value !== null && 'maxEntries' in value && 'frozen' in value && !('frozenContents' in value);
}
