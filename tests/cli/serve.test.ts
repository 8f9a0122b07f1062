/** `xdplab serve` on the command line: what it prints, what it refuses. What it serves is in tests/server. */
import { get } from 'node:http';
import { createServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import { Served } from '../server/served.ts';
import { ended, object, start, trace, xdplab } from './run-cli.ts';

test('prints one address on standard output, with a token that is new each time', async () => {
  const printed: string[] = [];
  for (let turn = 0; turn < 2; turn++) {
    const child = start(['serve', '--port', '0']);
    child.stdout.once('data', () => child.kill('SIGTERM'));
    const { status, stdout, stderr } = await ended(child);
    expect({ status, stderr }).toEqual({ status: 130, stderr: 'The address lets whoever has it in. Ctrl-C ends the server.\n' });
    printed.push(stdout);
  }
  const [first, second] = printed.map((line) => /^Open http:\/\/127\.0\.0\.1:\d+\/#token=([\w-]{43})\n$/.exec(line)?.[1]);
  expect(first).toBeDefined();
  expect(second).toBeDefined();
  expect(first).not.toBe(second);
});

test('replays its capture as it is told', async () => {
  const served = await Served.start(['--capture', trace('imix.pcap'), '--xdp', object('flow_counter.bpf.o'), '--speed', '2x', '--loop', '3', '--paused']);
  expect(await served.expect(200, 'GET', '/api/runs/r1')).toMatchObject({ state: 'paused', speed: '2x', loops: 3, totalPackets: 400 });
  expect(await served.expect(200, 'GET', '/api/lab')).toMatchObject({ name: 'lab', attachments: [{ device: 'eth0', hook: 'xdp', program: 'flow_counter', object: 'o1' }] });
  await served.stop();
});

test('on another address it says what that means, and is known by the names that it was given', async () => {
  const child = start(['serve', '--port', '0', '--listen', '0.0.0.0', '--host-name', 'lab.example']);
  const printed = await new Promise<string>((resolve) => child.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString())));
  const [, port] = /http:\/\/lab\.example:(\d+)\//.exec(printed) ?? [];
  const statusOf = (host: string): Promise<number | undefined> => new Promise((resolve, reject) => get({ host: '127.0.0.1', port, headers: { host } }, ({ statusCode }) => resolve(statusCode)).on('error', reject));
  expect([await statusOf(`lab.example:${port}`), await statusOf(`127.0.0.1:${port}`), await statusOf(`other.example:${port}`)]).toEqual([200, 200, 421]);
  child.kill('SIGINT');
  expect((await ended(child)).stderr).toContain('Listening on 0.0.0.0: other machines can reach this, and nothing is encrypted');
});

describe('one line says what is wrong with', () => {
  test.each([
    ['a capture that is not there', ['--capture', 'no.pcap'], 1, 'no.pcap: there is no such file'],
    ['a capture that is none', ['--capture', object('demo.yaml')], 1, 'demo.yaml: found first bytes'],
    ['a lab file that is not there', ['--lab', 'no.yaml'], 1, 'no.yaml: there is no such file'],
    ['an object that is none', ['--xdp', object('demo.yaml')], 1, 'demo.yaml: '],
    ['a pace', ['--speed', 'fast'], 2, '--speed fast: expected top, original, <n>x or <n>pps'],
    ['a port', ['--port', '70000'], 2, 'Expected a whole number from 0 to 65535'],
    ['the kernel as an engine', ['--engine', 'kernel'], 2, 'what is uploaded would be loaded into the running Linux; use replay --engine kernel'],
    ['an address', ['--port', '0', '--listen', '192.0.2.1'], 2, '192.0.2.1:0: this machine does not have that address; choose another --listen'],
  ])('%s', async (_what, args, status, message) => {
    const run = await xdplab(['serve', ...args]);
    expect(run).toMatchObject({ status, stdout: '' });
    expect(run.stderr).toContain(message);
    expect(run.stderr.trimEnd().split('\n').length).toBe(1);
  });

  test('a port that is taken', async () => {
    const other = createServer();
    const port = await new Promise<number>((resolve) => other.listen(0, '127.0.0.1', () => resolve((other.address() as { port: number }).port)));
    const run = await xdplab(['serve', '--port', String(port)]);
    other.close();
    expect(run).toMatchObject({ status: 2, stderr: `xdplab: 127.0.0.1:${port}: another program listens there; choose another --port\n` });
  });
});

describe('replay', () => {
  test('says how to open the same in a browser, to who has started it by npm in its words', async () => {
    const args = ['replay', trace('imix.pcap'), '--xdp', object('flow_counter.bpf.o')];
    const lastLine = ({ stdout }: { readonly stdout: string }): string | undefined => stdout.trimEnd().split('\n').at(-1);
    expect(lastLine(await xdplab(args))).toBe('Open it in a browser: the same command with --serve');
    expect(lastLine(await xdplab(args, { env: { npm_lifecycle_event: 'start' } }))).toBe('Open it in a browser: npm start -- --serve, or npm run serve');
  });

  test('--serve listens where --port says, which is nothing without it', async () => {
    const other = createServer();
    const port = await new Promise<number>((resolve) => other.listen(0, '127.0.0.1', () => resolve((other.address() as { port: number }).port)));
    const args = ['replay', trace('imix.pcap'), '--xdp', object('flow_counter.bpf.o'), '--port', String(port)];
    expect(await xdplab([...args, '--serve'])).toMatchObject({ status: 2, stderr: `xdplab: 127.0.0.1:${port}: another program listens there; choose another --port\n` });
    other.close();
    const served = await Served.startWith([...args, '--serve']);
    expect(served.host).toBe(`127.0.0.1:${port}`);
    await served.stop();
    expect(await xdplab(args)).toMatchObject({ status: 2, stdout: '', stderr: `xdplab: --port ${port}: nothing listens without --serve; add it, or leave --port out\n` });
  });

  test('--serve opens the lab with the capture running at its own pace, or as it is told', async () => {
    const args = ['replay', trace('imix.pcap'), '--xdp', object('flow_counter.bpf.o'), '--serve'];
    const served = await Served.startWith([...args, '--speed', '1pps']);
    expect(await served.expect(200, 'GET', '/api/runs/r1')).toMatchObject({ state: 'running', speed: '1pps', loops: null, totalPackets: 400 });
    expect(await served.expect(200, 'GET', '/api/lab')).toMatchObject({ attachments: [{ hook: 'xdp', program: 'flow_counter' }] });
    await served.stop();
    const { status, stderr } = await xdplab([...args, '--json']);
    expect([status, stderr]).toEqual([2, expect.stringContaining("'--serve' cannot be used with option '--json'")]);
    expect(await xdplab(['replay', '-', '--serve'])).toMatchObject({ status: 2, stderr: 'xdplab: standard input cannot be gone back in, as a server lets you; write it to a file first\n' });
  });
});
