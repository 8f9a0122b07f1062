/** What reaches a terminal: the picture, colours where they are wanted, and no escape sequences of files. */
import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { object, Scratch, trace, xdplab } from './run-cli.ts';

const scratch = new Scratch();
afterAll(() => scratch.remove());

const DEMO = ['replay', trace('demo.pcapng'), '--lab', object('demo.yaml')];
const ESCAPE = '\u001b[';
/** C0 but for the newline, DEL, C1. */
// oxlint-disable-next-line no-control-regex -- what must not be printed
const CONTROLS = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/;

describe('the picture', () => {
  test('has a section for each hook, for where packets went and why, and for each map to show', async () => {
    const { status, stdout, stderr } = await xdplab(DEMO);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const headings = stdout.split('\n\n').map((section) => section.split('\n')[0]!.replace(/ {2}.*/, ''));
    expect(headings).toEqual([
      trace('demo.pcapng'),
      'eth0 XDP',
      'eth0 TC ingress',
      'eth0 TC egress',
      'Where they went',
      'Why packets were lost',
      'Services',
      'Backends',
      'xdp_firewall',
      'Rules of xdp_firewall',
      'tc_firewall, to the host',
      'tc_firewall, from the host',
      'Connections of the host',
      'Sent to user space',
      expect.stringMatching(/^[\d.]+ [kM] packets\/s, \d+ ns a packet/) as string,
    ]);
    expect(stdout).toMatch(/^ {4}web-3 {2}10\.1\.0\.3 +█+\S* +4\d\.\d % +[\d,]+ {2}bytes [\d,]+, flows \d+$/m);
    expect(stdout).not.toMatch(CONTROLS);
  });

  test('is coloured where that is asked for, and NO_COLOR has the last word', async () => {
    const runs = await Promise.all([{ FORCE_COLOR: '1' }, { FORCE_COLOR: '1', NO_COLOR: '1' }, { FORCE_COLOR: '0' }].map((env) => xdplab([...DEMO, '--limit', '50'], { env })));
    expect(runs.map(({ stdout }) => stdout.includes(ESCAPE))).toEqual([true, false, false]);
    // oxlint-disable-next-line no-control-regex -- the colours
    expect(runs[0]!.stdout.replaceAll(/\u001b\[\d+m/g, '').split('\n').slice(0, -3)).toEqual(runs[1]!.stdout.split('\n').slice(0, -3));
    const complaint = await xdplab(['show', 'nope.o'], { env: { FORCE_COLOR: '1' } });
    expect(complaint.stderr).toBe(`${ESCAPE}31mxdplab:${ESCAPE}39m nope.o: there is no such file; give the path of a readable file\n`);
  });
});

describe('names from files', () => {
  /** The flow counter, its program and map renamed to clear the screen: by an escape sequence, or by a C1 control that begins one. */
  const objects = ['\u001b[2J\u0007', '\u009b2J'].map((attack, index) => {
    const bytes = Buffer.from(readFileSync(object('flow_counter.bpf.o')));
    for (const name of ['flow_counter', 'flows']) {
      const evil = Buffer.from(attack.padEnd(name.length, 'x')).subarray(0, name.length);
      for (let at = bytes.indexOf(name); at >= 0; at = bytes.indexOf(name, at + 1)) evil.copy(bytes, at);
    }
    return scratch.file(`evil${index}.bpf.o`, bytes);
  });
  const lab = scratch.file(
    'evil.yaml',
    `devices: [{ name: "eth\\e[2J", xdp: ["${object('flow_counter.bpf.o')}"] }]\nshow: [{ map: flows, title: "\\x9b2J", by: packets, names: { 0: "\\e[2J" } }]\n`,
  );
  const dump = scratch.file('evil.json', JSON.stringify({ name: '\u001b[2J', type: '\u001b[2J', maxEntries: 1, entries: [{ key: '\u009b2J', value: { '\u001b[2J': '\u0007' } }] }));
  const capture = trace('vlan.pcap');
  const [first, second] = objects as [string, string];
  const commands: readonly (readonly string[])[] = [
    ['show', first],
    ['show', '--json', second],
    ['dump', '--linum', first],
    ['dump', '--wat', second],
    ['dump', `${first}:nope`],
    ['replay', capture, '--xdp', first],
    ['replay', capture, '--xdp', second, '--verdicts', '-'],
    ['replay', capture, '--xdp', first, '--map', 'nope=/dev/null'],
    ['replay', capture, '--lab', lab],
    ['replay', capture, '--lab', lab, '--json'],
    ['replay', '\u001b[2J.pcap'],
    ['replay', capture, '--lab', scratch.file('bad.yaml', '"\\e[2J": 1')],
    ['replay', capture, '--\u001b[2J'],
    ['map', 'list', scratch.path],
    ['map', 'dump', dump],
    ['map', 'dump', '--json', dump],
    ['map', 'lookup', dump, '\u001b[2J'],
  ];

  test('never reach the terminal as escape sequences', async () => {
    const runs = await Promise.all(commands.map(async (args) => ({ args, ...(await xdplab(args)) })));
    for (const { args, stdout, stderr, status } of runs) {
      expect(status, `${args.join(' ')}: ${stderr}`).not.toBeNull();
      expect(CONTROLS.exec(stdout)?.index ?? 'none', `stdout of ${JSON.stringify(args)}`).toBe('none');
      expect(CONTROLS.exec(stderr)?.index ?? 'none', `stderr of ${JSON.stringify(args)}`).toBe('none');
      expect(stderr).not.toMatch(/\n {4}at /);
    }
  });
});
