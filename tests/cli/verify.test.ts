/** `xdplab verify`: accepted or refused, why, and what to change. */
import { expect, test } from 'vitest';
import { whyNoLinux } from '../../dataplane/engine/kernel/linux.ts';
import { join } from 'node:path';
import { object, REPOSITORY, xdplab } from './run-cli.ts';

test('accepted programs are named with what it took to verify them', async () => {
  const { status, stdout, stderr } = await xdplab(['verify', object('flow_counter.bpf.o')]);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(stdout).toMatch(/^flow_counter {2}accepted {2}[\d,]+ instructions processed, [\d,]+ states, stack \d+, /);
});

test('the same as JSON', async () => {
  const { stdout } = await xdplab(['verify', '--json', object('flow_counter.bpf.o:flow_counter')]);
  expect(JSON.parse(stdout)).toMatchObject({ object: 'flow_counter.bpf.o', programs: [{ name: 'flow_counter', accepted: true, instructionsProcessed: expect.any(Number) as unknown }] });
});

test('a refusal exits with 3 and says the line of C and what to try', async () => {
  const { status, stdout } = await xdplab(['verify', '--unprivileged', object('flow_counter.bpf.o')]);
  expect(status).toBe(3);
  expect(stdout).toMatch(/^flow_counter {2}refused without CAP_PERFMON {2}/);
  expect(stdout).toMatch(/instruction \d+: /);
});

test('as JSON, it says who is taken to load the program', async () => {
  const { stdout } = await xdplab(['verify', '--unprivileged', '--json', object('flow_counter.bpf.o')]);
  expect(JSON.parse(stdout)).toMatchObject({ programs: [{ name: 'flow_counter', user: 'without_perfmon', accepted: false, errno: 'EACCES' }] });
});

const noLinux = whyNoLinux();
test.skipIf(noLinux !== undefined)(`the kernel's answer stands next to ours${noLinux === undefined ? '' : ` (skipped: ${noLinux})`}`, async () => {
  const { status, stdout } = await xdplab(['verify', '--kernel', object('flow_counter.bpf.o')]);
  expect(status).toBe(0);
  expect(stdout).toMatch(/kernel {4}accepted {2}[\d,]+ instructions processed/);
  expect(stdout).not.toMatch(/not the same answer/);
});

test.skipIf(noLinux !== undefined)(`the kernel is not asked about what it takes for a mistake of its own${noLinux === undefined ? '' : ` (skipped: ${noLinux})`}`, async () => {
  const { status, stdout } = await xdplab(['verify', '--kernel', object('../tests/bpf/objects/thrown-in-loop.bpf.o')]);
  expect(status).toBe(3);
  expect(stdout).toMatch(/verifier bug: scc exit/);
  expect(stdout).toMatch(/kernel {4}not asked: Linux takes this program for a mistake of its own/);
});

test.skipIf(noLinux !== undefined)(`the kernel is asked as that user${noLinux === undefined ? '' : ` (skipped: ${noLinux})`}`, async () => {
  const { status, stdout } = await xdplab(['verify', '--kernel', '--unprivileged', object('flow_counter.bpf.o')]);
  expect(status).toBe(3);
  expect(stdout).toMatch(/kernel {4}refused \(EACCES\): R6 pointer -= pointer prohibited/);
});

test('--log 2 has every instruction with what it did, and --log 1 the refused path; the verdict follows', async () => {
  const every = await xdplab(['verify', '--log', '2', object('flow_counter.bpf.o')]);
  expect(every.stdout).toMatch(/^11: \(bf\) r6 = r2 +; R2=pkt_end\(\) R6=pkt_end\(\)$/m);
  expect(every.stdout).toMatch(/^from 10 to 17: safe$/m);
  expect(every.stdout).toMatch(/^flow_counter {2}accepted/m);
  const refused = await xdplab(['verify', '--unprivileged', '--log', '1', object('flow_counter.bpf.o')]);
  expect(refused.status).toBe(3);
  expect(refused.stdout).toMatch(/^12: \(1f\) r6 -= r4\nR6 pointer -= pointer prohibited$/m);
});

test('a level that Linux does not have is wrong usage', async () => {
  const { status, stderr } = await xdplab(['verify', '--log', '3', object('flow_counter.bpf.o')]);
  expect(status).toBe(2);
  expect(stderr).toMatch(/Expected 1 or 2/);
});

test('what an object holds beside programs of hooks is told of, and the rest is verified', async () => {
  const mixed = join(REPOSITORY, 'tests/bpf/objects/mixed.bpf.o');
  const { status, stdout, stderr } = await xdplab(['verify', mixed]);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(stdout).toMatch(/^pass {2}accepted {2}/);
  expect(stdout).toContain("count  not looked at: its map 'per_cpu_counters' has max_entries 0, of which Linux makes no map; say the size that the loader sets: --max-entries per_cpu_counters=<n>\n");
  expect(stdout).toContain("connecting  not looked at: section 'kprobe/tcp_connect' is for kprobe programs, which xdplab does not run\n");
  const sized = await xdplab(['verify', '--json', mixed, '--max-entries', 'per_cpu_counters=2', '--type', 'xdp']);
  expect(JSON.parse(sized.stdout)).toMatchObject({ programs: [{ name: 'pass', accepted: true }, { name: 'count', accepted: true }], passed: [{ name: 'connecting' }] });
});

test('a program that was asked for and cannot be looked at is an error', async () => {
  const { status, stderr } = await xdplab(['verify', join(REPOSITORY, 'tests/bpf/objects/mixed.bpf.o:connecting')]);
  expect({ status, stderr }).toEqual({ status: 2, stderr: "xdplab: mixed.bpf.o: program 'connecting': section 'kprobe/tcp_connect' is for kprobe programs, which xdplab does not run\n" });
});
