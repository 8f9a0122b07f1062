import { expect, test } from 'vitest';
import { frameWork, type TraceEvent } from '../../bench/frame-work.ts';

const on = (tid: number) => (name: string, ts: number, tdur?: number): TraceEvent => ({ name, ph: 'X', pid: 1, tid, ts, ...(tdur === undefined ? {} : { tdur }) });
const task = 'ThreadControllerImpl::RunTask';
const main = on(1);
const other = on(2);

test('the work of a picture is that of the page\'s own thread, from picture to picture, callbacks of one picture once', () => {
  const events = [
    main(task, 0, 9000), main('FireAnimationFrame', 100),
    other(task, 10_500, 7000),
    main(task, 10_000, 1000), main('FunctionCall', 10_100, 400),
    main(task, 16_000, 3000), main('FireAnimationFrame', 16_100), main('FunctionCall', 16_200, 600), main('FireAnimationFrame', 17_000),
    main(task, 32_000, 2000), main('FireAnimationFrame', 32_100),
    main(task, 48_000, 5000),
  ];
  expect(frameWork(events)).toEqual({ workMs: [4, 2], scriptMs: [1, 0] });
});
