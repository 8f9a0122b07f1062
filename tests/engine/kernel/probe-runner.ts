/** Runs a probe here, and in the kernel, and says what each answered. */
import type { ProgramType } from '../../../dataplane/bpf/spec.ts';
import { KernelOracle } from '../../../dataplane/engine/kernel/kernel-oracle.ts';
import { openLinux } from '../../../dataplane/engine/kernel/linux.ts';
import type { Engine, EngineFactory } from '../../../dataplane/engine/engine.ts';
import { createWasmEngine } from '../../../dataplane/engine/wasm-engine.ts';
import { TestBench, type TestRunInput, type TestRunOutput } from '../../../dataplane/engine/test-run.ts';
import { Machine } from '../../../dataplane/machine/machine.ts';
import { createMap, type BpfMap } from '../../../dataplane/maps/bpf-map.ts';
import { unverified, type Program } from '../../../dataplane/program/program.ts';
import { programSpec } from './kernel-bench.ts';
import { contentsOf, PROBE_MAPS } from './probe-maps.ts';
import { ANSWERS, mapsNamed, probeText, readAnswers, type ProbeCall } from './probe-program.ts';

/** By what was answered: a call, a buffer, a field of the context, the packet. */
export type Answers = Readonly<Record<string, string>>;

interface Probe {
  readonly type: ProgramType;
  readonly calls: readonly ProbeCall[];
  readonly program: Program;
}

type Reachable = Pick<BpfMap, 'lookup' | 'entries' | 'pop'> & { records(): Iterable<Uint8Array> };

const KEY = new Uint8Array(4);
const NOW_NS = 1_700_000_000_123_456_789n;
/** The interface of the kernel's test runs. */
const LOOPBACK = { ifindex: 1, name: 'lo', mac: new Uint8Array(6), mtuBytes: 65_536, up: true, forwarding: false, addresses: [] };

export class ProbeMachine {
  readonly machine: Machine;
  readonly #engine: Engine;
  readonly #bench: TestBench;

  constructor(factory: EngineFactory, cpus: number) {
    this.machine = new Machine({ cpus });
    this.#bench = new TestBench(this.machine);
    this.#engine = factory(this.machine);
    this.machine.network.addDevice(LOOPBACK);
    this.machine.nowNs = NOW_NS;
  }

  /** Maps of a probe are its own, and as they are made. */
  load(type: ProgramType, calls: readonly ProbeCall[]): Probe {
    const maps = new Map([[ANSWERS.name, createMap(this.machine, ANSWERS)]]);
    const named = mapsNamed(calls);
    for (const { spec, fill } of PROBE_MAPS) {
      if (!named.has(spec.name)) continue;
      const map = createMap(this.machine, spec);
      fill?.(map);
      maps.set(spec.name, map);
    }
    const program: Program = { id: this.machine.allocateProgramId(), spec: programSpec(probeText(type, calls), type, 'probe'), type, maps };
    this.#engine.load(unverified(program));
    return { type, calls, program };
  }

  run(probe: Probe, input: TestRunInput): Answers {
    return answersOf(probe, this.#bench.run(probe.program, input), (map) => map);
  }
}

export class ProbeRunner {
  readonly #here = new ProbeMachine(createWasmEngine, openLinux().possibleCpus);
  readonly #oracle = new KernelOracle(this.#here.machine);

  run(type: ProgramType, calls: readonly ProbeCall[], input: TestRunInput): { readonly here: Answers; readonly kernel: Answers } {
    const probe = this.#here.load(type, calls);
    const { program } = probe;
    try {
      this.#oracle.load(program);
      this.#oracle.copyMaps();
      const output = this.#oracle.run(program, input);
      return { kernel: answersOf(probe, output, (map) => this.#oracle.map(map)), here: this.#here.run(probe, input) };
    } finally {
      this.#oracle.unload(program);
    }
  }

  close(): void {
    this.#oracle.close();
  }
}

function answersOf({ type, calls, program }: Probe, { code, packet, metadata, context }: TestRunOutput, reach: (map: BpfMap) => Reachable): Answers {
  const bytes = reach(program.maps.get(ANSWERS.name)!).lookup(KEY)!;
  const maps = PROBE_MAPS.flatMap((row) => {
    const map = program.maps.get(row.spec.name);
    return map === undefined ? [] : [[`map ${row.spec.name}`, contentsOf(row, reach(map))]];
  });
  const hex = (part: Uint8Array): string => Buffer.from(part).toString('hex');
  const after = Object.entries(context).map(([name, value]) => [`${name} afterwards`, String(value)]);
  return { ...readAnswers(type, calls, bytes), code: String(code), packet: hex(packet), metadata: hex(metadata), ...Object.fromEntries([...after, ...maps]) };
}
