import { describe, expect, test } from 'vitest';
import { assemble } from '../../dataplane/bpf/assemble.ts';
import { checkProgram } from '../../dataplane/bpf/check.ts';
import { XdplabError } from '../../dataplane/errors.ts';

const options = { isHelper: (id: number): boolean => id === 1 || id === 181, packetLoads: true, helperName: (id: number): string | undefined => (id === 12 ? 'tail_call' : undefined) };

function check(source: string): readonly { start: number; end: number }[] {
  return checkProgram({ name: 'xdp_prog', instructions: assemble(source).instructions }, options);
}

describe('functions of a program', () => {
  test('a program without calls is one function', () => {
    expect(check('r0 = 0x1\nexit')).toEqual([{ start: 0, end: 3 }]);
  });

  test('calls and addresses of callbacks begin functions', () => {
    expect(
      check(`
        call first
        r2 = subprog[second]
        call 181
        exit
        first: r0 = 0
        exit
        second: r0 = 1
        exit`),
    ).toEqual([
      { start: 0, end: 5 },
      { start: 5, end: 7 },
      { start: 7, end: 9 },
    ]);
  });

  test('a callback may pass on its own address, as a timer callback does', () => {
    expect(check('r2 = subprog[again]\nexit\nagain: r2 = subprog[again]\nr0 = 0\nexit')).toHaveLength(2);
  });

  test('a chain of eight frames is allowed', () => {
    expect(check(chain(8))).toHaveLength(8);
  });

  test('an unresolved call is left to whoever runs it', () => {
    const { instructions } = assemble('if r1 == 0 goto out\ncall 195896080\nout: r0 = 0\nexit');
    expect(() => checkProgram({ name: 'xdp_prog', instructions }, options)).toThrow(/no such helper/);
    expect(checkProgram({ name: 'xdp_prog', instructions, unresolved: [{ slot: 1, reason: 'no such field' }] }, options)).toHaveLength(1);
  });
});

/** `frames` functions that call one another in a row. */
function chain(frames: number): string {
  const functions = Array.from({ length: frames }, (_, index) => `f${index}: ${index + 1 < frames ? `call f${index + 1}` : 'r0 = 0'}\nexit`);
  return functions.join('\n');
}

describe('what Linux refuses is one error line with the program, slot and text', () => {
  test.each<[string, string, RegExp]>([
    ['a jump past the end', 'r0 = 0\nif r0 == 0 goto pc+5\nexit', /instruction 1 \(if r0 == 0x0 goto pc\+5\): jumps to slot 7, which is outside of its function \(slots 0 to 2\)/],
    ['a jump before the start', 'r0 = 0\ngoto pc-3', /instruction 1 .*jumps to slot -1/],
    ['a jump into another function', 'call f\ngoto pc+0\nf: r0 = 0\nexit', /instruction 1 .*jumps to slot 2, which is outside of its function/],
    ['a jump into a 64-bit immediate load', 'if r1 == 0 goto pc+1\nr0 = 0x1\nexit', /second slot of a 64-bit immediate load/],
    ['a call of a 64-bit immediate load\'s second slot', 'call pc+2\nexit\nr0 = 0x1\nexit', /instruction 0 .*calls slot 3, which is the second slot/],
    ['a call past the end', 'call pc+9\nexit', /calls slot 10, which is outside of the program \(slots 0 to 1\)/],
    ['a program that runs off its end', 'r0 = 0', /instruction 0 \(r0 = 0\): the function ends here/],
    ['a function that runs into the next', 'call f\nr0 = 0\nf: r0 = 0\nexit', /instruction 1 \(r0 = 0\): the function ends here/],
    ['a conditional jump at the end', 'r0 = 0\nif r0 == 0 goto pc-2', /instruction 1 .*the function ends here/],
    ['an instruction that nothing reaches', 'r0 = 0\nexit\nr0 = 1\nexit', /instruction 2 \(r0 = 1\): cannot be reached/],
    ['a function that nothing calls but itself', 'r0 = 0\nexit\nf: call f\nexit', /instruction 2 .*cannot be reached/],
    ['division by 0', 'r0 = 1\nr0 /= 0\nexit', /instruction 1 \(r0 \/= 0\): division by the constant 0/],
    ['signed modulo by 0', 'r0 = 1\nw0 s%= 0\nexit', /division by the constant 0/],
    ['a 64-bit shift by 64', 'r0 = 1\nr0 <<= 64\nexit', /shift by 64/],
    ['a 32-bit shift by 32', 'r0 = 1\nw0 s>>= 32\nexit', /shift by 32.*0 to 31/],
    ['a shift by -1', 'r0 = 1\nr0 >>= -1\nexit', /shift by -1/],
    ['a write to r10', 'r10 += 8\nexit', /writes r10, but the frame pointer is read only/],
    ['a load to r10', 'r10 = *(u64 *)(r1 +0)\nexit', /frame pointer/],
    ['an exchange with r10', 'r10 = atomic64_xchg((u64 *)(r10 -8), r10)\nexit', /frame pointer/],
    ['a helper that is not known', 'call 9999\nexit', /instruction 0 \(call unknown#9999\): no such helper/],
    ['a helper of other program types', 'call 12\nexit', /instruction 0 \(call bpf_tail_call#12\): no such helper/],
    ['a kernel function', 'call kernel-function#12\nexit', /no such kernel function \(kfunc\) here/],
    ['a map by descriptor', 'r1 = map[fd:3]\nexit', /of a running kernel/],
    ['a function that calls itself', 'call f\nexit\nf: call f\nexit', /instruction 2 .*recursion/],
    ['a ring of calls', 'call f\nexit\nf: call g\nexit\ng: call f\nexit', /instruction 4 .*recursion/],
    ['a chain of nine frames', chain(9), /call stack of 9 frames is too deep/],
    ['a chain of a thousand frames', chain(1000), /call stack of 9 frames is too deep/],
    ['nothing at all', '', /has 0 instructions/],
  ])('%s', (_, source, message) => {
    const run = (): unknown => check(source);
    expect(run).toThrow(XdplabError);
    expect(run).toThrow(message);
    expect(run).toThrow(/^xdp_prog: [^\n]+$/);
    expect(run).toThrow(expect.objectContaining({ code: 'ERR_PROGRAM' }));
  });
});

test('packet loads of classic BPF are refused where there is no skb', () => {
  const program = { name: 'p', instructions: assemble('r6 = r1\nr0 = *(u8 *)skb[0]\nexit').instructions };
  expect(() => checkProgram(program, { ...options, packetLoads: false })).toThrow('p: instruction 1 (r0 = *(u8 *)skb[0]): packet loads of classic BPF need an skb');
  expect(() => checkProgram(program, options)).not.toThrow();
});
