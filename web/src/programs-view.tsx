/** The programs that run: their C lines, their instructions and what they are compiled to, side by side; what the verifier said. */
import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { api, type CodeLine, type Program, type Verification } from './api.ts';
import { attempt, lab, refreshLab } from './model.ts';
import { count } from './text.ts';

interface Shown {
  readonly program: Program;
  readonly verification: Verification | undefined;
  readonly wat: string | undefined;
}

const chosen = signal<string | undefined>(undefined);
const shown = signal<Shown | undefined>(undefined);
/** The C line that is pointed at: file and number. */
const pointed = signal<string | undefined>(undefined);

async function show(object: string, name: string): Promise<void> {
  chosen.value = `${object} ${name}`;
  shown.value = undefined;
  const program = await api.program(object, name);
  if (chosen.value !== `${object} ${name}`) return;
  shown.value = { program, verification: undefined, wat: undefined };
  const add = (more: Partial<Shown>): void => {
    if (chosen.value === `${object} ${name}` && shown.value !== undefined) shown.value = { ...shown.value, ...more };
  };
  await Promise.all([api.verification(object, name).then((verification) => add({ verification })), api.wat(object, name).then((wat) => add({ wat }))]);
}

const placeOf = ({ file, line }: CodeLine): string => `${file}:${line}`;

const isHeader = ({ file }: CodeLine): boolean => file.endsWith('.h');

export function ProgramsView(): JSX.Element {
  const attachments = [...new Map((lab.value?.attachments ?? []).map((one) => [`${one.object} ${one.program}`, one])).values()];
  useEffect(() => {
    const first = attachments[0];
    if (first === undefined) shown.value = chosen.value = undefined;
    else if (!attachments.some((one) => `${one.object} ${one.program}` === chosen.value)) void attempt(() => show(first.object, first.program));
  }, [lab.value]);
  return (
    <div class="programs">
      <p class="choice">{attachments.map(({ object, program }) => <button type="button" key={`${object} ${program}`} aria-pressed={chosen.value === `${object} ${program}`} onClick={() => void attempt(() => show(object, program))}>{program}</button>)}</p>
      <p class="choice">
        {(lab.value?.attachments ?? []).filter(({ object, program, slots }) => `${object} ${program}` === chosen.value && slots === undefined).map(({ index, program, hook, device }) => (
          <button type="button" key={index} onClick={() => void attempt(async () => { await api.detach(index); await refreshLab(); })}>detach {program} from {hook} of {device}</button>
        ))}
        <button type="button" title="maps and counters as at its start" onClick={() => void attempt(async () => { await api.reset(); await refreshLab(); })}>start the lab over</button>
      </p>
      {shown.value === undefined ? <p class="muted">{attachments.length === 0 ? 'No program is attached: drop a .bpf.o anywhere on this page.' : '…'}</p> : <Code {...shown.value} />}
    </div>
  );
}

function Code({ program, verification, wat }: Shown): JSX.Element {
  const lineAt = new Map<number, CodeLine>();
  let current: CodeLine | undefined;
  const begins = new Map(program.lines.map((line) => [line.slot, line]));
  for (const { slot } of program.instructions) {
    current = begins.get(slot) ?? current;
    if (current !== undefined) lineAt.set(slot, current);
  }
  const dead = new Set(verification?.deadSlots);
  const lines = [...new Map(program.lines.map((line) => [placeOf(line), line])).values()].toSorted((a, b) => Number(isHeader(a)) - Number(isHeader(b)) || a.file.localeCompare(b.file) || a.line - b.line);
  const lit = (line: CodeLine | undefined): string => (line !== undefined && placeOf(line) === pointed.value ? 'lit' : '');
  return (
    <>
      <p class="muted">{program.type}, tag {program.tag}, {count(program.instructions.length)} instructions. {verification === undefined ? 'Asking the verifier…' : verification.accepted ? `Linux would load it: ${count(verification.instructionsProcessed)} instructions looked at, stack of ${verification.stackBytes.join(' + ')} bytes${dead.size === 0 ? '' : `, ${dead.size} never run`}.` : `Linux would not load it: ${verification.refusal?.message ?? ''}`}</p>
      <div class="code" onPointerLeave={() => (pointed.value = undefined)}>
        <ol aria-label="C">{lines.map((line, index) => (
          <li key={placeOf(line)} class={lit(line)} onPointerEnter={() => (pointed.value = placeOf(line))}>
            {lines[index - 1]?.file === line.file ? null : <div class="muted">{line.file}</div>}
            <span class="muted">{line.line}</span> {line.text.trim()}
          </li>
        ))}</ol>
        <ol aria-label="Instructions">{program.instructions.map(({ slot, text }) => (
          <li key={slot} class={`${lit(lineAt.get(slot))} ${dead.has(slot) ? 'dead' : ''}`} onPointerEnter={() => (pointed.value = lineAt.has(slot) ? placeOf(lineAt.get(slot)!) : undefined)}>{text}</li>
        ))}</ol>
        <pre aria-label="WebAssembly">{wat ?? '…'}</pre>
      </div>
    </>
  );
}
