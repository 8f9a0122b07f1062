/**
 * What calls do with the caller's stack frame: which parts helpers read and write through the addresses they are
 * given, and whether a function that is given one keeps it.
 */
import type { Instruction, Register } from '../../bpf/isa.ts';
import type { Callable, KfuncArgumentKind } from '../../helpers/helper.ts';
import { FRAME_BYTES } from '../../machine/cpu.ts';
import type { BpfMap } from '../../maps/bpf-map.ts';
import { pieces, type Piece } from '../../maps/words.ts';
import { knownCallback, knownMap } from './calls.ts';
import { isOfStack } from './known-value.ts';
import type { ProgramModule } from './program-module.ts';
import { reachOf, type Registers, type StackRange, type State } from './value-flow.ts';

/** A part of the frame that a call reaches. */
export interface StackArgument extends StackRange {
  readonly written: boolean;
  /** Known to the byte. */
  readonly exact: boolean;
  /** The compiled program reads it itself, as a load would: the index of an array. */
  readonly inPlace: boolean;
  /** The pieces that it is read in, where that is known. */
  readonly pieces?: readonly Piece[];
}

const WHOLE_FRAME: StackArgument = { from: 0, to: FRAME_BYTES, written: true, exact: false, inPlace: false };

/** The pieces in which a map reads a key or a value of that size; the first `head` bytes by themselves. */
function piecesRead(lengthBytes: number, head: 0 | 4): readonly Piece[] {
  const rest = pieces(lengthBytes - head).map(({ offset, bytes }) => ({ offset: head + offset, bytes }));
  return head === 0 ? rest : [{ offset: 0, bytes: head }, ...rest];
}

type ArgumentUse = 'none' | 'read' | 'write' | 'callback' | 'kept';

/** What a helper does with an argument that points to the stack. */
const ARGUMENT_USE = {
  ctx: 'kept',
  ctx_or_null: 'kept',
  map: 'kept',
  map_key: 'read',
  map_value: 'read',
  map_value_or_null: 'read',
  map_value_out: 'write',
  memory: 'read',
  memory_or_null: 'read',
  memory_out: 'write',
  memory_inout: 'write',
  memory_inout_or_null: 'write',
  size: 'none',
  size_or_zero: 'none',
  u32: 'none',
  i32: 'none',
  u64: 'none',
  unchecked: 'none',
  callback: 'none',
  callback_ctx: 'callback',
  spin_lock: 'kept',
  timer: 'kept',
  ringbuf_record: 'kept',
  allocated_size: 'none',
  socket: 'kept',
  sock_common: 'kept',
  long_out: 'write',
  int_inout: 'write',
  const_string: 'read',
  dynptr: 'kept',
  dynptr_out: 'kept',
  ringbuf_dynptr: 'kept',
  ringbuf_dynptr_out: 'kept',
  kptr_slot: 'kept',
  kptr_or_null: 'kept',
  percpu_variable: 'kept',
  task: 'kept',
  task_or_null: 'kept',
  cgroup_or_null: 'kept',
  iterator_out: 'kept',
  iterator: 'kept',
  constant_size: 'none',
  object: 'kept',
} as const satisfies Record<KfuncArgumentKind, ArgumentUse>;

/** The register in which a callback gets the caller's context, by helper. */
const CONTEXT_PARAMETER: Readonly<Record<string, Register>> = { loop: 2, for_each_map_elem: 4 };

/** Helpers that follow addresses among the numbers they print: `%s`. */
const PRINTING: ReadonlySet<string> = new Set(['trace_printk', 'trace_vprintk', 'snprintf']);

/** How many bytes a helper's argument reaches; undefined where nobody can say. */
function reach(helper: Callable, index: number, state: State, program: ProgramModule): number | undefined {
  switch (helper.args[index]!) {
    case 'map_key':
    case 'map_value':
    case 'map_value_out': {
      const map = knownMap(program, state[helper.args.indexOf('map') + 1]!);
      return helper.args[index] === 'map_key' ? map?.spec.keyBytes : map?.spec.valueBytes;
    }
    case 'memory':
    case 'memory_or_null':
    case 'memory_out':
    case 'memory_inout':
    case 'memory_inout_or_null': {
      const sized = helper.args[index + 1] === 'size' || helper.args[index + 1] === 'size_or_zero';
      const size = sized ? state[index + 2] : undefined;
      return size?.kind === 'constant' ? Number(BigInt.asUintN(32, size.value)) : undefined;
    }
    case 'long_out':
      return 8;
    case 'int_inout':
      return 4;
    default:
      return undefined;
  }
}

/** The parts of the frame that a call reaches; undefined if it may keep an address on the stack. */
export function stackArguments({ target }: Extract<Instruction, { kind: 'call' }>, state: State, program: ProgramModule): readonly StackArgument[] | undefined {
  switch (target.kind) {
    case 'helper':
    case 'kfunc': {
      const callee = program.callee(target);
      return callee ? helperArguments(callee, state, program) : [];
    }
    case 'subprogram': {
      const given = program.parameters.of(target.slot).filter((register) => isOfStack(state[register]!));
      if (given.length === 0) return [];
      return program.keeps(target.slot, given) ? undefined : [WHOLE_FRAME];
    }
  }
}

function helperArguments(helper: Callable, state: State, program: ProgramModule): readonly StackArgument[] | undefined {
  if (PRINTING.has(helper.name) && helper.args.some((_, index) => isOfStack(state[index + 1]!))) return [WHOLE_FRAME];
  const found: StackArgument[] = [];
  for (const [index, kind] of helper.args.entries()) {
    const known = state[index + 1]!;
    const use = ARGUMENT_USE[kind];
    if (use === 'none' || !isOfStack(known)) continue;
    if (use === 'kept') return undefined;
    if (use === 'callback') {
      if (callbackKeeps(helper, state, program)) return undefined;
      found.push(WHOLE_FRAME);
      continue;
    }
    const bytes = reach(helper, index, state, program);
    const exact = known.kind === 'frame' && bytes !== undefined && known.offset >= -FRAME_BYTES && known.offset + bytes <= 0;
    const inPlace = exact && mapOfLookup(helper, state, program)?.type.addressOf !== undefined;
    const argument: StackArgument = { ...reachOf(known, 0, bytes ?? FRAME_BYTES), written: use === 'write', exact, inPlace };
    found.push(exact && use === 'read' ? { ...argument, pieces: piecesRead(bytes, kind === 'map_key' ? keyHead(helper, state, program) : 0) } : argument);
  }
  return found;
}

function keyHead(helper: Callable, state: State, program: ProgramModule): 0 | 4 {
  return knownMap(program, state[helper.args.indexOf('map') + 1]!)?.type.keyHeadBytes ?? 0;
}

/** The map that an instruction looks a key up in, if it is known: a call of bpf_map_lookup_elem. */
export function lookedUpMap(instruction: Instruction, registers: Registers, program: ProgramModule): BpfMap | undefined {
  const helper = instruction.kind === 'call' ? program.callee(instruction.target) : undefined;
  return helper && mapOfLookup(helper, registers, program);
}

function mapOfLookup(helper: Callable, registers: Registers, program: ProgramModule): BpfMap | undefined {
  const { implementation } = helper;
  if (implementation.kind !== 'map' || implementation.operation !== 'lookup') return undefined;
  return knownMap(program, registers[helper.args.indexOf('map') + 1]!);
}

function callbackKeeps(helper: Callable, state: State, program: ProgramModule): boolean {
  const slot = knownCallback(helper, program, state);
  const parameter = CONTEXT_PARAMETER[helper.name];
  return slot === undefined || parameter === undefined || program.keeps(slot, [parameter]);
}
