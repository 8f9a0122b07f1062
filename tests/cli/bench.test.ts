import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import type { BenchReport } from '../../dataplane/measure/bench-report.ts';
import { object, REPOSITORY, Scratch, trace, xdplab } from './run-cli.ts';

const scratch = new Scratch();
afterAll(() => scratch.remove());

const QUICK = ['--duration', '0.01', '--warmup', '0.001', '--runs', '3', '--flows', '40'];

describe('xdplab bench', () => {
  test('prints what a program takes and what a packet costs', async () => {
    const { status, stdout } = await xdplab(['bench', object('flow_counter.bpf.o'), ...QUICK]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/flow_counter\s+wasm\s+[\d.]+/);
    expect(stdout).toMatch(/What a packet costs, on every machine/);
  });

  test('says how a load balancer shares, and what moves', async () => {
    const { stdout } = await xdplab(['bench', '--lab', `${REPOSITORY}/programs/demo.yaml`, '--program', 'xdp_lb', ...QUICK]);
    expect(stdout).toMatch(/affinity: 40 of 40 flows stayed/);
    expect(stdout).toMatch(/10\.1\.0\.1 leaves/);
  });

  test('says where receive-side scaling brings the flows, and whether a queue tells the backend', async () => {
    const { stdout } = await xdplab(['bench', '--lab', `${REPOSITORY}/programs/demo.yaml`, '--program', 'xdp_lb', '--rss', 'queues=3,key=symmetric,indirection=0:0:1:2', '--cpus', '2', ...QUICK, '--flows', '400']);
    expect(stdout).toMatch(/Queues of eth0 {2}3, key symmetric; 400 flows, 4,400 packets/);
    expect(stdout).toMatch(/^ +0 +0 +64 +\d+ +200\.0/m);
    expect(stdout).toMatch(/CPU {2}slots/);
    expect(stdout).toMatch(/lb_rings\[0 to 4092\]: a flow's queue does not tell its backend \(Cramér's V 0\.\d+/);
  });

  test('reports as JSON with times by engine', async () => {
    const { stdout } = await xdplab(['bench', object('flow_counter.bpf.o'), '--engine', 'wasm,interpreter', '--json', ...QUICK]);
    const { programs } = JSON.parse(stdout) as BenchReport;
    expect(Object.keys(programs[0]!.nsPerPacket)).toEqual(['wasm', 'wasmNet', 'interpreter', 'interpreterNet']);
  });

  test('measures a capture, and exports a page, samples and a report that can be compared', async () => {
    const files = ['report.html', 'report.csv', 'before.json'].map((name) => scratch.at(name));
    const { status, stderr } = await xdplab(['bench', object('flow_counter.bpf.o'), '--capture', trace('mixed.pcap'), '--duration', '0.01', '--runs', '3', ...files.flatMap((file) => ['--export', file])]);
    expect([status, stderr]).toEqual([0, '']);
    expect(readFileSync(files[0]!, 'utf8')).toMatch(/^<!doctype html>/);
    expect(readFileSync(files[1]!, 'utf8').split('\n')[0]).toBe('program,series,turn,nsPerPacket,verified');
    const compared = await xdplab(['bench', 'compare', files[2]!, files[2]!]);
    expect(compared.stdout).toMatch(/flow_counter\s+wasm .*no difference/);
    expect(compared.stdout).toMatch(/Counted costs are the same/);
  });

  test('says of programs that nobody verified that they were not, in all that it writes', async () => {
    const [page, samples, report] = ['unverified.html', 'unverified.csv', 'unverified.json'].map((name) => scratch.at(name));
    const { stdout } = await xdplab(['bench', object('flow_counter.bpf.o'), '--no-verify', ...QUICK, ...[page!, samples!, report!].flatMap((file) => ['--export', file])]);
    expect(stdout).toContain('Programs were not verified');
    expect(readFileSync(page!, 'utf8')).toContain('<p class="warning">Programs were not verified');
    expect(readFileSync(samples!, 'utf8')).toMatch(/\nflow_counter,wasm,1,[\d.]+,false\n/);
    expect(JSON.parse(readFileSync(report!, 'utf8'))).toMatchObject({ verified: false });
    expect((await xdplab(['bench', 'compare', report!, report!])).stdout).toMatch(/^programs were not verified before\nprograms were not verified after$/m);
  });

  test('an expectation that does not hold ends with status 4', async () => {
    expect((await xdplab(['bench', object('flow_counter.bpf.o'), '--expect', 'instructions<=200', ...QUICK])).status).toBe(0);
    const { status, stderr } = await xdplab(['bench', object('flow_counter.bpf.o'), '--expect', 'instructions<=20', ...QUICK]);
    expect(status).toBe(4);
    expect(stderr).toMatch(/not as expected: instructions<=20: flow_counter: found \d+/);
  });

  test.each([
    [['bench'], 'no program is attached'],
    [['bench', object('flow_counter.bpf.o'), '--engine', 'native'], 'Expected some of wasm,interpreter,kernel'],
    [['bench', object('flow_counter.bpf.o'), '--export', 'report.txt'], 'expected a name that ends with .json, .html, .csv'],
    [['bench', object('flow_counter.bpf.o'), '--expect', 'cycles<3'], 'expected [program.]figure'],
    [['bench', object('flow_counter.bpf.o'), '--to', 'nowhere'], 'expected an IPv4 address and a port'],
    [['bench', object('flow_counter.bpf.o'), '--rss', '4'], "Found '4', expected queues=…, key=…, indirection=…"],
    [['bench', object('flow_counter.bpf.o'), '--rss', 'queues=0'], 'Expected a whole number from 1 to 1024'],
    [['bench', object('flow_counter.bpf.o'), '--rss', 'key=secret'], "key: found 'secret', expected default, symmetric or 80 hexadecimal digits"],
    [['bench', object('flow_counter.bpf.o'), '--rss', 'queues=2,indirection=0:2'], 'indirection: found queue 2, but there are 2'],
    [['bench', object('flow_counter.bpf.o'), '--rss', '--no-balance'], '--no-balance leaves out'],
  ])('%j is wrong usage', async (args, message) => {
    const { status, stderr } = await xdplab(args);
    expect(status).toBe(2);
    expect(stderr).toContain(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });
});
