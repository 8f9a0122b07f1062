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
    queues: {
      device: 'eth0',
      key: 'default',
      flows: 100,
      packets: 300,
      maxOverIdeal: { flows: 1, packets: 1 },
      chiSquare: { value: 0, degrees: 1, probability: 1 },
      queues: [0, 1].map((queue) => ({ queue, cpu: queue, weight: 64, flows: 50, idealFlows: 50, packets: 150, idealPackets: 150 })),
      cpus: [],
      rings: [{ ring: 'lb_rings', backends: ['10.1.0.1', '10.1.0.2'], dependence: { counts: [[50, 0], [0, 50]], chiSquare: { value: 100, degrees: 1, probability: 0 }, strength: 1, isDependent: true } }],
    },
  },
});

test('the page asks for nothing outside of itself, and has no script', () => {
  expect(html).not.toMatch(/https?:|src=|href=|<script|@import|url\(/);
});

test('what comes from files is escaped', () => {
  expect(html).toContain('&lt;1,000 flows&gt;');
  expect(html).not.toContain('<1,000 flows>');
});

test('queues are there, with a warning where they tell the backend', () => {
  expect(html).toContain('Queues of eth0, key default');
  expect(html).toMatch(/<p class="warning">lb_rings: queue and backend of a flow depend on each other/);
});

test('figures, plots, cost, balance and machine are there', () => {
  expect(html.match(/<svg/g)!.length).toBe(4);
  for (const part of ['lb', 'kernel net / wasm: 1.50', 'instructions', 'flows', '10.1.0.1', 'Linux JIT', 'not on interpreter: nobody asked']) expect(html).toContain(part);
});
