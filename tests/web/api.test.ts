/** What the page says of requests that get no answer. */
import { afterEach, expect, test, vi } from 'vitest';
import { api, Problem } from '../../web/src/api.ts';

afterEach(() => vi.unstubAllGlobals());

const failed = (): Promise<never> => Promise.reject(new TypeError('Failed to fetch'));
const cut = (): Promise<Response> => Promise.resolve(new Response(new ReadableStream({ pull: (controller) => controller.error(new TypeError('network error')) })));

test.each([
  ['what was asked for', failed, () => api.statistics(), 'GET /api/statistics: the connection to the server was lost; see whether xdplab serve still runs, then try again'],
  ['an answer that is cut', cut, () => api.statistics(), 'GET /api/statistics: the connection to the server was lost; see whether xdplab serve still runs, then try again'],
  ['what was to be done', failed, () => api.control('r1', 'pause'), 'POST /api/runs/r1/pause: the connection to the server was lost, and whether that was done is not known; see whether xdplab serve still runs, then try again'],
  ['a file', failed, () => api.uploadCapture(new File(['bytes'], 'a.pcap')), 'POST /api/captures?name=a.pcap: the connection to the server was lost, or the file has changed since it was chosen, and whether that was done is not known; see whether xdplab serve still runs, then try again'],
] as const)('of %s, that the connection was lost and what to do', async (_what, fetch, request, message) => {
  vi.stubGlobal('fetch', fetch);
  await expect(request()).rejects.toThrow(message);
});

test("an answer that says what is wrong is the server's own", async () => {
  vi.stubGlobal('fetch', () => Promise.resolve(Response.json({ detail: 'r9: there is no such run' }, { status: 404 })));
  await expect(api.control('r9', 'stop')).rejects.toEqual(new Problem(404, 'r9: there is no such run'));
});
