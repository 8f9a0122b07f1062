/** The page's built files, where they are there; else a page that says what this is. */
import fastifyStatic from '@fastify/static';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { App } from '../app.ts';

const WITHOUT_PAGE = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>xdplab</title><link rel="icon" href="data:,"></head>
<body>
<h1>xdplab is running</h1>
<p>Its page is not built into this copy. The interface is there: see docs/server-api.md, and send the token of the address as <code>Authorization: Bearer …</code>.</p>
<pre>curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:…/api/statistics</pre>
</body>
</html>
`;

/** `folder`: where the page's files are. */
export function addPage(app: App, folder: string): void {
  if (existsSync(join(folder, 'index.html'))) {
    void app.register(fastifyStatic, { root: folder, prefix: '/', index: 'index.html', list: false, dotfiles: 'deny', wildcard: true, serveDotFiles: false, redirect: false });
  } else {
    app.get('/', { schema: { hide: true } }, async (_request, reply) => reply.type('text/html; charset=utf-8').serializer(String).send(WITHOUT_PAGE));
  }
}
