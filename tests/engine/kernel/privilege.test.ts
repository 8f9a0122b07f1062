/** Where programs cannot run in the kernel: one line that says why, and what to do. */
import { afterEach, expect, test, vi } from 'vitest';
import { XdplabError } from '../../../dataplane/errors.ts';

const EPERM = 1;
/** Answers of koffi: every bpf() fails with the errno. */
const koffiWithout = (errno: number) => ({
  load: () => ({ func: (name: string) => () => (name === 'mmap' ? 4096 : -1) }),
  view: (_address: bigint, lengthBytes: number) => new ArrayBuffer(lengthBytes),
  errno: () => errno,
});

afterEach(() => {
  vi.doUnmock('node:module');
  vi.resetModules();
});

/** Opens the kernel in a process where `require('koffi')` does `require`. */
async function refusal(require: () => unknown): Promise<{ readonly message: string; readonly status: number }> {
  vi.resetModules();
  vi.doMock('node:module', () => ({ createRequire: () => require }));
  const { openLinux } = await import('../../../dataplane/engine/kernel/linux.ts');
  try {
    openLinux();
  } catch (error) {
    const { message, exitStatus } = error as XdplabError;
    return { message, status: exitStatus };
  }
  return { message: 'it opened', status: 0 };
}

test.runIf(process.platform === 'linux')('without koffi', async () => {
  const found = await refusal(() => {
    throw new Error('MODULE_NOT_FOUND');
  });
  expect(found).toEqual({ message: 'programs cannot run in the kernel: the optional package koffi is not installed: npm install koffi@3.3.4', status: 5 });
});

test.runIf(process.platform === 'linux')('without the right to call bpf()', async () => {
  const found = await refusal(() => koffiWithout(EPERM));
  expect(found).toEqual({ message: 'programs cannot run in the kernel: bpf() is not allowed: run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN', status: 5 });
});

test.runIf(process.platform === 'linux')('where there is no bpf()', async () => {
  expect((await refusal(() => koffiWithout(38))).message).toContain('bpf() answers ENOSYS');
});
