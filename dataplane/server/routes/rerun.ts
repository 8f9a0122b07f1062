/** What a program does to a packet, line by line: the packet runs again, and nothing of it stays. */
import type { App } from '../app.ts';
import { recordedPacket, type RerunRequest } from '../lab-rerun.ts';
import { HttpProblem } from '../problem.ts';
import { answers, Rerun, RerunBody } from '../schemas.ts';
import type { Context } from './context.ts';

const NS_DIGITS = 9;

export function addRerunRoutes(app: App, { host }: Context): void {
  app.post(
    '/api/lab/rerun',
    { schema: { summary: 'run a packet again, and see which C lines ran and by which one it left', description: 'By the sequence number of a verdict whose packet was kept, or any bytes. It finds maps and programs as they are now; afterwards everything is as if it had not run.', tags: ['lab'], body: RerunBody, response: answers(200, Rerun) } },
    async ({ body }) => {
      if (!('sequence' in body)) return host.call('rerun', requestOf(body));
      const recorded = recordedPacket(host.ring, host.names, body.sequence);
      if (recorded === undefined) throw new HttpProblem(404, 'ERR_NOT_FOUND', `the packet of verdict ${body.sequence} is not kept (any more): packets are, while a subscription to verdicts asks for packets, and the newest replace the oldest`);
      return host.call('rerun', recorded);
    },
  );
}

function requestOf({ bytes, device, time }: { readonly bytes: string; readonly device?: string; readonly time?: string }): RerunRequest {
  return { bytes: Buffer.from(bytes, 'hex'), ...(device === undefined ? {} : { device }), ...(time === undefined ? {} : { timestampNs: nanoseconds(time) }) };
}

/** Of seconds with up to nine decimals. */
function nanoseconds(time: string): bigint {
  const [seconds, decimals = ''] = time.split('.');
  return BigInt(`${seconds}${decimals.padEnd(NS_DIGITS, '0')}`);
}
