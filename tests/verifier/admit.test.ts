/** Engines get programs that were verified, and what was proven once is not proven again. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { assemble } from '../../dataplane/bpf/assemble.ts';
import { disassembleInstruction } from '../../dataplane/bpf/disassemble.ts';
import type { MapSpec, ProgramSpec } from '../../dataplane/bpf/spec.ts';
import type { Program, VerifiedProgram } from '../../dataplane/program/program.ts';
import { CacheFolder } from '../../dataplane/system/cache-folder.ts';
import { admit } from '../../dataplane/verifier/admit.ts';
import { ProofMemory, proofKey, type Proofs } from '../../dataplane/verifier/proofs.ts';

const folder = mkdtempSync(join(tmpdir(), 'xdplab-'));
afterAll(() => rmSync(folder, { recursive: true }));

function programOf(asm: string): Program {
  const { instructions } = assemble(asm);
  const spec: ProgramSpec = { name: 'case', section: 'xdp', type: 'xdp', frags: false, instructions, functions: [{ name: 'case', slot: 0, typeId: 0, linkage: 'static' }], lines: [{ slot: 0, file: 'case.bpf.c', line: 7, column: 0, text: '' }], license: 'GPL' };
  return { id: 1, spec, type: 'xdp', maps: new Map() };
}

/** Counts what is asked and what is added. */
class Counted implements Proofs {
  added = 0;
  found = 0;
  readonly #proofs: Proofs;

  constructor(proofs: Proofs) {
    this.#proofs = proofs;
  }

  get(key: string): Uint8Array | undefined {
    const found = this.#proofs.get(key);
    if (found !== undefined) this.found++;
    return found;
  }

  add(key: string, reached: Uint8Array): void {
    this.added++;
    this.#proofs.add(key, reached);
  }
}

const admitted = (asm: string, proofs: Proofs = new ProofMemory()): VerifiedProgram => admit(programOf(asm), { maps: new Map(), cpus: 1 }, proofs);

test('a program that Linux would not load is refused with its line, the reason and what to do', () => {
  expect(() => admitted('r0 = *(u64 *)(r1 +4000)\nexit')).toThrow(
    "program 'case': instruction 0 (case.bpf.c:7): invalid bpf_context access off=4000 size=8; Linux would not load it. xdplab verify explains; --no-verify (of a Lab: verify: false) runs it all the same",
  );
});

test('branches that go one way only are jumps, and everything keeps its place', () => {
  const { spec, proof } = admitted('r0 = 1\nif r0 == 0x1 goto pc+1\nr0 = 7\nif r0 != 0x1 goto pc+1\nexit\nr0 = 2\nexit');
  expect(proof).toBe('verified');
  expect(spec.instructions.map((instruction, slot) => disassembleInstruction(instruction, slot))).toEqual(['r0 = 1', 'goto pc+1', 'r0 = 7', 'goto pc+0', 'exit', 'r0 = 2', 'exit']);
});

describe.each<readonly [string, () => Proofs]>([
  ['memory', () => new ProofMemory()],
  ['a folder', () => new CacheFolder(join(folder, 'proofs'))],
])('proofs in %s', (_where, make) => {
  test('a program that was accepted is not verified again; another one is, and a refused one too', () => {
    const proofs = new Counted(make());
    const [first, second] = [admitted('r0 = 2\nexit', proofs), admitted('r0 = 2\nexit', proofs)];
    expect(second.spec.instructions).toEqual(first.spec.instructions);
    expect(proofs).toMatchObject({ added: 1, found: 1 });
    admitted('r0 = 1\nexit', proofs);
    expect(proofs).toMatchObject({ added: 2, found: 1 });
    for (let time = 0; time < 2; time++) expect(() => admitted('exit', proofs)).toThrow('R0 !read_ok');
    expect(proofs).toMatchObject({ added: 2, found: 1 });
  });
});

test('a proof holds for what was asked, not for the same program asked otherwise', () => {
  const { spec } = programOf('r0 = 2\nexit');
  const options = { maps: new Map(), cpus: 1 };
  const keys = [options, { ...options, cpus: 2 }, { ...options, deviceBound: true }, { ...options, user: 'without_perfmon' as const }, { ...options, type: 'sched_cls' as const }].map((each, index) => proofKey(index === 4 ? { ...spec, type: undefined } : spec, each));
  expect(new Set(keys).size).toBe(5);
  expect(proofKey({ ...spec, name: 'another', lines: [] }, options)).toBe(keys[0]);
});

test('a proof holds for maps as they are declared, and for contents that never change', () => {
  const { spec } = programOf('r1 = map[numbers]\nr0 = 2\nexit');
  const numbers: MapSpec = { name: 'numbers', type: 2, keyBytes: 4, valueBytes: 4, maxEntries: 1, flags: 0, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false, contents: Uint8Array.of(1, 0, 0, 0) };
  const frozen: MapSpec = { ...numbers, frozen: true };
  const outer: MapSpec = { ...numbers, type: 12, inner: numbers };
  const keyOf = (map: MapSpec): string => proofKey(spec, { maps: new Map([['numbers', map]]) });
  const others: MapSpec[] = [{ ...numbers, maxEntries: 2 }, frozen, { ...frozen, contents: Uint8Array.of(2, 0, 0, 0) }, outer, { ...outer, inner: { ...numbers, valueBytes: 8 } }];
  expect(new Set([numbers, ...others].map(keyOf)).size).toBe(6);
  expect(keyOf({ ...numbers, contents: Uint8Array.of(2, 0, 0, 0) })).toBe(keyOf(numbers));
});

test('a damaged proof is no proof', () => {
  const path = join(folder, 'damaged');
  const proofs = new Counted(new CacheFolder(path));
  admitted('r0 = 2\nexit', proofs);
  for (const file of readdirSync(path)) writeFileSync(join(path, file), 'x');
  expect(admitted('r0 = 2\nexit', proofs).proof).toBe('verified');
  expect(proofs.added).toBe(2);
});

test('where nothing can be written, programs are verified each time', () => {
  const proofs = new CacheFolder('/dev/null/proofs');
  expect(admitted('r0 = 2\nexit', proofs).proof).toBe('verified');
  expect(admitted('r0 = 2\nexit', proofs).proof).toBe('verified');
});
