/**
 * What the parts of the packet loop share: its module, the addresses that are constants in its code, short ways to
 * read and write the tables there, and the end of a packet.
 */
import { CPU_BLOCK, FAULT } from '../../machine/cpu.ts';
import type { HookName } from '../../hooks/hook.ts';
import { NULL_PAGE_BYTES } from '../../machine/memory.ts';
import { XDP_MD } from '../../packet/frame.ts';
import { DESCRIPTOR } from '../../packet/packet-batch.ts';
import type { VerifiedProgram } from '../../program/program.ts';
import { call, callIndirect, i32, i64, memory, pair, select, type Callee, type FunctionType, type I32, type I64 } from '../../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../../wasm/function-builder.ts';
import { ModuleBuilder } from '../../wasm/module-builder.ts';
import { DEVICE, LOOP } from '../layout.ts';
import { DROP_REASON, FATE, type DropReason, type Fate } from '../outcome.ts';
import type { Chain } from './chain.ts';
import { mayDoAnything, mayRedirect } from './program-needs.ts';

export const VLAN_TAG_BYTES = 4;

export const PROGRAMS = 'program';

/** So many are told apart where they are looked for, more by a function. */
const FEW_DEVICES = 8;

/**
 * What the loop leaves behind of a packet, each more than the one before. `counters` is fastest: every packet has the same
 * frame, and nothing else is written. `records`: of each verdict. `descriptors`: what became of each packet. `packets`: each
 * packet in a frame of its own.
 */
export const KEPT = ['counters', 'records', 'descriptors', 'packets'] as const;
export type Kept = (typeof KEPT)[number];
/** By somebody who looks. */
export type Watched = Exclude<Kept, 'counters'>;

/** What is constant in the loop's code: addresses, and what is attached. */
export interface LoopConstants {
  readonly cpuBlock: number;
  readonly sharedMemory: boolean;
  /** Packets were spread over CPUs: their descriptors say at which queue and what time they come. */
  readonly spread: boolean;
  /** A CPUMAP hands packets to other CPUs: they are left behind as HANDOVER. Each has to have a frame of its own then. */
  readonly handsOver: boolean;
  readonly cells: number;
  readonly xdpContext: number;
  readonly skbContext: number;
  readonly arena: number;
  readonly arenaEnd: number;
  readonly records: number;
  /** The most that one packet leaves. */
  readonly recordBytesPerPacket: number;
  readonly devices: number;
  readonly devicesEnd: number;
  /** Of the devices, in the order of their records. */
  readonly ifindexes: readonly number[];
  /** u32 device record address by capture interface, or-ed with a SENDER; 0 where packets of it cannot be run. */
  readonly interfaces: number;
  readonly interfaceCount: number;
  readonly instructionBudget: number;
  readonly keeps: Kept;
  /** Whether a device's own address is known, and whether one has several queues. */
  readonly anyKnowsOwn: boolean;
  readonly anyQueues: boolean;
  readonly chains: readonly Chain[];
}

/** What the loop imports besides memory, the program table and the programs that are attached, which it imports from PROGRAMS by their ids. */
export interface LoopImports {
  /** BPF_F_BROADCAST: sends the XDP frame to every device of the map that can send it; returns to how many. */
  broadcast(mapDescriptor: number, excludeIfindex: number, lengthBytes: number): number;
  /** Runs the timers that expire until the packet at CPU_BLOCK.descriptor came in. */
  timers(): void;
  /** Tells whoever reads ring buffers; not 0 where other programs are attached now, which this loop does not have. */
  records(): number;
  /** bpf_redirect_neigh: writes the link-layer addresses at `data`; 0 when the next hop is not known. */
  link(ifindex: number, nextHop: number, data: number): number;
  /** Makes the attachment of a program that runs from a slot for the first time; 0 where there is no such program. */
  attachInSlot(program: number, device: number, mode: number): number;
}

export class LoopCode {
  readonly module = new ModuleBuilder();
  readonly at: LoopConstants;
  /** Whether verdict records are written, and what becomes of a packet into its descriptor. */
  readonly records: boolean;
  readonly describes: boolean;
  /** Table and type of programs' entry functions. */
  readonly programs: number;
  readonly entry: FunctionType<'i64'>;
  readonly imports: { readonly broadcast: Callee<'i32'>; readonly timers: Callee<undefined>; readonly records: Callee<'i32'>; readonly link: Callee<'i32'>; readonly attachInSlot: Callee<'i32'> };
  readonly finish: Callee<undefined>;

  readonly #programImports = new Map<number, Callee<'i64'>>();
  readonly #anyRedirects: boolean;
  #findAmongMany: Callee<'i32'> | undefined;

  constructor(at: LoopConstants) {
    const { module } = this;
    this.at = at;
    this.records = at.keeps !== 'counters';
    this.describes = at.keeps === 'descriptors' || at.keeps === 'packets';
    this.#anyRedirects = at.chains.some(({ links }) => links.some(({ program }) => mayRedirect(program)));
    module.importMemory('machine', 'memory', at.sharedMemory);
    this.programs = module.importTable('machine', 'programs');
    this.entry = module.type(['i32'], 'i64');
    this.imports = {
      broadcast: module.importFunction('loop', 'broadcast', ['i32', 'i32', 'i32'], 'i32'),
      timers: module.importFunction('loop', 'timers', [], undefined),
      records: module.importFunction('loop', 'records', [], 'i32'),
      link: module.importFunction('loop', 'link', ['i32', 'i32', 'i32'], 'i32'),
      attachInSlot: module.importFunction('loop', 'attachInSlot', ['i32', 'i32', 'i32'], 'i32'),
    };
    this.finish = this.#defineFinish();
  }

  readonly cpuCell = (offset: number): I32 => i32.load(i32.const(this.at.cpuBlock), offset);
  readonly setCpuCell = (f: FunctionBuilder, offset: number, value: I32): void => f.do(i32.store(i32.const(this.at.cpuBlock), offset, value));
  /** Cells of the loop itself: LOOP in layout.ts. */
  readonly cell = (offset: number): I32 => i32.load(i32.const(this.at.cells), offset);
  readonly setCell = (f: FunctionBuilder, offset: number, value: I32): void => f.do(i32.store(i32.const(this.at.cells), offset, value));
  /** Fields of struct xdp_md, and of struct __sk_buff. */
  readonly xdp = (offset: number): I32 => i32.load(i32.const(this.at.xdpContext), offset);
  readonly setXdp = (f: FunctionBuilder, offset: number, value: I32): void => f.do(i32.store(i32.const(this.at.xdpContext), offset, value));
  readonly skb = (offset: number): I32 => i32.load(i32.const(this.at.skbContext), offset);
  readonly setSkb = (f: FunctionBuilder, offset: number, value: I32): void => f.do(i32.store(i32.const(this.at.skbContext), offset, value));

  /** The descriptor of the packet that runs. */
  readonly descriptor = (): I32 => this.cpuCell(CPU_BLOCK.descriptor);
  readonly xdpLength = (): I32 => i32.sub(this.xdp(XDP_MD.packet_end), this.xdp(XDP_MD.data));

  /** Runs a program that is attached, with everything to spend. The low half of its answer. */
  readonly runProgram = (f: FunctionBuilder, program: VerifiedProgram, context: number): I32 => {
    this.#fillBudget(f);
    // Where no program redirects, what it says stays as the loop found it.
    if (this.#anyRedirects) this.clearRedirect(f);
    const code = f.let(i32.wrap(call(this.#programImport(program.id), i32.const(context))), 'code');
    if (mayDoAnything(program)) this.#expectNullUntouched(f);
    return code;
  };

  /** The same for a program that was found in a map. */
  readonly runProgramInSlot = (f: FunctionBuilder, program: Local<'i32'>, context: number): I32 => {
    this.#fillBudget(f);
    this.clearRedirect(f);
    this.setCpuCell(f, CPU_BLOCK.programId, program);
    const code = f.let(i32.wrap(callIndirect(this.entry, this.programs, program, i32.const(context))), 'code');
    this.#expectNullUntouched(f);
    return code;
  };

  /** What holds for all packets of a call. */
  readonly begin = (f: FunctionBuilder): void => {
    if (!this.#anyRedirects) this.clearRedirect(f);
  };

  readonly clearRedirect = (f: FunctionBuilder): void => f.do(i64.store(i32.const(this.at.cpuBlock), CPU_BLOCK.redirect, i64.const(0)));

  /** And no tail calls made. */
  #fillBudget(f: FunctionBuilder): void {
    f.do(i64.store(i32.const(this.at.cpuBlock), CPU_BLOCK.budget, pair(i32.const(this.at.instructionBudget), i32.const(0))));
  }

  /** Called without the table: the engine knows where it goes. */
  #programImport(id: number): Callee<'i64'> {
    let callee = this.#programImports.get(id);
    if (callee === undefined) this.#programImports.set(id, (callee = this.module.importFunction(PROGRAMS, String(id), ['i32'], 'i64')));
    return callee;
  }

  /** Nothing lies at address 0, so what is written there came through a NULL pointer: most likely a map value that is not there. */
  #expectNullUntouched(f: FunctionBuilder): void {
    const null64 = (word: number): I64 => i64.load(i32.const(0), 8 * word);
    f.if(i64.ne(i64.or(i64.or(null64(0), null64(1)), i64.or(null64(2), null64(3))), i64.const(0)), () => {
      f.do(memory.fill(i32.const(0), i32.const(0), i32.const(NULL_PAGE_BYTES)));
      this.setCpuCell(f, CPU_BLOCK.fault, i32.const(FAULT.null));
      f.unreachable();
    });
  }

  /** The chains at a hook, each for its device. A chain ends the packet or falls out of its code. */
  readonly atDeviceOf = (f: FunctionBuilder, hook: HookName, device: I32, run: (chain: Chain) => void): void => {
    const chains = this.at.chains.filter((chain) => chain.hook === hook);
    f.block((done) => {
      for (const chain of chains) {
        f.if(i32.eq(device, i32.const(chain.device)), () => {
          run(chain);
          f.br(done);
        });
      }
    });
  };

  /** Adds to a u64 counter. */
  readonly count = (f: FunctionBuilder, base: I32, offset: number, amount: I32): void =>
    f.do(i64.store(base, offset, i64.add(i64.load(base, offset), i64.extendU(amount))));

  /** Counts a packet that leaves by `device`. */
  readonly countSent = (f: FunctionBuilder, device: I32, length: I32): void => {
    this.count(f, device, DEVICE.txPackets, i32.const(1));
    this.count(f, device, DEVICE.txBytes, length);
    if (this.describes) f.do(i32.store(this.descriptor(), DESCRIPTOR.leftIfindex, i32.load(device, DEVICE.ifindex)));
  };

  /** Ends the packet as XDP left it. */
  readonly finishXdp = (f: FunctionBuilder, fate: Fate, reason: DropReason): void => {
    if (this.describes) {
      f.do(call(this.finish, this.xdp(XDP_MD.data), this.xdpLength(), i32.const(FATE[fate]), i32.const(DROP_REASON[reason])));
      return;
    }
    // As finish does, with what is known: a call costs more than the counting.
    const cells = i32.const(this.at.cells);
    this.count(f, cells, LOOP.fatePackets + 8 * FATE[fate], i32.const(1));
    this.count(f, cells, LOOP.fateBytes + 8 * FATE[fate], this.xdpLength());
    if (reason !== 'NONE') this.count(f, cells, LOOP.reasons + 8 * DROP_REASON[reason], i32.const(1));
  };

  /** `finish(address, length, fate, reason)`: ends a packet: where its bytes are, its fate, and the counters of both. */
  #defineFinish(): Callee<undefined> {
    const { count, at, describes } = this;
    const f = this.module.function('finish', ['i32', 'i32', 'i32', 'i32'], undefined);
    const [address, length, fate, reason] = [f.param(0, 'i32'), f.param(1, 'i32'), f.param(2, 'i32'), f.param(3, 'i32')];
    if (describes) {
      const d = f.let(this.descriptor());
      f.do(i64.store(d, DESCRIPTOR.leftAddress, pair(address, length)));
      f.do(i32.store(d, DESCRIPTOR.outcome, i32.or(fate, i32.shl(reason, i32.const(16)))));
    }
    const slot = f.let(i32.add(i32.const(at.cells), i32.shl(fate, i32.const(3))));
    count(f, slot, LOOP.fatePackets, i32.const(1));
    count(f, slot, LOOP.fateBytes, length);
    f.if(reason, () => count(f, i32.add(i32.const(at.cells), i32.shl(reason, i32.const(3))), LOOP.reasons, i32.const(1)));
    f.return();
    return f;
  }

  /** The device's record, or 0. */
  readonly findDevice = (f: FunctionBuilder, ifindex: I32): Local<'i32'> => {
    const { devices, ifindexes } = this.at;
    if (ifindexes.length > FEW_DEVICES) return f.let(call((this.#findAmongMany ??= this.#defineFindDevice()), ifindex), 'device');
    const [wanted, found] = [f.let(ifindex, 'ifindex'), f.let(i32.const(0), 'device')];
    for (const [index, each] of ifindexes.entries()) f.set(found, select(i32.eq(wanted, i32.const(each)), i32.const(devices + index * DEVICE.size), found));
    return found;
  };

  /** `find_device(ifindex)`. */
  #defineFindDevice(): Callee<'i32'> {
    const { devices, devicesEnd } = this.at;
    const f = this.module.function('find_device', ['i32'], 'i32');
    const device = f.let(i32.const(devices));
    f.while(
      () => i32.ltU(device, i32.const(devicesEnd)),
      (again) => {
        f.if(i32.eq(i32.load(device, DEVICE.ifindex), f.param(0, 'i32')), () => f.return(device));
        f.set(device, i32.add(device, i32.const(DEVICE.size)));
        f.br(again);
      },
    );
    f.return(i32.const(0));
    return f;
  }
}
