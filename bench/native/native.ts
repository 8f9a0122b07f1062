/**
 * The yardstick: a bundled program as native code (clang -O2, maps inlined), over the packets and map contents of a lab.
 * A process of its own takes its turns among the other benchmarks; the time is that of its own clock.
 */
import { spawn, spawnSync, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';

import { XdplabError } from '../../dataplane/errors.ts';
import type { Yardstick } from '../../dataplane/measure/benchmark-lab.ts';
import type { Benchmark } from '../../dataplane/measure/rounds.ts';
import type { BpfMap } from '../../dataplane/maps/bpf-map.ts';
import { XDP_ACTION } from '../../dataplane/hooks/xdp.ts';
import { packetCount, type PacketTrace } from '../../dataplane/packet/packet-trace.ts';
import { programsDirectory } from '../../programs/objects.ts';

const COMPILERS = ['clang', 'clang-19'];
const SOURCES = join(programsDirectory(), '../bench/native');
const BATCH_PACKETS = 4096;
/** Of which one sample is the median: a process that was waiting begins with cold caches. */
const BATCHES = 31;
/** Kinds of maps.h by what bpftool calls the type. */
const KINDS: Readonly<Record<string, string>> = { array: 'ARRAY', percpu_array: 'ARRAY', hash: 'HASH', lru_hash: 'LRU_HASH', lpm_trie: 'LPM_TRIE', ringbuf: 'RINGBUF' };

/** The compiler there is. */
export function nativeCompiler(): string | undefined {
  return COMPILERS.find((name) => spawnSync(name, ['--version']).status === 0);
}

/** Builds in `scratch`. Throws where the program needs what maps.h has not. */
export function nativeYardstick(compiler: string, scratch: string): Yardstick {
  return ({ program, maps, trace }) => {
    const listed = maps.filter(({ spec }) => spec.section === undefined);
    const path = join(scratch, `native-${program}`);
    writeFileSync(`${path}.h`, listed.map(declaration).join(''));
    const flags = ['-O2', '-Wall', '-Wno-unused-function', '-Wno-unused-variable', `-I${join(programsDirectory(), 'include')}`, `-DPROGRAM="${join(programsDirectory(), `${program}.bpf.c`)}"`, `-DENTRY=${program}`, `-DMAP_LIST="${path}.h"`];
    const built = spawnSync(compiler, [...flags, join(SOURCES, 'program.c'), join(SOURCES, 'main.c'), '-o', path], { encoding: 'utf8' });
    if (built.status !== 0) throw new XdplabError('ERR_FILE', `${compiler}: ${built.stderr.split('\n').find((line) => line.includes('error')) ?? built.stderr}`);
    writeFileSync(`${path}.trace`, traceFile(trace));
    writeFileSync(`${path}.maps`, Buffer.concat(listed.flatMap(entriesOf)));
    const harness = new Harness(path);
    const benchmark = (what: 'program' | 'empty'): Benchmark => {
      let opened = trace.opening === 0;
      return {
        name: what === 'program' ? `${program}, native` : 'empty, native',
        restore: async () => {
          if (!opened) await harness.run(what, trace.opening, 1);
          opened = true;
        },
        sample: () => harness.run(what, BATCH_PACKETS, BATCHES),
      };
    };
    return { program: { ...benchmark('program'), close: () => harness.close(), describe: () => harness.verdicts }, empty: benchmark('empty'), tier: `${compiler} -O2, maps inlined` };
  };
}

function declaration({ name, type, spec }: BpfMap): string {
  const kind = KINDS[type.name];
  if (kind === undefined) throw new XdplabError('ERR_UNSUPPORTED', `map '${name}': there is no native ${type.name}`);
  return `MAP(${kind}, ${name}, ${spec.keyBytes}, ${spec.valueBytes}, ${spec.maxEntries})\n`;
}

function traceFile(trace: PacketTrace): Buffer {
  const head = Uint32Array.of(packetCount(trace), trace.opening, trace.gapNs);
  return Buffer.concat([bytesOf(head), bytesOf(trace.offsets), trace.bytes, Buffer.alloc(16)]);
}

function bytesOf(words: Uint32Array): Buffer {
  return Buffer.from(words.buffer, words.byteOffset, words.byteLength);
}

/** Shortest prefixes first, as maps.h wants them. */
function entriesOf(map: BpfMap, place: number): Buffer[] {
  if (map.type.holds !== 'bytes') return [];
  const { keyBytes, valueBytes } = map.spec;
  const entries = [...map.writtenEntries()];
  if (map.type.name === 'lpm_trie') entries.sort(([a], [b]) => a[0]! - b[0]!);
  return entries.map(([key, value]) => {
    const entry = Buffer.alloc(Math.ceil((12 + keyBytes + valueBytes) / 8) * 8);
    entry.writeUInt32LE(place, 0);
    entry.writeUInt32LE(keyBytes, 4);
    entry.writeUInt32LE(valueBytes, 8);
    entry.set(key, 12);
    entry.set(value.subarray(0, valueBytes), 12 + keyBytes);
    return entry;
  });
}

/** Packets by code, from -1 on,. */
function describeVerdicts(counts: readonly number[]): string {
  const total = counts.reduce((sum, count) => sum + count, 0);
  return Object.entries(XDP_ACTION)
    .flatMap(([name, code]) => (counts[code + 1] === 0 ? [] : [`XDP_${name} ${((100 * counts[code + 1]!) / total).toFixed(1)} %`]))
    .join(', ');
}

class Harness {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #lines: Interface;
  #answer: ((line: string) => void) | undefined;
  #fail: ((error: Error) => void) | undefined;
  #complaint = '';
  /** What the program answered, known when it has ended. */
  verdicts = '';

  constructor(path: string) {
    this.#process = spawn(path, [`${path}.trace`, `${path}.maps`]);
    this.#process.stderr.on('data', (text: Buffer) => (this.#complaint += text.toString()));
    this.#process.on('close', (status) => this.#fail?.(new XdplabError('ERR_FILE', `${path}: ended with status ${status}: ${this.#complaint.trim()}`)));
    // It may have ended before it was told anything.
    this.#process.stdin.on('error', () => {});
    this.#lines = createInterface(this.#process.stdout);
    this.#lines.on('line', (line) => this.#answer?.(line));
  }

  run(what: 'program' | 'empty', packets: number, batches: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#answer = (line) => resolve(Number(line));
      this.#fail = reject;
      this.#process.stdin.write(`${what} ${packets} ${batches}\n`);
    });
  }

  async close(): Promise<void> {
    this.#fail = undefined;
    const ended = new Promise((resolve) => this.#process.on('close', resolve));
    this.#answer = (line) => (this.verdicts = describeVerdicts(line.split(' ').map(Number)));
    this.#process.stdin.end();
    await ended;
  }
}
