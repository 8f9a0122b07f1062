/** The lab: what it is made of, what is attached, another one in its place. */
import { basename, resolve } from 'node:path';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { XdplabError } from '../../errors.ts';
import { parseLabFile } from '../../pipeline/lab-file.ts';
import { objectPaths } from '../../pipeline/open-lab.ts';
import { YAML, type App } from '../app.ts';
import { HttpProblem } from '../problem.ts';
import { answers, AttachBody, Attachment, Id, Lab, nothing, ReplaceBody, Replacement } from '../schemas.ts';
import type { Context } from './context.ts';

const MOST_YAML_BYTES = 1 << 20;
/** Where a client's lab file would be, if it were a file: nothing is read from there. */
const UPLOADED = '/uploaded/lab.yaml';

export function addLabRoutes(app: App, { host, objects, runs, sources, proofsPath }: Context): void {
  const tags = ['lab'];

  app.get('/api/lab', { schema: { summary: 'the lab', tags, response: answers(200, Lab) } }, async () => host.call('describe'));

  void app.register(async (plain) => {
    const scope = plain.withTypeProvider<TypeBoxTypeProvider>();
    scope.addContentTypeParser(YAML, { parseAs: 'string', bodyLimit: MOST_YAML_BYTES }, (_request, body, done) => done(null, body));
    scope.put('/api/lab', { bodyLimit: MOST_YAML_BYTES, schema: { summary: 'another lab, by a lab file', description: 'Objects are named as they were uploaded.', tags, consumes: [YAML], body: Type.String(), response: answers(200, Lab) } }, async ({ body }) => {
      const text = String(body);
      const paths = objectPaths({ file: UPLOADED }, parseLabFile(text, basename(UPLOADED)));
      const named = paths.map((path) => {
        const object = objects.named(basename(path));
        if (object === undefined) throw new XdplabError('ERR_LAB', `${basename(UPLOADED)}: object '${basename(path)}': no object of that name was uploaded; upload it first`);
        return [path, object.file] as const;
      });
      const { programs: _programs, contents: _contents, devices: _devices, ...settings } = sources;
      await host.open({ name: basename(UPLOADED), sources: { ...settings, file: UPLOADED }, proofsPath, objects: new Map(named), texts: new Map([[resolve(UPLOADED), new TextEncoder().encode(text)]]), readsDisk: false });
      runs.endAll();
      return host.call('describe');
    });
  });

  app.post('/api/lab/reset', { schema: { summary: 'the same lab as at its start', tags, response: answers(200, Lab) } }, async () => {
    const setting = await host.reset();
    runs.endAll();
    await objects.restore(setting.objects.values());
    return host.call('describe');
  });

  app.post('/api/lab/attachments', { schema: { summary: 'attach a program behind those that are at the hook', tags, body: AttachBody, response: answers(201, Attachment) } }, async ({ body }, reply) => {
    const { object: id, unverified = false, ...wanted } = body;
    const object = objects.get(id);
    const { verifies, cpus } = await host.call('describe');
    if (verifies && !unverified) await objects.expectAccepted(object, wanted.program, cpus);
    return reply.status(201).send(await host.call('attach', { ...wanted, object: object.file, unverified }));
  });

  app.delete('/api/lab/attachments/:index', { schema: { summary: 'detach a program', tags, params: Type.Object({ index: Type.Integer({ minimum: 0 }) }), response: nothing } }, async ({ params: { index } }, reply) => {
    if (!(await host.call('detach', index))) throw new HttpProblem(404, 'ERR_NOT_FOUND', `nothing is attached as ${index}`);
    return reply.status(204).send();
  });

  app.post(
    '/api/lab/objects/:object/replace',
    { schema: { summary: 'put the programs of another object in the places of this one, with the map contents', tags, params: Type.Object({ object: Id }), body: ReplaceBody, response: answers(200, Replacement) } },
    async ({ params, body }) => {
      const [old, fresh] = [objects.get(params.object), objects.get(body.with)];
      const { unverified = false } = body;
      const { attachments, verifies, cpus } = await host.call('describe');
      const programs = [...new Set(attachments.filter(({ object }) => object === old.file.id).map(({ program }) => program))];
      if (verifies && !unverified) for (const program of programs) await objects.expectAccepted(fresh, program, cpus);
      return host.call('replace', old.file.id, fresh.file, unverified);
    },
  );
}
