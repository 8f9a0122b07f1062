/** bpf_tail_call is control flow: the engine leaves the program for another one, or goes on where there is none. */
import type { Helper } from './helper.ts';
import { ANY_PROGRAM } from './program-sets.ts';

export const TAIL_CALL_HELPERS: readonly Helper[] = [
  { id: 12, name: 'tail_call', args: ['ctx', 'map', 'u32'], returns: 'void', programs: ANY_PROGRAM, changesPacket: true, implementation: { kind: 'engine' } },
];
