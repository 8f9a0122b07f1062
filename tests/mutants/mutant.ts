/**
 * A mutant is a patch beside this file that brings a mistake of the past back into the dataplane: a paragraph that says
 * what went wrong and what is wrong now, a blank line, and a unified diff of little context, since the code moves.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const MUTANTS_FOLDER = 'tests/mutants';

export interface Mutant {
  readonly name: string;
  /** From the root of the tree. */
  readonly patch: string;
  readonly sentence: string;
  /** The room of the dataplane that it changes: `verifier`. */
  readonly room: string;
}

/** All of them; `root` is that of the tree. */
export function readMutants(root: string): Mutant[] {
  const names = readdirSync(join(root, MUTANTS_FOLDER)).filter((file) => file.endsWith('.patch')).toSorted();
  return names.map((file) => {
    const patch = `${MUTANTS_FOLDER}/${file}`;
    const text = readFileSync(join(root, patch), 'utf8');
    const room = /^--- a\/dataplane\/([^/]+)\//m.exec(text)?.[1];
    const sentence = text.slice(0, text.indexOf('\n\n')).replaceAll('\n', ' ').trim();
    if (room === undefined || sentence === '' || sentence.startsWith('diff ')) throw new Error(`${patch}: expected a paragraph, a blank line, and a diff of a file under dataplane/`);
    return { name: file.slice(0, -'.patch'.length), patch, sentence, room };
  });
}
