/** What people get wrong: each is one line on stderr that says where and what, and a documented exit status. */
import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { parseElf } from '../../dataplane/bpf/elf.ts';
import { object, Scratch, trace, xdplab } from './run-cli.ts';

const scratch = new Scratch();
afterAll(() => scratch.remove());

const IMIX = trace('imix.pcap');
const LB = object('xdp_lb.bpf.o');
const TC = object('tc_firewall.bpf.o');
const FAILURE = 1;
const USAGE = 2;
const REFUSED = 3;

function lab(name: string, text: string): string[] {
  return ['replay', IMIX, '--engine', 'interpreter', '--lab', scratch.file(name, text)];
}

function contents(name: string, text: string): string[] {
  return ['replay', IMIX, '--engine', 'interpreter', '--xdp', LB, '--map', `vips=${scratch.file(name, text)}`];
}

/** An object whose first instruction has an opcode that there is none of. */
function refusedObject(): string {
  const bytes = Uint8Array.from(readFileSync(object('flow_counter.bpf.o')));
  const section = parseElf(bytes, 'flow_counter').sections.find(({ name }) => name === 'xdp')!;
  bytes[section.offset] = 0xff;
  return scratch.file('refused.bpf.o', bytes);
}

const KEY = 'key: { address: 10.0.0.1, port: 80, protocol: tcp }';
const MISTAKES: readonly (readonly [what: string, args: readonly string[], status: number, says: RegExp])[] = [
  ['no capture', ['replay'], USAGE, /missing required argument 'capture'/],
  ['an unknown command', ['reply', IMIX], USAGE, /unknown command 'reply' .*Did you mean replay/],
  ['an unknown option', ['replay', IMIX, '--lopp', '2'], USAGE, /unknown option '--lopp' \(Did you mean --loop\?\); --help says/],
  ['an option without its value', ['replay', IMIX, '--xdp'], USAGE, /'--xdp <object\[:program\]>' argument missing/],
  ['an unknown engine', ['replay', IMIX, '--engine', 'turbo'], USAGE, /'turbo' is invalid\. Allowed choices are wasm, interpreter/],
  ['a limit of nothing', ['replay', IMIX, '--limit', '0'], USAGE, /whole number from 1/],
  ['a loop that is no number', ['replay', IMIX, '--loop', 'often'], USAGE, /'often' is invalid\. Expected a whole number/],
  ['a pace that is none', ['replay', IMIX, '--speed', '0x'], USAGE, /--speed 0x: expected top, original, <n>x or <n>pps/],
  ['a map without a file', ['replay', IMIX, '--map', 'vips'], USAGE, /Expected <name>=<file>/],
  ['two logs on standard output', ['replay', IMIX, '--out', '-', '--verdicts', '-'], USAGE, /--out - and --verdicts - both write to standard output; give one of them a file/],
  ['a log and the summary on standard output', ['replay', IMIX, '--events', '-', '--json'], USAGE, /--events - and --json both write/],
  ['one file for two things', ['replay', IMIX, '--out', scratch.at('same'), '--verdicts', scratch.at('same')], USAGE, /--verdicts .*same: is where --out writes; give another file/],
  ['a capture that does not exist', ['replay', '/nowhere/x.pcap'], FAILURE, /\/nowhere\/x\.pcap: there is no such file/],
  ['a folder as a capture', ['replay', trace('')], FAILURE, /traces: is a directory, expected a capture file/],
  ['a capture of a name that cannot be', ['replay', 'x'.repeat(300)], FAILURE, /x: ENAMETOOLONG: name too long/],
  ['an output of a name that cannot be', ['replay', IMIX, '--out', 'x'.repeat(300)], FAILURE, /x: ENAMETOOLONG: name too long/],
  ['an object as a capture', ['replay', LB], FAILURE, /xdp_lb\.bpf\.o: found an ELF file \(an eBPF object\?\), expected a pcap or pcapng capture/],
  ['a capture as an object', ['replay', IMIX, '--xdp', IMIX], FAILURE, /imix\.pcap: at offset 0: not an ELF file; expected an object compiled with clang -target bpf/],
  ['an object that does not exist', ['replay', IMIX, '--xdp', 'nope.bpf.o'], FAILURE, /nope\.bpf\.o: there is no such file/],
  ['a folder as an object', ['show', object('')], FAILURE, /programs: it is a folder; give the path of a readable file/],
  ['a cut object', ['show', scratch.file('cut.o', readFileSync(LB).subarray(0, 900))], FAILURE, /cut\.o: .*offset/],
  ['a program that the object has not', ['replay', IMIX, '--xdp', `${LB}:nope`], USAGE, /xdp_lb\.bpf\.o: found no program 'nope', expected one of xdp_lb/],
  ['an object of several programs', ['replay', IMIX, '--tc-ingress', TC], USAGE, /has 2 programs; say which one: tc_firewall\.bpf\.o:tc_fw_ingress or tc_firewall\.bpf\.o:tc_fw_egress/],
  ['a TC program at XDP', ['replay', IMIX, '--xdp', `${TC}:tc_fw_ingress`], USAGE, /program 'tc_fw_ingress': is of type sched_cls, but xdp of eth0 runs xdp/],
  ['an XDP program at TC', ['replay', IMIX, '--tc-egress', LB], USAGE, /program 'xdp_lb': is of type xdp, but tc-egress of eth0 runs sched_cls and sched_act/],
  ['an instruction that does not exist', ['replay', IMIX, '--xdp', refusedObject()], REFUSED, /refused\.bpf\.o: .*flow_counter.*instruction 0.*opcode 0xff/],
  ['a map that no object has', ['replay', IMIX, '--xdp', LB, '--map', 'vipz=/dev/null'], USAGE, /map 'vipz': no object declares it, expected one of .*vips/],
  ['map contents that do not exist', ['replay', IMIX, '--xdp', LB, '--map', 'vips=/nowhere.yaml'], FAILURE, /\/nowhere\.yaml: there is no such file/],
  ['a value out of range', contents('range.yaml', '- { key: { address: 10.0.0.1, port: 70000, protocol: tcp }, value: { id: 0, flags: 0 } }'), USAGE, /range\.yaml\[0\]: key\.port: found 70000, expected 0 to 65535/],
  ['an unknown field', contents('field.json', '[{"key":{"address":"10.0.0.1","port":80,"protocol":"tcp"},"value":{"id":0,"flags":0,"weight":1}}]'), USAGE, /field\.json\[0\]: value\.weight: unknown field, expected an object of id, flags/],
  ['a name that is no value', contents('name.yaml', `- { ${KEY}, value: { id: 0, flags: VIP_STATELES } }`), USAGE, /name\.yaml\[0\]: value\.flags: found "VIP_STATELES", expected VIP_STATELESS/],
  ['an address that is none', contents('address.yaml', '- { key: { address: 10.0.0, port: 80, protocol: tcp }, value: { id: 0, flags: 0 } }'), USAGE, /address\.yaml\[0\]: key\.address: found "10\.0\.0"/],
  ['broken YAML', contents('broken.yaml', '- { key: 1\n- 2'), USAGE, /broken\.yaml: .* at line 2, column 1\n$/],
  ['a YAML tag', contents('tag.yaml', '- !ruby 1'), USAGE, /tag\.yaml: Unresolved tag: !ruby at line 1/],
  ['an alias without an anchor', contents('alias.yaml', '- *there'), USAGE, /alias\.yaml: Unresolved alias/],
  ['a file that is no text', ['replay', IMIX, '--lab', LB], USAGE, /xdp_lb\.bpf\.o: is not text, expected YAML or JSON/],
  ['a lab file that does not exist', ['replay', IMIX, '--lab', 'nowhere.yaml'], FAILURE, /nowhere\.yaml: there is no such file/],
  ['an unknown key in the lab', lab('key.yaml', 'device: []'), USAGE, /key\.yaml: lab: key 'device': found a list, expected only .*devices/],
  ['a MAC address that is none', lab('mac.yaml', 'devices: [{ name: eth0, mac: 02:00 }]'), USAGE, /mac\.yaml: devices\[0\]\.mac: found '02:00', expected an address such as/],
  ['an object of the lab that is not there', lab('object.yaml', 'devices: [{ name: eth0, xdp: [nope.bpf.o] }]'), FAILURE, /nope\.bpf\.o: there is no such file/],
  ['map contents in the lab that do not fit', lab('vips.yaml', `devices: [{ name: eth0, xdp: ["${LB}"] }]\nmaps: { vips: [{ ${KEY}, value: 7 }] }`), USAGE, /vips\.yaml: maps\.vips\[0\]: value: found 7, expected an object of id, flags/],
  ['a map to show that is not there', lab('show.yaml', 'show: [{ map: nope }]'), USAGE, /map 'nope': no object declares it/],
  ['a field to show that is not there, of a map that is empty', lab('fields.yaml', `devices: [{ name: eth0, xdp: ["${LB}"] }]\nshow: [{ map: vips, by: packets }]`), USAGE, /show: map 'vips' has no field 'packets', expected one of id, flags/],
  ['a type of events that is not there', lab('events.yaml', `devices: [{ name: eth0, xdp: ["${object('xdp_firewall.bpf.o')}"] }]\nevents: { fw_drops: nope }`), USAGE, /events\.fw_drops: the object has no struct 'nope'/],
  ['a folder that does not exist', ['replay', IMIX, '--out', '/nowhere/out.pcapng'], FAILURE, /\/nowhere\/out\.pcapng: cannot be created, its folder does not exist/],
  ['maps where a file is', ['replay', IMIX, '--maps-out', scratch.file('taken', '')], FAILURE, /taken: is not a folder, but map contents need one/],
  ['both kinds of dump', ['dump', LB, '--insns', '--wat'], USAGE, /--insns and --wat exclude each other/],
  ['facts of what was compiled', ['dump', LB, '--facts', '--wat'], USAGE, /--facts and --wat exclude each other/],
  ['a program to dump that is not there', ['dump', `${LB}:nope`], USAGE, /found no program 'nope', expected one of xdp_lb/],
  ['a folder of maps that is none', ['map', 'list', '/nowhere'], FAILURE, /\/nowhere: cannot be listed; give the folder that replay --maps-out wrote/],
  ['a dump that is no JSON', ['map', 'dump', LB], FAILURE, /xdp_lb\.bpf\.o: cannot be read as JSON/],
  ['JSON that is no dump', ['map', 'dump', scratch.file('odd.json', '{"name":"x","type":"hash","maxEntries":1,"entries":[null]}')], FAILURE, /odd\.json: has no map entries/],
];

describe.concurrent('a mistake is one line and a status:', () => {
  test.each(MISTAKES)('%s', async (_what, args, status, says) => {
    const run = await xdplab(args);
    expect(run.stderr).toMatch(says);
    expect(run.stderr.split('\n'), run.stderr).toHaveLength(2);
    expect(run).toMatchObject({ status, stdout: '' });
    expect(run.stderr).toMatch(/^xdplab: [^\n]+\n$/);
  });
});

test('a capture is never written over', async () => {
  const capture = scratch.file('capture.pcap', readFileSync(IMIX));
  const { status, stderr } = await xdplab(['replay', capture, '--out', `${scratch.path}/./capture.pcap`]);
  expect({ status, stderr: stderr.replace(/.*capture\.pcap: /, '') }).toEqual({ status: USAGE, stderr: 'is the capture itself; give another file\n' });
  expect(readFileSync(capture).equals(readFileSync(IMIX))).toBe(true);
});

test('help is asked for on stdout, and without a command it is on stderr', async () => {
  const [asked, nothing, version] = await Promise.all([xdplab(['replay', '--help']), xdplab([]), xdplab(['--version'])]);
  expect(asked).toMatchObject({ status: 0, stderr: '' });
  for (const option of ['--lab', '--xdp', '--tc-ingress', '--tc-egress', '--map', '--engine', '--limit', '--loop', '--speed', '--reader', '--out', '--verdicts', '--events', '--maps-out', '--json', '--seed']) {
    expect(asked.stdout).toContain(`  ${option}`);
  }
  expect(nothing).toMatchObject({ status: USAGE, stdout: '' });
  expect(nothing.stderr).toMatch(/^Usage: xdplab \[options\] \[command\]/);
  expect(version).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) as string });
});
