import { copyFileSync, cpSync, mkdtempSync, appendFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { buildObjects, compareWithBuild, compareWithLock, missingTools, programSources, programsDirectory } from '../../programs/objects.ts';

const directory = programsDirectory();
const scratch = mkdtempSync(join(tmpdir(), 'xdplab-programs-test-'));
afterAll(() => rmSync(scratch, { recursive: true }));

describe('the committed objects', () => {
  it('are the ones that the lock file records, from the sources it records', () => {
    expect(compareWithLock(directory)).toEqual([]);
  });

  it('are missed when a header that they include changes', () => {
    const copy = join(scratch, 'changed');
    cpSync(join(directory, 'include'), join(copy, 'include'), { recursive: true });
    for (const source of programSources(directory)) {
      copyFileSync(join(directory, source), join(copy, source));
      copyFileSync(join(directory, source.replace(/c$/, 'o')), join(copy, source.replace(/c$/, 'o')));
    }
    copyFileSync(join(directory, 'objects.lock.json'), join(copy, 'objects.lock.json'));
    expect(compareWithLock(copy)).toEqual([]);
    appendFileSync(join(copy, 'include/parse.h'), '\n');
    expect(compareWithLock(copy)).toContain('include/parse.h changed since xdp_lb.bpf.o was built');
  });

  const missing = missingTools();
  it.skipIf(missing.length > 0)(`are byte for byte what the sources compile to${missing.map((tool) => ` (${tool})`).join('')}`, () => {
    expect(compareWithBuild(directory, buildObjects(directory, join(scratch, 'built')))).toEqual([]);
  });

  it.skipIf(missing.length > 0)('do not depend on where the sources are', () => {
    const elsewhere = join(scratch, 'elsewhere/deep');
    cpSync(join(directory, 'include'), join(elsewhere, 'include'), { recursive: true });
    for (const source of programSources(directory)) copyFileSync(join(directory, source), join(elsewhere, source));
    expect(compareWithBuild(directory, buildObjects(elsewhere, join(scratch, 'elsewhere/out')))).toEqual([]);
  });
});
