/** How deep the stack gets, as Linux 6.18 counts: every row is asked here and, where it can be, of the running Linux. */
import { afterAll, describe, expect, test } from 'vitest';
import { checkProgram } from '../../dataplane/bpf/check.ts';
import { checkStackDepth, type StackDepth } from '../../dataplane/verifier/subprograms.ts';
import { kernelTitle, whyNoKernel } from '../engine/kernel/kernel-here.ts';
import { programOf, type VerifierCase } from './case-file.ts';
import { KernelAnswers } from './kernel-answers.ts';

interface Row {
  readonly sentence: string;
  readonly asm: string;
  /** What the walk finds of each function: 0 for one that no path enters. */
  readonly stackBytes: readonly number[];
  readonly asynchronous?: readonly number[];
  readonly expected: { readonly depth?: number; readonly error?: string };
}

/** Touches that many bytes of the frame. */
const uses = (bytes: number): string => `*(u8 *)(r10 -${bytes}) = 0`;
const tooLarge = (calls: number, bytes: number): Row['expected'] => ({ error: `combined stack size of ${calls} calls is ${bytes}. Too large` });
const noTailCall = (bytes: number): Row['expected'] => ({ error: `tail_calls are not allowed when call stack of previous frames is ${bytes} bytes. Too large` });
const TOO_DEEP: Row['expected'] = { error: 'the call stack of 8 frames is too deep !' };

const calling = (main: number, callee: number): string => `${uses(main)}\ncall f\nexit\nf: ${uses(callee)}\nr0 = 0\nexit`;

/** Functions that each call the next, which no path does. */
function deadChain(length: number): string {
  return Array.from({ length }, (_, index) => `f${index}: r0 = 0\nif r0 == 0x0 goto pc+1\n${index + 1 < length ? `call f${index + 1}` : 'r0 = 0'}\nexit`).join('\n');
}

/** A timer whose callback is `callback`. */
function timer(main: string, callback: string): string {
  return `${main}\n*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map[timed]\ncall bpf_map_lookup_elem\nif r0 == 0 goto out\nr1 = r0\nr1 += 8\nr2 = subprog[callback]\ncall bpf_timer_set_callback\nout: r0 = 0\nexit\ncallback: ${callback}\nr0 = 0\nexit`;
}

const tailCallBelow = (bytes: number, own = 8): string => `${uses(bytes)}\ncall f\nr0 = 0\nexit\nf: ${uses(own)}\nr2 = map[programs]\nr3 = 0\ncall bpf_tail_call\nr0 = 0\nexit`;

const ROWS: readonly Row[] = [
  { sentence: '512 bytes are accepted', asm: `${uses(512)}\nr0 = 0\nexit`, stackBytes: [512], expected: { depth: 512 } },
  { sentence: 'every frame is rounded up to 16 bytes: 496 and 1 are 512', asm: calling(496, 1), stackBytes: [496, 1], expected: { depth: 512 } },
  { sentence: '496 and 17 are 528, which is refused', asm: calling(496, 17), stackBytes: [496, 17], expected: tooLarge(2, 528) },
  { sentence: '497 and 1 are 528 as well', asm: calling(497, 1), stackBytes: [497, 1], expected: tooLarge(2, 528) },
  { sentence: 'a function that uses no stack costs none', asm: `${uses(512)}\ncall f\nexit\nf: r0 = 0\nexit`, stackBytes: [512, 0], expected: { depth: 512 } },
  { sentence: 'a function that no path enters uses none', asm: `${uses(512)}\nr0 = 0\nif r0 == 0x0 goto pc+1\ncall f\nexit\nf: ${uses(100)}\nr0 = 0\nexit`, stackBytes: [512, 0], expected: { depth: 512 } },
  {
    sentence: 'functions called one after the other do not add up', asm: `${uses(208)}\ncall f\ncall g\nexit\nf: ${uses(304)}\nr0 = 0\nexit\ng: ${uses(304)}\nr0 = 0\nexit`,
    stackBytes: [208, 304, 304], expected: { depth: 512 },
  },
  {
    sentence: 'of two chains that are too deep, the one called first is told', asm: `${uses(208)}\ncall g\ncall f\nexit\nf: ${uses(400)}\nr0 = 0\nexit\ng: ${uses(500)}\nr0 = 0\nexit`,
    stackBytes: [208, 400, 500], expected: tooLarge(2, 720),
  },
  {
    sentence: 'the message counts the frames down to the one that is too much', asm: `${uses(256)}\ncall f\nexit\nf: ${uses(240)}\ncall g\nexit\ng: ${uses(32)}\nr0 = 0\nexit`,
    stackBytes: [256, 240, 32], expected: tooLarge(3, 528),
  },
  { sentence: 'eight frames are accepted', asm: deadChain(8), stackBytes: [0, 0, 0, 0, 0, 0, 0, 0], expected: { depth: 0 } },
  { sentence: 'a ninth is refused, even where no path goes that deep', asm: deadChain(9), stackBytes: [0, 0, 0, 0, 0, 0, 0, 0, 0], expected: TOO_DEEP },
  {
    sentence: 'a callback of bpf_loop runs below who passes it', asm: `${uses(264)}\nr1 = 10\nr2 = subprog[f]\nr3 = 0\nr4 = 0\ncall bpf_loop\nr0 = 0\nexit\nf: ${uses(264)}\nr0 = 0\nexit`,
    stackBytes: [264, 264], expected: tooLarge(2, 544),
  },
  { sentence: 'a timer callback has a stack of its own', asm: timer(uses(512), uses(512)), stackBytes: [512, 512], asynchronous: [1], expected: { depth: 512 } },
  {
    sentence: 'below a timer callback depth counts from there', asm: `${timer(uses(8), `${uses(400)}\ncall f`)}\nf: ${uses(200)}\nr0 = 0\nexit`,
    stackBytes: [8, 400, 200], asynchronous: [1], expected: tooLarge(2, 608),
  },
  {
    sentence: 'a timer callback that is also called counts below its caller', asm: timer(`${uses(300)}\nr1 = 0\nr2 = 0\nr3 = 0\ncall callback`, uses(300)),
    stackBytes: [300, 300], asynchronous: [1], expected: tooLarge(2, 608),
  },
  {
    sentence: 'of program and timer callback, the callback is told first', asm: `${timer(`${uses(400)}\ncall f`, `${uses(300)}\ncall f`)}\nf: ${uses(300)}\nr0 = 0\nexit`,
    stackBytes: [400, 300, 300], asynchronous: [1], expected: tooLarge(2, 608),
  },
  { sentence: 'a tail call below 240 bytes is accepted', asm: tailCallBelow(240), stackBytes: [240, 8], expected: { depth: 256 } },
  { sentence: 'a tail call below 256 bytes is refused', asm: tailCallBelow(256), stackBytes: [256, 8], expected: noTailCall(256) },
  { sentence: 'what lies below a tail call is rounded up before: 241 bytes are refused', asm: tailCallBelow(241), stackBytes: [241, 8], expected: noTailCall(256) },
  { sentence: 'the own frame of who makes the tail call may be larger', asm: tailCallBelow(8, 496), stackBytes: [8, 496], expected: { depth: 512 } },
  { sentence: 'a tail call of the entry function may have all the stack', asm: `${uses(512)}\nr2 = map[programs]\nr3 = 0\ncall bpf_tail_call\nr0 = 0\nexit`, stackBytes: [512], expected: { depth: 512 } },
  { sentence: 'where the tail call and the sum are too much, the tail call is told', asm: tailCallBelow(480, 96), stackBytes: [480, 96], expected: noTailCall(480) },
];

function caseOf({ sentence, asm }: Row): VerifierCase {
  return { sentence, type: 'xdp', line: 0, attach: undefined, license: 'GPL', user: 'privileged', globals: [], exceptionCallbacks: [], asm, answer: undefined, elsewhere: undefined, text: [] };
}

function depthOf(row: Pick<Row, 'sentence' | 'asm' | 'stackBytes' | 'asynchronous' | 'expected'>): StackDepth {
  const program = programOf(caseOf(row));
  const functions = checkProgram(program, { isHelper: () => true, packetLoads: false, verified: true });
  expect(functions).toHaveLength(row.stackBytes.length);
  return checkStackDepth({ instructions: program.instructions, functions, stackBytes: row.stackBytes, asynchronous: new Set(row.asynchronous) });
}

test.each(ROWS)('$sentence', (row) => {
  const { refused, depth } = depthOf(row);
  expect(refused?.message).toBe(row.expected.error);
  if (row.expected.depth !== undefined) expect(depth).toBe(row.expected.depth);
});

test('functions that call each next one many times are followed once for each depth', () => {
  const calls = 200;
  const asm = Array.from({ length: 8 }, (_, index) => `f${index}: r0 = 0\n${index < 7 ? `[${calls}] call f${index + 1}\n` : ''}exit`).join('\n');
  expect(depthOf({ sentence: '', asm, stackBytes: [16, 16, 16, 16, 16, 16, 16, 16], expected: {} })).toEqual({ depth: 128 });
});

describe.skipIf(whyNoKernel !== undefined)(kernelTitle('Linux answers the same'), () => {
  const linux = whyNoKernel === undefined ? new KernelAnswers() : undefined;
  afterAll(() => linux?.close());

  test.each(ROWS)('$sentence', (row) => {
    const answer = linux!.answer(caseOf(row));
    expect(answer.replace(/^refused \w+: /, '')).toBe(row.expected.error ?? 'accepted');
  });
});
