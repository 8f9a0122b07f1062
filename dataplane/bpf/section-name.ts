/**
 * What the name of a section says about the programs in it, spelled as libbpf spells it: `xdp.frags/devmap`,
 * `tc/ingress`, with `?` in front of programs that are not loaded unless asked for.
 *
 * libbpf demands the exact name; as cilium/ebpf and older libbpf do, `name/anything` is read as `name` too. Any other
 * name leaves the type open, to be said from outside.
 */
import type { ProgramType } from './spec.ts';

export interface SectionMeaning {
  readonly type: ProgramType | undefined;
  /** Attach type, as bpftool spells it: `xdp_devmap`, `tcx_ingress`. */
  readonly attach: string | undefined;
  /** Multi-buffer packets. */
  readonly frags: boolean;
  readonly autoload: boolean;
}

interface Row {
  readonly name: string;
  readonly type: ProgramType;
  readonly attach?: string;
  readonly frags?: true;
}

/** Longer names before their prefixes. */
const SECTIONS: readonly Row[] = [
  { name: 'xdp.frags/devmap', type: 'xdp', attach: 'xdp_devmap', frags: true },
  { name: 'xdp.frags/cpumap', type: 'xdp', attach: 'xdp_cpumap', frags: true },
  { name: 'xdp.frags', type: 'xdp', attach: 'xdp', frags: true },
  { name: 'xdp/devmap', type: 'xdp', attach: 'xdp_devmap' },
  { name: 'xdp/cpumap', type: 'xdp', attach: 'xdp_cpumap' },
  // What libbpf called the two before 1.0.
  { name: 'xdp_devmap', type: 'xdp', attach: 'xdp_devmap' },
  { name: 'xdp_cpumap', type: 'xdp', attach: 'xdp_cpumap' },
  { name: 'xdp', type: 'xdp', attach: 'xdp' },
  { name: 'tcx/ingress', type: 'sched_cls', attach: 'tcx_ingress' },
  { name: 'tcx/egress', type: 'sched_cls', attach: 'tcx_egress' },
  { name: 'tc/ingress', type: 'sched_cls', attach: 'tcx_ingress' },
  { name: 'tc/egress', type: 'sched_cls', attach: 'tcx_egress' },
  { name: 'tc', type: 'sched_cls' },
  { name: 'classifier', type: 'sched_cls' },
  { name: 'netkit/primary', type: 'sched_cls', attach: 'netkit_primary' },
  { name: 'netkit/peer', type: 'sched_cls', attach: 'netkit_peer' },
  { name: 'action', type: 'sched_act' },
  { name: 'socket', type: 'socket_filter' },
  { name: 'cgroup_skb/ingress', type: 'cgroup_skb', attach: 'cgroup_inet_ingress' },
  { name: 'cgroup_skb/egress', type: 'cgroup_skb', attach: 'cgroup_inet_egress' },
  { name: 'cgroup/skb', type: 'cgroup_skb' },
];

/** Sections of program types that only a kernel runs, as libbpf spells them: what the machine has comes before these. */
const KERNEL_SECTIONS: readonly (readonly [type: string, section: RegExp])[] = [
  ['kprobe', /^(k|u)(ret)?probe(\.multi|\.session|\.s)*$|^k(ret)?syscall$|^usdt(\.s)?$/],
  ['tracepoint', /^(tracepoint|tp)$/],
  ['raw_tracepoint', /^(raw_tracepoint|raw_tp)(\.w)?$/],
  ['tracing', /^(tp_btf|fentry(\.s)?|fexit(\.s)?|fmod_ret(\.s)?|iter(\.s)?)$/],
  ['lsm', /^lsm(_cgroup|\.s)?$/],
  ['perf_event', /^perf_event$/],
  ['ext', /^freplace$/],
  ['syscall', /^syscall$/],
  ['struct_ops', /^struct_ops(\.link)?(\.s)?$/],
  ['netfilter', /^netfilter$/],
  ['flow_dissector', /^flow_dissector$/],
  ['sock_ops', /^sockops$/],
  ['sk_skb', /^sk_skb$/],
  ['sk_msg', /^sk_msg$/],
  ['sk_lookup', /^sk_lookup$/],
  ['sk_reuseport', /^sk_reuseport$/],
  ['lirc_mode2', /^lirc_mode2$/],
  ['lwt', /^lwt_(in|out|xmit|seg6local)$/],
  ['cgroup', /^cgroup$/],
];

/** The type of programs in a section that libbpf knows, of which no hook here runs any. */
export function kernelOnlyType(section: string): string | undefined {
  const [name = ''] = section.replace(/^\?/, '').split('/');
  return KERNEL_SECTIONS.find(([, pattern]) => pattern.test(name))?.[0];
}

export function sectionMeaning(section: string): SectionMeaning {
  const autoload = !section.startsWith('?');
  const name = autoload ? section : section.slice(1);
  const row = SECTIONS.find((candidate) => name === candidate.name || name.startsWith(`${candidate.name}/`));
  return { type: row?.type, attach: row?.attach, frags: row?.frags ?? false, autoload };
}

/** Why programs of a section have no type here. */
export function whyNoType(section: string): string {
  const other = kernelOnlyType(section);
  return other === undefined ? `section '${section}' does not say the program's type; say it with --type` : `section '${section}' is for ${other} programs, which xdplab does not run`;
}
