/** The thread of jobs. */
import { parentPort } from 'node:worker_threads';
import { JOB_CALLS, JobService } from './job-service.ts';
import { answerCalls } from './thread-call.ts';

answerCalls(parentPort!, new JobService(), JOB_CALLS);
