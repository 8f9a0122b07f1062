/**
 * Who may ask. A server on the loopback address is reachable by every page that the user's browser shows, so that each
 * request has to name this server (Host, against DNS rebinding), come from no other page (Origin), and have the token
 * of this start: as a bearer, or as the session cookie that the token was exchanged for.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { HttpProblem } from './problem.ts';

const TOKEN_BYTES = 32;
/** A browser opens few; the oldest one gives way. */
const MOST_SESSIONS = 64;
const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD']);

export class Access {
  readonly token: string = randomBytes(TOKEN_BYTES).toString('base64url');
  /** Digests, so that looking one up tells nothing by its time. */
  readonly #sessions = new Set<string>();
  #hosts: ReadonlySet<string> = new Set();
  #cookie = 'xdplab';

  /** `hosts` are names with ports, as a Host header has them. Cookies do not know ports, so that the port is in the name. */
  listensAt(port: number, names: readonly string[]): void {
    this.#cookie = `xdplab_${port}`;
    // Browsers leave out a port that is the scheme's own.
    this.#hosts = new Set(names.flatMap((name) => (port === 80 ? [name, `${name}:80`] : [`${name}:${port}`])));
  }

  /** For everything that the server answers. */
  checkAddress({ host, origin }: IncomingHttpHeaders): void {
    if (host === undefined || !this.#hosts.has(host.toLowerCase())) throw new HttpProblem(421, 'ERR_HOST', 'the Host header does not name this server; use the address that xdplab serve has printed, or start it with --host-name');
    if (origin !== undefined && !this.#isOwnOrigin(origin)) throw new HttpProblem(403, 'ERR_ORIGIN', 'the request comes from another page');
  }

  /** For everything that is worth protecting. `changes`: it is more than reading, as an upgrade is. */
  checkToken(headers: IncomingHttpHeaders, changes: boolean): void {
    const { authorization, origin } = headers;
    if (authorization !== undefined) {
      const [scheme, token] = authorization.split(' ');
      if (scheme?.toLowerCase() === 'bearer' && token !== undefined && this.isToken(token)) return;
    } else if (this.#sessions.has(digestOf(this.#cookieOf(headers) ?? ''))) {
      // Only a page of ours has both the cookie and this origin.
      if (!changes || origin !== undefined) return;
      throw new HttpProblem(403, 'ERR_ORIGIN', 'with the cookie, a request that changes something needs an Origin header; use the token instead');
    }
    throw new HttpProblem(401, 'ERR_TOKEN', 'the token is missing or not of this start; open the address that xdplab serve has printed');
  }

  isToken(text: string): boolean {
    return timingSafeEqual(Buffer.from(digestOf(text)), Buffer.from(digestOf(this.token)));
  }

  /** A Set-Cookie header. */
  openSession(): string {
    const session = randomBytes(TOKEN_BYTES).toString('base64url');
    this.#sessions.add(digestOf(session));
    const [oldest] = this.#sessions;
    if (this.#sessions.size > MOST_SESSIONS) this.#sessions.delete(oldest!);
    return `${this.#cookie}=${session}; Path=/; HttpOnly; SameSite=Strict`;
  }

  /** A Set-Cookie header that takes it away. */
  closeSession(headers: IncomingHttpHeaders): string {
    this.#sessions.delete(digestOf(this.#cookieOf(headers) ?? ''));
    return `${this.#cookie}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0`;
  }

  #isOwnOrigin(origin: string): boolean {
    const [, host] = /^https?:\/\/([^/]+)$/.exec(origin.toLowerCase()) ?? [];
    return host !== undefined && this.#hosts.has(host);
  }

  #cookieOf({ cookie }: IncomingHttpHeaders): string | undefined {
    return cookie
      ?.split(';')
      .map((pair) => pair.trim())
      .find((pair) => pair.startsWith(`${this.#cookie}=`))
      ?.slice(this.#cookie.length + 1);
  }
}

export function isChange(method: string | undefined): boolean {
  return !SAFE_METHODS.has(method ?? '');
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
