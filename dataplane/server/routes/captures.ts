/** Captures: upload and list. */
import { Readable } from 'node:stream';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { BYTES, type App } from '../app.ts';
import type { StoredCapture } from '../capture-store.ts';
import { HttpProblem } from '../problem.ts';
import { answers, Capture, Id, NameQuery, nothing } from '../schemas.ts';
import type { Context } from './context.ts';

export function addCaptureRoutes(app: App, { captures, runs, mostUploadBytes }: Context): void {
  const tags = ['captures'];
  const params = Type.Object({ capture: Id });
  const info = ({ path: _path, ...capture }: StoredCapture): Omit<StoredCapture, 'path'> => capture;

  app.get('/api/captures', { schema: { summary: 'all captures', tags, response: answers(200, Type.Object({ captures: Type.Array(Capture) })) } }, async () => ({ captures: captures.all.map(info) }));

  void app.register(async (plain) => {
    const scope = plain.withTypeProvider<TypeBoxTypeProvider>();
    // Not read into memory: the store reads it.
    scope.addContentTypeParser(BYTES, (_request, payload, done) => done(null, payload));
    scope.post('/api/captures', { bodyLimit: mostUploadBytes, schema: { summary: 'upload a capture', tags, consumes: [BYTES], querystring: NameQuery, response: answers(201, Capture) } }, async ({ query, body }, reply) => {
      if (!(body instanceof Readable)) throw new HttpProblem(415, 'ERR_CONTENT_TYPE', `expected a capture as ${BYTES}`);
      return reply.status(201).send(info(await captures.upload(query.name, body)));
    });
  });

  app.get('/api/captures/:capture', { schema: { summary: 'one capture', tags, params, response: answers(200, Capture) } }, async ({ params: { capture } }) => info(captures.get(capture)));

  app.delete('/api/captures/:capture', { schema: { summary: 'forget a capture', tags, params, response: nothing } }, async ({ params: { capture } }, reply) => {
    const { id } = captures.get(capture);
    const { open } = runs;
    if (open !== undefined && 'capture' in open && open.capture === id) throw new HttpProblem(409, 'ERR_BUSY', `run ${open.id} reads it; stop it first`);
    await captures.delete(capture);
    return reply.status(204).send();
  });
}
