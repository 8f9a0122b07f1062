/** Errors as HTTP answers them: RFC 9457 problem details, one line for people and a stable code, never a stack or a path. */
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ErrorCode } from '../errors.ts';
import { XdplabError } from '../errors.ts';
import { ThreadEnded } from './thread-call.ts';

export type ProblemCode = ErrorCode | 'ERR_REQUEST' | 'ERR_TOKEN' | 'ERR_ORIGIN' | 'ERR_HOST' | 'ERR_NOT_FOUND' | 'ERR_METHOD' | 'ERR_TOO_LARGE' | 'ERR_CONTENT_TYPE' | 'ERR_BUSY' | 'ERR_TOO_MANY' | 'ERR_REFUSED' | 'ERR_INTERNAL';

export class HttpProblem extends Error {
  readonly status: number;
  readonly code: ProblemCode;
  /** Members beside the standard ones. */
  readonly extra: Readonly<Record<string, unknown>>;

  constructor(status: number, code: ProblemCode, detail: string, extra: Readonly<Record<string, unknown>> = {}) {
    super(detail);
    this.status = status;
    this.code = code;
    this.extra = extra;
  }
}

export const PROBLEM_TYPE = 'application/problem+json';

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  409: 'Conflict',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  417: 'Expectation Failed',
  421: 'Misdirected Request',
  422: 'Unprocessable Content',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
};

/** What is wrong with what the client sent is 422; what the lab is not in a state for, 409. */
const STATUS_BY_CODE = {
  ERR_USAGE: 422,
  ERR_FILE: 422,
  ERR_CAPTURE: 422,
  ERR_ELF: 422,
  ERR_BTF: 422,
  ERR_CORE: 422,
  ERR_OBJECT: 422,
  ERR_INSTRUCTION: 422,
  ERR_PROGRAM: 422,
  ERR_MAP: 409,
  ERR_VALUE: 422,
  ERR_LAB: 422,
  ERR_MEMORY: 422,
  ERR_UNSUPPORTED: 422,
  ERR_PRIVILEGE: 422,
  ERR_DEVICE: 422,
  ERR_SOUNDNESS: 500,
  ERR_EXPECTATION: 422,
  ERR_INTERRUPTED: 409,
} as const satisfies Record<ErrorCode, number>;

/** What Fastify itself says, in our codes. */
const FASTIFY_CODES: Readonly<Record<string, ProblemCode>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'ERR_TOO_LARGE',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'ERR_CONTENT_TYPE',
};

const NOT_THIS_TYPE = 'the content-type of the body is not what the route takes: application/json, unless GET /api/docs says another';

export interface Problem {
  readonly type: 'about:blank';
  readonly title: string;
  readonly status: number;
  readonly code: ProblemCode;
  readonly detail: string;
}

export function problemOf(error: unknown): Problem & Readonly<Record<string, unknown>> {
  if (error instanceof HttpProblem) return problem(error.status, error.code, error.message, error.extra);
  if (error instanceof ThreadEnded) return problem(503, 'ERR_BUSY', 'another lab is just taking the place of this one; try again');
  if (error instanceof XdplabError) return problem(STATUS_BY_CODE[error.code], error.code, error.message);
  if (error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number' && error.statusCode >= 400 && error.statusCode < 500) {
    const code = 'code' in error && typeof error.code === 'string' ? FASTIFY_CODES[error.code] : undefined;
    return problem(error.statusCode, code ?? 'ERR_REQUEST', code === 'ERR_CONTENT_TYPE' ? NOT_THIS_TYPE : error.message);
  }
  return problem(500, 'ERR_INTERNAL', 'a mistake of the server; its terminal says more');
}

/** How long who was refused has to close the connection, too. */
const CLOSING_MS = 1000;

/** Answers where there is a connection and no request that could be answered, and ends it. */
export function refuseConnection(socket: Duplex, error: unknown): void {
  // Nobody else listens to it here: one that is reset meanwhile would end the server.
  socket.on('error', () => {});
  setTimeout(() => socket.destroy(), CLOSING_MS).unref();
  const refused = problemOf(error);
  if (refused.status === 500) console.error(error);
  const body = JSON.stringify(refused);
  socket.end(`HTTP/1.1 ${refused.status} ${STATUS_CODES[refused.status]}\r\nConnection: close\r\nContent-Type: ${PROBLEM_TYPE}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}

function problem(status: number, code: ProblemCode, detail: string, extra: Readonly<Record<string, unknown>> = {}): Problem & Readonly<Record<string, unknown>> {
  return { type: 'about:blank', title: TITLES[status] ?? 'Error', status, code, detail: oneLine(detail), ...extra };
}

/** Names from files may have anything in them. */
function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are the ones that must not reach a terminal
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]+/g, ' ');
}
