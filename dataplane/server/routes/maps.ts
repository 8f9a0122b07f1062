/** Maps: read and written while packets run, by the types that the object declares. */
import { Type } from 'typebox';
import type { App } from '../app.ts';
import { HttpProblem } from '../problem.ts';
import { answers, KeyBody, MapContents, MapEntry, MapInfo, nothing, UpdateBody } from '../schemas.ts';
import type { Context } from './context.ts';

const MOST_ENTRIES = 10_000;

export function addMapRoutes(app: App, { host }: Context): void {
  const tags = ['maps'];
  const params = Type.Object({ map: Type.Integer({ minimum: 0 }) });
  const page = Type.Object({ offset: Type.Integer({ minimum: 0, default: 0 }), limit: Type.Integer({ minimum: 1, maximum: MOST_ENTRIES, default: 1000 }) }, { additionalProperties: false });

  app.get('/api/maps', { schema: { summary: 'all maps of the lab', tags, response: answers(200, Type.Object({ maps: Type.Array(MapInfo) })) } }, async () => ({ maps: await host.call('maps') }));

  app.get('/api/maps/:map', { schema: { summary: 'what is in a map', tags, params, querystring: page, response: answers(200, MapContents) } }, async ({ params: { map }, query: { offset, limit } }) => (await host.call('readMap', map, offset, limit)) ?? missing(map));

  app.post('/api/maps/:map/lookup', { schema: { summary: 'the value of a key', tags, params, body: KeyBody, response: answers(200, MapEntry) } }, async ({ params: { map }, body: { key } }) => (await host.call('lookup', map, key)) ?? missingKey(map));

  app.put('/api/maps/:map/entries', { schema: { summary: 'write an entry', description: 'A queue or stack takes no key.', tags, params, body: UpdateBody, response: answers(200, MapEntry) } }, async ({ params: { map }, body: { key, value, flags = 'any' } }) => (await host.call('update', map, key ?? null, value, flags)) ?? missing(map));

  app.delete('/api/maps/:map/entries', { schema: { summary: 'delete an entry', tags, params, body: KeyBody, response: nothing } }, async ({ params: { map }, body: { key } }, reply) => {
    if (!(await host.call('remove', map, key))) missingKey(map);
    return reply.status(204).send();
  });
}

function missing(map: number): never {
  throw new HttpProblem(404, 'ERR_NOT_FOUND', `there is no map ${map}`);
}

function missingKey(map: number): never {
  throw new HttpProblem(404, 'ERR_NOT_FOUND', `map ${map} does not have that key`);
}
