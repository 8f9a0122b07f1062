/**
 * Where a program will look in a large table, before it runs: a lookup there waits for memory twice, for the bucket and
 * for the entry, as long as a whole program takes otherwise. What is asked for a batch of packets at once, memory
 * delivers at the same time.
 *
 *   scout(ctx: i32) -> i64               the program up to its first lookup in a large table; the address of the bucket,
 *                                        0 where there is none, or something before that only the program may do
 *   look_ahead(d, count: i32) -> i32     for packets that have not run yet, from their descriptors: 0 where tables are
 *                                        still small, and nothing was done
 *
 * The scout reads and computes, but changes nothing but its own frame: what the program writes to maps and packets it
 * leaves out. So it may be wrong: it sees neither that, nor what packets in between change, and of the context it has
 * the packet only, where it lies. Only programs that were verified have one, since it must not trap: for the verifier
 * such memory holds anything.
 */
import type { Instruction } from '../../bpf/isa.ts';
import { XDP_MD } from '../../packet/frame.ts';
import { DESCRIPTOR } from '../../packet/packet-batch.ts';
import type { BpfMap } from '../../maps/bpf-map.ts';
import { call, i32, type Callee } from '../../wasm/expression.ts';
import { exitEdges, reversePostOrder, type Block } from './control-flow.ts';
import { dominatorTree } from './dominators.ts';
import { planFunction, type FunctionPlan } from './function-plan.ts';
import { bits, isOfStack } from './known-value.ts';
import type { ProgramModule } from './program-module.ts';
import { lookedUpMap } from './stack-arguments.ts';
import { copyState, transfer, type Registers, type State } from './value-flow.ts';

/** Packets at a time: what they bring into the first cache is still there when they run. */
export const LOOK_AHEAD_PACKETS = 32;
const SLOT_SHIFT = 2;
/** Along a chain: more brings nothing, for few chains are longer. */
const STEPS = 3;

/** Where a scout stops within a block; `map`: to tell where the lookup there would begin. */
export interface Stop {
  readonly slot: number;
  readonly map?: BpfMap;
}

export interface ScoutPlan {
  readonly plan: FunctionPlan;
  readonly stops: ReadonlyMap<Block, Stop>;
  readonly tables: readonly BpfMap[];
}

/** Undefined where the program looks up nothing that is large, or cannot be followed so far. */
export function planScout(program: ProgramModule): ScoutPlan | undefined {
  if (![...program.program.maps.values()].some(isLarge)) return undefined;
  const { instructions } = program.program.spec;
  const plan = planFunction(program, 0, { 1: bits(32) });
  if (plan.regions > 0) return undefined;
  const entry = plan.ordered[0]!;
  const stops = new Map<Block, Stop>();
  const state: State = [];
  for (const block of plan.ordered) {
    copyState(plan.flow.at(block), state);
    for (let slot = block.start; slot < block.end; slot++) {
      const instruction = instructions[slot]!;
      const map = lookedUpMap(instruction, state, program);
      if (map !== undefined && isLarge(map)) {
        stops.set(block, { slot, map });
        break;
      }
      if (!isLeftOut(instruction, state) && !isSilent(instruction, state, map)) {
        stops.set(block, { slot });
        break;
      }
      transfer(instruction, state, plan.surroundings);
    }
    // A loop may be long; it is not walked even once.
    const goesBack = exitEdges(block.exit).some(({ target }) => target.order <= block.order);
    if (goesBack && !stops.has(block)) stops.set(block, { slot: block.end });
  }
  // What leads to no lookup need not be walked.
  const leads = new Set<Block>();
  for (const block of plan.ordered.toReversed()) {
    const stop = stops.get(block);
    if (stop === undefined ? exitEdges(block.exit).some(({ target }) => leads.has(target)) : stop.map !== undefined) leads.add(block);
    else stops.set(block, { slot: block.start });
  }
  if (!leads.has(entry)) return undefined;
  for (const block of stops.keys()) block.exit = { kind: 'end' };
  const ordered = reversePostOrder(entry);
  const tables = new Set(ordered.flatMap((block) => stops.get(block)?.map ?? []));
  return { plan: { ...plan, ordered, tree: dominatorTree(ordered) }, stops, tables: [...tables] };
}

function isLarge({ type, geometry }: BpfMap): boolean {
  return type.ahead?.isLarge(geometry) ?? false;
}

/** A write to a map or a packet, whose result nobody waits for. Not to a stack, where a pointer may be read again. */
export function isLeftOut(instruction: Instruction, registers: Registers): boolean {
  switch (instruction.kind) {
    case 'store':
      return !isOfStack(registers[instruction.dst]!);
    case 'atomic':
      return 'fetch' in instruction && !instruction.fetch && !isOfStack(registers[instruction.dst]!);
    default:
      return false;
  }
}

/** Whether nobody can see that an instruction has run. `map`: which it looks up, if it does. */
function isSilent(instruction: Instruction, state: State, map: BpfMap | undefined): boolean {
  switch (instruction.kind) {
    case 'store':
      return state[instruction.dst]!.kind === 'frame';
    case 'call':
      return map !== undefined && map.type.lookupTouches !== true;
    case 'atomic':
    case 'load_packet':
    case 'may_goto':
    case 'exit':
      return false;
    default:
      return true;
  }
}

/** Emits and exports `look_ahead`. */
export function emitLookAhead({ module, machine }: ProgramModule, scout: Callee<'i64'>, tables: readonly BpfMap[]): void {
  const context = machine.memory.allocate(XDP_MD.size, 64, 'context of a scout');
  const slots = machine.memory.allocate(LOOK_AHEAD_PACKETS << SLOT_SHIFT, 64, 'what a scout found');
  const f = module.function('look_ahead', ['i32', 'i32'], 'i32');
  const [d, count] = [f.param(0, 'i32', 'd'), f.param(1, 'i32', 'count')];
  const large = tables.map((map) => map.type.ahead!.hasGrown(map.geometry)).reduce((all, one) => i32.or(all, one));
  f.if(i32.eqz(large), () => f.return(i32.const(0)));
  const [slot, end] = [f.local('i32', 'slot'), f.let(i32.shl(count, i32.const(SLOT_SHIFT)), 'end')];
  const each = (body: () => void): void => {
    f.set(slot, i32.const(0));
    f.while(
      () => i32.ltU(slot, end),
      () => {
        body();
        f.set(slot, i32.add(slot, i32.const(1 << SLOT_SHIFT)));
      },
    );
  };
  each(() => {
    const data = f.let(i32.load(d, DESCRIPTOR.address), 'data');
    f.do(i32.store(i32.const(context), XDP_MD.data, data));
    f.do(i32.store(i32.const(context), XDP_MD.data_meta, data));
    f.do(i32.store(i32.const(context), XDP_MD.data_end, i32.add(data, i32.load(d, DESCRIPTOR.captured))));
    f.do(i32.store(slot, slots, i32.wrap(call(scout, i32.const(context)))));
    f.set(d, i32.add(d, i32.const(DESCRIPTOR.size)));
  });
  // First all buckets, then the entries that they lead to, then those behind them. Where nothing is, address 0 is read, and 0 found.
  for (let step = 0; step < STEPS; step++) each(() => f.do(i32.store(slot, slots, i32.load(i32.load(slot, slots)))));
  f.return(i32.const(1));
  module.export('look_ahead', f);
}
