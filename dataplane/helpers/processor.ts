/** Where a program runs. The simulated machine has one NUMA node. */
import type { Machine } from '../machine/machine.ts';
import { i32 } from '../wasm/expression.ts';
import type { Helper, ReturnKind } from './helper.ts';
import { ANY_PROGRAM } from './program-sets.ts';

const constant = (id: number, name: string, returns: ReturnKind, value: (machine: Machine) => number): Helper => ({
  id,
  name,
  args: [],
  returns,
  programs: ANY_PROGRAM,
  implementation: {
    kind: 'wasm',
    emit: (module, machine) => {
      const f = module.function(name, [], 'i32');
      f.return(i32.const(value(machine)));
      return f;
    },
  },
});

export const PROCESSOR_HELPERS: readonly Helper[] = [
  constant(8, 'get_smp_processor_id', 'u32', (machine) => machine.cpu),
  constant(42, 'get_numa_node_id', 'int', () => 0),
];
