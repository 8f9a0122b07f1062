/**
 * What a page itself did for each of its pictures, from a trace of Chromium: time that its main thread was on a core,
 * which neighbours on a busy machine do not change. A picture's work is all from the end of the picture before
 * to its own end: messages that came, timers, script, style, layout and paint.
 */

/** Of the trace event format, what is looked at here. Times are in microseconds. */
export interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  /** Time on a core. */
  readonly tdur?: number;
}

export interface FrameWork {
  /** For each picture. */
  readonly workMs: readonly number[];
  /** Of it in scripts, with the layout that they ask for. */
  readonly scriptMs: readonly number[];
}

const TASK = 'ThreadControllerImpl::RunTask';
const SCRIPT = 'FunctionCall';
const PICTURE = 'FireAnimationFrame';

export function frameWork(events: readonly TraceEvent[]): FrameWork {
  const first = events.find(({ name }) => name === PICTURE);
  const ofPage = events.filter(({ name, pid, tid }) => pid === first?.pid && tid === first.tid && (name === TASK || name === SCRIPT || name === PICTURE)).toSorted((a, b) => a.ts - b.ts);
  const workMs: number[] = [];
  const scriptMs: number[] = [];
  let [work, script, isPicture] = [0, 0, false];
  for (const { name, tdur = 0 } of ofPage) {
    if (name === TASK) {
      if (isPicture) {
        workMs.push(work);
        scriptMs.push(script);
        [work, script, isPicture] = [0, 0, false];
      }
      work += tdur / 1000;
    } else if (name === SCRIPT) script += tdur / 1000;
    else isPicture = true;
  }
  // What was before the first picture is only a part.
  return { workMs: workMs.slice(1), scriptMs: scriptMs.slice(1) };
}
