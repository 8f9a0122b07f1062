/** What a lab says to callers whose compiler did not. */
import { expect, test } from 'vitest';
import type { EngineName } from '../../dataplane/engine/engine.ts';
import type { HookName } from '../../dataplane/hooks/hook.ts';
import { Lab } from '../../dataplane/pipeline/lab.ts';
import { programSpec } from './small-lab.ts';

test.each([
  ['an engine', () => new Lab({ engine: 'v8' as EngineName }), "engine: found 'v8', expected one of wasm, interpreter, kernel"],
  ['no CPU', () => new Lab({ cpus: 0 }), 'cpus: found 0, expected a whole number from 1 to 256'],
  ['half a CPU', () => new Lab({ cpus: 1.5 }), 'cpus: found 1.5, expected a whole number from 1 to 256'],
  [
    'a hook',
    () => {
      const lab = new Lab();
      const collection = lab.load({ programs: new Map([['pass', programSpec('pass', 'xdp', 'r0 = 2\nexit')]]), maps: new Map(), btf: undefined, license: 'GPL' }, 'a.bpf.o');
      lab.attach(collection.program(), { hook: 'tc' as HookName });
    },
    "hook: found 'tc', expected one of xdp, tc-ingress, tc-egress",
  ],
])('%s that there is not is refused with what there is', (_what, call, message) => {
  expect(call).toThrow(message);
});

test.each([false, 'by-linux'] as const)('what is to be checked is verified here, and not by verify: %s', (verify) => {
  expect(() => new Lab({ check: true, verify })).toThrow(`verify: ${verify} was given, but only what is verified can be checked; leave it out`);
});
