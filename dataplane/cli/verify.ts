/** `xdplab verify`: whether Linux would load the programs of an object, and where not, why and what to change. */
import { basename } from 'node:path';
import { Option, type Command } from 'commander';
import { PROGRAM_TYPES, type CollectionSpec, type ProgramSpec, type ProgramType } from '../bpf/spec.ts';
import { kernelVerdict, type KernelVerdict } from '../engine/kernel/kernel-verdict.ts';
import { openLinux } from '../engine/kernel/linux.ts';
import { EXIT_STATUS, XdplabError } from '../errors.ts';
import { explainRefusal, type Explanation } from '../insight/explain-refusal.ts';
import { splitProgram } from '../pipeline/lab-file.ts';
import { readObject } from '../pipeline/open-lab.ts';
import { verifyProgram, type VerifierReport } from '../verifier/verify.ts';
import { count, duration, paint, print, printJson, safe } from './terminal.ts';

interface VerifyFlags {
  readonly json?: true;
  readonly kernel?: true;
  readonly unprivileged?: true;
  readonly type?: ProgramType;
  readonly btf?: string;
}

interface Verified {
  readonly program: ProgramSpec;
  readonly report: VerifierReport;
  readonly explanation: Explanation | undefined;
  readonly kernel: KernelVerdict | undefined;
}

export function addVerify(program: Command): void {
  program
    .command('verify')
    .description('say whether Linux would load the programs of an object file, and where not, why')
    .argument('<object[:program]>')
    .option('--json', 'as JSON')
    .option('--kernel', "put the running kernel's answer next to ours (root, Linux)")
    .option('--unprivileged', 'without CAP_PERFMON: pointers stay secret')
    .option('--btf <file>', 'BTF that CO-RE relocations are resolved against')
    .addOption(new Option('--type <type>', 'program type where the section does not say it').choices(PROGRAM_TYPES))
    .addHelpText('after', '\nExit status: 0 all accepted, 3 one or more refused.')
    .action(async (choice: string, flags: VerifyFlags) => {
      if (flags.kernel) openLinux();
      const { object, program: name } = splitProgram(choice);
      const spec = await readObject(object, flags);
      const results = chosen(spec, basename(object), name).map((one) => verifyOne(spec, one, flags));
      if (flags.json) printJson({ object: basename(object), programs: results.map(asJson) });
      else print(results.map((one) => text(one)).join('\n\n'));
      if (results.some(({ report }) => !report.accepted)) process.exitCode = EXIT_STATUS.ERR_PROGRAM;
    });
}

function chosen(spec: CollectionSpec, object: string, name: string | undefined): readonly ProgramSpec[] {
  const all = [...spec.programs.values()];
  const found = name === undefined ? all : all.filter((program) => program.name === name || program.section === name);
  if (found.length === 0) throw new XdplabError('ERR_USAGE', `${object}: found no program${name === undefined ? 's' : ` '${name}', expected one of ${all.map((program) => program.name).join(', ')}`}`);
  return found;
}

function verifyOne(spec: CollectionSpec, program: ProgramSpec, flags: VerifyFlags): Verified {
  const report = verifyProgram(program, { maps: spec.maps, btf: spec.btf, ...(flags.type === undefined ? {} : { type: flags.type }), ...(flags.unprivileged ? { unprivileged: true } : {}), ...(flags.kernel ? { cpus: openLinux().possibleCpus } : {}) });
  return {
    program,
    report,
    explanation: report.refusal === undefined ? undefined : explainRefusal(program, report.refusal),
    kernel: flags.kernel ? kernelVerdict(program, { type: program.type ?? flags.type!, maps: spec.maps }) : undefined,
  };
}

function asJson({ program, report, explanation, kernel }: Verified) {
  const { accepted, refusal, instructionsProcessed, totalStates, peakStates, stackBytes, elapsedNs } = report;
  return {
    name: program.name,
    section: program.section,
    accepted,
    ...(refusal === undefined ? {} : { errno: refusal.errno, refusal: explanation }),
    instructionsProcessed,
    totalStates,
    peakStates,
    stackBytes,
    elapsedNs,
    deadInstructions: deadInstructions(program, report),
    ...(kernel === undefined ? {} : { kernel }),
  };
}

function deadInstructions({ instructions }: ProgramSpec, { accepted, reached }: VerifierReport): number {
  if (!accepted) return 0;
  return instructions.filter((instruction, slot) => instruction.kind !== 'upper' && reached[slot] === 0).length;
}

function text({ program, report, explanation, kernel }: Verified): string {
  const { accepted, instructionsProcessed, totalStates, stackBytes, elapsedNs } = report;
  const verdict = accepted ? paint('green', 'accepted') : paint('red', 'refused');
  const facts = [`${count(instructionsProcessed)} instructions processed`, `${count(totalStates)} states`, `stack ${stackBytes.length === 0 ? 0 : stackBytes.join('+')}`, duration(elapsedNs)];
  const dead = deadInstructions(program, report);
  if (dead > 0) facts.push(`${count(dead)} instructions that no path reaches`);
  const lines = [`${paint('bold', safe(program.name))}  ${verdict}  ${facts.join(', ')}`];
  if (explanation !== undefined) lines.push(...explained(explanation));
  if (kernel !== undefined) lines.push(kernelLine(kernel, accepted));
  return lines.join('\n');
}

function explained({ message, slot, instruction, line, known, history, needed, suggestion }: Explanation): string[] {
  const lines = [`  ${paint('red', safe(message))}`, ''];
  if (line !== undefined) lines.push(`  ${safe(line.file)}:${line.line}`, `  ${paint('dim', `${line.line} |`)} ${safe(line.text.trim())}`);
  lines.push(`  instruction ${slot}: ${safe(instruction)}`);
  if (known !== undefined) lines.push(`  known     ${safe(known)}`);
  if (history.length > 0) {
    lines.push('  came from');
    for (const one of history) lines.push(`    ${String(one.slot).padStart(4)}: ${safe(one.text).padEnd(40)} ${one.line === undefined ? '' : paint('dim', `${one.line.line} | ${safe(one.line.text.trim())}`)}`.trimEnd());
  }
  if (needed !== undefined) lines.push(`  needed    ${needed}`);
  if (suggestion !== undefined) lines.push(`  try       ${suggestion}`);
  return lines;
}

function kernelLine(kernel: KernelVerdict, accepted: boolean): string {
  const agrees = kernel.accepted === accepted ? '' : `  ${paint('red', 'not the same answer')}`;
  const facts = [kernel.processed === undefined ? undefined : `${count(kernel.processed)} instructions processed`, kernel.totalStates === undefined ? undefined : `${count(kernel.totalStates)} states`, kernel.elapsedUs === undefined ? undefined : duration(kernel.elapsedUs * 1000)];
  const said = kernel.accepted ? 'accepted' : `refused (${kernel.errno}): ${safe(kernel.message ?? '')}`;
  return `  ${paint('dim', 'kernel')}    ${said}  ${facts.filter((fact) => fact !== undefined).join(', ')}${agrees}`;
}
