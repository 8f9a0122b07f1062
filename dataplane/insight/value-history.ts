/**
 * How a register came to hold what it holds: the instructions of one path that changed what was known of it, or of what
 * it was made of. Copies between registers and to the stack and back are followed, and are no news.
 */
import type { Instruction, Register } from '../bpf/isa.ts';
import type { ProgramSpec } from '../bpf/spec.ts';
import type { RegisterState } from '../verifier/register.ts';
import { isSpilled, SLOT_BYTES, type StackSlot, type State } from '../verifier/state.ts';
import { retrace, type VerifyOptions } from '../verifier/verify.ts';
import { valueWords } from './value-words.ts';

export interface ValueChange {
  readonly slot: number;
  /** The register, or the one that was spilled, before and after. */
  readonly before: RegisterState | undefined;
  readonly value: RegisterState;
}

interface FrameView {
  readonly registers: readonly RegisterState[];
  readonly stack: readonly StackSlot[];
}

interface Moment {
  readonly slot: number;
  readonly frames: readonly FrameView[];
}

/** Memory for a path's end; what is older hardly explains anything. */
const MOMENTS_KEPT = 20_000;

/** What was known before each instruction of the path, of its end where it is long. */
export function momentsOf(program: ProgramSpec, options: VerifyOptions, path: readonly number[]): Moment[] {
  const moments: Moment[] = [];
  let index = 0;
  retrace(program, options, path, (state: State) => {
    const slot = path[index++]!;
    if (path.length - index < MOMENTS_KEPT) moments.push({ slot, frames: state.frames.map(({ registers, stack }) => ({ registers: registers.slice(), stack: stack.slice() })) });
  });
  return moments;
}

/** A register of a frame, or the byte at an offset of its stack. */
interface Place {
  readonly frame: number;
  readonly register?: Register;
  readonly offset?: number;
}

/** Oldest first. */
export function historyOf(instructions: readonly Instruction[], moments: readonly Moment[], register: Register): ValueChange[] {
  const last = moments[moments.length - 1];
  if (last === undefined) return [];
  let wanted: Place[] = [{ frame: last.frames.length - 1, register }];
  const changes: ValueChange[] = [];
  for (let index = moments.length - 2; index >= 0 && wanted.length > 0; index--) {
    const [before, after] = [moments[index]!, moments[index + 1]!];
    const instruction = instructions[before.slot]!;
    const next: Place[] = [];
    let changed: ValueChange | undefined;
    for (const place of wanted) {
      const sources = sourcesOf(instruction, before, after, place);
      const now = at(after, place);
      const was = sources.places.length === 0 ? undefined : at(before, sources.places[0]!);
      if (now !== undefined && (sources.news || (was !== undefined && valueWords(was) !== valueWords(now)))) changed ??= { slot: before.slot, before: was, value: now };
      for (const source of sources.places) if (!next.some((other) => same(other, source))) next.push(source);
    }
    if (changed !== undefined) changes.push(changed);
    wanted = next;
  }
  return changes.toReversed();
}

const same = (a: Place, b: Place): boolean => a.frame === b.frame && a.register === b.register && a.offset === b.offset;

/** Undefined where the stack is known as bytes only. */
function at({ frames }: Moment, { frame, register, offset }: Place): RegisterState | undefined {
  if (register !== undefined) return frames[frame]?.registers[register];
  const found = frames[frame]?.stack[(-offset! - 1) >> 3];
  return found !== undefined && isSpilled(found) && offset! % SLOT_BYTES === 0 ? found.spilled : undefined;
}

interface Sources {
  /** The value is new, not a copy. */
  readonly news: boolean;
  readonly places: readonly Place[];
}

/** What `place` was made of in one step. */
function sourcesOf(instruction: Instruction, before: Moment, after: Moment, place: Place): Sources {
  const top = before.frames.length - 1;
  const inner = after.frames.length > before.frames.length;
  if (inner && place.frame === top + 1) return entered(place, top);
  if (after.frames.length < before.frames.length && place.frame === top - 1 && place.register === 0) return { news: false, places: [{ frame: top, register: 0 }] };
  if (place.frame !== top) return { news: false, places: [place] };
  return place.register === undefined ? storedAt(instruction, before, place) : written(instruction, before, place, place.register);
}

/** Arguments are the caller's registers; all else of a new frame is nothing. */
function entered({ register }: Place, caller: number): Sources {
  return { news: false, places: register !== undefined && register >= 1 && register <= 5 ? [{ frame: caller, register }] : [] };
}

function storedAt(instruction: Instruction, before: Moment, place: Place): Sources {
  if (instruction.kind !== 'store' && instruction.kind !== 'atomic') return { news: false, places: [place] };
  const target = stackPlace(before, instruction.dst, instruction.offset);
  if (target?.frame !== place.frame || place.offset! < target.offset! || place.offset! >= target.offset! + instruction.bytes) return { news: false, places: [place] };
  if (instruction.kind === 'store' && instruction.source.kind === 'register') return { news: false, places: [{ frame: before.frames.length - 1, register: instruction.source.register }] };
  return { news: true, places: [] };
}

function written(instruction: Instruction, before: Moment, place: Place, register: Register): Sources {
  const frame = before.frames.length - 1;
  const unchanged: Sources = { news: false, places: [place] };
  switch (instruction.kind) {
    case 'load_imm64':
      return instruction.dst === register ? { news: true, places: [] } : unchanged;
    case 'load': {
      if (instruction.dst !== register) return unchanged;
      const stack = stackPlace(before, instruction.src, instruction.offset);
      return { news: stack === undefined, places: stack === undefined ? [] : [stack] };
    }
    case 'alu': {
      if (instruction.dst !== register) return unchanged;
      const source: readonly Place[] = instruction.source.kind === 'register' && instruction.source.register !== register ? [{ frame, register: instruction.source.register }] : [];
      if (instruction.op !== 'mov') return { news: true, places: [place, ...source] };
      return { news: instruction.source.kind === 'immediate', places: source.length > 0 ? source : instruction.source.kind === 'register' ? [place] : [] };
    }
    case 'movsx':
      return instruction.dst === register ? { news: true, places: [{ frame, register: instruction.src }] } : unchanged;
    case 'neg':
    case 'endian':
      return instruction.dst === register ? { news: true, places: [place] } : unchanged;
    case 'call':
      return register <= 5 ? { news: true, places: [] } : unchanged;
    default:
      return unchanged;
  }
}

/** Where in the stack a register points, if it does. */
function stackPlace(before: Moment, register: Register, offset: number): Place | undefined {
  const base = before.frames[before.frames.length - 1]!.registers[register]!;
  if (base.type !== 'fp' || base.scalar.mask !== 0n) return undefined;
  const place = base.offset + offset + Number(BigInt.asIntN(64, base.scalar.value));
  return place >= 0 ? undefined : { frame: base.frame, offset: place };
}
