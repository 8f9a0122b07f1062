/**
 * What an instruction that the verifier let pass must not do: touch memory outside of what its pointer is of, though the
 * machine's flat memory would hide it; nor depend on what the verifier has forgotten.
 */
import type { Instruction, Register } from '../bpf/isa.ts';
import type { ProgramType } from '../bpf/spec.ts';
import type { ArgumentKind } from '../helpers/helper.ts';
import { prototypeOf } from '../helpers/index.ts';
import { FRAME_BYTES } from '../machine/cpu.ts';
import type { BpfMap } from '../maps/bpf-map.ts';
import { SK_BUFF, XDP_MD } from '../packet/frame.ts';
import { isPointer, type RegisterState } from '../verifier/register.ts';
import { low } from './carry.ts';
import type { ExploredState } from './exploration.ts';
import { isOfRegion, type Surroundings } from './membership.ts';
import type { FrameProvenance, Region } from './provenance.ts';

export interface Demand {
  readonly instruction: Instruction;
  readonly state: ExploredState;
  readonly provenance: FrameProvenance;
  readonly registers: BigUint64Array;
  readonly around: Surroundings;
  readonly type: ProgramType;
  map(descriptor: number): BpfMap | undefined;
}

/** What is wrong, as the end of a sentence; undefined where nothing is. */
export function broken(demand: Demand): string | undefined {
  const { instruction } = demand;
  switch (instruction.kind) {
    case 'load':
      return access(demand, instruction.src, instruction.offset, instruction.bytes);
    case 'store':
      return access(demand, instruction.dst, instruction.offset, instruction.bytes);
    case 'atomic':
      return access(demand, instruction.op === 'load_acquire' ? instruction.src : instruction.dst, instruction.offset, instruction.bytes);
    case 'alu':
      return movedPointer(demand, instruction);
    case 'branch':
      return decided(demand, instruction);
    case 'call':
      return instruction.target.kind === 'helper' ? helperArguments(demand, instruction.target.id) : undefined;
    default:
      return undefined;
  }
}

const registersOf = ({ state }: Demand): readonly RegisterState[] => state.frames.at(-1)!.registers;
const forgottenText = (number: number, use: string): string => `r${number} ${use}, but the verifier had ended a path as if r${number} did not matter any more`;

function access(demand: Demand, number: Register, offset: number, bytes: number): string | undefined {
  if (demand.provenance.isForgotten(number)) return forgottenText(number, 'is an address');
  const address = low(demand.registers[number]!) + offset;
  return outside(demand, number, address, bytes);
}

function outside(demand: Demand, number: Register, address: number, bytes: number): string | undefined {
  const limits = limitsOf(demand, registersOf(demand)[number]!, demand.provenance.region(number));
  if (limits === undefined || (address >= limits.start && address + bytes <= limits.end)) return undefined;
  return `${bytes} bytes at ${limits.name}${signed(address - limits.start)} are accessed, of ${limits.end - limits.start} that are there`;
}

const signed = (offset: number): string => (offset < 0 ? String(offset) : `+${offset}`);

/** Where a pointer of that kind may be used; undefined for what is not the machine's memory. */
function limitsOf({ around, type }: Demand, register: RegisterState, region: Region | undefined): { readonly name: string; readonly start: number; readonly end: number } | undefined {
  const { context, data, dataEnd, dataMeta } = around;
  switch (register.type) {
    case 'fp': {
      const end = around.framePointer(register.frame);
      return { name: `the frame of ${FRAME_BYTES}`, start: end - FRAME_BYTES, end };
    }
    case 'ctx':
      return { name: 'the context', start: context, end: context + (type === 'xdp' ? XDP_MD.hard_start : SK_BUFF.publicSize) };
    case 'pkt':
      return { name: 'data', start: data, end: dataEnd };
    case 'pkt_meta':
      return { name: 'data_meta', start: dataMeta, end: data };
    default:
      return isOfRegion(register) && region !== undefined ? { name: register.map?.name ?? 'the memory', start: region.start, end: region.start + region.bytes } : undefined;
  }
}

/** How far a pointer moves always matters. */
function movedPointer(demand: Demand, { dst, op, source }: Extract<Instruction, { kind: 'alu' }>): string | undefined {
  if (op === 'mov' || source.kind !== 'register') return undefined;
  const [left, right] = [registersOf(demand)[dst]!, registersOf(demand)[source.register]!];
  if (isPointer(left) === isPointer(right)) return undefined;
  const number = isPointer(left) ? source.register : dst;
  return demand.provenance.isForgotten(number) ? forgottenText(number, 'moves a pointer') : undefined;
}

/** Of a branch that can go one way only. */
function decided(demand: Demand, { dst, source }: Extract<Instruction, { kind: 'branch' }>): string | undefined {
  if (demand.state.next.length !== 1) return undefined;
  const operands = source.kind === 'register' ? [dst, source.register] : [dst];
  const number = operands.find((each) => registersOf(demand)[each]!.type === 'scalar' && demand.provenance.isForgotten(each));
  return number === undefined ? undefined : forgottenText(number, 'decides a branch');
}

const MEMORY: ReadonlySet<ArgumentKind> = new Set(['memory', 'memory_or_null', 'memory_out', 'memory_inout', 'memory_inout_or_null']);
const SIZES: ReadonlySet<ArgumentKind | undefined> = new Set(['size', 'size_or_zero', 'allocated_size']);

function helperArguments(demand: Demand, id: number): string | undefined {
  const prototype = prototypeOf(id, demand.type);
  if (prototype === undefined) return undefined;
  const { registers, provenance } = demand;
  for (const [index, kind] of prototype.args.entries()) {
    if (kind === 'unchecked') continue;
    const number = (index + 1) as Register;
    const value = registers[number]!;
    if (provenance.isForgotten(number) && (isPointer(registersOf(demand)[number]!) || SIZES.has(kind))) return forgottenText(number, 'is an argument');
    const bytes = argumentBytes(demand, kind, prototype.args[index + 1], registers[number + 1], prototype.sizes?.[index]);
    if (bytes === undefined || bytes === 0) continue;
    if (value === 0n && kind !== 'map_value_or_null') return `r${number} is NULL, and ${bytes} bytes of it are accessed`;
    const found = outside(demand, number, low(value), bytes);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** How much memory the helper may touch. */
function argumentBytes({ registers, map }: Demand, kind: ArgumentKind, following: ArgumentKind | undefined, size: bigint | undefined, fixed: number | undefined): number | undefined {
  if (MEMORY.has(kind)) return fixed ?? (SIZES.has(following) ? low(size!) : undefined);
  if (kind === 'map_key') return map(low(registers[1]!))?.spec.keyBytes;
  return kind === 'map_value' || kind === 'map_value_or_null' || kind === 'map_value_out' ? map(low(registers[1]!))?.spec.valueBytes : undefined;
}
