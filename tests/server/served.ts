/** The built server as a user starts it, and a client that can say anything: also what fetch would not send. */
import { request, type IncomingHttpHeaders } from 'node:http';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { WebSocket } from 'ws';
import { ended, object, start, trace, type Run } from '../cli/run-cli.ts';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export interface AskOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** An object is sent as JSON. */
  readonly body?: string | Uint8Array | object;
  /** Without: the token of the server. */
  readonly anonymous?: boolean;
}

export class Served {
  readonly origin: string;
  readonly token: string;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #ended: Promise<Run>;

  private constructor(child: ChildProcessWithoutNullStreams, end: Promise<Run>, url: string) {
    const [origin, token] = url.split('/#token=');
    this.origin = origin!;
    this.token = token!;
    this.#child = child;
    this.#ended = end;
  }

  static start(args: readonly string[] = ['--lab', object('demo.yaml')]): Promise<Served> {
    return Served.startWith(['serve', '--port', '0', ...args]);
  }

  /** The whole command line. */
  static async startWith(args: readonly string[]): Promise<Served> {
    const child = start(args);
    const end = ended(child);
    const url = await new Promise<string>((resolve, reject) => {
      let said = '';
      child.stdout.on('data', (chunk: Buffer) => {
        said += chunk.toString();
        const [found] = /http:\S+/.exec(said) ?? [];
        if (found !== undefined) resolve(found);
      });
      void end.then(({ status, stderr }) => reject(new Error(`serve ended with ${status}: ${stderr}`)));
    });
    return new Served(child, end, url);
  }

  get host(): string {
    return this.origin.slice('http://'.length);
  }

  get pid(): number {
    return this.#child.pid!;
  }

  ask(method: string, path: string, { headers = {}, body, anonymous = false }: AskOptions = {}): Promise<Answer> {
    const isJson = typeof body === 'object' && !(body instanceof Uint8Array);
    const sent = isJson ? JSON.stringify(body) : body;
    return new Promise((resolve, reject) => {
      const { hostname, port } = new URL(this.origin);
      const asked = request({
        hostname,
        port,
        method,
        path,
        agent: false,
        headers: {
          ...(anonymous ? {} : { authorization: `Bearer ${this.token}` }),
          ...(isJson ? { 'content-type': 'application/json' } : {}),
          ...(sent === undefined ? {} : { 'content-length': Buffer.byteLength(sent) }),
          ...headers,
        },
      });
      asked.on('response', (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, text: Buffer.concat(chunks).toString() }));
        response.on('error', reject);
      });
      // A server that has refused a body may close while it is still being sent.
      asked.on('error', reject);
      asked.end(sent);
    });
  }

  /** The answer's JSON; `status` has to be the one. */
  async expect<Body>(status: number, method: string, path: string, options: AskOptions = {}): Promise<Body> {
    const answer = await this.ask(method, path, options);
    if (answer.status !== status) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
    return (answer.text === '' ? undefined : JSON.parse(answer.text)) as Body;
  }

  upload<Body>(kind: 'objects' | 'captures', name: string, bytes: Uint8Array): Promise<Body> {
    return this.expect<Body>(201, 'POST', `/api/${kind}?name=${encodeURIComponent(name)}`, { body: bytes, headers: { 'content-type': 'application/octet-stream' } });
  }

  async stop(): Promise<Run> {
    this.#child.kill('SIGINT');
    return this.#ended;
  }
}

export const DEMO = ['--lab', object('demo.yaml'), '--capture', trace('demo.pcapng')];

export interface Message {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** A socket of the stream. What comes is kept until somebody waits for it. */
export class Listener {
  readonly socket: WebSocket;
  readonly #kept: (Message | Buffer)[] = [];
  #wake: () => void = () => {};
  closed: { readonly code: number; readonly reason: string } | undefined;

  constructor(served: Served, protocol: 'xdplab.json.v1' | 'xdplab.records.v1' = 'xdplab.json.v1') {
    this.socket = new WebSocket(`${served.origin.replace('http', 'ws')}/api/stream`, protocol, { headers: { authorization: `Bearer ${served.token}` } });
    this.socket.on('message', (data: Buffer, isBinary) => this.#keep(isBinary ? data : (JSON.parse(data.toString()) as Message)));
    this.socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
      this.#wake();
    });
    this.socket.on('error', () => {});
  }

  say(message: object): void {
    this.socket.send(JSON.stringify(message));
  }

  /** The next message that fits; those before it are gone. */
  async next(fits: (message: Message | Buffer) => boolean): Promise<Message | Buffer> {
    for (;;) {
      while (this.#kept.length > 0) {
        const message = this.#kept.shift()!;
        if (fits(message)) return message;
      }
      if (this.closed) throw new Error(`the connection was closed: ${this.closed.code} ${this.closed.reason}`);
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  async message(type: string): Promise<Message> {
    return (await this.next((message) => !Buffer.isBuffer(message) && message.type === type)) as Message;
  }

  async frame(): Promise<Buffer> {
    return (await this.next((message) => Buffer.isBuffer(message))) as Buffer;
  }

  close(): void {
    this.socket.terminate();
  }

  #keep(message: Message | Buffer): void {
    this.#kept.push(message);
    this.#wake();
  }
}
