/** One program asked of Linux and of our verifier, and counted. */
import { openLinux } from '../../dataplane/engine/kernel/linux.ts';
import type { Instruction } from '../../dataplane/bpf/isa.ts';
import type { MapSpec, ProgramSpec } from '../../dataplane/bpf/spec.ts';
import type { KernelProgram } from '../../dataplane/engine/kernel/kernel-program.ts';
import { XdplabError } from '../../dataplane/errors.ts';
import { withoutDeadWays } from '../../dataplane/verifier/admit.ts';
import { CheckedRuns } from './checked-runs.ts';
import type { Executions } from './executions.ts';
import { deliberateDifference, endangersLinux, type DeliberateDifference } from './deliberate.ts';
import { withZeroedStack } from './edit.ts';
import { FIXED_MAPS } from './fixed-maps.ts';
import { KernelStuck, type KernelVerdicts, type UserOf } from './kernel-verdicts.ts';
import { minimise } from './minimise.ts';
import type { OurVerdict, Verify } from './our-verdict.ts';
import { Random } from './random.ts';

export const CELLS = ['both accept', 'both refuse', 'Linux refuses, we accept', 'Linux accepts, we refuse'] as const;
export type Cell = (typeof CELLS)[number];

export interface Mismatch {
  readonly kind: Cell | 'another answer' | 'a run that was ruled out' | 'an exception of ours';
  /** Mismatches of one class have one cause, most likely. */
  readonly group: string;
  readonly spec: ProgramSpec;
  readonly linux: string;
  readonly ours: string;
}

export interface AgreementOptions {
  /** Compare the words of refusals too. */
  readonly words?: boolean;
  /** Run one of so many programs that are accepted; 1 unless said. */
  readonly runEvery?: number;
  /** Who loads programs of a type; `privileged` unless said. */
  readonly userOf?: UserOf;
}

/** Those that generated programs call where answers are compared; others may know the time, or what is random, or hand out memory as it is. */
const STEADY_HELPERS: ReadonlySet<number> = new Set([1, 2, 3, 8, 9, 12, 26, 28, 39, 44, 65, 87, 88, 89, 130, 189, 190]);
const MINIMISING_TRIES = 1200;
/** Another of a class that is known is counted, and not minimised. */
const MINIMISED_A_GROUP = 2;

/** Instructions that were looked at: what was found of each is kept for a run that is held against it. */
const MOST_CHECKED = 100_000;

export class Agreement {
  readonly cells = new Map<Cell, number>(CELLS.map((cell) => [cell, 0]));
  readonly groups = new Map<string, number>();
  readonly deliberate = new Map<DeliberateDifference, number>();
  /** Programs that Linux is not asked about. */
  dangerous = 0;
  /** And those that it has no answer to: of long paths it keeps megabytes in one piece, which it does not always have. */
  unanswered = 0;
  executed = 0;
  checked = 0;
  /** Of those that were to be checked, how many are verified over too many instructions. */
  tooLong = 0;
  /** Of what both refuse: other errno, and other words where they are compared. No mismatch. */
  readonly otherRefusals = new Map<string, number>();
  /** Of what both accept: how often the verifiers walked over as many instructions. */
  sameWalk = 0;
  #accepted = 0;
  readonly #kernel: KernelVerdicts;
  readonly #verify: Verify;
  readonly #maps: ReadonlyMap<string, MapSpec>;
  readonly #executions: Executions;
  readonly #checkedRuns: CheckedRuns;
  readonly #told: (mismatch: Mismatch) => void;
  readonly #options: AgreementOptions;

  constructor(kernel: KernelVerdicts, verify: Verify, maps: ReadonlyMap<string, MapSpec>, executions: Executions, told: (mismatch: Mismatch) => void, options: AgreementOptions = {}) {
    this.#options = options;
    this.#kernel = kernel;
    this.#verify = verify;
    this.#maps = maps;
    this.#executions = executions;
    this.#checkedRuns = new CheckedRuns(maps);
    this.#told = told;
  }

  get mismatches(): number {
    return [...this.groups.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Whether Linux accepts. `steady`: the program's answers can be compared. */
  check(spec: ProgramSpec, random: Random, steady: boolean): boolean {
    if (endangersLinux(spec)) {
      this.dangerous++;
      return false;
    }
    this.#kernel.rest();
    const kernel = this.#kernel.verdict(spec);
    if (kernel.errno === 'ENOMEM') {
      this.unanswered++;
      return false;
    }
    const ours = this.#ours(spec);
    if (ours instanceof Error) {
      this.#report('an exception of ours', firstLine(ours), spec, (candidate) => errorGroup(this.#ours(candidate)) === firstLine(ours));
      return kernel.accepted;
    }
    const cell = cellOf(kernel.accepted, ours.accepted);
    this.cells.set(cell, this.cells.get(cell)! + 1);
    if (cell === 'both accept' && ours.instructionsProcessed === kernel.program!.info.verifiedInstructions) this.sameWalk++;
    if (cell === 'both refuse' && ours.refusal !== undefined) this.#compareRefusals(spec, kernel.errno, ours.refusal);
    if (cell === 'Linux accepts, we refuse') {
      const message = classOf(ours.refusal!.message);
      const meant = this.#meant(cell, message, spec);
      if (!meant) this.#report(cell, message, spec, (candidate) => this.#messageOf(candidate) === message && this.#kernel.verdict(candidate).accepted);
    }
    if (cell === 'Linux refuses, we accept') {
      const reason = classOf(this.#kernel.reason(spec));
      const meant = this.#meant(cell, reason, spec);
      if (!meant) this.#report(cell, reason, spec, (candidate) => this.#accepts(candidate) && !this.#kernel.verdict(candidate).accepted && classOf(this.#kernel.reason(candidate)) === reason);
    }
    // Whoever may do less may run nothing either.
    if (this.#options.userOf !== undefined) return kernel.accepted;
    if (ours.accepted && this.#accepted++ % (this.#options.runEvery ?? 1) === 0) {
      if (ours.instructionsProcessed <= MOST_CHECKED) this.#runChecked(spec, random);
      else this.tooLong++;
    }
    if (cell === 'both accept' && this.cells.get(cell)! % (this.#options.runEvery ?? 1) === 0) {
      if (steady) this.#run(spec, kernel.program!, random);
      else this.#runZeroed(spec, random);
    }
    return kernel.accepted;
  }

  #meant(cell: Cell, message: string, spec: ProgramSpec): boolean {
    const difference = deliberateDifference(cell, message, spec, (plain) => !this.#kernel.verdict(plain).accepted);
    if (difference !== undefined) this.deliberate.set(difference, (this.deliberate.get(difference) ?? 0) + 1);
    return difference !== undefined;
  }

  #compareRefusals(spec: ProgramSpec, errno: string, ours: NonNullable<OurVerdict['refusal']>): void {
    const reason = this.#options.words === true ? classOf(this.#kernel.reason(spec)) : '';
    const words = this.#options.words === true ? classOf(ours.message.trim().split('\n').at(-1)!) : '';
    if (errno === ours.errno && reason === words) return;
    const key = `Linux ${errno} ${reason} | ours ${ours.errno} ${words}`;
    this.otherRefusals.set(key, (this.otherRefusals.get(key) ?? 0) + 1);
  }

  /** Without rights, a program may not show addresses: its answers can be compared. */
  #isSteady(spec: ProgramSpec): boolean {
    try {
      return spec.instructions.every(isSteadyInstruction) && this.#verify(spec, { maps: this.#maps, cpus: openLinux().possibleCpus, user: 'without_perfmon' }).accepted;
    } catch {
      return false;
    }
  }

  #runChecked(spec: ProgramSpec, random: Random): void {
    this.checked++;
    const seed = random.u32();
    const violation = this.#checkedRuns.violation(spec, new Random(seed));
    if (violation === undefined) return;
    const group = violationGroup(violation);
    const shows = (candidate: ProgramSpec): boolean => {
      const found = this.#accepts(candidate) ? this.#checkedRuns.violation(candidate, new Random(seed)) : undefined;
      return found !== undefined && violationGroup(found) === group;
    };
    this.#report('a run that was ruled out', group, spec, shows, (small) => this.#checkedRuns.violation(small, new Random(seed)) ?? violation);
  }

  #runZeroed(spec: ProgramSpec, random: Random): void {
    const zeroed = withZeroedStack(spec);
    if (!this.#isSteady(zeroed)) return;
    const { program } = this.#kernel.verdict(zeroed);
    if (program !== undefined) this.#run(zeroed, program, random);
  }

  #run(spec: ProgramSpec, program: KernelProgram, random: Random): void {
    this.executed++;
    const seed = random.u32();
    const difference = this.#difference(spec, program, seed);
    if (difference === undefined) return;
    const group = groupOf(difference);
    const seen = this.#count(`another answer: ${group}`);
    if (seen >= MINIMISED_A_GROUP) return;
    const run = (candidate: ProgramSpec): string | undefined => {
      this.#kernel.rest();
      const zeroed = withZeroedStack(candidate);
      if (!encodable(zeroed) || endangersLinux(zeroed) || !this.#isSteady(zeroed)) return undefined;
      const verdict = this.#kernel.verdict(zeroed);
      return verdict.program === undefined ? undefined : this.#difference(zeroed, verdict.program, seed);
    };
    const shows = (candidate: ProgramSpec): boolean => {
      const found = run(candidate);
      return found !== undefined && groupOf(found) === group;
    };
    const small = shows(spec) ? withZeroedStack(minimise(spec, shows, { mostTries: MINIMISING_TRIES })) : spec;
    this.#told({ kind: 'another answer', group, spec: small, linux: 'accepted', ours: (small === spec ? undefined : run(small)) ?? difference });
  }

  /** The same packets for the same seed. */
  #difference(spec: ProgramSpec, program: KernelProgram, seed: number): string | undefined {
    try {
      // As engines get it from the verifier: without ways that nothing goes.
      const { reached } = this.#verify(spec, { maps: this.#maps, cpus: openLinux().possibleCpus });
      return this.#executions.difference({ ...spec, instructions: withoutDeadWays(spec.instructions, reached) }, program, new Random(seed));
    } catch (error) {
      if (error instanceof KernelStuck || !(error instanceof Error)) throw error;
      // A call of another type's helper, which Linux takes where nothing reaches it.
      if (error instanceof XdplabError && error.message.includes('which is not supported')) return undefined;
      return error.stack ?? `${error.name}: ${error.message}`;
    }
  }

  /** `said`: what there is to say of ours besides the verdict. */
  #report(kind: Mismatch['kind'], group: string, spec: ProgramSpec, shows: (candidate: ProgramSpec) => boolean, said?: (small: ProgramSpec) => string): void {
    const key = `${kind}: ${group}`;
    const seen = this.#count(key);
    if (seen >= MINIMISED_A_GROUP) return;
    const small = minimise(
      spec,
      (candidate) => {
        this.#kernel.rest();
        return encodable(candidate) && !endangersLinux(candidate) && shows(candidate);
      },
      { mostTries: MINIMISING_TRIES },
    );
    this.#kernel.rest();
    const kernel = this.#kernel.verdict(small);
    const ours = this.#ours(small);
    this.#told({
      kind, group, spec: small,
      linux: kernel.accepted ? 'accepted' : `refused ${kernel.errno}: ${this.#kernel.reason(small)}`,
      ours: said !== undefined ? said(small) : ours instanceof Error ? (ours.stack ?? ours.message) : ours.accepted ? 'accepted' : `refused ${ours.refusal!.errno}: ${ours.refusal!.message} (slot ${ours.refusal!.slot})`,
    });
  }

  /** How many there were before. */
  #count(key: string): number {
    const seen = this.groups.get(key) ?? 0;
    this.groups.set(key, seen + 1);
    return seen;
  }

  #ours(spec: ProgramSpec): OurVerdict | Error {
    try {
      return this.#verify(spec, { maps: this.#maps, cpus: openLinux().possibleCpus, user: this.#options.userOf?.(spec.type!) ?? 'privileged' });
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  #accepts(spec: ProgramSpec): boolean {
    const ours = this.#ours(spec);
    return !(ours instanceof Error) && ours.accepted;
  }

  #messageOf(spec: ProgramSpec): string | undefined {
    const ours = this.#ours(spec);
    return ours instanceof Error || ours.refusal === undefined ? undefined : classOf(ours.refusal.message);
  }
}

function cellOf(linux: boolean, ours: boolean): Cell {
  if (linux) return ours ? 'both accept' : 'Linux accepts, we refuse';
  return ours ? 'Linux refuses, we accept' : 'both refuse';
}

function isSteadyInstruction(instruction: Instruction): boolean {
  if (instruction.kind === 'load_imm64' && 'map' in instruction.value) return FIXED_MAPS.has(instruction.value.map);
  return instruction.kind !== 'call' || instruction.target.kind === 'subprogram' || (instruction.target.kind === 'helper' && STEADY_HELPERS.has(instruction.target.id));
}

function groupOf(difference: string): string {
  return /^\w*Error/.test(difference) ? classOf(difference) : (/fault \w+/.exec(difference)?.[0] ?? 'another result');
}

/** What is wrong with which kind of thing, without where. */
function violationGroup(message: string): string {
  return classOf(message.replace(/^.*?\): /, '').replaceAll(/\([^()]*\)|\(.*?\)\)/g, '')).replace(/;.*/, '');
}

/** Without its numbers. */
export function classOf(message: string): string {
  return (message.split('\n')[0] ?? '').replaceAll(/0x[0-9a-f]+|-?\d+/g, 'N');
}

function firstLine(error: Error): string {
  return classOf(`${error.name}: ${error.message}`);
}

function errorGroup(verdict: OurVerdict | Error): string | undefined {
  return verdict instanceof Error ? firstLine(verdict) : undefined;
}

/** Jumps of a program that lost instructions may not aim outside. */
function encodable({ instructions }: ProgramSpec): boolean {
  return instructions.every((each) => !(each.kind === 'jump' || each.kind === 'branch') || Math.abs(each.offset) < 0x8000);
}
