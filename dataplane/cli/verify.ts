/** `xdplab verify`: whether Linux would load the programs of an object, and where not, why and what to change. */
import { basename } from 'node:path';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { applySettings } from '../bpf/loader-settings.ts';
import { BPF_MAP_TYPE } from '../bpf/map-type.ts';
import { whyNoType } from '../bpf/section-name.ts';
import { PROGRAM_TYPES, type CollectionSpec, type ProgramSpec, type ProgramType } from '../bpf/spec.ts';
import { missingKernelFunction } from '../engine/kernel/kernel-functions.ts';
import { kernelVerdict } from '../engine/kernel/kernel-verdict.ts';
import { openLinux } from '../engine/kernel/linux.ts';
import { EXIT_STATUS, XdplabError } from '../errors.ts';
import { explainRefusal } from '../insight/explain-refusal.ts';
import { splitProgram } from '../pipeline/lab-file.ts';
import { readObject } from '../pipeline/open-lab.ts';
import { isLinuxMistake } from '../verifier/refusal.ts';
import { verifyWithLog, type LogLevel } from '../verifier/verification-log.ts';
import { leastPrivileged, USERS } from '../verifier/user.ts';
import { verifyProgram, type VerifierReport, type VerifyOptions } from '../verifier/verify.ts';
import { chosenPrograms } from './chosen-programs.ts';
import { collectSize } from './lab-options.ts';
import { paint, print, printJson, safe } from './terminal.ts';
import { deadInstructions, verifiedText, type Verified } from './verify-text.ts';

interface VerifyFlags {
  readonly json?: true;
  readonly kernel?: true;
  readonly unprivileged?: true;
  readonly type?: ProgramType;
  readonly btf?: string;
  readonly log?: LogLevel;
  readonly maxEntries: Readonly<Record<string, number>>;
}

const LINUX_MISTAKE = 'Linux takes this program for a mistake of its own verifier, and may not survive being asked';

/** A program that the verifier is not asked about. */
interface Passed {
  readonly program: ProgramSpec;
  readonly why: string;
}

export function addVerify(program: Command): void {
  program
    .command('verify')
    .description('say whether Linux would load the programs of an object file, and where not, why')
    .argument('<object[:program]>')
    .option('--json', 'as JSON')
    .option('--kernel', "put the running kernel's answer next to ours (root, Linux)")
    .option('--unprivileged', 'loaded by the least user whom Linux lets load it: XDP and TC without CAP_PERFMON, socket filters and cgroup_skb without any capability')
    .option('--btf <file>', 'BTF that CO-RE relocations are resolved against')
    .option('--max-entries <map=n>', 'size of a map that its loader would set; repeatable', collectSize, {})
    .addOption(new Option('--type <type>', 'program type where the section does not say it').choices(PROGRAM_TYPES))
    .addOption(new Option('--log <level>', "what Linux's log says: 1 the path that is refused, 2 every path").argParser(logLevel).conflicts('json'))
    .addHelpText('after', '\nExit status: 0 all accepted, 3 one or more refused.')
    .action(async (choice: string, flags: VerifyFlags) => {
      if (flags.kernel) openLinux();
      const { object, program: name } = splitProgram(choice);
      const spec = applySettings(await readObject(object, flags), { maxEntries: flags.maxEntries });
      const programs = chosenPrograms(spec, basename(object), name);
      const passed = programs.flatMap((program): readonly Passed[] => {
        const why = whyNot(program, spec);
        return why === undefined ? [] : [{ program, why }];
      });
      const [first] = passed;
      if (first !== undefined && passed.length === programs.length) throw new XdplabError('ERR_USAGE', `${basename(object)}: program '${first.program.name}': ${first.why}`);
      const results = programs.filter((program) => !passed.some((each) => each.program === program)).map((one) => verifyOne(spec, one, flags));
      if (flags.json) printJson({ object: basename(object), programs: results.map(asJson), ...(passed.length === 0 ? {} : { passed: passed.map(({ program, why }) => ({ name: program.name, section: program.section, why })) }) });
      else print([...results.map((one) => verifiedText(one)), ...passed.map(({ program, why }) => `${paint('bold', safe(program.name))}  not looked at: ${safe(why)}`)].join('\n\n'));
      if (results.some(({ report }) => !report.accepted)) process.exitCode = EXIT_STATUS.ERR_PROGRAM;
    });
}

function logLevel(level: string): LogLevel {
  if (level === '1' || level === '2') return Number(level) as LogLevel;
  throw new InvalidArgumentError('Expected 1 or 2.');
}

/** Maps that Linux makes without a size, or libbpf gives one. */
const SIZELESS: ReadonlySet<number> = new Set((['perf_event_array', 'cgroup_storage', 'percpu_cgroup_storage', 'sk_storage', 'inode_storage', 'task_storage', 'cgrp_storage'] as const).map((name) => BPF_MAP_TYPE[name]));

/** An object may hold programs for other places, which its loader puts there. */
function whyNot({ type, section, instructions }: ProgramSpec, { maps }: CollectionSpec): string | undefined {
  if (type === undefined) return whyNoType(section);
  for (const instruction of instructions) {
    const named = instruction.kind === 'load_imm64' && (instruction.value.kind === 'map' || instruction.value.kind === 'map_value') ? maps.get(instruction.value.map) : undefined;
    if (named?.maxEntries === 0 && !SIZELESS.has(named.type)) return `its map '${named.name}' has max_entries 0, of which Linux makes no map; say the size that the loader sets: --max-entries ${named.name}=<n>`;
  }
  return undefined;
}

function verifyOne(spec: CollectionSpec, program: ProgramSpec, flags: VerifyFlags): Verified {
  const type = program.type ?? flags.type!;
  const user = flags.unprivileged ? leastPrivileged(type) : 'privileged';
  const options: VerifyOptions = { maps: spec.maps, btf: spec.btf, type, user, ...(flags.kernel ? { cpus: openLinux().possibleCpus } : {}) };
  const report = flags.log === undefined ? verifyProgram(program, options) : verifyWithLog(program, options, flags.log, (line) => print(safe(line)));
  if (flags.log !== undefined) print('');
  const notAsked = flags.kernel ? whyNotAsked(program, report) : undefined;
  return {
    program,
    user,
    report,
    explanation: explainRefusal(program, report, options),
    kernel: flags.kernel && notAsked === undefined ? kernelVerdict(program, { type, maps: spec.maps, btf: spec.btf, rights: USERS[user] }) : undefined,
    ...(notAsked === undefined ? {} : { notAsked }),
  };
}

function whyNotAsked({ instructions }: ProgramSpec, { refusal }: VerifierReport): string | undefined {
  if (refusal !== undefined && isLinuxMistake(refusal)) return LINUX_MISTAKE;
  const missing = missingKernelFunction(instructions);
  return missing === undefined ? undefined : `kernel function ${missing} is not in the BTF of this kernel, so that no loader could name it`;
}

function asJson({ program, user, report, explanation, kernel, notAsked }: Verified) {
  const { accepted, refusal, instructionsProcessed, totalStates, peakStates, stackBytes, elapsedNs } = report;
  return {
    name: program.name,
    section: program.section,
    ...(user === 'privileged' ? {} : { user }),
    accepted,
    ...(refusal === undefined ? {} : { errno: refusal.errno, refusal: explanation }),
    instructionsProcessed,
    totalStates,
    peakStates,
    stackBytes,
    elapsedNs,
    deadInstructions: deadInstructions(program, report),
    ...(kernel === undefined ? {} : { kernel }),
    ...(notAsked === undefined ? {} : { kernelNotAsked: notAsked }),
  };
}
