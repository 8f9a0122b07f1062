/** What the server answers to who may ask: a lab that is looked at and worked with while packets run. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { object, replaySummary, trace } from '../cli/run-cli.ts';
import { Served } from './served.ts';

interface Lab {
  readonly name: string;
  readonly epoch: number;
  readonly attachments: readonly { readonly index: number; readonly device: string; readonly hook: string; readonly object: string; readonly program: string; readonly verified: boolean }[];
  readonly objects: readonly { readonly id: string; readonly name: string }[];
}

interface Run {
  readonly id: string;
  readonly state: string;
  readonly packet: number;
  readonly packets: number;
  readonly speed: string;
}

interface MapInfo {
  readonly id: number;
  readonly name: string;
  readonly entries: readonly { readonly key: unknown; readonly value: unknown }[];
  readonly more: boolean;
}

let served: Served;
beforeAll(async () => {
  served = await Served.start();
}, 60_000);
afterAll(() => served.stop());

const lab = () => served.expect<Lab>(200, 'GET', '/api/lab');
const upload = async (name: string): Promise<string> => (await served.upload<{ id: string }>('objects', name, readFileSync(object(name)))).id;
const uploadCapture = async (name: string): Promise<string> => (await served.upload<{ id: string }>('captures', name, readFileSync(trace(name)))).id;

async function mapNamed(name: string): Promise<number> {
  const { maps } = await served.expect<{ maps: readonly MapInfo[] }>(200, 'GET', '/api/maps');
  return maps.find((map) => map.name === name)!.id;
}

/** As it is when it has come to that. */
async function runUntil(id: string, isThere: (run: Run) => boolean): Promise<Run> {
  for (;;) {
    const run = await served.expect<Run>(200, 'GET', `/api/runs/${id}`);
    if (isThere(run)) return run;
    if (run.state === 'failed') throw new Error(JSON.stringify(run));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe('a run', () => {
  test('counts what replay counts of the same lab and capture', async () => {
    const capture = await uploadCapture('demo.pcapng');
    await served.expect(200, 'POST', '/api/lab/reset');
    const { id } = await served.expect<Run>(201, 'POST', '/api/runs', { body: { capture } });
    expect(await runUntil(id, ({ state }) => state === 'finished')).toMatchObject({ packet: 4765, totalPackets: 4765, packets: 4765, round: 1 });
    const { statistics, maps } = await replaySummary([trace('demo.pcapng'), '--lab', object('demo.yaml')]);
    const { epoch: _epoch, elapsedNs: _elapsed, busyNs: _busy, run: _run, highlights, events: _events, ...counted } = await served.expect<Record<string, unknown>>(200, 'GET', '/api/statistics');
    expect(counted).toEqual(statistics);
    expect(highlights).toEqual(maps);
  });

  test('waits, goes elsewhere, goes on and ends as it is told', async () => {
    const capture = await uploadCapture('imix.pcap');
    const { id } = await served.expect<Run>(201, 'POST', '/api/runs', { body: { capture, paused: true, loops: null } });
    expect(await served.expect(200, 'GET', `/api/runs/${id}`)).toMatchObject({ state: 'paused', packets: 0, loops: null });
    await served.expect(200, 'POST', `/api/runs/${id}/speed`, { body: { speed: '0.01pps' } });
    expect(await served.expect(200, 'POST', `/api/runs/${id}/seek`, { body: { packet: 300 } })).toMatchObject({ state: 'paused', packet: 299, packets: 0 });
    expect(await served.expect(422, 'POST', `/api/runs/${id}/seek`, { body: { packet: 100_000 } })).toMatchObject({ code: 'ERR_VALUE', detail: expect.stringMatching(/^packet 100000: the capture has (\d+); expected 1 to \1$/) as string });
    await served.expect(200, 'POST', `/api/runs/${id}/resume`);
    expect(await runUntil(id, ({ packets }) => packets > 0)).toMatchObject({ state: 'running', packet: 300, packets: 1, speed: '0.01pps' });
    await served.expect(200, 'POST', `/api/runs/${id}/pause`);
    await served.expect(200, 'POST', `/api/runs/${id}/speed`, { body: { speed: 'top' } });
    await served.expect(200, 'POST', `/api/runs/${id}/resume`);
    await runUntil(id, ({ packets }) => packets > 1000);
    expect(await served.expect(200, 'POST', `/api/runs/${id}/stop`)).toMatchObject({ state: 'stopped' });
    await served.expect(409, 'POST', `/api/runs/${id}/resume`);
    const { runs } = await served.expect<{ runs: readonly Run[] }>(200, 'GET', '/api/runs');
    expect(runs.at(-1)).toMatchObject({ id, state: 'stopped' });
  });

  test('is refused while another has not ended, and of a capture that is not there', async () => {
    const capture = await uploadCapture('imix.pcap');
    const { id } = await served.expect<Run>(201, 'POST', '/api/runs', { body: { capture, paused: true } });
    expect(await served.expect(409, 'POST', '/api/runs', { body: { capture } })).toMatchObject({ code: 'ERR_BUSY', detail: `run ${id} has not ended; stop it first` });
    await served.expect(409, 'DELETE', `/api/captures/${capture}`);
    await served.expect(200, 'POST', `/api/runs/${id}/stop`);
    await served.expect(204, 'DELETE', `/api/captures/${capture}`);
    await served.expect(404, 'POST', '/api/runs', { body: { capture } });
    await served.expect(404, 'GET', '/api/runs/r999');
    expect(await served.expect(422, 'POST', '/api/runs', { body: { capture: await uploadCapture('imix.pcap'), speed: 'fast' } })).toMatchObject({ code: 'ERR_VALUE', detail: 'speed fast: expected top, original, <n>x or <n>pps with n above 0' });
  });
});

describe('objects', () => {
  test('are described, listed with their C lines, compiled to text and verified', async () => {
    const id = await upload('flow_counter.bpf.o');
    expect(await served.expect(200, 'GET', `/api/objects/${id}`)).toMatchObject({ name: 'flow_counter.bpf.o', inLab: false, programs: [{ name: 'flow_counter', section: 'xdp', type: 'xdp' }], maps: [{ name: 'flows', type: 'hash', key: 'struct flow' }] });
    const program = await served.expect<{ instructions: readonly { slot: number; text: string }[]; lines: readonly { file: string; text: string }[] }>(200, 'GET', `/api/objects/${id}/programs/flow_counter`);
    expect(program.instructions.filter(({ text }) => text.endsWith('exit')).length).toBeGreaterThan(0);
    expect(program.lines.some(({ file, text }) => file.endsWith('flow_counter.bpf.c') && text.includes('bpf_map_lookup_elem'))).toBe(true);
    const wat = await served.ask('GET', `/api/objects/${id}/programs/flow_counter/wat`);
    expect([wat.headers['content-type'], wat.text.slice(0, 7)]).toEqual(['text/plain; charset=utf-8', '(module']);
    expect(await served.expect(200, 'GET', `/api/objects/${id}/programs/flow_counter/verification`)).toMatchObject({ accepted: true, deadSlots: [] });
    expect(await served.expect(200, 'GET', `/api/objects/${id}/programs/flow_counter/verification?unprivileged=true`)).toMatchObject({ accepted: false, refusal: { message: expect.any(String), suggestion: expect.any(String) } });
    for (const what of ['', '/wat', '/verification', '/counts']) expect(await served.expect(404, 'GET', `/api/objects/${id}/programs/other${what}`)).toMatchObject({ detail: "flow_counter.bpf.o: there is no program 'other', expected one of flow_counter" });
    await served.expect(204, 'DELETE', `/api/objects/${id}`);
    await served.expect(404, 'GET', `/api/objects/${id}`);
  });

  test('that are damaged are one line, and are not kept', async () => {
    const before = await served.expect<{ objects: readonly unknown[] }>(200, 'GET', '/api/objects');
    const answer = await served.ask('POST', '/api/objects?name=broken.o', { body: readFileSync(object('xdp_lb.bpf.o')).subarray(0, 500), headers: { 'content-type': 'application/octet-stream' } });
    expect(JSON.parse(answer.text)).toMatchObject({ status: 422, code: 'ERR_ELF', detail: expect.stringMatching(/^broken\.o: /) });
    expect(await served.expect(200, 'GET', '/api/objects')).toEqual(before);
  });

  test('have numbers one after the other, also where one between was damaged', async () => {
    const numberOf = (id: string): number => Number(id.slice(1));
    const first = numberOf(await upload('flow_counter.bpf.o'));
    expect((await served.ask('POST', '/api/objects?name=broken.o', { body: Buffer.from('no object'), headers: { 'content-type': 'application/octet-stream' } })).status).toBe(422);
    expect(numberOf(await upload('flow_counter.bpf.o'))).toBe(first + 1);
    const [third, fourth] = await Promise.all([upload('flow_counter.bpf.o'), upload('flow_counter.bpf.o')]);
    expect([third, fourth].map(numberOf).toSorted((a, b) => a - b)).toEqual([first + 2, first + 3]);
  });

  test('are attached, replaced with their map contents, detached, and only then forgotten', async () => {
    await served.expect(200, 'POST', '/api/lab/reset');
    const [first, second] = [await upload('flow_counter.bpf.o'), await upload('flow_counter.bpf.o')];
    const attachment = await served.expect<{ index: number }>(201, 'POST', '/api/lab/attachments', { body: { object: first, hook: 'xdp', device: 'eth0' } });
    expect((await lab()).attachments.map(({ hook, program }) => `${hook} ${program}`)).toEqual(['xdp xdp_firewall', 'xdp xdp_lb', 'xdp flow_counter', 'tc-ingress tc_fw_ingress', 'tc-egress tc_fw_egress']);
    const flows = await mapNamed('flows');
    const { id } = await served.expect<Run>(201, 'POST', '/api/runs', { body: { capture: await uploadCapture('demo.pcapng') } });
    await runUntil(id, ({ state }) => state === 'finished');
    const { entries } = await served.expect<MapInfo>(200, 'GET', `/api/maps/${flows}`);
    expect(entries.length).toBeGreaterThan(0);
    await served.expect(422, 'DELETE', `/api/objects/${first}`);
    const replaced = await served.expect<{ attachments: readonly { index: number }[]; keptMaps: readonly string[] }>(200, 'POST', `/api/lab/objects/${first}/replace`, { body: { with: second } });
    expect(replaced).toMatchObject({ keptMaps: ['flows'], freshMaps: [], attachments: [{ object: second, program: 'flow_counter' }] });
    expect(await served.expect<MapInfo>(200, 'GET', `/api/maps/${flows}`)).toMatchObject({ object: second, entries });
    await served.expect(404, 'DELETE', `/api/lab/attachments/${attachment.index}`);
    await served.expect(204, 'DELETE', `/api/lab/attachments/${replaced.attachments[0]!.index}`);
    await served.expect(204, 'DELETE', `/api/objects/${second}`);
    expect((await lab()).objects.map(({ name }) => name)).toEqual(['xdp_firewall.bpf.o', 'xdp_lb.bpf.o', 'tc_firewall.bpf.o']);
  });

  test('that are taken out of the lab take what is shown of their maps with them', async () => {
    await served.expect(200, 'POST', '/api/lab/reset');
    const { attachments } = await lab();
    for (const { index } of attachments.filter(({ program }) => program === 'xdp_lb')) await served.expect(204, 'DELETE', `/api/lab/attachments/${index}`);
    const balancer = attachments.find(({ program }) => program === 'xdp_lb')!.object;
    await served.expect(204, 'DELETE', `/api/objects/${balancer}`);
    const { id } = await served.expect<Run>(201, 'POST', '/api/runs', { body: { capture: await uploadCapture('demo.pcapng') } });
    await runUntil(id, ({ state }) => state === 'finished');
    const { highlights } = await served.expect<{ highlights: readonly { title: string }[] }>(200, 'GET', '/api/statistics');
    const titles = highlights.map(({ title }) => title);
    expect(titles).not.toContain('Backends');
    expect(titles.length).toBeGreaterThan(0);
    await served.expect(200, 'POST', '/api/lab/reset');
    expect(await served.expect(200, 'GET', `/api/objects/${balancer}`)).toMatchObject({ name: 'xdp_lb.bpf.o', inLab: true });
  });

  test('whose program does not fit the hook are refused, and leave nothing behind', async () => {
    const id = await upload('tc_firewall.bpf.o');
    const before = await lab();
    expect(await served.expect(422, 'POST', '/api/lab/attachments', { body: { object: id, program: 'tc_fw_ingress', hook: 'xdp' } })).toMatchObject({ code: 'ERR_LAB' });
    expect(await served.expect(422, 'POST', '/api/lab/attachments', { body: { object: id, hook: 'tc-ingress' } })).toMatchObject({ detail: 'tc_firewall.bpf.o: say which program, expected one of tc_fw_ingress, tc_fw_egress' });
    expect(await served.expect(422, 'POST', '/api/lab/attachments', { body: { object: id, program: 'tc_fw_ingress', hook: 'tc-ingress', device: 'eth9' } })).toMatchObject({ detail: "device 'eth9': not in the lab, expected one of eth0, eth1" });
    expect(await lab()).toEqual(before);
  });
});

describe('maps', () => {
  test('are read and written in the words of the lab file', async () => {
    const deny = await mapNamed('deny_v4');
    const entry = { key: '192.0.2.77/32', value: 5 };
    expect(await served.expect(200, 'PUT', `/api/maps/${deny}/entries`, { body: entry })).toEqual(entry);
    expect(await served.expect(200, 'POST', `/api/maps/${deny}/lookup`, { body: { key: entry.key } })).toMatchObject({ value: 5 });
    expect(await served.expect(409, 'PUT', `/api/maps/${deny}/entries`, { body: { ...entry, flags: 'noexist' } })).toMatchObject({ code: 'ERR_MAP' });
    const { entries } = await served.expect<MapInfo>(200, 'GET', `/api/maps/${deny}`);
    expect(entries).toContainEqual(entry);
    await served.expect(204, 'DELETE', `/api/maps/${deny}/entries`, { body: { key: entry.key } });
    await served.expect(404, 'POST', `/api/maps/${deny}/lookup`, { body: { key: entry.key } });
  });

  test('come in pages', async () => {
    const backends = await mapNamed('backends');
    const whole = await served.expect<MapInfo>(200, 'GET', `/api/maps/${backends}?limit=10000`);
    const page = await served.expect<MapInfo>(200, 'GET', `/api/maps/${backends}?offset=1&limit=2`);
    expect(page.entries).toEqual(whole.entries.slice(1, 3));
    expect([page.more, whole.more]).toEqual([true, false]);
  });

  test('refuse what is not their type in one line', async () => {
    const deny = await mapNamed('deny_v4');
    expect(await served.expect(422, 'PUT', `/api/maps/${deny}/entries`, { body: { key: 'here', value: 1 } })).toMatchObject({ code: 'ERR_VALUE', detail: expect.stringMatching(/^deny_v4: key/) });
    await served.expect(404, 'GET', '/api/maps/9999');
  });

  test('take and give numbers past 53 bits as text', async () => {
    const config = await mapNamed('fw_counters');
    const value = { packets: '18446744073709551615', bytes: 1 };
    expect(await served.expect(200, 'PUT', `/api/maps/${config}/entries`, { body: { key: 0, value } })).toMatchObject({ value: [value] });
  });
});

describe('the lab', () => {
  test('is exchanged for the one of a lab file, and a file that is wrong leaves it as it is', async () => {
    const before = await lab();
    await upload('flow_counter.bpf.o');
    const yaml = { headers: { 'content-type': 'application/yaml' } };
    expect(await served.expect(422, 'PUT', '/api/lab', { ...yaml, body: 'devices: [{ name: a, xdp: [other.bpf.o] }]' })).toMatchObject({ detail: "lab.yaml: object 'other.bpf.o': no object of that name was uploaded; upload it first" });
    expect(await served.expect(422, 'PUT', '/api/lab', { ...yaml, body: 'devices: 7' })).toMatchObject({ detail: "lab.yaml: devices: found '7', expected a list" });
    expect(await lab()).toEqual(before);
    const fresh = await served.expect<Lab>(200, 'PUT', '/api/lab', { ...yaml, body: 'devices: [{ name: wan, xdp: [flow_counter.bpf.o] }]' });
    expect(fresh).toMatchObject({ name: 'lab.yaml', epoch: before.epoch + 1, attachments: [{ index: 0, device: 'wan', program: 'flow_counter' }] });
  });
});

test('while a lab is exchanged for another, everybody who looks gets an answer of one of them', async () => {
  const asking = Array.from({ length: 50 }, async () => {
    const found = new Set<number>();
    for (let turn = 0; turn < 20; turn++) found.add((await served.ask('GET', '/api/statistics')).status);
    return found;
  });
  for (let turn = 0; turn < 3; turn++) await served.expect(200, 'POST', '/api/lab/reset');
  for (const found of await Promise.all(asking)) expect([...found]).toEqual([200]);
});

test('a capture that is damaged is kept with what is wrong with it', async () => {
  const whole = readFileSync(trace('imix.pcap'));
  const cut = await served.upload<{ packets: number; damage: string }>('captures', 'cut.pcap', whole.subarray(0, whole.length - 10));
  expect(cut).toMatchObject({ packets: 399, damage: expect.stringMatching(/^cut\.pcap: byte /) });
  const answer = await served.ask('POST', '/api/captures?name=none', { body: 'not a capture', headers: { 'content-type': 'application/octet-stream' } });
  expect(JSON.parse(answer.text)).toMatchObject({ status: 422, code: 'ERR_CAPTURE', detail: expect.stringMatching(/^none: /) });
});

test('counters are there for Prometheus', async () => {
  const { headers, text } = await served.ask('GET', '/metrics');
  expect(headers['content-type']).toContain('text/plain');
  expect(text).toMatch(/^xdplab_packets_total \d+$/m);
  expect(text).toMatch(/^xdplab_stream_clients 0$/m);
});

test('counters say whether the programs that they are of were verified', async () => {
  const trusting = await Served.start(['--no-verify', '--xdp', object('flow_counter.bpf.o')]);
  try {
    expect(await trusting.expect(200, 'GET', '/api/statistics')).toMatchObject({ programs: [{ program: 'flow_counter', verified: false }] });
    expect((await trusting.ask('GET', '/metrics')).text).toMatch(/^xdplab_programs\{verified="true"\} 0\nxdplab_programs\{verified="false"\} 1$/m);
  } finally {
    await trusting.stop();
  }
});

test('what each CPU ran is there for Prometheus, by hook', async () => {
  const several = await Served.start(['--xdp', object('xdp_firewall.bpf.o'), '--capture', trace('imix.pcap'), '--cpus', '2', '--loop', '1', '--speed', 'top']);
  try {
    await expect.poll(async () => (await several.expect<{ packets: number }>(200, 'GET', '/api/runs/r1')).packets).toBe(400);
    const { text } = await several.ask('GET', '/metrics');
    const counted = (name: string): readonly (readonly [cpu: string, count: number])[] => Array.from(text.matchAll(new RegExp(`^${name}\\{device="eth0",hook="xdp",cpu="(\\d+)"\\} (\\d+)$`, 'gm')), ([, cpu, count]) => [cpu!, Number(count)] as const);
    const { hooks } = await several.expect<{ hooks: readonly { cpus: readonly { cpu: number; packets: number; bytes: number }[] }[] }>(200, 'GET', '/api/statistics');
    expect(counted('xdplab_cpu_packets_total')).toEqual(hooks[0]!.cpus.map(({ cpu, packets }) => [String(cpu), packets]));
    expect(counted('xdplab_cpu_bytes_total')).toEqual(hooks[0]!.cpus.map(({ cpu, bytes }) => [String(cpu), bytes]));
    expect(hooks[0]!.cpus.map(({ packets }) => packets > 0)).toEqual([true, true]);
  } finally {
    await several.stop();
  }
});

test('every route is in the OpenAPI document, and in the page that is made of it', async () => {
  const { paths } = await served.expect<{ paths: Record<string, Record<string, unknown>> }>(200, 'GET', '/api/openapi.json');
  const documented = readFileSync(new URL('../../docs/server-api.md', import.meta.url), 'utf8');
  const { text } = await served.ask('GET', '/api/docs');
  for (const path of Object.keys(paths)) {
    expect(text).toContain(`</span>${path}</code>`);
    // The document writes the last words of three routes in one row.
    expect(documented).toContain(path.replace(/\/(resume|stop)$/, ''));
  }
  expect(text).not.toMatch(/<script|https?:\/\//);
});

test('the OpenAPI document says how to say who one is, and what an upload takes', async () => {
  const document = await served.expect<Record<string, never>>(200, 'GET', '/api/openapi.json');
  expect(document).toMatchObject({ components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } }, security: [{ token: [] }] });
  for (const path of ['/api/objects', '/api/captures']) expect(document['paths']![path]).toMatchObject({ post: { requestBody: { content: { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } } } } });
});

test('all that the page of the routes refers to is there, an icon too', async () => {
  const { text } = await served.ask('GET', '/api/docs');
  expect(text).toContain('rel="icon"');
  for (const [, path] of text.matchAll(/href="([^"]+)"/g)) expect([path, (await served.ask('GET', path!)).status]).toEqual([path, 200]);
});

test('Ctrl-C ends it, with 130, and takes what was uploaded away', async () => {
  const other = await Served.start([]);
  await other.upload('captures', 'imix.pcap', readFileSync(trace('imix.pcap')));
  expect(await other.stop()).toMatchObject({ status: 130 });
});

test('who sends JSON as a form, as curl -d does, is told what to send', async () => {
  const answer = await served.ask('POST', '/api/maps/1/lookup', { body: '{"key":0}', headers: { 'content-type': 'application/x-www-form-urlencoded' } });
  expect(JSON.parse(answer.text)).toMatchObject({ status: 415, code: 'ERR_CONTENT_TYPE', detail: expect.stringContaining('application/json') as string });
});
