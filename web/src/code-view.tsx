/**
 * A program's C lines, instructions and WebAssembly side by side. Everything that belongs to a C line has that line's
 * number in `data-line`; what is pointed at is lit by a rule of a style sheet, so that thousands of lines need not be
 * made anew. Counts are of a sample of the runs.
 */
import { Fragment, type JSX } from 'preact';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import type { CodeLine, Counts, Program } from './api.ts';
import { fileName, short } from './text.ts';

interface Listing {
  /** Each once: the program's own file first. */
  readonly lines: readonly CodeLine[];
  /** Of each instruction, the place of its line in `lines`; -1 without. */
  readonly lineOf: ReadonlyMap<number, number>;
}

interface Stretch {
  readonly slot: number | undefined;
  readonly text: string;
}

const placeOf = ({ file, line }: { readonly file: string; readonly line: number }): string => `${file}:${line}`;
const isHeader = ({ file }: CodeLine): boolean => file.endsWith('.h');

function listingOf({ lines: all, instructions }: Program): Listing {
  const lines = [...new Map(all.map((line) => [placeOf(line), line])).values()].toSorted((a, b) => Number(isHeader(a)) - Number(isHeader(b)) || a.file.localeCompare(b.file) || a.line - b.line);
  const places = new Map(lines.map((line, index) => [placeOf(line), index]));
  const begins = new Map(all.map((line) => [line.slot, places.get(placeOf(line))!]));
  let current = -1;
  return { lines, lineOf: new Map(instructions.map(({ slot }) => [slot, (current = begins.get(slot) ?? current)])) };
}

/** A comment `;; 12: r0 = 1` stands above what instruction 12 was compiled to; functions begin after two spaces. */
function stretchesOf(wat: string): Stretch[] {
  return wat.split(/\n(?= *;; \d+: | {2}\()/).map((text) => {
    const slot = /^ *;; (\d+): /.exec(text)?.[1];
    return { slot: slot === undefined ? undefined : Number(slot), text };
  });
}

const lit = new CSSStyleSheet();
document.adoptedStyleSheets.push(lit);

function point(line: number | undefined): void {
  lit.replaceSync(line === undefined || line < 0 ? '' : `.code [data-line='${line}'] { background: var(--lit); }`);
}

/** Moves the columns to what belongs to a line and is out of sight, except the one that is being read. */
function align(code: HTMLElement, line: number, except?: Element | null): void {
  for (const column of code.children) {
    const linked = column === except ? [] : [...column.querySelectorAll<HTMLElement>(`[data-line='${line}']`)];
    const [first] = linked;
    if (first !== undefined && !linked.some((each) => isInSight(each, column))) column.scrollTop += first.getBoundingClientRect().top - column.getBoundingClientRect().top - column.clientHeight / 3;
  }
}

function isInSight(element: Element, column: Element): boolean {
  const [inner, outer] = [element.getBoundingClientRect(), column.getBoundingClientRect()];
  return inner.top >= outer.top && Math.min(inner.bottom, inner.top + column.clientHeight / 2) <= outer.bottom;
}

/** A pointer that only passes over moves nothing. */
const REST_MS = 120;

const columnOf = (target: EventTarget | null): Element | null => (target instanceof Element ? target.closest('.code > *') : null);

const lineAt = (target: EventTarget | null): number | undefined => {
  const line = target instanceof Element ? target.closest<HTMLElement>('[data-line]')?.dataset['line'] : undefined;
  return line === undefined ? undefined : Number(line);
};

export function CodeView({ program, wat, counts, dead }: { readonly program: Program; readonly wat: string | undefined; readonly counts: Counts | undefined; readonly dead: ReadonlySet<number> }): JSX.Element {
  const listing = useMemo(() => listingOf(program), [program]);
  const assembly = useMemo(() => <Assembly wat={wat} listing={listing} />, [wat, listing]);
  const rest = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => {
    clearTimeout(rest.current);
    point(undefined);
  }, []);
  let pointed = -1;
  return (
    <div
      class="code"
      onPointerOver={({ currentTarget, target }) => {
        const line = (pointed = lineAt(target) ?? -1);
        point(line);
        clearTimeout(rest.current);
        if (line >= 0) rest.current = setTimeout(() => align(currentTarget, line, columnOf(target)), REST_MS);
      }}
      onPointerLeave={() => {
        clearTimeout(rest.current);
        point(undefined);
      }}
      onClick={({ currentTarget, target }) => {
        const line = lineAt(target);
        if (line !== undefined) align(currentTarget, line, columnOf(target));
      }}
      onKeyDown={(event) => {
        const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
        if (step === undefined) return;
        event.preventDefault();
        pointed = Math.min(Math.max(0, pointed + step), listing.lines.length - 1);
        point(pointed);
        align(event.currentTarget, pointed);
      }}
    >
      <Source listing={listing} counts={counts} />
      <Instructions program={program} listing={listing} counts={counts} dead={dead} />
      {assembly}
    </div>
  );
}

/** How much of what ran was here, as a tint. */
const heat = (part: number): Readonly<Record<string, string>> => ({ '--heat': `${Math.round(45 * Math.sqrt(part))}%` });

function Source({ listing: { lines }, counts }: { readonly listing: Listing; readonly counts: Counts | undefined }): JSX.Element {
  const ran = new Map(counts?.lines.map((line) => [placeOf(line), line]));
  const most = Math.max(1, ...(counts?.lines.map(({ instructions }) => instructions) ?? []));
  const known = (counts?.runs ?? 0) > 0;
  return (
    <ol aria-label="C, by the arrows line by line" tabIndex={0}>
      {lines.map((line, index) => {
        const count = ran.get(placeOf(line));
        return (
          <Fragment key={placeOf(line)}>
            {lines[index - 1]?.file === line.file ? null : <li class="muted">{fileName(line.file)}</li>}
            <li data-line={index} class={known && count === undefined ? 'cold' : ''}><Times times={count?.times} part={(count?.instructions ?? 0) / most} /> <span class="muted">{line.line}</span> {line.text.trim()}</li>
          </Fragment>
        );
      })}
    </ol>
  );
}

function Instructions({ program, listing: { lineOf }, counts, dead }: { readonly program: Program; readonly listing: Listing; readonly counts: Counts | undefined; readonly dead: ReadonlySet<number> }): JSX.Element {
  const ran = new Map(counts?.instructions.map(({ slot, times }) => [slot, times]));
  const most = Math.max(1, ...ran.values());
  return (
    <ol aria-label="Instructions" tabIndex={0}>
      {program.instructions.map(({ slot, text }) => <li key={slot} data-line={lineOf.get(slot)} class={dead.has(slot) ? 'dead' : ''}><Times times={ran.get(slot)} part={(ran.get(slot) ?? 0) / most} /> {text}</li>)}
    </ol>
  );
}

function Times({ times, part }: { readonly times: number | undefined; readonly part: number }): JSX.Element {
  return <span class="times" style={heat(part)}>{times === undefined ? '' : short(times)}</span>;
}

function Assembly({ wat, listing: { lineOf } }: { readonly wat: string | undefined; readonly listing: Listing }): JSX.Element {
  if (wat === undefined) return <div class="muted">…</div>;
  return <div role="region" aria-label="WebAssembly" tabIndex={0}>{stretchesOf(wat).map(({ slot, text }, index) => <div key={index} data-line={slot === undefined ? undefined : lineOf.get(slot)}>{text}</div>)}</div>;
}
