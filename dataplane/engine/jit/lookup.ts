/** Lookups that stand in a program: where their key is, and what is done with their answer. */
import type { Instruction } from '../../bpf/isa.ts';
import type { MapKey } from '../../maps/map.ts';
import { keyAt } from '../../maps/words.ts';
import type { I32 } from '../../wasm/expression.ts';
import type { CallSite } from './calls.ts';
import type { Block, Edge } from './control-flow.ts';
import { stackArguments } from './stack-arguments.ts';
import type { StackWords } from './stack-words.ts';
import type { Registers } from './value-flow.ts';

/** The key of a lookup, whose address is in r2. In variables it stays there, unless somebody asks for its address. */
export function keyOf(call: Extract<Instruction, { kind: 'call' }>, address: I32, registers: Registers, { f, program }: Pick<CallSite, 'f' | 'program'>, stack: StackWords): MapKey {
  const reached = stackArguments(call, registers, program) ?? [];
  const [range] = reached;
  if (range?.exact && reached.length === 1 && stack.hasAll(range)) {
    return {
      read: (offset, bytes) => stack.read(range.from + offset, bytes),
      address: () => {
        stack.flush(range);
        return address;
      },
    };
  }
  for (const each of reached) stack.flush(each);
  return keyAt(f.let(address, 'key'));
}

/** Where a block goes if r0 is 0, in case that its last instruction, at `slot`, decides by that alone. */
export function nullEdge({ exit, end }: Block, instructions: readonly Instruction[], slot: number): Edge | undefined {
  const branch = instructions[slot];
  if (exit.kind !== 'branch' || slot + 1 !== end || branch?.kind !== 'branch' || branch.dst !== 0) return undefined;
  if (branch.source.kind !== 'immediate' || branch.source.value !== 0) return undefined;
  return branch.op === 'jeq' ? exit.taken : branch.op === 'jne' ? exit.fallthrough : undefined;
}
