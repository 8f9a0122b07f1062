/** The programs that run: their code and how often each line of it runs; what the verifier said. */
import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useMemo } from 'preact/hooks';
import { api, type Counts, type Program, type Verification } from './api.ts';
import { CodeView } from './code-view.tsx';
import { attempt, lab, refreshLab } from './model.ts';
import { count, NOT_VERIFIED } from './text.ts';

const COUNTS_MS = 1000;

interface Shown {
  readonly object: string;
  readonly program: Program;
  readonly verification?: Verification;
  readonly wat?: string;
  readonly counts?: Counts;
}

const chosen = signal<string | undefined>(undefined);
const shown = signal<Shown | undefined>(undefined);

async function show(object: string, name: string): Promise<void> {
  chosen.value = `${object} ${name}`;
  shown.value = undefined;
  const program = await api.program(object, name);
  if (chosen.value !== `${object} ${name}`) return;
  shown.value = { object, program };
  await Promise.all([api.verification(object, name).then((verification) => add(program, { verification })), api.wat(object, name).then((wat) => add(program, { wat }))]);
}

/** Unless another is shown by now. */
function add(program: Program, more: Partial<Shown>): void {
  if (shown.value?.program === program) shown.value = { ...shown.value, ...more };
}

async function refreshCounts(): Promise<void> {
  if (shown.value === undefined) return;
  const { object, program } = shown.value;
  add(program, { counts: await api.counts(object, program.name) });
}

export function ProgramsView(): JSX.Element {
  const attachments = [...new Map((lab.value?.attachments ?? []).map((one) => [`${one.object} ${one.program}`, one])).values()];
  useEffect(() => {
    const first = attachments[0];
    if (first === undefined) shown.value = chosen.value = undefined;
    else if (!attachments.some((one) => `${one.object} ${one.program}` === chosen.value)) void attempt(() => show(first.object, first.program));
  }, [lab.value]);
  useEffect(() => {
    // The server counts as long as somebody asks.
    const timer = window.setInterval(() => void refreshCounts().catch(() => {}), COUNTS_MS);
    void refreshCounts().catch(() => {});
    return () => window.clearInterval(timer);
  }, [shown.value?.program]);
  return (
    <div class="programs">
      <div class="choice">
        {attachments.map(({ object, program, verified }) => <button type="button" key={`${object} ${program}`} aria-pressed={chosen.value === `${object} ${program}`} onClick={() => void attempt(() => show(object, program))}>{program}{verified ? null : <span class="muted"> {NOT_VERIFIED}</span>}</button>)}
        <span class="gap" />
        {(lab.value?.attachments ?? []).filter(({ object, program, slots }) => `${object} ${program}` === chosen.value && slots === undefined).map(({ index, program, hook, device }) => (
          <button type="button" key={index} onClick={() => void attempt(async () => { await api.detach(index); await refreshLab(); })}>detach {program} from {hook} of {device}</button>
        ))}
        <button type="button" title="maps and counters as at its start" onClick={() => void attempt(async () => { await api.reset(); await refreshLab(); })}>start the lab over</button>
      </div>
      {shown.value === undefined ? <p class="muted">{attachments.length === 0 ? 'No program is attached: drop a .bpf.o anywhere on this page.' : '…'}</p> : <ShownProgram {...shown.value} />}
    </div>
  );
}

function ShownProgram({ program, verification, wat, counts }: Shown): JSX.Element {
  const dead = useMemo(() => new Set(verification?.deadSlots), [verification]);
  return (
    <>
      <p class="muted">{program.type}, tag {program.tag}, {count(program.instructions.length)} instructions. {verdictOf(verification)} {counts === undefined || counts.runs === 0 ? 'How often lines run is counted while packets do.' : `Counts are of ${count(counts.runs)} runs, a sample.`}</p>
      <CodeView key={program.tag} program={program} wat={wat} counts={counts} dead={dead} />
    </>
  );
}

function verdictOf(verification: Verification | undefined): string {
  if (verification === undefined) return 'Asking the verifier…';
  const { accepted, instructionsProcessed, stackBytes, deadSlots, refusal } = verification;
  if (!accepted) return `Linux would not load it: ${refusal?.message ?? ''}.`;
  return `Linux would load it: ${count(instructionsProcessed)} instructions looked at, stack of ${stackBytes.join(' + ')} bytes${deadSlots.length === 0 ? '' : `, ${deadSlots.length} never run`}.`;
}
