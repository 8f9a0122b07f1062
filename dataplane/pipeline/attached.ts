/**
 * A lab's programs in the running Linux, attached to an interface: the kernel runs them on its own packets, the lab's
 * maps show what it keeps, and verdicts are counted as they are given. Everything is detached by `close`, or when the
 * process ends.
 */
import type { LiveInterface } from '../devices/device.ts';
import { KernelAttachments, type XdpMode } from '../engine/kernel/kernel-attachments.ts';
import { XdplabError } from '../errors.ts';
import { VERDICT_SLOTS, type HookName } from '../hooks/hook.ts';
import { hookByName } from '../hooks/index.ts';
import type { NetworkDevice } from '../machine/network.ts';
import { readU32 } from '../maps/slot-array.ts';
import type { Program } from '../program/program.ts';
import type { Lab } from './lab.ts';
import type { Attachment } from './pipeline.ts';
import { verdictCounts, type VerdictCount } from './statistics.ts';

export interface AttachedOptions {
  /** The device of the lab whose programs are attached, and the interface they are attached to. */
  readonly device: NetworkDevice;
  readonly to: LiveInterface;
  readonly xdp: XdpMode;
  /** What other devices stand for, where maps name them. */
  readonly interfaceOf: (device: NetworkDevice) => LiveInterface;
}

export interface AttachedProgram {
  readonly program: string;
  readonly hook: HookName;
  /** `native`, `generic` or `tcx`; `slot` for those that run from slots of maps. */
  readonly mode: XdpMode | 'tcx' | 'slot';
  /** As bpftool shows it. */
  readonly id: number;
  readonly packets: number;
  readonly verdicts: readonly Omit<VerdictCount, 'bytes'>[];
}

interface Row {
  readonly program: Program;
  readonly hook: HookName;
  /** Which answers are verdicts. */
  readonly verdictMode: string;
  readonly mode: AttachedProgram['mode'];
  readonly id: number;
}

const NO_BYTES: readonly number[] = Array.from({ length: VERDICT_SLOTS }, () => 0);
const TCX = 'tcx';

export class Attached {
  readonly #lab: Lab;
  readonly #kernel: KernelAttachments;
  readonly #rows: readonly Row[];

  /** Loads, fills maps, attaches. The lab needs as many CPUs as the kernel has possible ones. */
  constructor(lab: Lab, options: AttachedOptions) {
    const written = new Map<number, Program>();
    const asWritten = (id: number): Program => written.get(id) ?? written.set(id, programAsWritten(lab, id)).get(id)!;
    const attachments = attachable(lab, options).map(({ hook, program }) => ({ hook, program: asWritten(program.id) }));
    const inSlots = programsInSlots(lab).map(asWritten).filter((program) => !attachments.some((each) => each.program === program));
    this.#lab = lab;
    this.#kernel = new KernelAttachments(lab.machine, [...new Set(attachments.map(({ program }) => program)), ...inSlots], (ifindex) => kernelIfindex(lab, options, ifindex));
    try {
      for (const { program, hook } of attachments) this.#kernel.attach(program, { hook, ifindex: options.to.ifindex, name: options.to.name, mode: options.xdp });
      this.#rows = [
        ...attachments.map(({ program, hook }): Row => ({ program, hook, verdictMode: hook === 'xdp' ? hookByName(hook).defaultMode : TCX, mode: hook === 'xdp' ? options.xdp : TCX, id: this.#kernel.info(program).id })),
        ...inSlots.map((program): Row => ({ program, hook: program.type === 'xdp' ? 'xdp' : 'tc-ingress', verdictMode: program.type === 'xdp' ? hookByName('xdp').defaultMode : TCX, mode: 'slot', id: this.#kernel.info(program).id })),
      ];
    } catch (error) {
      this.#kernel.close();
      throw error;
    }
  }

  /** What they have answered so far. */
  read(): AttachedProgram[] {
    return this.#rows.map(({ program, hook, verdictMode, mode, id }) => {
      const slots = this.#kernel.verdicts(program);
      const verdicts = verdictCounts(hookByName(hook).modes[verdictMode]!, slots, NO_BYTES).map(({ verdict, outcome, packets }) => ({ verdict, outcome, packets }));
      return { program: program.spec.name, hook, mode, id, packets: slots.reduce((sum, packets) => sum + packets, 0), verdicts };
    });
  }

  /** Tells whoever reads ring buffers that there may be records, of now. */
  tellOfRecords(): void {
    this.#lab.machine.nowNs = BigInt(Date.now()) * 1_000_000n;
    this.#lab.machine.onRecords?.();
  }

  close(): void {
    this.#kernel.close();
  }
}

/** ERR_LAB for what Linux cannot attach, or what was not asked for. */
function attachable(lab: Lab, { device, to }: AttachedOptions): readonly Attachment[] {
  const { attachments } = lab.pipeline;
  if (attachments.length === 0) throw new XdplabError('ERR_LAB', `${to.name}: there is no program to attach; give one with --xdp, --tc-ingress, --tc-egress or a lab file`);
  const elsewhere = attachments.find((each) => each.device !== device);
  if (elsewhere !== undefined) throw new XdplabError('ERR_LAB', `program '${elsewhere.program.spec.name}': the lab has it at '${elsewhere.device.name}', but only ${to.name} is to be attached to; take it out of the lab file`);
  const [, second] = attachments.filter(({ hook }) => hook === 'xdp');
  if (second !== undefined) throw new XdplabError('ERR_LAB', `program '${second.program.spec.name}': Linux attaches one XDP program to an interface, and the lab has it second in a chain; let the first tail-call it`);
  return attachments;
}

/** Programs that are in PROG_ARRAYs, and in slots of DEVMAPs and CPUMAPs. */
function programsInSlots(lab: Lab): number[] {
  const ids = lab.maps.flatMap((map) => {
    const { holds } = map.type;
    if (holds === 'programs') return Array.from(map.entries(), ([, value]) => readU32(value));
    if ((holds === 'devices' || holds === 'cpus') && map.spec.valueBytes >= 8) return Array.from(map.entries(), ([, value]) => readU32(value, 4));
    return [];
  });
  return [...new Set(ids)].filter((id) => id !== 0);
}

/** As the object has it: what engines here are given knows which branches are dead, and Linux wants to find that out itself. */
function programAsWritten(lab: Lab, id: number): Program {
  for (const collection of lab.collections) {
    const name = collection.programName(id);
    if (name !== undefined) return { ...collection.program(name), spec: collection.programSpec(name) };
  }
  throw new XdplabError('ERR_LAB', `program ${id}: its object is not in the lab any more; load it again`);
}

function kernelIfindex(lab: Lab, { device, to, interfaceOf }: AttachedOptions, ifindex: number): number {
  if (ifindex === device.ifindex) return to.ifindex;
  const other = lab.devices.find((each) => each.ifindex === ifindex);
  return other === undefined ? ifindex : interfaceOf(other).ifindex;
}
