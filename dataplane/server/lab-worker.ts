/** The thread of a lab: opens it, says so or why not, then answers calls. */
import { parentPort, workerData } from 'node:worker_threads';
import { LAB_CALLS, LabService, type LabNews, type LabStart } from './lab-service.ts';
import { answerCalls } from './thread-call.ts';

const port = parentPort!;
/** Calls wait until the lab is open; where it cannot be opened, all are answered with why not. */
const opening = LabService.open(workerData as LabStart, (news: LabNews) => port.postMessage(news));
opening.catch(() => {});
answerCalls(
  port,
  Object.fromEntries(LAB_CALLS.map((name) => [name, async (...args: readonly never[]) => ((await opening)[name] as (...values: readonly never[]) => unknown)(...args)])) as unknown as LabService,
  LAB_CALLS,
);
