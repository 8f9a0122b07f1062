/** Kernel functions (kfuncs) that need nothing but the packet and the stack. */
import { single, type Case } from './case.ts';

/** Adds up what an iterator from `start` to `end` gives, and 1000 for each number. */
function sum(start: number, end: number): string {
  return `
    r6 = 0
    r1 = r10
    r1 += -8
    r2 = ${start}
    r3 = ${end}
    call bpf_iter_num_new
    again: r1 = r10
    r1 += -8
    call bpf_iter_num_next
    if r0 == 0 goto out
    r1 = *(s32 *)(r0 +0)
    r6 += r1
    r6 += 1000
    goto again
    out: r1 = r10
    r1 += -8
    call bpf_iter_num_destroy
    r0 = r6
    exit`;
}

/** What bpf_iter_num_new answers. */
function begun(start: number, end: number): string {
  return `r1 = r10\nr1 += -8\nr2 = ${start}\nr3 = ${end}\ncall bpf_iter_num_new\nr6 = r0\nr1 = r10\nr1 += -8\ncall bpf_iter_num_destroy\nr0 = r6\nexit`;
}

const ITERATORS: readonly Case[] = [
  single('an iterator gives the numbers from the first to below the last', sum(0, 10), 10_045n),
  single('an iterator of one number', sum(7, 8), 1007n),
  single('an iterator of no number', sum(5, 5), 0n),
  single('an iterator over negative numbers', sum(-3, 2), 4995n),
  single('an iterator that would go downwards gives nothing', sum(5, 1), 0n),
  single('an iterator of more than 8,388,608 numbers gives nothing', sum(0, 8_388_609), 0n),
  single('an iterator from the least to the greatest number gives nothing', sum(-2_147_483_648, 2_147_483_647), 0n),
  single('an iterator at the end of the range', sum(2_147_483_644, 2_147_483_647), BigInt(3 * 2_147_483_645 + 3000)),
  single('bpf_iter_num_new answers 0', begun(0, 10), 0n),
  single('bpf_iter_num_new answers 0 for 8,388,608 numbers', begun(0, 8_388_608), 0n),
  single('bpf_iter_num_new answers -EINVAL where the end is before the start', begun(1, 0), 0xffff_ffean),
  single('bpf_iter_num_new answers -E2BIG for more than 8,388,608 numbers', begun(0, 8_388_609), 0xffff_fff9n),
  single('an iterator that was left early, and another at the same place', sum(0, 3).replace('goto again', 'if r6 < 2000 goto again').replace('exit', `r1 = r10\nr1 += -8\nr2 = 0\nr3 = 1\ncall bpf_iter_num_new\nr1 = r10\nr1 += -8\ncall bpf_iter_num_next\nif r0 == 0 goto none\nr6 += 5\nnone: r1 = r10\nr1 += -8\ncall bpf_iter_num_destroy\nr0 = r6\nexit`), 2006n),
  single(
    'an iterator in an iterator',
    `
    r6 = 0
    r1 = r10
    r1 += -8
    r2 = 0
    r3 = 4
    call bpf_iter_num_new
    outer: r1 = r10
    r1 += -8
    call bpf_iter_num_next
    if r0 == 0 goto done
    r7 = *(u32 *)(r0 +0)
    r1 = r10
    r1 += -16
    r2 = 0
    r3 = 5
    call bpf_iter_num_new
    inner: r1 = r10
    r1 += -16
    call bpf_iter_num_next
    if r0 == 0 goto next
    r1 = *(u32 *)(r0 +0)
    r1 *= r7
    r6 += r1
    goto inner
    next: r1 = r10
    r1 += -16
    call bpf_iter_num_destroy
    goto outer
    done: r1 = r10
    r1 += -8
    call bpf_iter_num_destroy
    r0 = r6
    exit`,
    60n,
  ),
  single('an iterator that a function of the program is handed', `r6 = r10\nr6 += -8\nr1 = r6\nr2 = 3\nr3 = 6\ncall bpf_iter_num_new\nr1 = r6\ncall walk\nr7 = r0\nr1 = r6\ncall bpf_iter_num_destroy\nr0 = r7\nexit\nwalk: r6 = r1\nr7 = 0\nagain: r1 = r6\ncall bpf_iter_num_next\nif r0 == 0 goto out\nr1 = *(u32 *)(r0 +0)\nr7 += r1\ngoto again\nout: r0 = r7\nexit`, 12n),
];

export const KERNEL_FUNCTION_CASES: readonly Case[] = [...ITERATORS];
