/**
 * Two threads with a lab each share the packets of an interface: `node fanout-workers.mjs <interface>`. Says `ready`,
 * then waits for the end of its input, and prints what each thread counted, by source port.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { BACKENDS, Lab, live, liveInterface } from '../../dist/dataplane/index.js';

const THREADS = 2;
const GROUP = 7;
const SOURCE_PORT = 34;

if (isMainThread) {
  const workers = Array.from({ length: THREADS }, () => new Worker(new URL(import.meta.url), { workerData: process.argv[2] }));
  const next = (worker) => new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
  await Promise.all(workers.map(next));
  console.log('ready');
  process.stdin.resume().on('end', async () => {
    const results = workers.map(next);
    for (const worker of workers) worker.postMessage('stop');
    console.log(JSON.stringify(await Promise.all(results)));
  });
} else {
  const lab = new Lab();
  lab.addDevice({ name: workerData });
  const source = await BACKENDS[0].open(liveInterface(workerData), { memory: lab.machine.memory, fanout: GROUP });
  const stop = new AbortController();
  parentPort.once('message', () => stop.abort());
  const ports = {};
  const observer = {
    finished(batch, first, count) {
      for (let index = first; index < first + count; index++) {
        const packet = batch.packet(index);
        const port = (packet[SOURCE_PORT] << 8) | packet[SOURCE_PORT + 1];
        ports[port] = (ports[port] ?? 0) + 1;
      }
    },
  };
  void lab.pipeline;
  parentPort.postMessage('ready');
  const { accounting } = await live(lab, [source], { observer, signal: stop.signal });
  source.close();
  parentPort.postMessage({ accounting, ports });
}
