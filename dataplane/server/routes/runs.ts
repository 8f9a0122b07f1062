/** Runs: a capture through the lab, with a hand on it. */
import { Type } from 'typebox';
import { XdplabError } from '../../errors.ts';
import { parsePace } from '../../pipeline/pace.ts';
import type { App } from '../app.ts';
import { HttpProblem } from '../problem.ts';
import { answers, Id, Run, RunBody, SeekBody, SpeedBody, Statistics } from '../schemas.ts';
import type { AttachMode } from '../../live/attached.ts';
import type { RunDescription } from '../open-run.ts';
import type { Runs } from '../runs.ts';
import type { Context, LiveOptions } from './context.ts';

export function addRunRoutes(app: App, { captures, host, live, runs }: Context): void {
  const tags = ['runs'];
  const params = Type.Object({ run: Id });

  app.get('/api/runs', { schema: { summary: 'all runs, the newest last', tags, response: answers(200, Type.Object({ runs: Type.Array(Run) })) } }, async () => {
    const { open } = runs;
    if (open !== undefined) await runs.get(open.id);
    return { runs: runs.all };
  });

  app.post('/api/runs', { schema: { summary: 'replay a capture through the lab', description: 'Or, with interface, look at the one that the server was started with; with to, inline, and with attach, by programs in the running Linux, where it was started so.', tags, body: RunBody, response: answers(201, Run) } }, async ({ body }, reply) => {
    if ('interface' in body) return reply.status(201).send(await startLive(runs, live, body));
    const { capture, speed = 'top', loops = 1, limit, paused = false } = body;
    expectPace(speed);
    return reply.status(201).send(await runs.start(captures.get(capture), { speed, loops, paused, ...(limit === undefined ? {} : { limit }) }));
  });

  app.get('/api/runs/:run', { schema: { summary: 'one run, as it is now', tags, params, response: answers(200, Run) } }, async ({ params: { run } }) => runs.get(run));

  for (const [verb, call, summary] of [['pause', 'pauseRun', 'wait before the next packet'], ['resume', 'resumeRun', 'go on'], ['stop', 'stopRun', 'end it']] as const) {
    app.post(`/api/runs/:run/${verb}`, { schema: { summary, tags, params, response: answers(200, Run) } }, async ({ params: { run } }) => {
      await runs.expectOpen(run);
      return host.call(call, run);
    });
  }

  app.post('/api/runs/:run/seek', { schema: { summary: 'go on with another packet of the capture', description: 'Those in between are not run, and maps stay as they are.', tags, params, body: SeekBody, response: answers(200, Run) } }, async ({ params: { run }, body: { packet } }) => {
    await runs.expectOpen(run);
    return host.call('seekRun', run, packet);
  });

  app.post('/api/runs/:run/speed', { schema: { summary: 'another speed', tags, params, body: SpeedBody, response: answers(200, Run) } }, async ({ params: { run }, body: { speed } }) => {
    expectPace(speed);
    await runs.expectOpen(run);
    return host.call('hurryRun', run, speed);
  });

  app.get('/api/statistics', { schema: { summary: 'what became of the packets', tags, response: answers(200, Statistics) } }, async () => host.call('statistics'));
}

/** `parsePace` speaks of the command line's option. */
function expectPace(speed: string): void {
  try {
    parsePace(speed);
  } catch (error) {
    throw new XdplabError('ERR_VALUE', (error as Error).message.replace('--speed', 'speed'));
  }
}

interface WantedRun {
  readonly interface: string;
  readonly to?: string;
  readonly attach?: AttachMode;
}

/** Of what the user of this machine has named, and nothing else. */
function startLive(runs: Runs, live: LiveOptions | undefined, { interface: name, to, attach }: WantedRun): Promise<RunDescription> {
  const refuse = (what: string, remedy: string): never => {
    throw new HttpProblem(422, 'ERR_REFUSED', `interface ${name}: ${what}; ${remedy}`);
  };
  if (live?.interface !== name) return refuse('the server was not started with it', `start it with --live ${name}`);
  if (to !== undefined && attach !== undefined) return refuse('programs that are attached leave packets to Linux, and to sends them', 'leave one of them out');
  if (to !== undefined && live.allowInline !== to) return refuse(`the server was not started to send by ${to}`, `start it with --live ${name} --allow-inline ${to}`);
  if (attach === undefined) return runs.startLive({ interface: name, promiscuous: live.promiscuous, ...(to === undefined ? {} : { to }) });
  if (live.allowAttach !== true) return refuse('the server was not started to attach programs to it', `start it with --live ${name} --allow-attach`);
  return runs.startAttached({ interface: name, attach });
}
