/** A CPU's packet loop at work: what the loop asks of JavaScript, and the end of packets whose programs are stopped. */
import { LOOK_AHEAD_PACKETS } from '../engine/jit/look-ahead.ts';
import type { XdplabError } from '../errors.ts';
import { timersOf } from '../helpers/timer.ts';
import { hookByName } from '../hooks/index.ts';
import { HOOK_NAMES } from '../hooks/hook.ts';
import { CPU_BLOCK, FAULT } from '../machine/cpu.ts';
import type { LookAhead, Machine } from '../machine/machine.ts';
import { releaseLocks } from '../maps/exclusion.ts';
import { XDP_MD } from '../packet/frame.ts';
import { DESCRIPTOR } from '../packet/packet-batch.ts';
import { broadcastTargets } from './broadcast.ts';
import { ATTACHMENT, LOOP } from './layout.ts';
import { tablesOverwritten } from './loop-tables.ts';
import { PROGRAMS, type LoopConstants, type LoopImports } from './loop/loop-code.ts';
import { writeLinkAddresses } from './neighbour.ts';
import { DROP_REASON, type DropReason } from './outcome.ts';
import type { PacketLoop } from './packet-loop.ts';

const FAULT_REASON: Readonly<Record<number, DropReason>> = {
  [FAULT.memory]: 'PROGRAM_TRAP',
  [FAULT.budget]: 'PROGRAM_BUDGET',
  [FAULT.depth]: 'PROGRAM_TRAP',
  [FAULT.unsupported]: 'PROGRAM_UNSUPPORTED',
  [FAULT.null]: 'PROGRAM_NULL',
};

export interface LoopSurroundings extends Pick<LoopImports, 'attachInSlot'> {
  /** Takes a copy of a packet that leaves beside it. The bytes are borrowed. */
  copy(ifindex: number, bytes: Uint8Array): void;
  programName(id: number): string | undefined;
  /** Another answer than before: what is attached has changed. */
  version(): unknown;
}

export class LoopRunner {
  readonly #machine: Machine;
  readonly #cells: number;
  readonly #surroundings: LoopSurroundings;
  readonly #imports: WebAssembly.Imports;
  /** Of the programs that packets meet. */
  #aheads: readonly LookAhead[] = [];

  constructor(machine: Machine, { cells, xdpContext }: Pick<LoopConstants, 'cells' | 'xdpContext'>, surroundings: LoopSurroundings) {
    this.#machine = machine;
    this.#cells = cells;
    this.#surroundings = surroundings;
    const { memory, programTable } = machine;
    this.#imports = {
      machine: { memory: memory.wasm, programs: programTable },
      loop: {
        broadcast: (map: number, exclude: number, lengthBytes: number): number => {
          const targets = broadcastTargets(machine, map, exclude, lengthBytes);
          const data = memory.view.getUint32(xdpContext + XDP_MD.data, true);
          for (const ifindex of targets) surroundings.copy(ifindex, memory.bytes(data, lengthBytes));
          return targets.length;
        },
        timers: () => void timersOf(machine).run(memory.view.getBigUint64(machine.cell(CPU_BLOCK.descriptor) + DESCRIPTOR.timestampNs, true), rethrowBugs),
        records: () => {
          const version = surroundings.version();
          machine.tellOfRecords();
          return Number(version !== surroundings.version());
        },
        link: (ifindex: number, nextHop: number, data: number): number => Number(writeLinkAddresses(machine, ifindex, nextHop >>> 0, data >>> 0)),
        attachInSlot: (program: number, device: number, mode: number): number => surroundings.attachInSlot(program, device >>> 0, mode),
      } satisfies LoopImports,
    };
  }

  instantiate(module: WebAssembly.Module): PacketLoop {
    const { programTable } = this.#machine;
    const wanted = WebAssembly.Module.imports(module).filter(({ module: from }) => from === PROGRAMS);
    const programs = Object.fromEntries(wanted.map(({ name }) => [name, programTable.get(Number(name)) as WebAssembly.ExportValue]));
    return new WebAssembly.Instance(module, { ...this.#imports, [PROGRAMS]: programs }).exports as unknown as PacketLoop;
  }

  /** Packets meet these programs from now on, by id. */
  lookAheadOf(programs: Iterable<number>): void {
    this.#aheads = [...new Set(programs)].flatMap((id) => this.#machine.lookAheads.get(id) ?? []);
  }

  /** Runs at most `count` packets, whose descriptors begin at `first`; answers how many have ended. */
  run(loop: PacketLoop, first: number, count: number): number {
    let done = 0;
    try {
      for (let wanted = 0, ran = 0; ran === wanted && done < count; done += ran) {
        const next = first + done * DESCRIPTOR.size;
        wanted = this.#lookAhead(next, count - done);
        ran = loop.run(next, wanted);
      }
      return done;
    } catch (error) {
      this.#stop(loop, error);
      this.#machine.tellOfRecords();
      return (this.#stoppedAt(first, count) ?? done) + 1;
    }
  }

  /** Goes on with packets that were left for this CPU. */
  resume(loop: PacketLoop, handovers: Uint32Array): void {
    for (const handover of handovers) {
      try {
        loop.resume!(handover);
      } catch (error) {
        this.#stop(loop, error);
        this.#machine.tellOfRecords();
      }
    }
  }

  /** Brings what the next packets will look up into the caches, where that is worth it; how many to run then. */
  #lookAhead(first: number, count: number): number {
    const some = Math.min(count, LOOK_AHEAD_PACKETS);
    let worthIt = 0;
    try {
      for (const ahead of this.#aheads) worthIt |= ahead(first, some);
    } catch (error) {
      rethrowBugs(error);
      // The verifier was wrong, and the program itself will tell.
      this.#aheads = [];
    }
    return worthIt === 0 ? count : some;
  }

  /** A program trapped: ends its packet with the verdict Linux gives a program that fails, and says why. Other errors are ours. */
  #stop(loop: PacketLoop, error: unknown): void {
    const machine = this.#machine;
    const known = machine.cell(CPU_BLOCK.fault);
    if (known === FAULT.none) rethrowBugs(error);
    const fault = known === FAULT.none ? FAULT.memory : known;
    machine.setCell(CPU_BLOCK.fault, FAULT.none);
    releaseLocks(machine);
    const { u32 } = machine.memory;
    const name = HOOK_NAMES[u32[(u32[(this.#cells + LOOP.attachment) >>> 2]! + ATTACHMENT.hook) >>> 2]!];
    if (name === undefined) throw this.overwritten();
    try {
      loop.stop(fault, hookByName(name).onFault.code, DROP_REASON[FAULT_REASON[fault] ?? 'PROGRAM_TRAP']);
    } catch {
      throw this.overwritten();
    }
  }

  /** By the program that ran last. */
  overwritten(): XdplabError {
    const id = this.#machine.cell(CPU_BLOCK.programId);
    return tablesOverwritten(`program '${this.#surroundings.programName(id) ?? id}':`);
  }

  /** The packet whose program was stopped, from the first. A program may have overwritten even that. */
  #stoppedAt(first: number, count: number): number | undefined {
    const index = (this.#machine.cell(CPU_BLOCK.descriptor) - first) / DESCRIPTOR.size;
    return Number.isInteger(index) && index >= 0 && index < count ? index : undefined;
  }
}

/** Programs trap and run out of memory's bounds; anything else is a mistake of ours. */
export function rethrowBugs(error: unknown): void {
  if (!(error instanceof WebAssembly.RuntimeError) && !(error instanceof RangeError)) throw error;
}
