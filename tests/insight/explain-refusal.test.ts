/**
 * Each broken program is refused, by us and by Linux in the same words, and is explained as its golden file says. Read a
 * changed text as somebody who has never seen a verifier before you accept it (`npx vitest run tests/insight -u`).
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test } from 'vitest';
import { loadObject } from '../../dataplane/bpf/object.ts';
import { verifiedText } from '../../dataplane/cli/verify-text.ts';
import { kernelVerdict } from '../../dataplane/engine/kernel/kernel-verdict.ts';
import { explainRefusal } from '../../dataplane/insight/explain-refusal.ts';
import { USERS } from '../../dataplane/verifier/user.ts';
import { verifyProgram, type VerifierReport, type VerifyOptions } from '../../dataplane/verifier/verify.ts';
import type { ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { hashFile, missingTools } from '../../programs/objects.ts';
import { kernelTitle, whyNoKernel } from '../engine/kernel/kernel-here.ts';
import { brokenLock, brokenPrograms, buildBroken, lockedBroken, rebuildBroken, type BrokenProgram } from './broken-programs.ts';

if (process.env['XDPLAB_RECORD'] !== undefined) rebuildBroken();

const all = brokenPrograms();
const named = all.map((each) => [each.name, each] as const);

interface Verified {
  readonly program: ProgramSpec;
  readonly options: VerifyOptions;
  readonly report: VerifierReport;
}

const verified = new Map<string, Verified>();

/** The object's first program, which is where all of them break. */
function verify({ name, object, unprivileged }: BrokenProgram): Verified {
  let found = verified.get(name);
  if (found === undefined) {
    const spec = loadObject(readFileSync(object), { name: basename(object) });
    const program = [...spec.programs.values()][0]!;
    const options: VerifyOptions = { maps: spec.maps, btf: spec.btf, ...(unprivileged ? { user: 'without_perfmon' } : {}) };
    found = { program, options, report: verifyProgram(program, options) };
    verified.set(name, found);
  }
  return found;
}

test('every bundled program is broken in at least four ways', () => {
  for (const program of ['flow_counter', 'tc_firewall', 'xdp_firewall', 'xdp_lb']) expect(all.filter((each) => each.program === program).length).toBeGreaterThanOrEqual(4);
});

describe.each(named)('%s', (_, each) => {
  test('is explained in words that help', async () => {
    const { program, options, report } = verify(each);
    const text = verifiedText({ program, user: 'privileged', report, explanation: explainRefusal(program, report, options), kernel: undefined });
    // How much was walked until then is no part of the explanation.
    const said = stripVTControlCharacters(text).replace(/ {2}[\d,]+ instructions processed.*$/m, '');
    await expect(`${each.sentence}\n\n${said}\n`).toMatchFileSnapshot(each.text);
  });
});

test('the README shows what is printed', () => {
  const each = all.find(({ name }) => name === 'xdp_lb/unbounded-header')!;
  const { program, options, report } = verify(each);
  const text = verifiedText({ program, user: 'privileged', report, explanation: explainRefusal(program, report, options), kernel: undefined });
  const withoutTime = (said: string): string => said.replaceAll(/(, stack [\d+]+), [\d.]+ \S+$/gm, '$1');
  expect(withoutTime(readFileSync(new URL('../../README.md', import.meta.url), 'utf8'))).toContain(withoutTime(stripVTControlCharacters(text)));
});

describe.skipIf(whyNoKernel !== undefined)(kernelTitle('Linux'), () => {
  test.each(named)('refuses %s in the same words', (_, each) => {
    const { program, options, report } = verify(each);
    const { errno, message } = kernelVerdict(program, { type: program.type!, maps: options.maps, btf: options.btf, rights: USERS[options.user ?? 'privileged'] });
    expect({ errno: report.refusal?.errno, message: report.refusal?.message }).toEqual({ errno, message });
  });
});

describe('the committed objects', () => {
  test('are the ones that the lock file records, from the patches and sources that it records', () => {
    expect(brokenLock().objects).toEqual(lockedBroken().objects);
  });

  const missing = missingTools();
  describe.skipIf(missing.length > 0)(`rebuilt${missing.map((tool) => ` (${tool})`).join('')}`, () => {
    test.each(named)('%s is the same byte for byte', (_, each) => {
      const scratch = mkdtempSync(join(tmpdir(), 'xdplab-broken-test-'));
      try {
        const built = join(scratch, 'built.bpf.o');
        buildBroken(each, built);
        expect(hashFile(built)).toBe(hashFile(each.object));
      } finally {
        rmSync(scratch, { recursive: true });
      }
    });
  });
});
