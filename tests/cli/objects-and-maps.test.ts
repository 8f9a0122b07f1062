/** `show`, `dump`, `map` and `supported`: looking at objects, at what they are compiled to, and at saved maps. */
import { copyFileSync, cpSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadObject } from '../../dataplane/bpf/object.ts';
import { programTag } from '../../dataplane/bpf/tag.ts';
import { supportedMarkdown } from '../../dataplane/insight/supported.ts';
import { object, Scratch, trace, xdplab, type Run } from './run-cli.ts';

const scratch = new Scratch();
afterAll(() => scratch.remove());

async function says(...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await xdplab(args);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout;
}

const spec = loadObject(readFileSync(object('tc_firewall.bpf.o')), { name: 'tc_firewall.bpf.o' });

describe('show', () => {
  test('lists programs, maps, variables and types', async () => {
    const text = await says('show', object('tc_firewall.bpf.o'));
    expect(text).toMatch(/^license Dual MIT\/GPL$/m);
    for (const { name, section, instructions } of spec.programs.values()) {
      expect(text).toMatch(new RegExp(`^ {2}${name} +${section} +sched_cls +${programTag(instructions)} +${instructions.length}$`, 'm'));
    }
    expect(text).toMatch(/^ {2}connections +lru_hash +struct connection_key +struct connection +65536 {2}pinned by name$/m);
    expect(text).toMatch(/^ {2}timeout_seconds = \[0,30,60,7440/m);
    expect(text).toMatch(/^BTF .*\d+ struct/m);
  });

  test('says the same as JSON', async () => {
    const shown = JSON.parse(await says('show', '--json', object('tc_firewall.bpf.o'))) as Record<string, unknown>;
    expect(Object.keys(shown)).toEqual(['license', 'programs', 'maps', 'globals', 'btf']);
    expect(shown['programs']).toMatchObject([...spec.programs.values()].map(({ name, section, instructions }) => ({ name, section, type: 'sched_cls', tag: programTag(instructions), subprograms: ['act'] })));
    expect(shown['maps']).toContainEqual(expect.objectContaining({ name: 'trusted_v4', type: 'lpm_trie', keyBytes: 8, valueBytes: 4, maxEntries: 16_384, pinning: 'by_name' }));
    expect(shown['globals']).toMatchObject([{ section: '.rodata', variables: { timeout_seconds: expect.arrayContaining([7440]) as unknown } }]);
  });
});

describe('dump', () => {
  const flowCounter = loadObject(readFileSync(object('flow_counter.bpf.o')), { name: 'flow_counter.bpf.o' }).programs.get('flow_counter')!;

  test('prints instructions as bpftool does, below their lines of C', async () => {
    const text = await says('dump', object('flow_counter.bpf.o'));
    expect(text.split('\n')[0]).toBe(`xdp  name flow_counter  tag ${programTag(flowCounter.instructions)}  gpl`);
    expect(text).toMatch(/^; void \*data = \(void \*\)\(long\)ctx->data;\n +1: \(61\) r4 = \*\(u32 \*\)\(r1 \+0\)$/m);
    expect(text).toMatch(/^ +\d+: \(85\) call bpf_map_lookup_elem#1$/m);
    expect(text).toMatch(/^ +\d+: \(18\) r1 = map\[flows\]$/m);
    const slots = [...text.matchAll(/^ +(\d+): \([0-9a-f]{2}\) /gm)].map(([, slot]) => Number(slot));
    expect(slots).toEqual(flowCounter.instructions.flatMap(({ kind }, slot) => (kind === 'upper' ? [] : [slot])));
  });

  test('places lines of C where asked, and takes every program or the one that is named', async () => {
    const [all, one] = await Promise.all([says('dump', '--insns', object('tc_firewall.bpf.o')), says('dump', '--linum', `${object('tc_firewall.bpf.o')}:tc_fw_egress`)]);
    expect(all.match(/^sched_cls {2}name \w+/gm)).toEqual(['sched_cls  name tc_fw_ingress', 'sched_cls  name tc_fw_egress']);
    expect(one.match(/^sched_cls {2}name \w+/gm)).toEqual(['sched_cls  name tc_fw_egress']);
    expect(one).toMatch(/^tc_fw_egress:$/m);
    expect(one).toMatch(/^act:$/m);
    expect(one).toMatch(/call pc[+-]\d+#act/);
    expect(one).toMatch(/^; return filter\(skb, CT_EGRESS\); \[file:.*tc_firewall\.bpf\.c line_num:\d+ line_col:\d+\]$/m);
  });

  test('--facts says what the verifier knows of what each instruction reads and leaves', async () => {
    const text = await says('dump', '--facts', object('flow_counter.bpf.o'));
    expect(text).toMatch(/ r2 = \*\(u32 \*\)\(r1 \+4\) +; r1: ctx => r2: pkt_end$/m);
    expect(text).toMatch(/ r0 = \*\(u8 \*\)\(r1 \+0\) +; r1: pkt\+\(14\.\.22 step 2\) \(20 bytes\) => r0: 0\.\.255$/m);
    expect(text).toMatch(/ w0 &= 60 +; r0: 0\.\.1020 step 4 => r0: 0\.\.60 step 4$/m);
    expect(text).toMatch(/ call bpf_map_lookup_elem#1 +; r1: map_ptr flows, r2: fp-40 => r0: map_value_or_null flows$/m);
  });

  test('says the same as JSON', async () => {
    const [plain, known] = await Promise.all([says('dump', '--json', object('flow_counter.bpf.o')), says('dump', '--facts', '--json', object('flow_counter.bpf.o'))]);
    const first = { slot: 0, text: 'r2 = *(u32 *)(r1 +4)', line: 25 };
    expect(JSON.parse(plain)).toMatchObject({ object: 'flow_counter.bpf.o', programs: [{ name: 'flow_counter', type: 'xdp', tag: programTag(flowCounter.instructions), instructions: expect.arrayContaining([expect.objectContaining(first)]) as unknown }] });
    const [program] = (JSON.parse(known) as { programs: readonly [{ instructions: readonly Record<string, unknown>[] }] }).programs;
    expect(program.instructions[0]).toMatchObject({ ...first, facts: { reads: [{ register: 'r1', type: 'ctx', text: 'ctx', offset: 0 }], result: { register: 'r2', type: 'pkt_end' } } });
    expect(program.instructions.find(({ text }) => text === 'w0 &= 60')).toMatchObject({ facts: { result: { register: 'r0', type: 'scalar', text: '0..60 step 4', range: { unsigned: [0, 60], bits: { value: 0, mask: 60 } } } } });
  });

  test('--wat is WebAssembly text that assembles', async () => {
    const { default: wabt } = await import('wabt');
    const text = await says('dump', '--wat', object('flow_counter.bpf.o'));
    const module = (await wabt()).parseWat('flow_counter.wat', text, { tail_call: true, bulk_memory: true, sign_extension: true });
    expect(module.toBinary({}).buffer.length).toBeGreaterThan(1000);
    module.destroy();
  });
});

describe('map', () => {
  const [before, after] = [scratch.at('before'), scratch.at('after')];
  const at = (folder: string, map: string): string => join(folder, `${map}.json`);
  let runs: Run[];
  beforeAll(async () => {
    const lab = ['--lab', object('demo.yaml')];
    runs = await Promise.all([
      xdplab(['replay', trace('icmp.pcap'), ...lab, '--maps-out', before]),
      xdplab(['replay', trace('fragments.pcap'), ...lab, '--maps-out', after]),
    ]);
  });

  test('list names the maps of a folder', async () => {
    expect(runs.map(({ status }) => status)).toEqual([0, 0]);
    const [text, json] = await Promise.all([says('map', 'list', before), says('map', 'list', '--json', before)]);
    expect(text).toMatch(/^name +type +entries +max_entries\n/);
    expect(text).toMatch(/^vips +hash +7 +64$/m);
    expect(JSON.parse(json)).toContainEqual({ name: 'vips', type: 'hash', entries: 7, maxEntries: 64 });
  });

  test('dump prints entries, and adds up CPUs', async () => {
    const [vips, sum] = await Promise.all([says('map', 'dump', at(before, 'vips')), says('map', 'dump', '--sum', '--json', at(before, 'lb_counters'))]);
    expect(vips).toMatch(/^vips {2}hash, 7 of 64 entries\n/);
    expect(vips).toContain('  { address: fd00::100, port: 443, protocol: tcp }: { id: 3, flags: 0 }\n');
    expect(JSON.parse(sum)).toContainEqual({ key: 'LB_ECHO_ANSWERED', value: 30 });
  });

  test('lookup finds a key as it is printed, or as JSON', async () => {
    const printed = says('map', 'lookup', at(before, 'vips'), '{ address: 10.0.0.101, port: 53, protocol: udp }');
    const json = says('map', 'lookup', '--json', at(before, 'vips'), '{"address":"10.0.0.101","port":53,"protocol":"udp"}');
    const missing = xdplab(['map', 'lookup', at(before, 'vips'), 'nope']);
    expect(await printed).toBe('{ id: 2, flags: VIP_STATELESS }\n');
    expect(JSON.parse(await json)).toEqual({ id: 2, flags: 'VIP_STATELESS' });
    expect(await missing).toMatchObject({ status: 2, stdout: '', stderr: expect.stringMatching(/map 'vips' has no key nope; 'xdplab map dump' lists its 7 keys\n$/) as string });
  });

  test('diff tells what came, what went and what changed', async () => {
    const [{ stdout: changes, status }, none] = await Promise.all([xdplab(['map', 'diff', '--json', at(before, 'lb_counters'), at(after, 'lb_counters')]), says('map', 'diff', at(before, 'vips'), at(after, 'vips'))]);
    expect(status).toBe(1);
    const kinds = new Map((JSON.parse(changes) as { key: string; before?: unknown; after?: unknown }[]).map((change) => [change.key, Object.keys(change).slice(1)]));
    expect(kinds.get('LB_ECHO_ANSWERED')).toEqual(['before']);
    expect(kinds.get('LB_FRAGMENT')).toEqual(['after']);
    expect(kinds.get('LB_FORWARDED')).toEqual(['before', 'after']);
    expect(none).toBe('no difference\n');
    const { stdout: text } = await xdplab(['map', 'diff', at(before, 'lb_counters'), at(after, 'lb_counters')]);
    expect(text).toMatch(/^- LB_ECHO_ANSWERED: \[30/m);
    expect(text).toMatch(/^\+ LB_FRAGMENT: /m);
    expect(text).toMatch(/^~ LB_FORWARDED: .* -> /m);
  });

  test('diff of folders compares the maps that both hold, and names the others', async () => {
    const more = scratch.at('more');
    cpSync(after, more, { recursive: true });
    rmSync(at(more, 'vips'));
    copyFileSync(at(after, 'vips'), at(more, 'extra'));
    const [text, json, same] = await Promise.all([xdplab(['map', 'diff', before, more]), xdplab(['map', 'diff', '--json', before, more]), xdplab(['map', 'diff', before, before])]);
    expect([text.status, json.status, same.status]).toEqual([1, 1, 0]);
    expect(text.stdout).toMatch(/^lb_counters\n(  . .*\n)*  - LB_ECHO_ANSWERED: \[30/m);
    expect(text.stdout).toContain(`only in ${before}: vips\nonly in ${more}: extra\n`);
    expect(text.stdout).toMatch(/^\d+ of \d+ maps that both hold are the same$/m);
    const { maps, onlyBefore, onlyAfter } = JSON.parse(json.stdout) as { maps: { name: string; changes: unknown[] }[]; onlyBefore: string[]; onlyAfter: string[] };
    expect([onlyBefore, onlyAfter]).toEqual([['vips'], ['extra']]);
    expect(maps.find(({ name }) => name === 'lb_counters')?.changes).not.toHaveLength(0);
    expect(same.stdout).toBe('no difference\n');
  });

  test.each([
    ['dump of a folder', () => ['dump', before], 1, /before: is a folder, expected the file of one map; 'xdplab map list' names those in it\n$/],
    ['diff of a folder and a file', () => ['diff', before, at(after, 'vips')], 2, /before is a folder, and the other is not; give two files or two folders\n$/],
    ['diff of what is not there', () => ['diff', at(before, 'vips'), at(before, 'nothing')], 2, /nothing\.json: there is no such file\n$/],
  ])('%s is refused', async (_, args, status, message) => {
    expect(await xdplab(['map', ...args()])).toMatchObject({ status, stdout: '', stderr: expect.stringMatching(message) as string });
  });
});

test('supported prints the page that docs/ has', async () => {
  expect(await says('supported')).toBe(supportedMarkdown());
});
