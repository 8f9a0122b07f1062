/** Which of two things that were said of runs was said first. */
import { expect, test } from 'vitest';
import { isBefore } from '../../web/src/run-moment.ts';

const FIRST = '2026-01-01T00:00:00.000Z';
const SECOND = '2026-01-01T00:00:01.000Z';

test('of one run, what was said after it had run for longer is the later; while it is paused, neither is', () => {
  expect(isBefore({ startedAt: FIRST, elapsedNs: 100 }, { startedAt: FIRST, elapsedNs: 200 })).toBe(true);
  expect(isBefore({ startedAt: FIRST, elapsedNs: 201 }, { startedAt: FIRST, elapsedNs: 200 })).toBe(false);
  expect(isBefore({ startedAt: FIRST, elapsedNs: 200 }, { startedAt: FIRST, elapsedNs: 200 })).toBe(false);
});

test('of two runs, what was said of the one that began later is, however short it has run', () => {
  expect(isBefore({ startedAt: FIRST, elapsedNs: 500 }, { startedAt: SECOND, elapsedNs: 3 })).toBe(true);
  expect(isBefore({ startedAt: SECOND, elapsedNs: 3 }, { startedAt: FIRST, elapsedNs: 500 })).toBe(false);
});
