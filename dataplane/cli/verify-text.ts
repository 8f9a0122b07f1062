/** What `xdplab verify` prints of a program: the verdict, and of a refusal why and what to change. */
import type { ProgramSpec } from '../bpf/spec.ts';
import type { KernelVerdict } from '../engine/kernel/kernel-verdict.ts';
import type { Explanation } from '../insight/explain-refusal.ts';
import type { User } from '../verifier/user.ts';
import type { VerifierReport } from '../verifier/verify.ts';
import { count, duration, paint, safe } from './terminal.ts';

export interface Verified {
  readonly program: ProgramSpec;
  /** Who is taken to load it. */
  readonly user: User;
  readonly report: VerifierReport;
  readonly explanation: Explanation | undefined;
  readonly kernel: KernelVerdict | undefined;
  /** Why the kernel, which was to be asked, was not. */
  readonly notAsked?: string;
}

export function deadInstructions({ instructions }: ProgramSpec, { accepted, reached }: VerifierReport): number {
  if (!accepted) return 0;
  return instructions.filter((instruction, slot) => instruction.kind !== 'upper' && reached[slot] === 0).length;
}

const WITHOUT: Readonly<Record<User, string>> = { privileged: '', without_perfmon: ' without CAP_PERFMON', without_capabilities: ' without capabilities' };

export function verifiedText({ program, user, report, explanation, kernel, notAsked }: Verified): string {
  const { accepted, instructionsProcessed, totalStates, stackBytes, elapsedNs } = report;
  const verdict = accepted ? paint('green', 'accepted') : paint('red', 'refused');
  const facts = [`${count(instructionsProcessed)} instructions processed`, `${count(totalStates)} states`, `stack ${stackBytes.length === 0 ? 0 : stackBytes.join('+')}`, duration(elapsedNs)];
  const dead = deadInstructions(program, report);
  if (dead > 0) facts.push(`${count(dead)} instructions that no path reaches`);
  const lines = [`${paint('bold', safe(program.name))}  ${verdict}${WITHOUT[user]}  ${facts.join(', ')}`];
  if (explanation !== undefined) lines.push(...explained(explanation));
  if (kernel !== undefined) lines.push(kernelLine(kernel, accepted));
  if (notAsked !== undefined) lines.push(`  ${paint('dim', 'kernel')}    not asked: ${notAsked}`);
  return lines.join('\n');
}

const STEP_INDENT = ' '.repeat(6);

function explained({ message, slot, instruction, line, known, meaning, history, needed, suggestion }: Explanation): string[] {
  const lines = message.split('\n').map((each) => `  ${paint('red', safe(each))}`);
  if (line !== undefined) lines.push('', `  ${safe(line.file)}:${line.line}`, `${STEP_INDENT}${paint('bold', safe(line.text.trim()))}`);
  if (instruction !== '') lines.push(`${STEP_INDENT}${paint('dim', `instruction ${slot}: ${safe(instruction)}`)}`);
  if (known !== undefined) lines.push('', `  known   ${safe(known)}`);
  if (meaning !== undefined && !known?.endsWith(` = ${meaning}`)) lines.push(`          ${safe(meaning)}`);
  if (history.length > 0) lines.push('', `  because`);
  for (const step of history) {
    const place = step.line === undefined ? `instruction ${step.slot}` : `${safe(step.line.file)}:${step.line.line}`;
    const text = step.line === undefined ? safe(step.text) : safe(step.line.text.trim());
    lines.push(`    ${paint('dim', place)}  ${text}`);
    if (step.value !== undefined) lines.push(`${STEP_INDENT}-> ${safe(step.value)}`);
  }
  if (needed !== undefined) lines.push('', `  needed  ${safe(needed)}`);
  if (suggestion !== undefined) lines.push(`  try     ${safe(suggestion)}`);
  return lines;
}

function kernelLine(kernel: KernelVerdict, accepted: boolean): string {
  const agrees = kernel.accepted === accepted ? '' : `  ${paint('red', 'not the same answer')}`;
  const facts = [kernel.processed === undefined ? undefined : `${count(kernel.processed)} instructions processed`, kernel.totalStates === undefined ? undefined : `${count(kernel.totalStates)} states`, kernel.elapsedUs === undefined ? undefined : duration(kernel.elapsedUs * 1000)];
  const said = kernel.accepted ? 'accepted' : `refused (${kernel.errno}): ${safe(kernel.message ?? '')}`;
  return `  ${paint('dim', 'kernel')}    ${said}  ${facts.filter((fact) => fact !== undefined).join(', ')}${agrees}`;
}
