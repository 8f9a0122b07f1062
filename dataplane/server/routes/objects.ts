/** Objects: upload, look into, verify. */
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { BYTES, type App } from '../app.ts';
import { MOST_OBJECT_BYTES, type StoredObject } from '../object-store.ts';
import { answers, Id, NameQuery, nothing, ObjectInfo, Problem, Program, ProgramCounts, ProgramName, Verification } from '../schemas.ts';
import { HttpProblem } from '../problem.ts';
import type { Context } from './context.ts';

export function addObjectRoutes(app: App, { host, jobs, objects }: Context): void {
  const tags = ['objects'];
  const params = Type.Object({ object: Id });
  const programParams = Type.Object({ object: Id, program: ProgramName });

  const inLab = async (): Promise<ReadonlySet<string>> => new Set((await host.call('describe')).objects.map(({ id }) => id));
  const info = ({ file, description: { license, programs, maps } }: StoredObject, ids: ReadonlySet<string>) => ({ id: file.id, name: file.name, sizeBytes: file.bytes.length, license, inLab: ids.has(file.id), programs, maps });

  /** An object that has such a program. */
  const withProgram = (id: string, program: string): StoredObject => {
    const object = objects.get(id);
    const names = object.description.programs.map(({ name }) => name);
    if (!names.includes(program)) throw new HttpProblem(404, 'ERR_NOT_FOUND', `${object.file.name}: there is no program '${program}', expected one of ${names.join(', ')}`);
    return object;
  };

  app.get('/api/objects', { schema: { summary: 'all objects', tags, response: answers(200, Type.Object({ objects: Type.Array(ObjectInfo) })) } }, async () => {
    const ids = await inLab();
    return { objects: objects.all.map((object) => info(object, ids)) };
  });

  void app.register(async (plain) => {
    const scope = plain.withTypeProvider<TypeBoxTypeProvider>();
    scope.addContentTypeParser(BYTES, { parseAs: 'buffer', bodyLimit: MOST_OBJECT_BYTES }, (_request, body, done) => done(null, body));
    scope.post('/api/objects', { bodyLimit: MOST_OBJECT_BYTES, schema: { summary: 'upload an object file', tags, consumes: [BYTES], querystring: NameQuery, response: answers(201, ObjectInfo) } }, async ({ query, body }, reply) => {
      const bytes = Buffer.isBuffer(body) ? body : Buffer.alloc(0);
      return reply.status(201).send(info(await objects.add(query.name, bytes), new Set()));
    });
  });

  app.get('/api/objects/:object', { schema: { summary: 'one object', tags, params, response: answers(200, ObjectInfo) } }, async ({ params: { object } }) => info(objects.get(object), await inLab()));

  app.delete('/api/objects/:object', { schema: { summary: 'forget an object, and take it out of the lab', tags, params, response: nothing } }, async ({ params: { object } }, reply) => {
    await host.call('unload', objects.get(object).file.id);
    objects.delete(object);
    return reply.status(204).send();
  });

  app.get('/api/objects/:object/programs/:program', { schema: { summary: 'instructions and C lines', tags, params: programParams, response: answers(200, Program) } }, async ({ params: { object, program } }) => {
    const { file } = withProgram(object, program);
    return { object, ...(await jobs.run(file.name, (call) => call('list', file, program))) };
  });

  app.get(
    '/api/objects/:object/programs/:program/wat',
    { schema: { summary: 'what it is compiled to, as WebAssembly text', tags, params: programParams, produces: ['text/plain'], response: { 200: Type.String(), '4xx': Problem, '5xx': Problem } } },
    async ({ params: { object, program } }, reply) => {
      const { file } = withProgram(object, program);
      return reply.type('text/plain; charset=utf-8').serializer(String).send(await jobs.run(file.name, (call) => call('wat', file, program)));
    },
  );

  app.get(
    '/api/objects/:object/programs/:program/verification',
    { schema: { summary: 'whether Linux would load it, and if not, why', tags, params: programParams, querystring: Type.Object({ unprivileged: Type.Boolean({ default: false, description: 'loaded by whoever may do least among those whom Linux lets load it: XDP and TC programs without CAP_PERFMON, others without any capability' }) }, { additionalProperties: false }), response: answers(200, Verification) } },
    async ({ params: { object, program }, query }) => objects.verify(withProgram(object, program), program, query.unprivileged),
  );

  app.get(
    '/api/objects/:object/programs/:program/counts',
    { schema: { summary: 'how often each instruction and each C line ran', description: 'In a sample of the packets that run while somebody asks: counting begins with the first request, and ends five seconds after the last.', tags, params: programParams, response: answers(200, ProgramCounts) } },
    async ({ params: { object, program } }) => ({ object, name: program, ...(await host.call('instructionCounts', withProgram(object, program).file.id, program)) }),
  );
}
