/** What throws, and what a program without an exception callback ends with then. */
import { single, type Case } from './case.ts';

const below = (function_: string): string => `r6 = 1\ncall f\nr0 = 99\nexit\nf: ${function_}`;
const deep = (calls: number, last: string): string => `r1 = 5\ncall f1\nr0 = 99\nexit\n${Array.from({ length: calls - 1 }, (_, index) => `f${index + 1}: r1 += 1\ncall f${index + 2}\nr0 = 98\nexit`).join('\n')}\nf${calls}: ${last}`;

export const EXCEPTION_CASES: readonly Case[] = [
  single('what is thrown is what the program ends with', 'r1 = 7\ncall bpf_throw\nr0 = 2\nexit', 7n),
  single('what is thrown may have 32 bits', 'r1 = 0xfedcba98 ll\ncall bpf_throw\nr0 = 2\nexit', 0xfedc_ba98n),
  single('a function that throws does not return', below('r1 = 7\ncall bpf_throw\nr0 = 2\nexit'), 7n),
  single('a function that does not throw returns', below('r0 = 1\nif r0 == 1 goto out\nr1 = 7\ncall bpf_throw\nout: exit'), 99n),
  single('nothing of seven functions runs after the last has thrown', deep(7, 'call bpf_throw\nr0 = 2\nexit'), 11n),
  single('a throw in a loop leaves it', 'r6 = 0\nr7 = r1\nagain: r6 += 1\nr1 = *(u32 *)(r7 +0)\nr2 = *(u32 *)(r7 +4)\nr3 = r1\nr3 += 1\nif r3 > r2 goto on\nif r6 < 5 goto on\nr1 = r6\ncall bpf_throw\non: if r6 < 10 goto again\nr0 = 2\nexit', 5n),
  single('tc: what is thrown is what the program ends with', 'r1 = 3\ncall bpf_throw\nr0 = 2\nexit', 3n, { type: 'sched_cls' }),
  single('a callback of a helper that throws ends the packet\'s run', 'r1 = 3\nr2 = subprog[body]\nr3 = 0\nr4 = 0\ncall bpf_loop\nr0 = 2\nexit\nbody: r1 = 7\ncall bpf_throw\nr0 = 0\nexit', { fault: 'unsupported' }, { notOnLinux: 'Linux refuses it' }),
];
