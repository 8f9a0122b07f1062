/** A digest of this program's own code: of the file that it was bundled into, or of every file of the dataplane. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { serialize } from 'node:v8';

let known: string | undefined;

/** What is made of plain data by this program's code is found by a digest of both. */
export function keyOf(facts: object): string {
  return createHash('sha256').update(codeDigest()).update(serialize(facts)).digest('hex');
}

function codeDigest(): string {
  if (known === undefined) {
    const digest = createHash('sha256');
    for (const file of files()) digest.update(basename(file)).update(readFileSync(file));
    known = digest.digest('hex');
  }
  return known;
}

function files(): readonly string[] {
  const here = fileURLToPath(import.meta.url);
  if (!/^code-digest\.[jt]s$/.test(basename(here))) return [here];
  const dataplane = fileURLToPath(new URL('..', import.meta.url));
  return readdirSync(dataplane, { recursive: true, encoding: 'utf8' }).filter((name) => /\.[jt]s$/.test(name)).toSorted().map((name) => join(dataplane, name));
}
