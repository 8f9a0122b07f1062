/**
 * A lab's programs in the running Linux, attached to an interface: the kernel runs them on its own packets, the lab's
 * maps show what it keeps, and verdicts are counted as they are given, in the lab's statistics too. Everything is
 * detached by `close`, or when the process ends.
 *
 *   const attached = openAttached(lab, { interface: 'eth0', attach: 'native' });
 *   const { failure } = await watchAttached(attached, { signal, onSnapshot: show });   // watch-attached.ts
 *   attached.close();
 */
import type { LiveInterface } from '../devices/device.ts';
import { liveInterface, usableInterface } from '../devices/interfaces.ts';
import { KernelAttachments } from '../engine/kernel/kernel-attachments.ts';
import { openLinux } from '../engine/kernel/linux.ts';
import { XdplabError } from '../errors.ts';
import { VERDICT_SLOTS, type HookName } from '../hooks/hook.ts';
import { hookByName } from '../hooks/index.ts';
import type { NetworkDevice } from '../machine/network.ts';
import { readU32 } from '../maps/slot-array.ts';
import type { Program } from '../program/program.ts';
import type { Lab } from '../pipeline/lab.ts';
import type { Attachment } from '../pipeline/pipeline.ts';
import { verdictCounts, type VerdictCount } from '../pipeline/statistics.ts';
import { countVerdicts } from './kernel-verdicts.ts';
import { deviceOfEach } from './live.ts';
import type { Redirect } from './open-live.ts';

/** XDP in the driver or on any device, with TC programs beside it by TCX; or TC programs alone. */
export const ATTACH_MODES = ['native', 'generic', 'tcx'] as const;
export type AttachMode = (typeof ATTACH_MODES)[number];

export interface AttachRequest {
  readonly interface: string;
  readonly attach: AttachMode;
  /** The interfaces that further devices of the lab stand for; those of their names unless said. */
  readonly redirect?: readonly Redirect[];
}

/** What a lab has to be opened with, so that its per-CPU maps are those of the running Linux: its CPUs, of which the first runs packets that come here. */
export function kernelCpus(): { readonly cpus: number; readonly parallel: false } {
  return { cpus: openLinux().possibleCpus, parallel: false };
}

/** Loads the lab's programs and attaches them to the interface. The lab needs as many CPUs as Linux has possible ones. */
export function openAttached(lab: Lab, { interface: name, attach, redirect = [] }: AttachRequest): Attached {
  const to = usableInterface(liveInterface(name));
  const [device] = deviceOfEach(lab, [name]);
  return new Attached(lab, { device: device!, to, mode: attach, interfaceOf: (other) => liveInterface(redirect.find((each) => each.device === other.name)?.to ?? other.name) });
}

export interface AttachedOptions {
  /** The device of the lab whose programs are attached, and the interface they are attached to. */
  readonly device: NetworkDevice;
  readonly to: LiveInterface;
  readonly mode: AttachMode;
  /** What other devices stand for, where maps name them. */
  readonly interfaceOf: (device: NetworkDevice) => LiveInterface;
}

export interface AttachedProgram {
  readonly program: string;
  readonly hook: HookName;
  /** `native`, `generic` or `tcx`; `slot` for those that run from slots of maps. */
  readonly mode: AttachMode | 'slot';
  /** As bpftool shows it. */
  readonly id: number;
  readonly packets: number;
  readonly verdicts: readonly Omit<VerdictCount, 'bytes'>[];
}

interface Row {
  readonly program: Program;
  readonly hook: HookName;
  /** Where the lab's statistics have what it answers; a program that is tail-called answers for the one that calls it. */
  readonly counted: Attachment | undefined;
  /** Which answers are verdicts. */
  readonly verdictMode: string;
  readonly mode: AttachedProgram['mode'];
  readonly id: number;
}

const NO_BYTES: readonly number[] = Array.from({ length: VERDICT_SLOTS }, () => 0);
const TCX = 'tcx';

export class Attached {
  readonly #lab: Lab;
  readonly #to: LiveInterface;
  readonly #kernel: KernelAttachments;
  readonly #rows: readonly Row[];
  /** What the lab has counted already, by program and verdict slot. */
  readonly #counted = new Map<Program, readonly number[]>();

  /** Loads, fills maps, attaches. The lab needs as many CPUs as the kernel has possible ones. */
  constructor(lab: Lab, options: AttachedOptions) {
    const { to, mode } = options;
    const written = new Map<number, Program>();
    const asWritten = (id: number): Program => written.get(id) ?? written.set(id, programAsWritten(lab, id)).get(id)!;
    const attachments = attachable(lab, options).map((attachment) => ({ attachment, hook: attachment.hook, program: asWritten(attachment.program.id) }));
    const inSlots = programsInSlots(lab).map(({ id, isCalled }) => ({ program: asWritten(id), isCalled })).filter(({ program }) => !attachments.some((each) => each.program === program));
    this.#lab = lab;
    this.#to = to;
    const xdp = mode === 'tcx' ? 'native' : mode;
    this.#kernel = new KernelAttachments(lab.machine, [...new Set(attachments.map(({ program }) => program)), ...inSlots.map(({ program }) => program)], (ifindex) => kernelIfindex(lab, options, ifindex));
    try {
      for (const { program, hook } of attachments) this.#kernel.attach(program, { hook, ifindex: to.ifindex, name: to.name, mode: xdp });
      const row = (program: Program, hook: HookName, rest: Pick<Row, 'mode' | 'counted'>): Row => ({ program, hook, verdictMode: hook === 'xdp' ? hookByName(hook).defaultMode : TCX, id: this.#kernel.info(program).id, ...rest });
      this.#rows = [
        ...attachments.map(({ attachment, program, hook }, index) => row(program, hook, { mode: hook === 'xdp' ? xdp : TCX, counted: attachments.findIndex((each) => each.program === program) === index ? attachment : undefined })),
        ...inSlots.map(({ program, isCalled }) => {
          const isXdp = program.type === 'xdp';
          return row(program, isXdp ? 'xdp' : 'tc-ingress', { mode: 'slot', counted: isCalled ? attachments.find(({ hook }) => (hook === 'xdp') === isXdp)?.attachment : undefined });
        }),
      ];
    } catch (error) {
      this.#kernel.giveBack();
      throw error;
    }
  }

  /** What they have answered so far; the lab has counted it then. */
  read(): AttachedProgram[] {
    return this.#rows.map(({ program, hook, verdictMode, mode, id, counted }) => {
      const slots = this.#kernel.verdicts(program);
      if (counted !== undefined) {
        const before = this.#counted.get(program);
        this.#counted.set(program, slots);
        countVerdicts(this.#lab, counted, slots.map((packets, slot) => packets - (before?.[slot] ?? 0)));
      }
      const verdicts = verdictCounts(hookByName(hook).modes[verdictMode]!, slots, NO_BYTES).map(({ verdict, outcome, packets }) => ({ verdict, outcome, packets }));
      return { program: program.spec.name, hook, mode, id, packets: slots.reduce((sum, packets) => sum + packets, 0), verdicts };
    });
  }

  /** Tells whoever reads ring buffers that there may be records, of now. */
  tellOfRecords(): void {
    this.#lab.machine.nowNs = BigInt(Date.now()) * 1_000_000n;
    this.#lab.machine.onRecords?.();
  }

  /** Why nothing comes to them any more: the interface has gone away. */
  failure(): XdplabError | undefined {
    try {
      liveInterface(this.#to.name);
      return undefined;
    } catch (error) {
      if (error instanceof XdplabError) return error;
      throw error;
    }
  }

  /** Takes them off the interface: from then on nothing is counted any more. */
  detach(): void {
    this.#kernel.detach();
  }

  /** Detaches; the lab's maps keep what the kernel had in them, and its packets run here again. */
  giveBack(): void {
    this.#kernel.giveBack();
  }

  /** Detaches; what the kernel had in maps is gone. */
  close(): void {
    this.#kernel.close();
  }
}

/** ERR_LAB for what Linux cannot attach, or what was not asked for. */
function attachable(lab: Lab, { device, to, mode }: AttachedOptions): readonly Attachment[] {
  const attachments = lab.pipeline.attached;
  if (attachments.length === 0) throw new XdplabError('ERR_LAB', `${to.name}: there is no program to attach; give one with --xdp, --tc-ingress, --tc-egress or a lab file`);
  const xdp = attachments.find(({ hook }) => hook === 'xdp');
  if (mode === 'tcx' && xdp !== undefined) throw new XdplabError('ERR_LAB', `program '${xdp.program.spec.name}': tcx attaches TC programs, and it is for XDP; use native or generic`);
  const elsewhere = attachments.find((each) => each.device !== device);
  if (elsewhere !== undefined) throw new XdplabError('ERR_LAB', `program '${elsewhere.program.spec.name}': the lab has it at '${elsewhere.device.name}', but only ${to.name} is to be attached to; take it out of the lab file`);
  const [, second] = attachments.filter(({ hook }) => hook === 'xdp');
  if (second !== undefined) throw new XdplabError('ERR_LAB', `program '${second.program.spec.name}': Linux attaches one XDP program to an interface, and the lab has it second in a chain; let the first tail-call it`);
  return attachments;
}

/** Programs that are in PROG_ARRAYs, to be called, and in slots of DEVMAPs and CPUMAPs. */
function programsInSlots(lab: Lab): { readonly id: number; readonly isCalled: boolean }[] {
  const found = lab.maps.flatMap((map) => {
    const { holds } = map.type;
    const isCalled = holds === 'programs';
    const isRun = (holds === 'devices' || holds === 'cpus') && map.spec.valueBytes >= 8;
    return isCalled || isRun ? Array.from(map.entries(), ([, value]) => ({ id: readU32(value, isCalled ? 0 : 4), isCalled })) : [];
  });
  return [...new Map(found.filter(({ id }) => id !== 0).map((each) => [each.id, each])).values()];
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
