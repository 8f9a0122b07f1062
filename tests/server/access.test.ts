/** Who may not: every route against everything that a page, a stranger or a fool may send. One answer of 4xx each, and the server goes on. */
import { connect } from 'node:net';
import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { object } from '../cli/run-cli.ts';
import { Listener, Served, type AskOptions } from './served.ts';

interface Route {
  readonly method: string;
  readonly path: string;
  /** What it takes, undefined where it takes nothing. */
  readonly takes: string | undefined;
}

interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly requestBody?: { readonly content: Readonly<Record<string, unknown>> } }>>>>;
}

/** Real things, so that a request that got through would do something. */
const EXAMPLES: Readonly<Record<string, string>> = { object: 'o1', capture: 'c1', run: 'r1', map: '1', index: '0', program: 'xdp_firewall' };

let served: Served;
let routes: readonly Route[];
beforeAll(async () => {
  served = await Served.start();
  const { paths } = await served.expect<OpenApi>(200, 'GET', '/api/openapi.json');
  routes = [
    ...Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { requestBody }]) => ({ method: method.toUpperCase(), path: path.replaceAll(/\{(\w+)\}/g, (_, name: string) => EXAMPLES[name]!), takes: Object.keys(requestBody?.content ?? {})[0] })),
    ),
    ...['/api/openapi.json', '/api/docs', '/api/docs.css'].map((path) => ({ method: 'GET', path, takes: undefined })),
  ];
}, 60_000);
afterAll(() => served.stop());

const everyRoute = async (ask: (route: Route) => Promise<number>, isMeant: (route: Route) => boolean = () => true): Promise<Record<string, number>> => {
  const found: Record<string, number> = {};
  for (const route of routes.filter(isMeant)) found[`${route.method} ${route.path}`] = await ask(route);
  expect(Object.keys(found).length).toBeGreaterThan(0);
  return found;
};
const status = async ({ method, path }: Route, options: AskOptions): Promise<number> => (await served.ask(method, path, options)).status;
const others = (found: Record<string, number>, expected: number): string[] => Object.entries(found).filter(([, got]) => got !== expected).map(([route, got]) => `${route}: ${got}`);
const isWayIn = ({ method, path }: Route): boolean => `${method} ${path}` === 'POST /api/session';
const needsToken = (route: Route): boolean => !isWayIn(route);
const withType = ({ takes }: Route): Record<string, string> => (takes === undefined ? {} : { 'content-type': takes });

describe('every route refuses', () => {
  test.each(['evil.example', 'evil.example:80', '127.0.0.1', '127.0.0.1:1', '127.0.0.1.evil.example', 'localhost.:1', '[::1]'])('the host %j', async (host) => {
    expect(others(await everyRoute((route) => status(route, { headers: { host } })), 421)).toEqual([]);
  });

  test.each(['http://evil.example', 'null', 'http://127.0.0.1', 'http://localhost:1', 'file://', 'chrome-extension://abc'])('the origin %s, with the token too', async (origin) => {
    expect(others(await everyRoute((route) => status(route, { headers: { origin } })), 403)).toEqual([]);
  });

  test.each([
    ['no token', {}],
    ['a wrong token', { authorization: `Bearer ${'A'.repeat(43)}` }],
    ['a token of another kind', { authorization: 'Basic eDp5' }],
    ['an empty token', { authorization: 'Bearer ' }],
    ['a cookie that it did not give', { cookie: 'xdplab=1; xdplab_1=2' }],
  ])('%s', async (_what, headers) => {
    expect(others(await everyRoute((route) => status(route, { anonymous: true, headers: headers as Record<string, string> }), needsToken), 401)).toEqual([]);
  });

  test.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'text/html', 'application/json\t; x', ' ', 'application/jsonp'])('a body of type %j', async (type) => {
    const found = await everyRoute((route) => status(route, { headers: { 'content-type': type }, body: '{}' }), ({ takes }) => takes !== undefined);
    expect(Object.entries(found).filter(([, got]) => got !== 415 && got !== 400)).toEqual([]);
  });

  test.each([
    ['__proto__', '{"__proto__":{"x":1}}'],
    ['constructor', '{"constructor":{"prototype":{"x":1}}}'],
    ['a field that it does not know', '{"surprise":1}'],
    ['half a body', '{"key":'],
    ['a list', '[]'],
    ['nothing but null', 'null'],
  ])('JSON with %s', async (_what, body) => {
    const found = await everyRoute((route) => status(route, { headers: withType(route), body }), ({ takes }) => takes === 'application/json');
    expect(others(found, 400)).toEqual([]);
  });

  test('more JSON than 64 KiB', async () => {
    const body = JSON.stringify({ token: 'x'.repeat(1 << 17) });
    expect(others(await everyRoute((route) => status(route, { headers: withType(route), body }).catch(() => 413), ({ takes }) => takes === 'application/json'), 413)).toEqual([]);
  });

  test.each(['../../etc/passwd', '..%2f..%2fetc%2fpasswd', '%2e%2e', 'o1%00', 'O1', '%EF%BC%91', 'o1;x', 'o99999999999999999999', '-1', '1.5', '1e1', '__proto__', 'constructor', "'", '%0d%0aX:1'])('the id %s', async (id) => {
    const { paths } = await served.expect<OpenApi>(200, 'GET', '/api/openapi.json');
    const found: Record<string, number> = {};
    for (const [path, methods] of Object.entries(paths)) {
      const [first] = /\{(object|capture|run|map|index)\}/.exec(path) ?? [];
      if (first === undefined) continue;
      for (const method of Object.keys(methods)) found[`${method} ${path}`] = (await served.ask(method.toUpperCase(), path.replace(first, id).replaceAll(/\{\w+\}/g, 'x'))).status;
    }
    expect(Object.entries(found).filter(([, got]) => got < 400 || got >= 500)).toEqual([]);
  });

  test('what it does not have, without saying more to a stranger', async () => {
    expect((await served.ask('GET', '/api/nothing')).status).toBe(404);
    expect((await served.ask('GET', '/api/nothing', { anonymous: true })).status).toBe(401);
    expect((await served.ask('PATCH', '/api/lab')).status).toBe(404);
  });
});

test.each(['/%61pi/lab', '/api%2flab', '//api/lab', '/./api/lab', '/x/../api/lab', '/API/lab', '/api;/lab', '/api/lab/', '/api/%6cab', '/%', '/%c0%ae%c0%ae/api/lab'])('no spelling leads around the token: %s', async (path) => {
  const { status: got, text } = await served.ask('GET', path, { anonymous: true });
  expect(got).toBeGreaterThanOrEqual(400);
  expect(got).toBeLessThan(500);
  expect(text).not.toContain('eth0');
});

test.each(['/package.json', '/../package.json', '/..%2fpackage.json', '/%2e%2e/%2e%2e/package.json', '/.git/config', '/server.js', '/etc/passwd'])('no file but the page is given away: %s', async (path) => {
  expect((await served.ask('GET', path)).status).toBeGreaterThanOrEqual(400);
});

describe('the cookie', () => {
  const getIn = async (): Promise<string> => {
    const { headers } = await served.ask('POST', '/api/session', { anonymous: true, headers: { origin: served.origin }, body: { token: served.token } });
    return headers['set-cookie']![0]!;
  };
  const cookieOf = (header: string): string => header.split(';')[0]!;

  test('is given for the token alone, and no script can read it', async () => {
    expect(await getIn()).toMatch(/^xdplab_\d+=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict$/);
    const { status: got, headers } = await served.ask('POST', '/api/session', { anonymous: true, body: { token: 'wrong' } });
    expect([got, headers['set-cookie']]).toEqual([401, undefined]);
  });

  test('is enough to read; to change something, the request has to come from the page itself', async () => {
    const cookie = cookieOf(await getIn());
    const ask = async (method: string, path: string, headers: Record<string, string>): Promise<number> => (await served.ask(method, path, { anonymous: true, headers: { cookie, ...headers } })).status;
    expect(await ask('GET', '/api/lab', {})).toBe(200);
    expect(await ask('POST', '/api/lab/reset', {})).toBe(403);
    expect(await ask('POST', '/api/lab/reset', { origin: 'http://evil.example' })).toBe(403);
    expect(await ask('POST', '/api/lab/reset', { origin: served.origin })).toBe(200);
  });

  test('is worth nothing after its session was closed', async () => {
    const cookie = cookieOf(await getIn());
    const close = await served.ask('DELETE', '/api/session', { anonymous: true, headers: { cookie, origin: served.origin } });
    expect([close.status, close.headers['set-cookie']![0]]).toEqual([204, expect.stringContaining('Max-Age=0')]);
    expect((await served.ask('GET', '/api/lab', { anonymous: true, headers: { cookie } })).status).toBe(401);
  });
});

describe('the stream refuses', () => {
  const knock = (options: { readonly path?: string; readonly headers?: Record<string, string>; readonly protocol?: string }): Promise<number> =>
    new Promise((resolve, reject) => {
      const { path = '/api/stream', headers = {}, protocol = 'xdplab.json.v1' } = options;
      const socket = new WebSocket(`${served.origin.replace('http', 'ws')}${path}`, protocol, { headers });
      socket.on('unexpected-response', (_request, response) => resolve(response.statusCode!));
      socket.on('open', () => {
        socket.terminate();
        resolve(101);
      });
      socket.on('error', reject);
    });
  const authorization = (): string => `Bearer ${served.token}`;

  test('strangers, other pages, other hosts, other places and other protocols', async () => {
    expect(await knock({})).toBe(401);
    expect(await knock({ headers: { authorization: 'Bearer x' } })).toBe(401);
    expect(await knock({ headers: { authorization: authorization(), origin: 'http://evil.example' } })).toBe(403);
    expect(await knock({ headers: { authorization: authorization(), host: 'evil.example' } })).toBe(421);
    expect(await knock({ headers: { authorization: authorization() }, path: '/api/other' })).toBe(404);
    expect(await knock({ headers: { authorization: authorization() }, protocol: 'xdplab.v9' })).toBe(400);
    expect(await knock({ headers: { authorization: authorization(), origin: served.origin } })).toBe(101);
  });

  test('the cookie without the origin of the page', async () => {
    const { headers } = await served.ask('POST', '/api/session', { anonymous: true, body: { token: served.token } });
    const cookie = headers['set-cookie']![0]!.split(';')[0]!;
    expect(await knock({ headers: { cookie } })).toBe(403);
    expect(await knock({ headers: { cookie, origin: served.origin } })).toBe(101);
  });

  test.each([
    ['text that is no JSON', '{', 'the message is not JSON'],
    ['another type', '{"type":"give"}', "found type 'give' and topic 'undefined', expected one of subscribe verdicts"],
    ['a field that it does not know', '{"type":"subscribe","topic":"verdicts","all":true}', 'all: there is no such field'],
    ['__proto__', '{"type":"subscribe","topic":"statistics","__proto__":{"x":1}}', '__proto__: there is no such field'],
    ['a sample of none', '{"type":"subscribe","topic":"verdicts","sample":{"oneOf":0}}', 'sample'],
    ['a verdict that there is not', '{"type":"subscribe","topic":"verdicts","filter":{"verdict":["XDP_MAYBE"]}}', "filter.verdict: found 'XDP_MAYBE', expected one of XDP_ABORTED, XDP_DROP"],
  ])('%s, and stays open', async (_what, text, detail) => {
    const listener = new Listener(served);
    await listener.message('welcome');
    listener.socket.send(text);
    expect((await listener.message('error'))['detail']).toContain(detail);
    listener.say({ type: 'subscribe', topic: 'trace' });
    expect(await listener.message('subscribed')).toMatchObject({ topic: 'trace', from: 0 });
    listener.close();
  });

  test('messages that are too long or too many, by closing', async () => {
    const long = new Listener(served);
    await long.message('welcome');
    long.socket.send('x'.repeat(1 << 17));
    await expect(long.message('never')).rejects.toThrow('the connection was closed: 1009');
    const chatty = new Listener(served);
    await chatty.message('welcome');
    for (let index = 0; index < 200; index++) chatty.say({ type: 'unsubscribe', topic: 'trace' });
    await expect(chatty.message('never')).rejects.toThrow('the connection was closed: 1008 too many messages');
  });
});

describe('what is no request that a route could answer is a problem too, and the connection ends:', () => {
  const say = (text: string): Promise<string> =>
    new Promise((resolve) => {
      const socket = connect(Number(new URL(served.origin).port), '127.0.0.1', () => socket.write(text));
      let said = '';
      socket.on('data', (chunk: Buffer) => (said += chunk.toString()));
      socket.on('error', () => {});
      socket.on('close', () => resolve(said));
    });
  const head = (line: string, ...more: readonly string[]): string => [`${line} HTTP/1.1`, `Host: ${served.host}`, 'Connection: close', `Authorization: Bearer ${served.token}`, ...more, '', ''].join('\r\n');

  test.each([
    ['bytes that are no HTTP', () => '\u0016\u0003\u0001 hello\r\n\r\n', 400, 'found bytes that are no HTTP request'],
    ['a request line that is none', () => 'GIVE ME EVERYTHING\r\n\r\n', 400, 'found bytes that are no HTTP request'],
    ['a body without a length', () => `${head('DELETE /api/maps/999/entries', 'Content-Type: application/json').replace('close', 'keep-alive')}{"key":1}`, 400, 'it needs a Content-Length'],
    ['headers that are too long', () => head('GET /api', `X-Long: ${'x'.repeat(20_000)}`), 431, 'the headers of the request come to more than 16384 bytes'],
    ['no host', () => 'GET /api HTTP/1.1\r\nConnection: close\r\n\r\n', 421, 'the Host header does not name this server'],
    ['an address that is not well encoded', () => head('GET /%zz'), 400, ''],
    ['a parameter that is too long', () => head(`GET /api/runs/${'r'.repeat(300)}`), 404, 'there is no GET /api/runs/rrr'],
    ['an expectation', () => head('GET /api', 'Expect: wonders'), 417, 'only 100-continue'],
    ['CONNECT', () => head('CONNECT example:443'), 405, 'no proxy'],
    ['a method that there is not', () => head('PROPFIND /api'), 404, 'there is no PROPFIND /api'],
    ['a body that is half', () => head('POST /api/runs', 'Content-Type: application/json', 'Content-Length: 4') + '{"a"', 400, ''],
    ['a type that is none', () => head('POST /api/runs', 'Content-Type: ;;', 'Content-Length: 2') + '{}', 415, 'the content-type of the body'],
  ])('%s', async (_what, text, status, detail) => {
    const said = await say(text());
    expect(said).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(said.toLowerCase()).toContain('\r\ncontent-type: application/problem+json');
    const problem = JSON.parse(said.split('\r\n\r\n').at(-1)!) as { readonly code: string; readonly detail: string };
    expect(problem).toMatchObject({ type: 'about:blank', status, title: expect.not.stringMatching(/^Error$/), code: expect.stringMatching(/^ERR_/), detail: expect.stringContaining(detail) });
  });
});

test('a connection that is reset, or stays open, while it is refused does no harm', async () => {
  const port = Number(new URL(served.origin).port);
  const reset = connect(port, '127.0.0.1', () => reset.write(`CONNECT example:443 HTTP/1.1\r\nHost: ${served.host}\r\n\r\n`, () => reset.resetAndDestroy()));
  reset.on('error', () => {});
  const ended = new Promise<void>((resolve) => {
    const half = connect({ port, host: '127.0.0.1', allowHalfOpen: true }, () => half.write('no HTTP\r\n\r\n'));
    half.resume();
    half.on('close', resolve);
    half.on('error', () => {});
    // This end stays open; writing to it says whether the other one is.
    half.on('end', () => void setInterval(() => half.write('?'), 200).unref());
  });
  await ended;
  expect((await fetch(`${served.origin}/`)).status).toBe(200);
});

test('what is uploaded gets a name of the server, whatever it is called', async () => {
  const folder = readdirSync(tmpdir()).filter((name) => name.startsWith('xdplab-'));
  const evil = '../../../evil\u001b[31m<script>.pcap';
  const capture = await served.upload<{ id: string; name: string }>('captures', evil, readFileSync(new URL('../../traces/imix.pcap', import.meta.url)));
  expect(capture).toMatchObject({ id: expect.stringMatching(/^c\d+$/), name: evil });
  expect(readdirSync(tmpdir()).filter((name) => name.includes('evil'))).toEqual([]);
  expect(folder.length).toBeGreaterThan(0);
});

test('answers say to browsers what they must not do with them', async () => {
  const { headers } = await served.ask('GET', '/', { anonymous: true });
  expect(headers).toMatchObject({
    'content-security-policy': expect.stringContaining("default-src 'self'; connect-src 'self'"),
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
  });
  expect(headers['access-control-allow-origin']).toBeUndefined();
  expect((await served.ask('GET', '/api/lab')).headers['cache-control']).toBe('no-store');
});

test('after all of that the lab is as it was', async () => {
  expect(await served.expect(200, 'GET', '/api/lab')).toMatchObject({ name: 'demo.yaml', attachments: [{ program: 'xdp_firewall' }, {}, {}, {}] });
  expect(await served.expect(200, 'GET', '/api/objects/o1')).toMatchObject({ sizeBytes: readFileSync(object('xdp_firewall.bpf.o')).length });
});
