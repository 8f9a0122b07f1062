/** The HTTP application without its routes: limits, what bodies may be, how they are checked, how errors are answered. */
import fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyReply, type RawReplyDefaultExpression, type RawRequestDefaultExpression, type RawServerDefault } from 'fastify';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { Value } from 'typebox/value';
import { isChange, type Access } from './access.ts';
import { complaint } from './complaint.ts';
import { HttpProblem, problemOf, PROBLEM_TYPE, refuseConnection } from './problem.ts';

export type App = FastifyInstance<RawServerDefault, RawRequestDefaultExpression<RawServerDefault>, RawReplyDefaultExpression<RawServerDefault>, FastifyBaseLogger, TypeBoxTypeProvider>;

export const BYTES = 'application/octet-stream';
export const YAML = 'application/yaml';
const MOST_JSON_BYTES = 1 << 16;
const MOST_CONNECTIONS = 2048;
const MOST_HEADERS = 64;
const MOST_HEADER_BYTES = 1 << 14;
const MOST_PARAMETER_CHARACTERS = 256;
const HEADERS_MS = 10_000;
/** A whole request, its body too: long enough for a large capture. */
const REQUEST_MS = 300_000;
const KEEP_ALIVE_MS = 5_000;

/** Only what this page itself serves may run or be shown, and nobody may frame it. */
const HEADERS = {
  'content-security-policy': "default-src 'self'; connect-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'",
  'cross-origin-embedder-policy': 'require-corp',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const;

/** What Node's parser says of bytes that are no request; everything else is 400. */
const BROKEN_REQUESTS: Readonly<Record<string, HttpProblem>> = {
  HPE_HEADER_OVERFLOW: new HttpProblem(431, 'ERR_TOO_LARGE', `the headers of the request come to more than ${MOST_HEADER_BYTES} bytes; send fewer`),
  HPE_CHUNK_EXTENSIONS_OVERFLOW: new HttpProblem(413, 'ERR_TOO_LARGE', 'the chunk extensions of the body are too long; send none'),
  ERR_HTTP_REQUEST_TIMEOUT: new HttpProblem(408, 'ERR_REQUEST', `the request did not come to its end: expected its headers within ${HEADERS_MS / 1000} s, and all of it within ${REQUEST_MS / 1000} s`),
};

/** What needs the token: everything but the page's own files and the way to a session. */
const PROTECTED = /^\/(?:api|metrics)(?:[/?#]|$)/;
const WAY_IN = 'POST /api/session';

export function createApp(access: Access): App {
  const app = fastify({
    bodyLimit: MOST_JSON_BYTES,
    requestTimeout: REQUEST_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    onProtoPoisoning: 'error',
    onConstructorPoisoning: 'error',
    exposeHeadRoutes: false,
    // Who names no host is refused like who names another.
    http: { maxHeaderSize: MOST_HEADER_BYTES, headersTimeout: HEADERS_MS, requireHostHeader: false },
    frameworkErrors: (error, _request, reply) => void answerProblem(error, reply.headers(HEADERS)),
    clientErrorHandler: (error, socket) => {
      if (error.code !== 'ECONNRESET' && socket.writable) refuseConnection(socket, BROKEN_REQUESTS[error.code] ?? new HttpProblem(400, 'ERR_REQUEST', `found bytes that are no HTTP request (${error.message}); where a request has a body, it needs a Content-Length`));
      else socket.destroy(error);
    },
    routerOptions: { maxParamLength: MOST_PARAMETER_CHARACTERS },
  }).withTypeProvider<TypeBoxTypeProvider>();
  app.server.maxConnections = MOST_CONNECTIONS;
  app.server.maxHeadersCount = MOST_HEADERS;
  // Node answers these two by itself, or not at all.
  app.server.on('checkExpectation', (_request, { socket }) => socket && refuseConnection(socket, new HttpProblem(417, 'ERR_REQUEST', 'of Expect, only 100-continue is known here')));
  app.server.on('connect', (_request, socket) => refuseConnection(socket, new HttpProblem(405, 'ERR_METHOD', 'this server is no proxy; GET /api/docs says what there is')));

  app.addHook('onRequest', async (request, reply) => {
    reply.headers(HEADERS);
    access.checkAddress(request.headers);
    const { method } = request;
    const path = decodedPath(request.raw.url ?? '/');
    if (PROTECTED.test(path) && `${method} ${path.split('?')[0]}` !== WAY_IN) access.checkToken(request.headers, isChange(method));
    if (PROTECTED.test(path)) reply.header('cache-control', 'no-store');
  });

  takeBodies(app);
  app.setValidatorCompiler<TSchema>(({ schema, httpPart }) => checkerOf(schema, httpPart === 'params' || httpPart === 'querystring'));
  app.setErrorHandler((error, _request, reply) => answerProblem(error, reply));
  app.setNotFoundHandler(({ method, url }) => {
    throw new HttpProblem(404, 'ERR_NOT_FOUND', `there is no ${method} ${url.split('?')[0]}; GET /api/docs says what there is`);
  });
  return app;
}

function answerProblem(error: unknown, reply: FastifyReply): FastifyReply {
  const problem = problemOf(error);
  if (problem.status === 500) console.error(error);
  if (problem.status === 429 || problem.status === 503) reply.header('retry-after', '1');
  // The rest of a body that is not wanted is not read.
  if (problem.status === 413) reply.header('connection', 'close');
  return reply.status(problem.status).type(PROBLEM_TYPE).serializer(JSON.stringify).send(problem);
}

/** JSON, and nothing else unless a route says so. */
function takeBodies(app: App): void {
  app.removeAllContentTypeParsers();
  const parseJson = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body: string, done) => {
    // A POST without a body, from a client that always says it sends JSON.
    if (body === '') done(null, undefined);
    else void parseJson(request, body, done);
  });
}

/** Text of a path or query is converted to what the schema wants; a body has to be it. */
function checkerOf(schema: TSchema, isText: boolean): (value: unknown) => { readonly value: unknown } | { readonly error: Error } {
  const compiled = Compile(schema);
  return (given) => {
    const value = isText ? Value.Default(schema, plainText(schema, given as Readonly<Record<string, string>>)) : given;
    if (compiled.Check(value)) return { value };
    return { error: new HttpProblem(400, 'ERR_REQUEST', complaint(compiled, value, 'the request')) };
  };
}

/** Whole numbers and flags that are written as such; a `1.5` stays text, and is refused. */
function plainText(schema: TSchema, given: Readonly<Record<string, string>>): object {
  const properties = (schema as { readonly properties?: Readonly<Record<string, { readonly type?: string }>> }).properties ?? {};
  return Object.fromEntries(
    Object.entries(given).map(([name, text]) => {
      const { type } = (Object.hasOwn(properties, name) ? properties[name] : undefined) ?? {};
      if (type === 'integer' && /^\d{1,15}$/.test(text)) return [name, Number(text)];
      if (type === 'boolean' && (text === 'true' || text === 'false')) return [name, text === 'true'];
      return [name, text];
    }),
  );
}

/** As the router will see it: an encoded letter must not lead around the token. */
function decodedPath(url: string): string {
  try {
    return decodeURIComponent(url.split(/[?#;]/)[0]!);
  } catch {
    throw new HttpProblem(400, 'ERR_REQUEST', 'the address is not well encoded');
  }
}
