/** A machine on which a test runs one program after the other, without the packet path around it. */
import { assemble } from '../../dataplane/bpf/assemble.ts';
import { checkProgram } from '../../dataplane/bpf/check.ts';
import type { Instruction } from '../../dataplane/bpf/isa.ts';
import type { ProgramType, UnresolvedReference } from '../../dataplane/bpf/spec.ts';
import type { Engine, EngineFactory } from '../../dataplane/engine/engine.ts';
import { HELPERS, helpersOf, kfuncNamed, kfuncOf } from '../../dataplane/helpers/index.ts';
import { CPU_BLOCK, FAULT } from '../../dataplane/machine/cpu.ts';
import { Machine, type MachineOptions } from '../../dataplane/machine/machine.ts';
import type { BpfMap } from '../../dataplane/maps/bpf-map.ts';
import { FRAME, SK_BUFF, XDP_MD } from '../../dataplane/packet/frame.ts';
import { unverified, type Program } from '../../dataplane/program/program.ts';

export type FaultName = keyof typeof FAULT;
export type Outcome = bigint | { readonly fault: FaultName };

export interface LoadOptions {
  readonly type?: ProgramType;
  readonly maps?: readonly BpfMap[];
}

const MINIMUM_PACKET_BYTES = 64;
const ETHERNET_HEADER_BYTES = 14;
/** What libbpf leaves in place of a call it could not resolve. */
const UNRESOLVED_HELPER = 0xbad2310;
const CONTEXT_BYTES = Math.max(XDP_MD.size, SK_BUFF.size);

export class BenchMachine {
  readonly machine: Machine;
  readonly engine: Engine;
  readonly packet: number;
  readonly #context: number;

  constructor(factory: EngineFactory, options: MachineOptions = {}) {
    this.machine = new Machine({ instructionBudget: 100_000, ...options });
    this.engine = factory(this.machine);
    this.#context = this.machine.memory.allocate(CONTEXT_BYTES, 64, 'context');
    this.packet = this.machine.memory.allocate(FRAME.size, 64, 'packet') + FRAME.headroom;
  }

  /** Assembles, checks and loads a program. */
  load(code: string, options: LoadOptions = {}): Program {
    const helpers = helpersOf(options.type ?? 'xdp');
    return this.loadInstructions(assemble(code, { helper: (name) => HELPERS.find((helper) => helper.name === name && helpers.has(helper.id))?.id, kfunc: (name) => kfuncNamed(name) !== undefined }).instructions, options);
  }

  loadInstructions(instructions: readonly Instruction[], { type = 'xdp', maps = [] }: LoadOptions = {}): Program {
    const unresolved: UnresolvedReference[] = [];
    for (const [slot, instruction] of instructions.entries()) {
      if (instruction.kind === 'call' && instruction.target.kind === 'helper' && instruction.target.id === UNRESOLVED_HELPER) {
        unresolved.push({ slot, reason: 'it is not there' });
      }
    }
    const checked = { name: 'case', instructions, unresolved };
    const ranges = checkProgram(checked, { isHelper: (id) => helpersOf(type).has(id), isKfunc: (name) => kfuncOf(name, type) !== undefined, packetLoads: type !== 'xdp' });
    const functions = ranges.map(({ start }) => ({ name: `f${start}`, slot: start, typeId: 0, linkage: 'static' as const }));
    const program: Program = {
      id: this.machine.allocateProgramId(),
      spec: { ...checked, section: type, type, frags: false, functions, lines: [], license: 'GPL' },
      type,
      maps: new Map(maps.map((map) => [map.name, map])),
    };
    this.engine.load(unverified(program));
    return program;
  }

  /** Runs a program once on a packet that begins with `bytes` and goes on to 64, each byte being its offset. */
  run(program: Program, bytes: Uint8Array = new Uint8Array()): Outcome {
    const { machine } = this;
    const { memory } = machine;
    const packetBytes = Math.max(MINIMUM_PACKET_BYTES, bytes.length);
    for (let index = 0; index < packetBytes; index++) memory.u8[this.packet + index] = bytes[index] ?? index;
    this.#setContext(program.type, packetBytes);
    machine.beginRun(program.id);
    const entry = machine.programTable.get(program.id) as (context: number) => bigint;
    try {
      return BigInt.asUintN(64, entry(this.#context));
    } catch (error) {
      if (!(error instanceof WebAssembly.RuntimeError)) throw error;
      // A trap that nobody foresaw is an access outside of memory.
      const code = machine.cell(CPU_BLOCK.fault) || FAULT.memory;
      return { fault: (Object.keys(FAULT) as FaultName[]).find((name) => FAULT[name] === code)! };
    }
  }

  #setContext(type: ProgramType, packetBytes: number): void {
    const { memory } = this.machine;
    memory.u8.fill(0, this.#context, this.#context + CONTEXT_BYTES);
    const end = this.packet + packetBytes;
    const fields: readonly (readonly [number, number])[] =
      type === 'xdp'
        ? [
            [XDP_MD.data, this.packet],
            [XDP_MD.data_end, end],
            [XDP_MD.data_meta, this.packet],
            [XDP_MD.ingress_ifindex, 1],
            [XDP_MD.hard_start, this.packet - FRAME.headroom],
            [XDP_MD.hard_end, end + FRAME.sharedInfo],
            [XDP_MD.exposed, this.packet],
            [XDP_MD.packet_end, end],
          ]
        : [
            [SK_BUFF.len, packetBytes],
            [SK_BUFF.ifindex, 1],
            [SK_BUFF.data, this.packet],
            [SK_BUFF.data_end, end],
            [SK_BUFF.head, this.packet - FRAME.headroom],
            [SK_BUFF.end, end + FRAME.sharedInfo],
            [SK_BUFF.network_offset, ETHERNET_HEADER_BYTES],
          ];
    for (const [offset, value] of fields) memory.view.setUint32(this.#context + offset, value, true);
  }
}
