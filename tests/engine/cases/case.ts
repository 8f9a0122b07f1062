/**
 * A case of the instruction set: a sentence, and programs that show it, each with what r0 is when it ends. Every
 * engine runs every case. What is expected was read off Linux 6.18 with BPF_PROG_TEST_RUN, except where `notOnLinux`
 * says why it cannot be asked.
 */
import type { ProgramType } from '../../../dataplane/bpf/spec.ts';
import type { FAULT } from '../../../dataplane/machine/cpu.ts';

export interface Run {
  /** What distinguishes it from the other runs of the case. */
  readonly label: string;
  /** For assemble.ts. r1 is the context. */
  readonly code: string;
  /** r0 as an unsigned number, or why the program is stopped. */
  readonly expected: bigint | { readonly fault: keyof typeof FAULT };
  /** Bytes the packet begins with; the rest of 64 count up, each byte being its offset. */
  readonly packet?: Uint8Array;
}

export interface Case {
  /** A sentence. */
  readonly name: string;
  readonly runs: readonly Run[];
  /** Decides what the context is; xdp unless said. */
  readonly type?: ProgramType;
  /** Why Linux cannot confirm it: its verifier refuses the program, or it has no such fault. */
  readonly notOnLinux?: string;
}

export type CaseOptions = Pick<Case, 'type' | 'notOnLinux'> & Pick<Run, 'packet'>;

/** A case of one program. */
export function single(name: string, code: string, expected: Run['expected'], options: CaseOptions = {}): Case {
  const { packet, ...rest } = options;
  return { name, ...rest, runs: [{ label: '', code, expected, ...(packet === undefined ? {} : { packet }) }] };
}

/** A number that the assembler loads as it is. */
export function hex(value: bigint): string {
  return `0x${BigInt.asUintN(64, value).toString(16)}`;
}

/** The number as a 32-bit immediate of an operation of that width, where it can be one. */
export function asImmediate(value: bigint, width: 32 | 64): number | undefined {
  const immediate = BigInt.asIntN(32, value);
  return BigInt.asUintN(width, immediate) === BigInt.asUintN(width, value) ? Number(immediate) : undefined;
}

/** Loads two 64-bit numbers from the packet, so that no compiler can know them, and runs `body` on them. */
export function withUnknown(registers: readonly [string, string], body: string): string {
  return `
    r9 = *(u32 *)(r1 +0)
    r2 = *(u32 *)(r1 +4)
    r3 = r9
    r3 += 16
    if r3 > r2 goto short
    ${registers[0]} = *(u64 *)(r9 +0)
    ${registers[1]} = *(u64 *)(r9 +8)
    ${body}
    short:
    r0 = 57005
    exit`;
}

/** Where `withUnknown` finds its numbers. */
export function unknownNumbers(a: bigint, b: bigint): Uint8Array {
  const packet = new Uint8Array(16);
  const view = new DataView(packet.buffer);
  view.setBigUint64(0, BigInt.asUintN(64, a), true);
  view.setBigUint64(8, BigInt.asUintN(64, b), true);
  return packet;
}
