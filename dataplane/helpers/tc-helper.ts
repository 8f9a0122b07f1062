/** The row that most helpers on an skb share: the context, then `args`; written in JavaScript, for programs at TC. */
import type { Machine } from '../machine/machine.ts';
import type { ArgumentKind, Helper, HelperFunction } from './helper.ts';
import { TC_PROGRAMS } from './program-sets.ts';

export function tcHelper(id: number, name: string, args: readonly ArgumentKind[], bind: (machine: Machine) => HelperFunction, more: Partial<Helper> = {}): Helper {
  return { id, name, args: ['ctx', ...args], returns: 'int', programs: TC_PROGRAMS, implementation: { kind: 'js', bind }, ...more };
}

/** The same, after which packet pointers of the program are invalid. */
export function tcPacketHelper(id: number, name: string, args: readonly ArgumentKind[], bind: (machine: Machine) => HelperFunction): Helper {
  return tcHelper(id, name, args, bind, { changesPacket: true });
}
