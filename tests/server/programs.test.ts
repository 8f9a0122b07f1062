/** What programs do to packets, asked of a server while they run. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { trace } from '../cli/run-cli.ts';
import { Listener, Served, type Message } from './served.ts';

interface Counts {
  readonly runs: number;
  readonly instructions: readonly { readonly slot: number; readonly times: number }[];
  readonly lines: readonly { readonly file: string; readonly line: number; readonly times: number }[];
}

interface Rerun {
  readonly agrees: boolean | null;
  readonly programs: readonly { readonly program: string; readonly verdict: string; readonly returned?: { readonly slot: number; readonly line?: { readonly file: string; readonly text: string } }; readonly lines: readonly { readonly program: string; readonly text: string }[] }[];
}

let served: Served;
let capture: string;
beforeAll(async () => {
  served = await Served.start();
  ({ id: capture } = await served.upload<{ id: string }>('captures', 'demo.pcapng', readFileSync(trace('demo.pcapng'))));
}, 60_000);
afterAll(() => served.stop());

const firewall = async (): Promise<string> => {
  const { attachments } = await served.expect<{ attachments: readonly { program: string; object: string }[] }>(200, 'GET', '/api/lab');
  return attachments.find(({ program }) => program === 'xdp_firewall')!.object;
};
const startRun = (body: object): Promise<{ id: string }> => served.expect(201, 'POST', '/api/runs', { body: { capture, ...body } });
const stop = ({ id }: { id: string }): Promise<unknown> => served.expect(200, 'POST', `/api/runs/${id}/stop`);

test('lines of a program that runs are counted while somebody asks', async () => {
  const object = await firewall();
  const run = await startRun({ loops: null });
  const path = `/api/objects/${object}/programs/xdp_firewall/counts`;
  let counts = await served.expect<Counts>(200, 'GET', path);
  while (counts.runs < 200) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    counts = await served.expect<Counts>(200, 'GET', path);
  }
  await stop(run);
  expect(counts.instructions[0]).toEqual({ slot: 0, times: counts.runs });
  expect(counts.lines.find(({ times }) => times === counts.runs)).toMatchObject({ file: expect.stringMatching(/\.[ch]$/) });
  await served.expect(404, 'GET', `/api/objects/${object}/programs/none/counts`);
  await served.expect(404, 'GET', '/api/objects/o99/programs/xdp_firewall/counts');
});

test('a kept packet runs again as it was recorded, and says which line gave each verdict', async () => {
  await served.expect(200, 'POST', '/api/lab/reset');
  const listener = new Listener(served);
  await listener.message('welcome');
  listener.say({ type: 'subscribe', topic: 'verdicts', filter: { verdict: ['XDP_DROP'] }, packet: { snap: 2048 } });
  await listener.message('subscribed');
  await startRun({});
  const { verdicts } = (await listener.next((message) => !Buffer.isBuffer(message) && message.type === 'verdicts' && message['sent'] !== 0)) as Message & { readonly verdicts: readonly { readonly sequence: number }[] };
  listener.close();
  const before = await served.expect<object>(200, 'GET', '/api/maps/1');
  const rerun = await served.expect<Rerun>(200, 'POST', '/api/lab/rerun', { body: { sequence: verdicts[0]!.sequence } });
  expect(rerun).toMatchObject({ agrees: true, cut: false, fate: 'dropped', reason: 'XDP' });
  expect(rerun.programs).toMatchObject([{ program: 'xdp_firewall', verdict: 'XDP_DROP', faulted: false, returned: { program: 'xdp_firewall', line: { file: expect.stringMatching(/xdp_firewall\.bpf\.c$/) } } }]);
  expect(rerun.programs[0]!.lines.length).toBeGreaterThan(10);
  expect(await served.expect<object>(200, 'GET', '/api/maps/1')).toEqual(before);
});

test('a packet that is not kept is not there, and one made by hand may run instead', async () => {
  expect(await served.expect(404, 'POST', '/api/lab/rerun', { body: { sequence: 2 ** 40 } })).toMatchObject({ code: 'ERR_NOT_FOUND' });
  const bytes = `${'02'.repeat(12)}0806${'00'.repeat(46)}`;
  const { programs, ...rest } = await served.expect<Rerun>(200, 'POST', '/api/lab/rerun', { body: { bytes, device: 'eth0', time: '1700000000.5' } });
  expect(rest).toMatchObject({ agrees: null, cut: false, after: bytes });
  expect(programs.map(({ program, verdict }) => `${program} ${verdict}`)).toContain('xdp_firewall XDP_PASS');
  expect(await served.expect(422, 'POST', '/api/lab/rerun', { body: { bytes, device: 'eth9' } })).toMatchObject({ detail: "device 'eth9': not in the lab, expected one of eth0, eth1" });
  for (const body of [{ bytes: '0' }, { bytes: 'zz' }, { sequence: -1 }, { bytes, sequence: 1 }, { bytes, time: 'now' }]) await served.expect(400, 'POST', '/api/lab/rerun', { body });
});
