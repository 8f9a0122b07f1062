/**
 * A program that counts its own verdicts, since nothing in Linux does: before it is loaded, every `exit` of its entry
 * function becomes a jump to code that is put behind that function, and that adds one to the verdict's slot of a
 * per-CPU array. A jump takes the place of an exit, so no instruction of the entry function moves; functions behind it
 * move as a whole. Verdict slots are those of hooks/hook.ts.
 */
import { assemble } from '../../bpf/assemble.ts';
import type { Instruction } from '../../bpf/isa.ts';
import { OTHER_VERDICT_SLOT, VERDICT_SLOTS } from '../../hooks/hook.ts';
import { BPF_MAP_TYPE } from '../../bpf/map-type.ts';
import type { MapSpec, ProgramSpec } from '../../bpf/spec.ts';

export const VERDICTS_MAP: MapSpec = {
  name: 'xdplab_verdicts', type: BPF_MAP_TYPE.percpu_array, keyBytes: 4, valueBytes: 8, maxEntries: VERDICT_SLOTS, flags: 0, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false,
};

/** When a function ends, its registers and stack are free. */
const COUNT = assemble(`
        r6 = r0
        w7 = w6
        r7 += 1
        r7 <<= 32
        r7 >>= 32
        if r7 < ${VERDICT_SLOTS} goto known
        r7 = ${OTHER_VERDICT_SLOT}
 known: *(u32 *)(r10 -4) = r7
        r2 = r10
        r2 += -4
        r1 = map[${VERDICTS_MAP.name}]
        call 1
        if r0 == 0 goto leave
        r1 = *(u64 *)(r0 +0)
        r1 += 1
        *(u64 *)(r0 +0) = r1
 leave: r0 = r6
        exit`).instructions;

const FARTHEST_JUMP = 32_767;

export function withVerdictCounts(spec: ProgramSpec): ProgramSpec {
  const end = Math.min(spec.instructions.length, ...spec.functions.map(({ slot }) => slot).filter((slot) => slot > 0));
  const moved = (slot: number): number => (slot >= end ? slot + COUNT.length : slot);
  const entry = spec.instructions.slice(0, end).map((instruction, slot): Instruction => {
    if (instruction.kind !== 'exit') return withTarget(instruction, moved);
    const offset = end - slot - 1;
    return { kind: 'jump', offset, long: offset > FARTHEST_JUMP };
  });
  return {
    ...spec,
    instructions: [...entry, ...COUNT, ...spec.instructions.slice(end).map((instruction) => withTarget(instruction, moved))],
    ...(spec.exceptionCallback === undefined ? {} : { exceptionCallback: moved(spec.exceptionCallback) }),
    functions: spec.functions.map((each) => ({ ...each, slot: moved(each.slot) })),
    lines: spec.lines.map((each) => ({ ...each, slot: moved(each.slot) })),
  };
}

/** Slots of functions are absolute; jumps stay within their function. */
function withTarget(instruction: Instruction, moved: (slot: number) => number): Instruction {
  if (instruction.kind === 'call' && instruction.target.kind === 'subprogram') return { kind: 'call', target: { kind: 'subprogram', slot: moved(instruction.target.slot) } };
  if (instruction.kind === 'load_imm64' && instruction.value.kind === 'function') return { ...instruction, value: { kind: 'function', slot: moved(instruction.value.slot) } };
  return instruction;
}
