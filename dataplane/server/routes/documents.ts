/** The interface in OpenAPI, and the same to read: HTML that needs no script and nothing from elsewhere. */
import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger';
import { BYTES, type App } from '../app.ts';
import { openApiPage, type OpenApi } from '../openapi-page.ts';

export const openApiOptions = (version: string): FastifyDynamicSwaggerOptions => ({
  openapi: {
    info: { title: 'xdplab', version, description: 'What xdplab serve answers.' },
    components: { securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'The one in the address that the server printed.' } } },
    security: [{ token: [] }],
  },
  // Bytes are taken as they are: there is no schema that they would be checked by.
  transform: ({ schema, url }) => ({ url, schema: schema.consumes?.includes(BYTES) === true ? { ...schema, body: { type: 'string', format: 'binary' } } : schema }),
});

export function addDocumentRoutes(app: App): void {
  const hide = { schema: { hide: true } };
  app.get('/api/openapi.json', hide, async (_request, reply) => reply.type('application/json').serializer(JSON.stringify).send(app.swagger()));
  app.get('/api/docs', hide, async (_request, reply) => reply.type('text/html; charset=utf-8').serializer(String).send(openApiPage(app.swagger() as OpenApi)));
  // A file of its own: the content security policy allows no styles within the page.
  app.get('/api/docs.css', hide, async (_request, reply) => reply.type('text/css; charset=utf-8').serializer(String).send(STYLE));
}

const STYLE = `:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin: 2.5rem 0 0.5rem; text-transform: capitalize; }
details { border: 1px solid color-mix(in srgb, currentColor 25%, transparent); border-radius: 6px; margin: 0.4rem 0; padding: 0.4rem 0.8rem; }
summary { cursor: pointer; }
summary code { font-weight: 600; margin-right: 0.8rem; }
.method { display: inline-block; width: 4.2rem; }
pre { overflow-x: auto; font-size: 13px; }
`;
