/** The page's files: given to whoever asks at the right address, and nothing beside them. */
import { mkdirSync, symlinkSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startServer, type RunningServer } from '../../dataplane/server/server.ts';
import { Scratch } from '../cli/run-cli.ts';

const scratch = new Scratch();
let server: RunningServer;
beforeAll(async () => {
  mkdirSync(scratch.at('page/assets'), { recursive: true });
  scratch.file('page/index.html', '<!doctype html><title>the page</title>');
  scratch.file('page/assets/main.js', 'console.log(1)');
  scratch.file('page/.env', 'SECRET=1');
  scratch.file('secret.txt', 'secret');
  symlinkSync(scratch.at('nothing-there'), scratch.at('page/broken'));
  server = await startServer({ sources: {}, proofsPath: scratch.at('proofs'), address: '127.0.0.1', port: 0, hostNames: [], page: scratch.at('page'), version: '1', mostUploadBytes: 1 << 20 });
}, 60_000);
afterAll(async () => {
  await server.close();
  scratch.remove();
});

const ask = (path: string, headers: Record<string, string> = {}): Promise<Response> => fetch(`${server.origin}${path}`, { headers });

test('is given without a token, with what browsers have to know', async () => {
  const page = await ask('/');
  expect([page.status, page.headers.get('content-type'), await page.text()]).toEqual([200, 'text/html; charset=utf-8', '<!doctype html><title>the page</title>']);
  expect(page.headers.get('content-security-policy')).toContain("default-src 'self'");
  expect((await ask('/assets/main.js')).headers.get('content-type')).toBe('application/javascript; charset=utf-8');
});

test.each(['/.env', '/assets/', '/assets', '/broken', '/secret.txt', '/..%2fsecret.txt', '/assets/..%2f..%2fsecret.txt', '/%2e%2e/secret.txt', '/assets/%00', '/index.html%00.js'])('%s is not', async (path) => {
  const answer = await ask(path);
  expect(answer.status).toBeGreaterThanOrEqual(400);
  expect(answer.status).toBeLessThan(500);
  expect(await answer.text()).not.toMatch(/secret$|SECRET/);
});

test('an upload that is larger than there is room for is refused, and leaves nothing', async () => {
  const authorization = `Bearer ${server.token}`;
  const answer = await fetch(`${server.origin}/api/captures?name=big.pcap`, { method: 'POST', headers: { authorization, 'content-type': 'application/octet-stream' }, body: new Uint8Array((1 << 20) + 1) }).then(({ status }) => status, () => 413);
  expect(answer).toBe(413);
  expect(await (await ask('/api/captures', { authorization })).json()).toEqual({ captures: [] });
});
