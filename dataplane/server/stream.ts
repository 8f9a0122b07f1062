/**
 * The stream's end of the server: who may connect, how many at most, and in whose turn the ring is looked at. It is
 * looked at fifty times a second while somebody is subscribed, and never otherwise.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type ServerOptions, type WebSocket } from 'ws';
import { jsonText } from '../pipeline/json-text.ts';
import type { Access } from './access.ts';
import type { LabHost } from './lab-host.ts';
import type { LabStatistics } from './lab-service.ts';
import { PacketDemand, type PacketWish } from './packet-demand.ts';
import { HttpProblem, refuseConnection } from './problem.ts';
import { StreamClient } from './stream-client.ts';
import type { Encoding } from './verdict-subscription.ts';

export const STREAM_PATH = '/api/stream';
export const PROTOCOLS = { 'xdplab.records.v1': 'binary', 'xdplab.json.v1': 'json' } as const satisfies Record<string, Encoding>;
export const MOST_CLIENTS = 1024;

const MOST_MESSAGE_BYTES = 1 << 16;
const MOST_FRAGMENTS = 16;
const MOST_CHUNKS = 64;
const CLOSE_MS = 5000;
/** The fastest replay fills the ring in three times as long. */
const LOOK_EVERY_MS = 20;
const LIFE_EVERY_MS = 1000;
/** Of one look: then other work of the thread has its turn. */
const LOOK_MS = 15;
const GOING_AWAY = 1001;

export class Stream {
  readonly #host: LabHost;
  readonly #access: Access;
  readonly #statistics: () => Promise<LabStatistics>;
  readonly #sockets: WebSocketServer;
  readonly #demand: PacketDemand;
  /** Of clients that want packets. */
  readonly #wishes = new Map<WebSocket, PacketWish>();
  readonly #clients = new Map<WebSocket, StreamClient>();
  #timer: NodeJS.Timeout | undefined;
  readonly #life: NodeJS.Timeout;
  /** Whose turn is first. */
  #first = 0;
  #isAsking = false;

  constructor(host: LabHost, access: Access, statistics: () => Promise<LabStatistics>) {
    this.#host = host;
    this.#access = access;
    this.#statistics = statistics;
    this.#demand = new PacketDemand(host.ring);
    // The last three are newer than the types of ws.
    const limits: ServerOptions & { readonly maxFragments: number; readonly maxBufferedChunks: number; readonly closeTimeout: number } = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: MOST_MESSAGE_BYTES,
      handleProtocols: (offered) => [...offered].find((protocol) => Object.hasOwn(PROTOCOLS, protocol)) ?? false,
      maxFragments: MOST_FRAGMENTS,
      maxBufferedChunks: MOST_CHUNKS,
      closeTimeout: CLOSE_MS,
    };
    this.#sockets = new WebSocketServer(limits);
    this.#life = setInterval(() => this.#checkLives(), LIFE_EVERY_MS).unref();
    host.on('names', () => {
      this.#setDemand();
      this.#look();
    });
    host.on('run', (run) => {
      for (const client of this.#clients.values()) client.tellRun(run);
    });
  }

  get clients(): number {
    return this.#clients.size;
  }

  /** An 'upgrade' of the HTTP server. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    try {
      this.#admit(request);
    } catch (error) {
      return refuseConnection(socket, error);
    }
    this.#sockets.handleUpgrade(request, socket, head, (webSocket) => this.#welcome(webSocket, socket));
  }

  async close(): Promise<void> {
    clearInterval(this.#life);
    clearTimeout(this.#timer);
    for (const socket of this.#clients.keys()) socket.close(GOING_AWAY, 'the server ends');
    await new Promise(setImmediate);
    for (const socket of this.#clients.keys()) socket.terminate();
  }

  #admit({ headers, url = '' }: IncomingMessage): void {
    this.#access.checkAddress(headers);
    if (url.split('?')[0] !== STREAM_PATH) throw new HttpProblem(404, 'ERR_NOT_FOUND', `the WebSocket is at ${STREAM_PATH}`);
    this.#access.checkToken(headers, true);
    const offered = headers['sec-websocket-protocol']?.split(',').map((protocol) => protocol.trim());
    if (offered !== undefined && !offered.some((protocol) => Object.hasOwn(PROTOCOLS, protocol))) throw new HttpProblem(400, 'ERR_REQUEST', `expected one of the subprotocols ${Object.keys(PROTOCOLS).join(', ')}`);
    if (this.#clients.size >= MOST_CLIENTS) throw new HttpProblem(503, 'ERR_TOO_MANY', `${MOST_CLIENTS} clients are connected already`);
  }

  #welcome(socket: WebSocket, connection: Duplex): void {
    const encoding = (PROTOCOLS as Readonly<Record<string, Encoding>>)[socket.protocol] ?? 'json';
    const client = new StreamClient(socket, connection, this.#host, encoding, performance.now(), () => this.#changed(socket));
    this.#clients.set(socket, client);
    socket.on('close', () => {
      this.#clients.delete(socket);
      this.#noteWish(socket, undefined);
    });
  }

  #changed(socket: WebSocket): void {
    const client = this.#clients.get(socket);
    const nowMs = performance.now();
    this.#noteWish(socket, client?.packetWish(nowMs));
    const hasMore = client !== undefined && this.#pump(client, nowMs);
    if (hasMore) clearTimeout(this.#timer);
    if (hasMore || this.#timer === undefined) this.#timer = setTimeout(() => this.#look(), hasMore ? 0 : LOOK_EVERY_MS);
  }

  /** Whether it could take more at once. A mistake of ours with one client is not to end the others. */
  #pump(client: StreamClient, nowMs: number): boolean {
    try {
      return client.pump(nowMs);
    } catch (error) {
      console.error(error);
      client.end();
      return false;
    }
  }

  #setDemand(): void {
    this.#demand.set([...this.#wishes.values()], this.#host.names);
  }

  /** Pongs come by the thousand, and most change nothing. */
  #noteWish(socket: WebSocket, wish: PacketWish | undefined): void {
    const wanted = wish === undefined || wish.snapBytes === 0 ? undefined : wish;
    if (wanted === this.#wishes.get(socket)) return;
    if (wanted === undefined) this.#wishes.delete(socket);
    else this.#wishes.set(socket, wanted);
    this.#setDemand();
  }

  #look(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#demand.refill(performance.now());
    const clients = [...this.#clients.values()].filter((client) => client.isSubscribed);
    const hasMore = this.#pumpInTurn(clients);
    void this.#tellStatistics(clients);
    if (clients.length > 0) this.#timer = setTimeout(() => this.#look(), hasMore ? 0 : LOOK_EVERY_MS);
  }

  /** Round after round, a little of the ring for each, so that it stays in the cache. Whether somebody could take more. */
  #pumpInTurn(clients: readonly StreamClient[]): boolean {
    const endMs = performance.now() + LOOK_MS;
    let eager = [...clients.slice(this.#first), ...clients.slice(0, this.#first)].filter((client) => client.hasRoom);
    while (eager.length > 0) {
      const more: StreamClient[] = [];
      for (const client of eager) {
        const nowMs = performance.now();
        if (nowMs > endMs) {
          // Whose turn it would be is first the next time.
          this.#first = clients.indexOf(client);
          return true;
        }
        if (this.#pump(client, nowMs)) more.push(client);
      }
      eager = more;
    }
    return false;
  }

  async #tellStatistics(clients: readonly StreamClient[]): Promise<void> {
    const nowMs = performance.now();
    if (this.#isAsking || !clients.some((client) => client.wantsStatistics(nowMs))) return;
    this.#isAsking = true;
    try {
      const message = Buffer.from(jsonText({ type: 'statistics', ...(await this.#statistics()) }));
      const atMs = performance.now();
      for (const client of clients) if (client.wantsStatistics(atMs)) client.tellStatistics({ message, atMs });
    } catch {
      // The lab is being exchanged, or has failed, of which others speak.
    } finally {
      this.#isAsking = false;
    }
  }

  #checkLives(): void {
    const nowMs = performance.now();
    for (const [socket, client] of this.#clients) {
      client.checkLife(nowMs);
      this.#noteWish(socket, client.packetWish(nowMs));
    }
  }
}
