/**
 * A thread attaches a program to an interface and never gives way again: `node attach-and-hang.mjs <interface> <object>`.
 * Says `attached`; when its input ends, ends the thread, says `ended`, and stays itself for as long as nobody kills it.
 */
import { readFileSync } from 'node:fs';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { Lab, loadObject } from '../../dist/dataplane/index.js';
import { kernelCpus, openAttached } from '../../dist/dataplane/live/attached.js';

if (isMainThread) {
  const [, , device, object] = process.argv;
  const worker = new Worker(new URL(import.meta.url), { workerData: { device, object } });
  worker.once('message', () => console.log('attached'));
  process.stdin.resume().on('end', async () => {
    await worker.terminate();
    console.log('ended');
    setInterval(() => {}, 60_000);
  });
} else {
  const { device: name, object } = workerData;
  const lab = new Lab({ ...kernelCpus(), verify: false });
  const device = lab.addDevice({ name });
  const collection = lab.load(loadObject(readFileSync(object), { name: object }), object);
  lab.attach(collection.program(), { hook: 'xdp', device });
  openAttached(lab, { interface: name, attach: 'generic' });
  parentPort.postMessage('attached');
  for (;;);
}
