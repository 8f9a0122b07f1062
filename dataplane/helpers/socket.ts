/**
 * Helpers about sockets, control groups and name spaces. The lab's packets belong to no process: there are no sockets
 * to find, so lookups answer NULL, and what an skb without a socket answers in Linux is answered here.
 */
import type { Machine } from '../machine/machine.ts';
import { ERRNO } from '../maps/map.ts';
import type { ArgumentKind, Helper, ReturnKind } from './helper.ts';
import { SKB_NETWORK_PROGRAMS, SKB_PROGRAMS, TC_AND_XDP_PROGRAMS, TC_PROGRAMS } from './program-sets.ts';

/** Programs for which the control group is that of the running process, not of the packet's sender. */
const CURRENT_PROGRAMS = ['socket_filter', 'xdp', 'cgroup_skb'] as const;
/** The user id of what has no user, /proc/sys/kernel/overflowuid. */
const OVERFLOW_UID = 65_534;
const LOOKUP_PROGRAMS = [...TC_AND_XDP_PROGRAMS, 'cgroup_skb'] as const;
const LOOKUP = ['ctx', 'memory', 'size_or_zero', 'u64', 'u64'] as const;

function row(
  id: number,
  name: string,
  programs: Helper['programs'],
  args: readonly ArgumentKind[],
  returns: ReturnKind,
  answer: (machine: Machine) => number | bigint,
  more: Pick<Helper, 'gplOnly' | 'packetAccess' | 'acquires' | 'releases' | 'casts'> = {},
): Helper {
  return { id, name, args, returns, programs, implementation: { kind: 'js', bind: (machine) => () => answer(machine) }, ...more };
}

const none = (): number => 0;
const refused = (): number => -ERRNO.EINVAL;
const syncookie = { gplOnly: true, packetAccess: true } as const;
const lookup = { packetAccess: true, acquires: true } as const;
const cast = { casts: true } as const;

export const SOCKET_HELPERS: readonly Helper[] = [
  row(84, 'sk_lookup_tcp', LOOKUP_PROGRAMS, LOOKUP, 'socket_or_null', none, lookup),
  row(85, 'sk_lookup_udp', LOOKUP_PROGRAMS, LOOKUP, 'socket_or_null', none, lookup),
  row(99, 'skc_lookup_tcp', LOOKUP_PROGRAMS, LOOKUP, 'sock_common_or_null', none, lookup),
  row(86, 'sk_release', LOOKUP_PROGRAMS, ['socket'], 'int', none, { releases: 0 }),
  row(95, 'sk_fullsock', SKB_NETWORK_PROGRAMS, ['sock_common'], 'socket_or_null', none, cast),
  row(96, 'tcp_sock', SKB_NETWORK_PROGRAMS, ['sock_common'], 'tcp_sock_or_null', none, cast),
  row(98, 'get_listener_sock', SKB_NETWORK_PROGRAMS, ['sock_common'], 'socket_or_null', none),
  row(124, 'sk_assign', TC_PROGRAMS, ['ctx', 'socket', 'u64'], 'int', refused),
  row(100, 'tcp_check_syncookie', TC_AND_XDP_PROGRAMS, ['socket', 'memory', 'size', 'memory', 'size'], 'int', refused, syncookie),
  row(110, 'tcp_gen_syncookie', TC_AND_XDP_PROGRAMS, ['socket', 'memory', 'size', 'memory', 'size'], 'int', refused, syncookie),
  row(46, 'get_socket_cookie', SKB_PROGRAMS, ['ctx'], 'u64', () => 0n),
  row(47, 'get_socket_uid', SKB_PROGRAMS, ['ctx'], 'u32', () => OVERFLOW_UID),
  row(122, 'get_netns_cookie', SKB_PROGRAMS, ['ctx_or_null'], 'u64', ({ network }) => network.netnsCookie),
  row(17, 'get_cgroup_classid', TC_PROGRAMS, ['ctx'], 'u32', none),
  row(17, 'get_cgroup_classid', CURRENT_PROGRAMS, [], 'u32', none),
  row(24, 'get_route_realm', TC_PROGRAMS, ['ctx'], 'u32', none),
  row(79, 'skb_cgroup_id', SKB_NETWORK_PROGRAMS, ['ctx'], 'u64', () => 0n),
  row(83, 'skb_ancestor_cgroup_id', SKB_NETWORK_PROGRAMS, ['ctx', 'u32'], 'u64', () => 0n),
  row(151, 'skb_cgroup_classid', TC_PROGRAMS, ['ctx'], 'u64', () => 0n),
];
