/** What a program, or a function verified by itself, may answer. */
import type { Register } from '../bpf/isa.ts';
import { refuse } from './refusal.ts';
import { typeText, type RegisterState } from './register.ts';
import type { Walk } from './walk.ts';

type Range = readonly [number, number];

export function coveredRange({ scalar }: RegisterState, [least, most]: Range): boolean {
  return scalar.smin >= BigInt(least) && scalar.smax <= BigInt(most);
}

const S64_MIN = -(1n << 63n);
const S64_MAX = (1n << 63n) - 1n;

export function invalidScalar({ scalar }: RegisterState, where: string, [least, most]: Range, number: Register = 0): string {
  const known = `${scalar.smin > S64_MIN ? ` smin=${scalar.smin}` : ''}${scalar.smax < S64_MAX ? ` smax=${scalar.smax}` : ''}`;
  return `${where} the register R${number} has${known === '' ? ' unknown scalar value' : known} should have been in [${least}, ${most}]`;
}

/** Programs that a control group runs say whether a packet passes; at egress also how congested the way is. */
function answersOf(walk: Walk): Range | undefined {
  if (walk.type !== 'cgroup_skb') return undefined;
  return walk.spec.attach === 'cgroup_inet_egress' ? [0, 3] : [0, 1];
}

/** What the program, or a global function, ends with: R0, or R1 where that is thrown. */
export function checkResult(walk: Walk, number: Register = 0): void {
  const { callback, subprogram } = walk.state.frames[0]!;
  const result = walk.read(number);
  if (walk.isSecret(result)) refuse('EACCES', `R${number} leaks addr as return value`);
  if (callback?.asynchronous === true) {
    if (result.type !== 'scalar') refuse('EINVAL', `In async callback the register R${number} is not a known value (${typeText(result)})`);
    walk.precision.markRegister(walk.state, number);
    if (!coveredRange(result, callback.returns)) refuse('EINVAL', invalidScalar(result, 'At async callback return', callback.returns, number));
    return;
  }
  if (subprogram !== 0 && subprogram !== walk.exceptionCallback) {
    if (result.type !== 'scalar') refuse('EINVAL', `At subprogram exit the register R${number} is not a scalar value (${typeText(result)})`);
    return;
  }
  const range = answersOf(walk);
  if (range === undefined) return;
  if (result.type !== 'scalar') refuse('EINVAL', `At program exit the register R${number} is not a known value (${typeText(result)})`);
  walk.precision.markRegister(walk.state, number);
  if (!coveredRange(result, range)) refuse('EINVAL', invalidScalar(result, 'At program exit', range, number));
}
