/** Runs a probe here, and in the kernel, and says what each answered. */
import type { ProgramType } from '../../../dataplane/bpf/spec.ts';
import { KernelOracle } from '../../../dataplane/engine/kernel/kernel-oracle.ts';
import type { Engine, EngineFactory } from '../../../dataplane/engine/engine.ts';
import { createWasmEngine } from '../../../dataplane/engine/wasm-engine.ts';
import { TestBench, type TestRunInput, type TestRunOutput } from '../../../dataplane/engine/test-run.ts';
import { Machine } from '../../../dataplane/machine/machine.ts';
import { createMap, type BpfMap } from '../../../dataplane/maps/bpf-map.ts';
import type { Program } from '../../../dataplane/program/program.ts';
import { programSpec } from './kernel-bench.ts';
import { ANSWERS, probeText, readAnswers, RING, type ProbeCall } from './probe-program.ts';

/** By what was answered: a call, a buffer, a field of the context, the packet. */
export type Answers = Readonly<Record<string, string>>;

interface Probe {
  readonly type: ProgramType;
  readonly calls: readonly ProbeCall[];
  readonly program: Program;
  readonly answers: BpfMap;
}

const KEY = new Uint8Array(4);
const NOW_NS = 1_700_000_000_123_456_789n;
/** The interface of the kernel's test runs. */
const LOOPBACK = { ifindex: 1, name: 'lo', mac: new Uint8Array(6), mtuBytes: 65_536, up: true, forwarding: false, addresses: [] };

export class ProbeMachine {
  readonly machine = new Machine();
  readonly #engine: Engine;
  readonly #bench = new TestBench(this.machine);

  constructor(factory: EngineFactory = createWasmEngine) {
    this.#engine = factory(this.machine);
    this.machine.network.addDevice(LOOPBACK);
    this.machine.nowNs = NOW_NS;
  }

  /** Maps of a probe are its own, and as they are made. */
  load(type: ProgramType, calls: readonly ProbeCall[]): Probe {
    const maps = new Map([ANSWERS, RING].map((spec) => [spec.name, createMap(this.machine, spec)]));
    const program: Program = { id: this.machine.allocateProgramId(), spec: programSpec(probeText(type, calls), type, 'probe'), type, maps };
    this.#engine.load(program);
    return { type, calls, program, answers: maps.get(ANSWERS.name)! };
  }

  run(probe: Probe, input: TestRunInput): Answers {
    return answersOf(probe, this.#bench.run(probe.program, input), probe.answers.lookup(KEY)!);
  }
}

export class ProbeRunner {
  readonly #here = new ProbeMachine();
  readonly #oracle = new KernelOracle(this.#here.machine);

  run(type: ProgramType, calls: readonly ProbeCall[], input: TestRunInput): { readonly here: Answers; readonly kernel: Answers } {
    const probe = this.#here.load(type, calls);
    const { program, answers } = probe;
    try {
      const output = this.#oracle.run(program, input);
      return { kernel: answersOf(probe, output, this.#oracle.map(answers).lookup(KEY)!), here: this.#here.run(probe, input) };
    } finally {
      this.#oracle.unload(program);
    }
  }

  close(): void {
    this.#oracle.close();
  }
}

function answersOf({ type, calls }: Probe, { code, packet, metadata, context }: TestRunOutput, bytes: Uint8Array): Answers {
  const hex = (part: Uint8Array): string => Buffer.from(part).toString('hex');
  const after = Object.entries(context).map(([name, value]) => [`${name} afterwards`, String(value)]);
  return { ...readAnswers(type, calls, bytes), code: String(code), packet: hex(packet), metadata: hex(metadata), ...Object.fromEntries(after) };
}
