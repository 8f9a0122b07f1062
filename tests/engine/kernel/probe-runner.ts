/** Runs a probe here and in the kernel, and says what each answered. */
import type { ProgramSpec, ProgramType } from '../../../dataplane/bpf/spec.ts';
import { KernelOracle } from '../../../dataplane/engine/kernel/kernel-oracle.ts';
import type { Engine, EngineFactory } from '../../../dataplane/engine/engine.ts';
import { createWasmEngine } from '../../../dataplane/engine/wasm-engine.ts';
import { TestBench, type TestRunInput, type TestRunOutput } from '../../../dataplane/engine/test-run.ts';
import { Machine } from '../../../dataplane/machine/machine.ts';
import { createMap, type BpfMap } from '../../../dataplane/maps/bpf-map.ts';
import type { Program } from '../../../dataplane/program/program.ts';
import { programSpec } from './kernel-bench.ts';
import { ANSWERS, probeText, readAnswers, RING, type ProbeCall } from './probe-program.ts';

export type Answers = Readonly<Record<string, unknown>>;

/** Maps of a run are as they are made. */
const KEY = new Uint8Array(4);
/** The interface of the kernel's test runs. */
const LOOPBACK = { ifindex: 1, name: 'lo', mac: new Uint8Array(6), mtuBytes: 65_536, up: true, forwarding: false, addresses: [] };

export class ProbeRunner {
  readonly #machine = new Machine();
  readonly #engine: Engine;
  readonly #bench = new TestBench(this.#machine);
  readonly #oracle = new KernelOracle(this.#machine);

  constructor(factory: EngineFactory = createWasmEngine) {
    this.#engine = factory(this.#machine);
    this.#machine.network.addDevice(LOOPBACK);
  }

  run(type: ProgramType, calls: readonly ProbeCall[], input: TestRunInput): { readonly here: Answers; readonly kernel: Answers } {
    const maps = new Map([ANSWERS, RING].map((spec) => [spec.name, createMap(this.#machine, spec)]));
    const program = this.#load(programSpec(probeText(type, calls), type, 'probe'), maps);
    const answers = maps.get(ANSWERS.name)!;
    try {
      const kernel = this.#oracle.run(program, input);
      const inKernel = this.#oracle.map(answers).lookup(KEY)!;
      const here = this.#bench.run(program, input);
      return { here: all(type, calls, here, answers.lookup(KEY)!), kernel: all(type, calls, kernel, inKernel) };
    } finally {
      this.#oracle.unload(program);
    }
  }

  close(): void {
    this.#oracle.close();
  }

  #load(spec: ProgramSpec, maps: ReadonlyMap<string, BpfMap>): Program {
    const program: Program = { id: this.#machine.allocateProgramId(), spec, type: spec.type!, maps };
    this.#engine.load(program);
    return program;
  }
}

function all(type: ProgramType, calls: readonly ProbeCall[], output: TestRunOutput, bytes: Uint8Array): Answers {
  return { ...readAnswers(type, calls, bytes), code: output.code, packet: Buffer.from(output.packet).toString('hex'), metadata: Buffer.from(output.metadata).toString('hex'), ...output.context };
}
