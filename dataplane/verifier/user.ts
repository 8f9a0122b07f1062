/**
 * Who loads a program, and what Linux asks of them (kernel/bpf/syscall.c: bpf_prog_load, map_create_alloc). What they may
 * not do is refused where the rules are; here is what is looked at before any path is.
 */
import type { Instruction } from '../bpf/isa.ts';
import { BPF_MAP_TYPE, mapTypeName } from '../bpf/map-type.ts';
import type { MapSpec, ProgramSpec, ProgramType } from '../bpf/spec.ts';
import { refuse } from './refusal.ts';

/** Capabilities (capabilities(7)), as far as they decide what a program may do. */
export interface Rights {
  /** CAP_BPF: functions, loops, a million instructions, every map type; numbers are followed on the stack, and compared only where they mattered. */
  readonly bpf: boolean;
  /** CAP_PERFMON: addresses may be read as numbers, and stack bytes that nobody wrote; what a processor may guess is not followed. */
  readonly perfmon: boolean;
}

export const USERS = {
  privileged: { bpf: true, perfmon: true },
  without_perfmon: { bpf: true, perfmon: false },
  without_capabilities: { bpf: false, perfmon: false },
} as const satisfies Readonly<Record<string, Rights>>;

export type User = keyof typeof USERS;

/** Programs that nobody needs a right for, where kernel.unprivileged_bpf_disabled is 0. */
const ANYBODYS_PROGRAMS: ReadonlySet<ProgramType> = new Set(['socket_filter', 'cgroup_skb']);

/** Who may do least among those whom Linux lets load a program of the type. */
export const leastPrivileged = (type: ProgramType): User => (ANYBODYS_PROGRAMS.has(type) ? 'without_capabilities' : 'without_perfmon');

/** BPF_MAXINSNS. */
const MOST_INSTRUCTIONS = 4096;
/** Types of which anybody may make maps. */
const ANYBODYS_MAPS: ReadonlySet<number> = new Set(
  (['hash', 'array', 'prog_array', 'perf_event_array', 'percpu_hash', 'percpu_array', 'cgroup_array', 'array_of_maps', 'hash_of_maps', 'cgroup_storage', 'percpu_cgroup_storage', 'ringbuf', 'user_ringbuf'] as const).map((name) => BPF_MAP_TYPE[name]),
);

/**
 * What is refused to whoever has not got CAP_BPF, whatever the instructions do. The kernel has words for the last one
 * only; of the others it says the errno. `at` is told where.
 */
export function checkUser({ instructions }: ProgramSpec, type: ProgramType, { bpf }: Rights, maps: ReadonlyMap<string, MapSpec>, at: (slot: number) => void): void {
  if (bpf) return;
  for (const [slot, name] of namedMaps(instructions)) {
    const map = maps.get(name);
    at(slot);
    if (map !== undefined && !ANYBODYS_MAPS.has(map.type)) refuse('EPERM', `map '${name}' of type ${mapTypeName(map.type) ?? map.type} is allowed only to CAP_BPF and CAP_SYS_ADMIN`);
  }
  at(0);
  if (instructions.length > MOST_INSTRUCTIONS) refuse('E2BIG', `BPF program is too large. ${instructions.length} instructions are allowed only to CAP_BPF and CAP_SYS_ADMIN (limit ${MOST_INSTRUCTIONS})`);
  if (!ANYBODYS_PROGRAMS.has(type)) refuse('EPERM', `programs of type ${type} are allowed only to CAP_BPF and CAP_SYS_ADMIN`);
  for (const [slot, instruction] of instructions.entries()) {
    at(slot);
    const calls = instruction.kind === 'call' ? instruction.target.kind !== 'helper' : instruction.kind === 'load_imm64' && instruction.value.kind === 'function';
    if (calls) refuse('EPERM', 'loading/calling other bpf or kernel functions are allowed for CAP_BPF and CAP_SYS_ADMIN');
  }
}

function namedMaps(instructions: readonly Instruction[]): (readonly [number, string])[] {
  return instructions.flatMap((each, slot) => (each.kind === 'load_imm64' && (each.value.kind === 'map' || each.value.kind === 'map_value') ? [[slot, each.value.map] as const] : []));
}
