/**
 * Programs of a machine attached to interfaces of the running Linux, by BPF links: XDP in the driver or generic, TC by
 * TCX. From then on the kernel runs them on its own packets, and keeps what is in their maps: a map's JavaScript side
 * asks it (kernel-keeper.ts).
 *
 *   const attachments = new KernelAttachments(machine, programs);   // loaded, maps filled, nothing attached yet
 *   attachments.attach(program, { hook: 'xdp', ifindex: 4, mode: 'generic' });
 *   attachments.verdicts(program);                                  // how often each, by verdict slot
 *   attachments.close();                                            // detached
 *
 * A link ends with its file descriptor: when the process ends, however it ends, the programs are detached.
 */
import { XdplabError } from '../../errors.ts';
import { VERDICT_SLOTS, type HookName } from '../../hooks/hook.ts';
import type { Machine } from '../../machine/machine.ts';
import type { BpfMap } from '../../maps/bpf-map.ts';
import { u32Bytes } from '../../maps/slot-array.ts';
import type { Program } from '../../program/program.ts';
import { errnoText } from '../../system/native.ts';
import { VERDICTS_MAP, withVerdictCounts } from './count-verdicts.ts';
import { KernelKeeper } from './kernel-keeper.ts';
import { createKernelMap, type KernelMap } from './kernel-map.ts';
import { KernelOracle } from './kernel-oracle.ts';
import type { KernelProgramInfo } from './kernel-program.ts';
import { openLinux, type Linux } from './linux.ts';

/** How XDP runs: in the driver, or on every device, later and slower. */
export type XdpMode = 'native' | 'generic';

export interface AttachTo {
  readonly hook: HookName;
  /** The kernel's. */
  readonly ifindex: number;
  /** For messages. */
  readonly name: string;
  /** At XDP. */
  readonly mode: XdpMode;
}

/** enum bpf_attach_type, and flags of the link: XDP_FLAGS_SKB_MODE and XDP_FLAGS_DRV_MODE. */
const ATTACH_TYPES: Readonly<Record<HookName, number>> = { xdp: 37, 'tc-ingress': 46, 'tc-egress': 47 };
const XDP_FLAGS: Readonly<Record<XdpMode, number>> = { generic: 2, native: 4 };

/** What refusals mean, where the errno alone does not say it. */
const REFUSALS: Readonly<Record<string, string>> = {
  EEXIST: 'another program is attached there in another mode; bpftool net shows it, ip link set dev <interface> xdp off takes it off',
  EBUSY: 'another program is attached there; bpftool net shows it, ip link set dev <interface> xdp off takes it off',
  EOPNOTSUPP: 'its driver does not run XDP so; use --attach generic',
  ERANGE: "its MTU, or that of its peer, is too large for XDP in the driver; make it smaller, or use --attach generic",
  EPERM: 'this process lacks CAP_NET_ADMIN; run as root',
  ENODEV: 'it has gone away',
  EINVAL: 'this kernel does not know such links: XDP takes Linux 5.9, TCX 6.6',
};

export class KernelAttachments {
  readonly #linux: Linux;
  readonly #oracle: KernelOracle;
  readonly #programs: readonly Program[];
  readonly #counts = new Map<Program, KernelMap>();
  readonly #links: number[] = [];
  readonly #maps: BpfMap[] = [];

  /** `programs`: all that run, those in slots of maps too. `ifindex`: the kernel's number of a device of the machine. */
  constructor(machine: Machine, programs: readonly Program[], ifindex: (ifindex: number) => number) {
    this.#linux = openLinux();
    this.#programs = programs;
    const twins = new Map<BpfMap, KernelMap>();
    this.#oracle = new KernelOracle(machine, {
      ownTime: true,
      ifindex,
      adapt: ({ spec }) => withVerdictCounts(spec),
      addedMap: (program) => this.#countsOf(program),
      onMap: (map, twin) => twins.set(map, twin),
    });
    try {
      for (const program of programs) this.#oracle.load(program);
      this.#oracle.copyMaps();
    } catch (error) {
      this.close();
      throw error;
    }
    const { possibleCpus } = this.#linux;
    this.#maps.push(...twins.keys());
    for (const [map, twin] of twins) map.keepIn(new KernelKeeper(map, twin, { cpus: machine.cpus, possibleCpus, written: (value) => this.#oracle.written(map, value) }));
  }

  /** ERR_DEVICE where the kernel does not attach it. Behind those that are attached there already, where there can be several. */
  attach(program: Program, { hook, ifindex, name, mode }: AttachTo): void {
    const link = this.#linux.open('link_create', {
      prog_fd: this.#oracle.load(program).fd,
      target_ifindex: ifindex,
      attach_type: ATTACH_TYPES[hook],
      flags: hook === 'xdp' ? XDP_FLAGS[mode] : 0,
    });
    if (link < 0) {
      const errno = errnoText(link);
      throw new XdplabError('ERR_DEVICE', `${name}: Linux does not attach '${program.spec.name}' to ${hook}${hook === 'xdp' ? ` (${mode})` : ''}: ${REFUSALS[errno] ?? 'it says no more'} (${errno})`);
    }
    this.#links.push(link);
  }

  /** How often the program has answered what, over all CPUs, by verdict slot. */
  verdicts(program: Program): number[] {
    const counts = this.#countsOf(program);
    return Array.from({ length: VERDICT_SLOTS }, (_, slot) => {
      const value = counts.lookup(u32Bytes(slot))!;
      const view = new DataView(value.buffer, value.byteOffset, value.length);
      let sum = 0;
      for (let at = 0; at < value.length; at += 8) sum += Number(view.getBigUint64(at, true));
      return sum;
    });
  }

  info(program: Program): KernelProgramInfo {
    return this.#oracle.load(program).info;
  }

  /** Takes the programs off; maps stay where they are. */
  detach(): void {
    for (const link of this.#links.splice(0)) this.#linux.close(link);
  }

  /** Detaches everything. The machine has the maps again, with what the kernel had in them. */
  giveBack(): void {
    this.detach();
    const failures = this.#maps.splice(0).flatMap((map) => {
      try {
        map.takeBack();
        return [];
      } catch (error) {
        return [error];
      }
    });
    this.close();
    if (failures.length > 0) throw failures[0];
  }

  /** Detaches everything. Maps keep nothing of what the kernel had. */
  close(): void {
    this.detach();
    for (const program of this.#programs) this.#counts.get(program)?.close();
    this.#oracle.close();
  }

  #countsOf(program: Program): KernelMap {
    let counts = this.#counts.get(program);
    if (counts === undefined) this.#counts.set(program, (counts = createKernelMap(this.#linux, VERDICTS_MAP)));
    return counts;
  }
}
