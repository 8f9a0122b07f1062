/** The log of a verification says what Linux's own log says of the same program, line by line. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { loadObject } from '../../dataplane/bpf/object.ts';
import { createKernelMap, type KernelMap } from '../../dataplane/engine/kernel/kernel-map.ts';
import { BtfImage } from '../../dataplane/engine/kernel/btf-image.ts';
import { LOG_LEVEL, loadKernelProgram } from '../../dataplane/engine/kernel/kernel-program.ts';
import { KernelRefusal, openLinux } from '../../dataplane/engine/kernel/linux.ts';
import { loadBtf } from '../../dataplane/engine/kernel/load-btf.ts';
import type { CollectionSpec, ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { verifyWithLog, type LogLevel } from '../../dataplane/verifier/verification-log.ts';
import type { VerifyOptions } from '../../dataplane/verifier/verify.ts';
import { kernelTitle, whyNoKernel } from '../engine/kernel/kernel-here.ts';
import { CASE_FILES, programOf, readCases } from './case-file.ts';
import { typesOf } from './case-types.ts';
import { CASE_MAPS } from './case-maps.ts';
import { KernelAnswers } from './kernel-answers.ts';
import { comparable, DIFFERS } from './linux-log.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

function logOf(program: ProgramSpec, options: VerifyOptions, level: LogLevel): string[] {
  const lines: string[] = [];
  verifyWithLog(program, options, level, (line) => lines.push(line));
  return lines;
}

describe('a log', () => {
  test.each([1, 2] as const)('of level %i reads as it is recorded', async (level) => {
    const spec = loadObject(readFileSync(join(ROOT, 'tests/insight/broken/flow_counter/unchecked-packet.bpf.o')), { name: 'unchecked-packet.bpf.o' });
    const lines = logOf(spec.programs.get('flow_counter')!, { maps: spec.maps, btf: spec.btf }, level);
    await expect(`${lines.join('\n').replace(/time \d+ usec/, 'time … usec')}\n`).toMatchFileSnapshot(`logs/unchecked-packet.${level}.log`);
  });

  test('of level 1 says nothing of the paths of an accepted program', () => {
    const spec = loadObject(readFileSync(join(ROOT, 'programs/flow_counter.bpf.o')), { name: 'flow_counter.bpf.o' });
    expect(logOf(spec.programs.get('flow_counter')!, { maps: spec.maps, btf: spec.btf }, 1)).toEqual([expect.stringMatching(/^verification time/), 'stack depth 72', expect.stringMatching(/^processed \d+ insns \(limit 1000000\) total_states \d+ peak_states \d+$/)]);
  });
});

/** The log's beginning, where it is longer than what Linux has room for. */
function linuxLog({ maps }: CollectionSpec, program: ProgramSpec): string[] {
  const linux = openLinux();
  const btf = [...maps.values()].find((map) => map.btf !== undefined)?.btf;
  const image = new BtfImage(btf, [program]);
  const made = new Map<string, KernelMap>();
  try {
    return loadBtf(linux, image, program.name, (fd) => {
      const map = (name: string): number => {
        let found = made.get(name);
        if (found === undefined) {
          const spec = maps.get(name)!;
          found = createKernelMap(linux, spec, { btfFd: fd });
          made.set(name, found);
          if (spec.contents !== undefined) found.update(new Uint8Array(4), spec.contents);
          if (spec.frozen) found.freeze();
        }
        return found.fd;
      };
      try {
        const loaded = loadKernelProgram(linux, program, { type: program.type!, map, btf: { image, fd }, logLevel: LOG_LEVEL.states | LOG_LEVEL.fixed });
        loaded.close();
        return loaded.log.split('\n');
      } catch (error) {
        if (!(error instanceof KernelRefusal) || error.errno !== 'ENOSPC') throw error;
        // The last line is cut off; the one before may have its state in it.
        return error.log.split('\n').slice(0, -1);
      }
    });
  } finally {
    for (const map of made.values()) map.close();
  }
}

describe.skipIf(whyNoKernel !== undefined)(kernelTitle('Linux says the same'), () => {
  const cpus = whyNoKernel === undefined ? openLinux().possibleCpus : 1;

  describe.each(['flow_counter', 'xdp_firewall', 'xdp_lb', 'tc_firewall'])('of %s', (name) => {
    const spec = loadObject(readFileSync(join(ROOT, `programs/${name}.bpf.o`)), { name: `${name}.bpf.o` });
    test.each([...spec.programs.keys()])('%s', (program) => {
      const theirs = comparable(linuxLog(spec, spec.programs.get(program)!)).slice(0, -1);
      const ours = comparable(logOf(spec.programs.get(program)!, { maps: spec.maps, btf: spec.btf, cpus }, 2)).slice(0, theirs.length);
      expect(firstDifference(ours, theirs)).toBeUndefined();
    }, 60_000);
  });

  describe('of the cases', () => {
    const kernel = whyNoKernel === undefined ? new KernelAnswers() : undefined;
    afterAll(() => kernel?.close());
    test.each(CASE_FILES)('in %s', (file) => {
      const differing: string[] = [];
      for (const each of readCases(file)) {
        if (each.answer !== 'accepted' || each.sentence in DIFFERS || kernel!.whyNot(each) !== undefined) continue;
        const log = kernel!.log(each);
        if (log === undefined) continue;
        const theirs = comparable(log.split('\n').slice(0, -1));
        const difference = firstDifference(comparable(logOf(programOf(each), { maps: CASE_MAPS, btf: typesOf(each), cpus, user: each.user }, 2)), theirs);
        if (difference !== undefined) differing.push(`${each.sentence}\n${difference}`);
      }
      expect(differing).toEqual([]);
    }, 60_000);
  });
});

function firstDifference(ours: readonly string[], theirs: readonly string[]): string | undefined {
  for (let line = 0; line < Math.max(ours.length, theirs.length); line++) {
    if (ours[line] !== theirs[line]) return `line ${line}\n  ours  ${ours[line]}\n  Linux ${theirs[line]}`;
  }
  return undefined;
}
