import { expect, test } from 'vitest';
import { kernelOnlyType, sectionMeaning } from '../../dataplane/bpf/section-name.ts';

test.each([
  ['xdp', 'xdp', 'xdp', false],
  ['xdp.frags', 'xdp', 'xdp', true],
  ['xdp/devmap', 'xdp', 'xdp_devmap', false],
  ['xdp.frags/cpumap', 'xdp', 'xdp_cpumap', true],
  ['xdp/my_program', 'xdp', 'xdp', false],
  ['xdp_devmap/map_prog', 'xdp', 'xdp_devmap', false],
  ['tc', 'sched_cls', undefined, false],
  ['tc/ingress', 'sched_cls', 'tcx_ingress', false],
  ['tcx/egress', 'sched_cls', 'tcx_egress', false],
  ['classifier', 'sched_cls', undefined, false],
  ['classifier/from-container', 'sched_cls', undefined, false],
  ['netkit/peer', 'sched_cls', 'netkit_peer', false],
  ['action', 'sched_act', undefined, false],
  ['socket/2', 'socket_filter', undefined, false],
  ['cgroup_skb/egress', 'cgroup_skb', 'cgroup_inet_egress', false],
])('section %s holds programs of type %s attached as %s', (section, type, attach, frags) => {
  expect(sectionMeaning(section)).toEqual({ type, attach, frags, autoload: true });
  expect(sectionMeaning(`?${section}`)).toEqual({ type, attach, frags, autoload: false });
});

test.each(['xdp_pass', 'xdpfoo', 'tcx', 'from-container', 'filter', '2/1', 'kprobe/tcp_connect', ''])('section %j leaves the type open', (section) => {
  expect(sectionMeaning(section)).toEqual({ type: undefined, attach: undefined, frags: false, autoload: true });
});

test.each([
  ['kprobe/sys_bpf', 'kprobe'],
  ['kretprobe.multi/tcp_*', 'kprobe'],
  ['uprobe.s//usr/bin/sh:main', 'kprobe'],
  ['ksyscall/read', 'kprobe'],
  ['tp/syscalls/sys_enter_read', 'tracepoint'],
  ['raw_tp.w/sys_enter', 'raw_tracepoint'],
  ['?fentry/tcp_connect', 'tracing'],
  ['lsm.s/file_open', 'lsm'],
  ['struct_ops.link', 'struct_ops'],
  ['sockops', 'sock_ops'],
  ['cgroup/connect4', 'cgroup'],
  ['xdp', undefined],
  ['kprobes', undefined],
  ['7/3', undefined],
])('section %s is for programs that only a kernel runs: %s', (section, type) => {
  expect(kernelOnlyType(section)).toBe(type);
  if (type !== undefined) expect(sectionMeaning(section).type).toBeUndefined();
});
