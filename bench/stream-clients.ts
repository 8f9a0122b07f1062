/**
 * Clients of the stream, in a process of their own. Told over IPC whom to be; answers what they have received so far
 * whenever it is asked.
 */
import { WebSocket } from 'ws';
import { decodeVerdicts } from '../dataplane/server/verdict-decoder.ts';

export interface ClientsWanted {
  readonly url: string;
  readonly authorization: string;
  /** What each says first. */
  readonly clients: readonly { readonly subscribe: object; readonly reads: boolean }[];
}

export interface ClientsReceived {
  readonly verdicts: number;
  readonly dropped: number;
  /** So that decoding is not left out. */
  readonly digest: number;
}

let received: ClientsReceived = { verdicts: 0, dropped: 0, digest: 0 };
const drops = new Map<WebSocket, number>();

function take(socket: WebSocket, data: Buffer): void {
  const frame = decodeVerdicts(data);
  let { digest } = received;
  for (let index = 0; index < frame.count; index++) digest = (digest + frame.packet(index) * 31 + frame.verdict(index) + frame.attachment(index)) % 1_000_003;
  drops.set(socket, frame.dropped);
  received = { verdicts: received.verdicts + frame.count, dropped: [...drops.values()].reduce((total, one) => total + one, 0), digest };
}

async function open({ url, authorization, clients }: ClientsWanted): Promise<void> {
  for (const { subscribe, reads } of clients) {
    await new Promise<void>((resolve, reject) => {
      const socket = new WebSocket(url, 'xdplab.records.v1', { headers: { authorization } });
      socket.on('error', reject);
      socket.on('open', () => {
        socket.send(JSON.stringify(subscribe));
        if (!reads) socket.pause();
        resolve();
      });
      socket.on('message', (data: Buffer, isBinary) => {
        if (isBinary) take(socket, data);
      });
    });
  }
}

process.on('message', (message: ClientsWanted | 'received') => {
  if (message === 'received') process.send!(received);
  else void open(message).then(() => process.send!('open'));
});
