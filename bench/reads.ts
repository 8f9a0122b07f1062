/**
 * What a read costs in so much memory: each waits for the one before and says where the next is, somewhere else, so that
 * neither the processor nor the order of addresses helps. Between two sizes this tells what the caches between them cost
 * whoever reads here and there. The memory is on huge pages, where Linux has them, so that pages are not what is measured.
 */
import { MachineMemory } from '../dataplane/machine/memory.ts';
import { timed, type Benchmark } from '../dataplane/measure/rounds.ts';
import { Random } from '../dataplane/random.ts';

export const LINE_BYTES = 64;
const HUGE_PAGE_BYTES = 2 << 20;
const READS = 2000;

/** A sample is nanoseconds per read. */
export function readBenchmark(name: string, bytes: number): Benchmark {
  const memory = new MachineMemory();
  const address = memory.allocate(bytes, HUGE_PAGE_BYTES, name);
  memory.preferHugePages(address, bytes);
  const words = new Uint32Array(memory.wasm.buffer, address, Math.floor(bytes / 4));
  const step = LINE_BYTES / 4;
  const order = oneCycle(Math.max(1, Math.floor(bytes / LINE_BYTES)));
  order.forEach((next, line) => (words[line * step] = next * step));
  let at = 0;
  return {
    name,
    sample: () =>
      timed(() => {
        for (let read = 0; read < READS; read++) at = words[at]!;
      }) / READS,
    describe: () => String(at),
  };
}

/** The next of each, so that all are passed before the first comes again (Sattolo's shuffle). */
export function oneCycle(count: number): Uint32Array {
  const random = new Random(1);
  const next = Uint32Array.from({ length: count }, (_, index) => index);
  for (let index = count - 1; index > 0; index--) {
    const other = random.below(index);
    [next[index], next[other]] = [next[other]!, next[index]!];
  }
  return next;
}
