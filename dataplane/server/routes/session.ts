/** The way in, and what this server is. */
import type { App } from '../app.ts';
import { MOST_OBJECT_BYTES } from '../object-store.ts';
import { HttpProblem } from '../problem.ts';
import { answers, ApiInfo, nothing, TokenBody } from '../schemas.ts';
import { MOST_CLIENTS, STREAM_PATH } from '../stream.ts';
import { MOST_SNAP_BYTES } from '../verdict-ring.ts';
import type { Context } from './context.ts';

export function addSessionRoutes(app: App, { access, live, version, mostUploadBytes }: Context): void {
  app.post('/api/session', { schema: { summary: 'exchange the token for a cookie', tags: ['session'], body: TokenBody, response: nothing } }, async ({ body }, reply) => {
    if (!access.isToken(body.token)) throw new HttpProblem(401, 'ERR_TOKEN', 'the token is not of this start; open the address that xdplab serve has printed');
    return reply.header('set-cookie', access.openSession()).status(204).send();
  });

  app.delete('/api/session', { schema: { summary: 'make the cookie worthless', tags: ['session'], response: nothing } }, async ({ headers }, reply) => reply.header('set-cookie', access.closeSession(headers)).status(204).send());

  app.get('/api', { schema: { summary: 'what this is', tags: ['session'], response: answers(200, ApiInfo) } }, async () => ({
    name: 'xdplab',
    version,
    stream: STREAM_PATH,
    live: live === undefined ? null : { interface: live.interface, attach: live.allowAttach === true, ...(live.allowInline === undefined ? {} : { to: live.allowInline }) },
    limits: { objectBytes: MOST_OBJECT_BYTES, captureBytes: mostUploadBytes, clients: MOST_CLIENTS, snapBytes: MOST_SNAP_BYTES },
  }));
}
