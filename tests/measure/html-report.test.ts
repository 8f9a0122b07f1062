import { expect, test } from 'vitest';
import { htmlReport } from '../../dataplane/measure/html-report.ts';
import { report } from './report-fixture.ts';

const html = htmlReport({
  ...report(),
  balance: {
    packets: 10,
    elsewhere: 1,
    affinity: { kept: 2, flows: 2 },
    groups: [{ ring: 'ring', flows: 3, packets: 9, backends: [{ backend: '10.1.0.1', weight: 1, flows: 3, idealFlows: 3, packets: 9, idealPackets: 9 }], maxOverIdeal: { flows: 1, packets: 1 }, chiSquare: { value: 0, degrees: 1, probability: 1 }, movements: [] }],
  },
});

test('the page asks for nothing outside of itself, and has no script', () => {
  expect(html).not.toMatch(/https?:|src=|href=|<script|@import|url\(/);
});

test('what comes from files is escaped', () => {
  expect(html).toContain('&lt;1,000 flows&gt;');
  expect(html).not.toContain('<1,000 flows>');
});

test('figures, plots, cost, balance and machine are there', () => {
  expect(html.match(/<svg/g)!.length).toBe(3);
  for (const part of ['lb', 'kernel net / wasm: 1.50', 'instructions', 'flows', '10.1.0.1', 'Linux JIT', 'not on interpreter: nobody asked']) expect(html).toContain(part);
});
