/** One program asked of Linux and of our verifier, and counted. */
import type { MapSpec, ProgramSpec } from '../../dataplane/bpf/spec.ts';
import type { KernelProgram } from '../../dataplane/engine/kernel/kernel-program.ts';
import type { Executions } from './executions.ts';
import { KernelStuck, type KernelVerdicts } from './kernel-verdicts.ts';
import { minimise } from './minimise.ts';
import type { OurVerdict, Verify } from './our-verdict.ts';
import type { Random } from './random.ts';

export const CELLS = ['both accept', 'both refuse', 'Linux refuses, we accept', 'Linux accepts, we refuse'] as const;
export type Cell = (typeof CELLS)[number];

export interface Mismatch {
  readonly kind: Cell | 'another answer' | 'an exception of ours';
  /** Mismatches of one class have one cause, most likely. */
  readonly group: string;
  readonly spec: ProgramSpec;
  readonly linux: string;
  readonly ours: string;
}

const MINIMISING_TRIES = 1200;
/** Another of a class that is known is counted, and not minimised. */
const MINIMISED_A_GROUP = 2;

export class Agreement {
  readonly cells = new Map<Cell, number>(CELLS.map((cell) => [cell, 0]));
  readonly groups = new Map<string, number>();
  otherErrno = 0;
  executed = 0;
  readonly #kernel: KernelVerdicts;
  readonly #verify: Verify | undefined;
  readonly #maps: ReadonlyMap<string, MapSpec>;
  readonly #executions: Executions;
  readonly #told: (mismatch: Mismatch) => void;

  constructor(kernel: KernelVerdicts, verify: Verify | undefined, maps: ReadonlyMap<string, MapSpec>, executions: Executions, told: (mismatch: Mismatch) => void) {
    this.#kernel = kernel;
    this.#verify = verify;
    this.#maps = maps;
    this.#executions = executions;
    this.#told = told;
  }

  get mismatches(): number {
    return [...this.groups.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Whether Linux accepts. `steady`: the program's answers can be compared. */
  check(spec: ProgramSpec, random: Random, steady: boolean): boolean {
    this.#kernel.rest();
    const kernel = this.#kernel.verdict(spec);
    const ours = this.#ours(spec);
    if (ours instanceof Error) {
      this.#report('an exception of ours', firstLine(ours), spec, (candidate) => errorGroup(this.#ours(candidate)) === firstLine(ours));
      return kernel.accepted;
    }
    const cell = cellOf(kernel.accepted, ours === undefined ? kernel.accepted : ours.accepted);
    this.cells.set(cell, this.cells.get(cell)! + 1);
    if (cell === 'both refuse' && ours?.refusal !== undefined && ours.refusal.errno !== kernel.errno) this.otherErrno++;
    if (cell === 'Linux accepts, we refuse') {
      const message = classOf(ours!.refusal!.message);
      this.#report(cell, message, spec, (candidate) => this.#messageOf(candidate) === message && this.#kernel.verdict(candidate).accepted);
    }
    if (cell === 'Linux refuses, we accept') {
      const reason = classOf(this.#kernel.reason(spec));
      this.#report(cell, reason, spec, (candidate) => this.#accepts(candidate) && !this.#kernel.verdict(candidate).accepted && classOf(this.#kernel.reason(candidate)) === reason);
    }
    if (cell === 'both accept' && steady) this.#run(spec, kernel.program!, random);
    return kernel.accepted;
  }

  #run(spec: ProgramSpec, program: KernelProgram, random: Random): void {
    this.executed++;
    let difference: string | undefined;
    try {
      difference = this.#executions.difference(spec, program, random);
    } catch (error) {
      if (error instanceof KernelStuck || !(error instanceof Error)) throw error;
      difference = error.stack ?? `${error.name}: ${error.message}`;
    }
    if (difference === undefined) return;
    const group = /^\w*Error/.test(difference) ? classOf(difference) : /fault \w+/.exec(difference)?.[0] ?? 'another result';
    const seen = this.#count(`another answer: ${group}`);
    if (seen >= MINIMISED_A_GROUP) return;
    this.#told({ kind: 'another answer', group, spec, linux: 'accepts', ours: difference });
  }

  #report(kind: Mismatch['kind'], group: string, spec: ProgramSpec, shows: (candidate: ProgramSpec) => boolean): void {
    const key = `${kind}: ${group}`;
    const seen = this.#count(key);
    if (seen >= MINIMISED_A_GROUP) return;
    const small = minimise(
      spec,
      (candidate) => {
        this.#kernel.rest();
        return encodable(candidate) && shows(candidate);
      },
      { mostTries: MINIMISING_TRIES },
    );
    this.#kernel.rest();
    const kernel = this.#kernel.verdict(small);
    const ours = this.#ours(small);
    this.#told({
      kind, group, spec: small,
      linux: kernel.accepted ? 'accepts' : `${kernel.errno} ${this.#kernel.reason(small)}`,
      ours: ours instanceof Error ? (ours.stack ?? ours.message) : ours === undefined || ours.accepted ? 'accepts' : `${ours.refusal!.errno} at ${ours.refusal!.slot}: ${ours.refusal!.message}`,
    });
  }

  /** How many there were before. */
  #count(key: string): number {
    const seen = this.groups.get(key) ?? 0;
    this.groups.set(key, seen + 1);
    return seen;
  }

  #ours(spec: ProgramSpec): OurVerdict | Error | undefined {
    try {
      return this.#verify?.(spec, { maps: this.#maps });
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  #accepts(spec: ProgramSpec): boolean {
    const ours = this.#ours(spec);
    return ours !== undefined && !(ours instanceof Error) && ours.accepted;
  }

  #messageOf(spec: ProgramSpec): string | undefined {
    const ours = this.#ours(spec);
    return ours === undefined || ours instanceof Error || ours.refusal === undefined ? undefined : classOf(ours.refusal.message);
  }
}

function cellOf(linux: boolean, ours: boolean): Cell {
  if (linux) return ours ? 'both accept' : 'Linux accepts, we refuse';
  return ours ? 'Linux refuses, we accept' : 'both refuse';
}

/** Without its numbers. */
export function classOf(message: string): string {
  return (message.split('\n')[0] ?? '').replaceAll(/0x[0-9a-f]+|-?\d+/g, 'N');
}

function firstLine(error: Error): string {
  return classOf(`${error.name}: ${error.message}`);
}

function errorGroup(verdict: OurVerdict | Error | undefined): string | undefined {
  return verdict instanceof Error ? firstLine(verdict) : undefined;
}

/** Jumps of a program that lost instructions may not aim outside. */
function encodable({ instructions }: ProgramSpec): boolean {
  return instructions.every((each) => !(each.kind === 'jump' || each.kind === 'branch') || Math.abs(each.offset) < 0x8000);
}
