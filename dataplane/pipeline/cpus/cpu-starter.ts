/**
 * The thread that starts those of CPUs, and tells when one ends. The thread that waits for CPUs hears no events while
 * it does, and a CPU that ran out of memory can say nothing itself.
 */
import { parentPort, Worker, workerData, type MessagePort } from 'node:worker_threads';
import { workerFile } from '../../system/worker-file.ts';
import { DONE, TURN, type CpuEnd, type CpuStart } from './ring.ts';

const ends = workerData as MessagePort;

parentPort!.on('message', (start: CpuStart) => {
  let why: string | undefined;
  const ended = (status: number): void => {
    const { image, turn } = start;
    ends.postMessage({ cpu: image.cpu, why: why ?? `exit status ${status}` } satisfies CpuEnd);
    const words = new Int32Array(image.memory.wasm.buffer);
    Atomics.store(words, (turn + TURN.done) >>> 2, DONE.ended);
    Atomics.notify(words, (turn + TURN.done) >>> 2);
  };
  try {
    const worker = new Worker(workerFile('pipeline/cpus/cpu-thread'), { workerData: start, transferList: [start.port], execArgv: [] });
    worker.on('error', (error) => (why = error.message));
    worker.on('exit', ended);
  } catch (error) {
    why = error instanceof Error ? error.message : String(error);
    ended(1);
  }
});
