/** Linux's verdict on a program of an object: with the object's types, as its loader would hand them over. */
import { describe, expect, test } from 'vitest';
import { Btf } from '../../../dataplane/bpf/btf.ts';
import type { Instruction } from '../../../dataplane/bpf/isa.ts';
import { missingKernelFunction } from '../../../dataplane/engine/kernel/kernel-functions.ts';
import { kernelVerdict } from '../../../dataplane/engine/kernel/kernel-verdict.ts';
import { buildBtf, int } from '../../bpf/btf-builder.ts';
import { parseCases, programOf } from '../../verifier/case-file.ts';
import { typesOf } from '../../verifier/case-types.ts';
import { kernelTitle, whyNoKernel } from './kernel-here.ts';

const NO_MAPS = new Map<string, never>();
const GLOBAL = 'a global function that is passed a number for its context\n-- global check ctx\n-- asm\nr1 = 7\ncall check\nr0 = 2\nexit\ncheck: r0 = 0\nexit';

describe.skipIf(whyNoKernel !== undefined)(kernelTitle('Linux'), () => {
  test('verifies global functions by themselves, also of an object without maps', () => {
    const [each] = parseCases(GLOBAL, 'case');
    expect(kernelVerdict(programOf(each!), { type: 'xdp', maps: NO_MAPS, btf: typesOf(each!) })).toMatchObject({ accepted: false, message: "Caller passes invalid args into func#1 ('check')" });
  });

  test('says of a loop without an end what is wrong with it, not what its registers were', () => {
    const [each] = parseCases('refused\n-- asm\nr0 = 0\nloop: goto loop', 'case');
    expect(kernelVerdict(programOf(each!), { type: 'xdp', maps: NO_MAPS })).toMatchObject({ accepted: false, message: 'infinite loop detected at insn 1' });
  });

  // The log of every instruction is longer than what keeps it, and of that Linux says ENOSPC.
  test.each([
    ['too large', 'r6 = 0\nagain: r6 += 1\nif r6 < 600000 goto again\nr0 = 2\nexit', { errno: 'E2BIG', message: 'BPF program is too large. Processed 1000001 insn', processed: 1_000_001 }],
    ['wrong after a long loop', 'r6 = 0\nagain: r6 += 1\nif r6 < 300000 goto again\nr0 = *(u64 *)(r10 +8)\nexit', { errno: 'EACCES', message: 'invalid read from stack R10 off=8 size=8', processed: 600_002 }],
  ])('answers as to whoever asks for no log: a program that is %s', { timeout: 60_000 }, (_, code, expected) => {
    const [each] = parseCases(`refused\n-- asm\n${code}`, 'case');
    expect(kernelVerdict(programOf(each!), { type: 'xdp', maps: NO_MAPS })).toMatchObject({ accepted: false, ...expected, elapsedUs: expect.any(Number) });
  });

  test('is asked without the types where it refuses those: arguments need names', () => {
    const [each] = parseCases('nothing\n-- asm\nr0 = 2\nexit', 'case');
    const btf = Btf.parse(buildBtf([int('int', 4, 1), { kind: 'func_proto', word: 1, words: ['', 1] }, { kind: 'func', name: 'naked', word: 2, vlen: 0 }]), 'case');
    expect(kernelVerdict(programOf(each!), { type: 'xdp', maps: NO_MAPS, btf })).toMatchObject({ accepted: true });
  });

  test('is not asked about a kernel function that it does not have', () => {
    const call = (name: string): Instruction => ({ kind: 'call', target: { kind: 'kfunc', btfId: 0, module: 0, name } });
    expect(missingKernelFunction([call('bpf_rcu_read_lock'), call('bpf_no_such_function')])).toBe('bpf_no_such_function');
    expect(missingKernelFunction([call('bpf_rcu_read_lock'), { kind: 'exit' }])).toBeUndefined();
  });
});
