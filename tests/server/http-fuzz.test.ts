/** Whatever is sent to whatever route: an answer below 500, and the server goes on. */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Served } from './served.ts';

interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

let served: Served;
let routes: readonly { readonly method: string; readonly path: string }[];
beforeAll(async () => {
  served = await Served.start();
  const { paths } = await served.expect<OpenApi>(200, 'GET', '/api/openapi.json');
  routes = Object.entries(paths).flatMap(([path, methods]) => Object.keys(methods).map((method) => ({ method: method.toUpperCase(), path })));
}, 60_000);
afterAll(() => served.stop());

/** Names that routes know, so that many requests get past the first check. */
const key = fc.constantFrom('key', 'value', 'capture', 'object', 'hook', 'program', 'device', 'with', 'packet', 'speed', 'token', 'loops', 'interface', 'unverified', 'flags');
const leaf = fc.oneof(fc.constantFrom<unknown>('xdp', 'o1', 'o2', 'c1', 'eth0', 'top', '1pps', 'any', '10.0.0.0/8', -1, 0, 1, 1e300, true, null), fc.string(), fc.double(), fc.bigInt().map(String));
const json = fc.dictionary(key, fc.oneof(leaf, fc.array(leaf, { maxLength: 4 }), fc.dictionary(key, leaf, { maxKeys: 3 })), { maxKeys: 4 });
const body = fc.oneof({ weight: 6, arbitrary: json.map((value) => Buffer.from(JSON.stringify(value))) }, { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)) });
const type = fc.constantFrom('application/json', 'application/octet-stream', 'application/yaml');
const id = fc.oneof(fc.constantFrom('o1', 'o2', 'c1', 'r1', '1', '2', '5', '0', 'xdp_firewall'), fc.string({ minLength: 1, maxLength: 8 }).map(encodeURIComponent));

test('nothing that is sent to a route is a mistake of ours', { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.array(id, { minLength: 2, maxLength: 2 }), type, body, fc.webQueryParameters(), async (choice, ids, contentType, bytes, query) => {
      const { method, path } = routes[choice % routes.length]!;
      const rest = [...ids];
      const target = `${path.replaceAll(/\{\w+\}/g, () => rest.shift() ?? 'x')}${query === '' ? '' : `?name=x&${query}`}`;
      const { status, text } = await served.ask(method, target, method === 'GET' ? {} : { body: bytes, headers: { 'content-type': contentType } });
      if (status >= 500) throw new Error(`${method} ${target}: ${status} ${text}`);
      expect(text).not.toMatch(/\/tmp\/|node_modules| {4}at /);
    }),
    { numRuns: 400 },
  );
  expect((await served.ask('GET', '/api/lab')).status).toBe(200);
});
