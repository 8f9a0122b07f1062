/** Mutants are patches against a tree that moves. Whether they are caught takes long: `npm run mutants`. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { readMutants } from './mutant.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

describe('every mutant', () => {
  const mutants = readMutants(ROOT);

  test.each(mutants)('$name applies to the tree as it is', ({ patch }) => {
    expect(() => execFileSync('git', ['apply', '--check', join(ROOT, patch)], { cwd: ROOT, stdio: 'pipe' })).not.toThrow();
  });

  test('says what it is in words of its own', () => {
    const sentences = mutants.map(({ sentence }) => sentence);
    expect(new Set(sentences).size).toBe(sentences.length);
    expect(sentences.filter((sentence) => sentence.length < 40)).toEqual([]);
  });
});
