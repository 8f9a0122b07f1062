/**
 * TC: programs at the ingress and egress of a device, on an skb (include/uapi/linux/bpf.h, struct __sk_buff;
 * include/uapi/linux/pkt_cls.h). Two ways to attach, which differ in how a chain goes on:
 * `tcx` (BPF links) runs first, then `clsact` (cls_bpf in direct-action mode).
 */
import { SK_BUFF } from '../packet/frame.ts';
import type { ContextField, Hook, VerdictMode } from './hook.ts';

export const TC_ACT = { UNSPEC: -1, OK: 0, RECLASSIFY: 1, SHOT: 2, PIPE: 3, STOLEN: 4, QUEUED: 5, REPEAT: 6, REDIRECT: 7, TRAP: 8 } as const;

const field = (name: keyof typeof SK_BUFF, bytes: ContextField['bytes'], more: Partial<ContextField> = {}): ContextField => ({
  name,
  offset: SK_BUFF[name],
  bytes,
  writable: false,
  ...more,
});

const words = (name: keyof typeof SK_BUFF, count: number, writable: boolean): ContextField[] =>
  Array.from({ length: count }, (_, i) => ({ name: `${name}[${i}]`, offset: SK_BUFF[name] + 4 * i, bytes: 4, writable }));

const context: readonly ContextField[] = [
  field('len', 4),
  field('pkt_type', 4),
  field('mark', 4, { writable: true }),
  field('queue_mapping', 4, { writable: true }),
  field('protocol', 4),
  field('vlan_present', 4),
  field('vlan_tci', 4),
  field('vlan_proto', 4),
  field('priority', 4, { writable: true }),
  field('ingress_ifindex', 4),
  field('ifindex', 4),
  field('tc_index', 4, { writable: true }),
  ...words('cb', 5, true),
  field('hash', 4),
  field('tc_classid', 4, { writable: true }),
  field('data', 4, { pointer: 'packet' }),
  field('data_end', 4, { pointer: 'packet_end' }),
  field('napi_id', 4),
  field('family', 4),
  field('remote_ip4', 4),
  field('local_ip4', 4),
  ...words('remote_ip6', 4, false),
  ...words('local_ip6', 4, false),
  field('remote_port', 4),
  field('local_port', 4),
  field('data_meta', 4, { pointer: 'packet_meta' }),
  field('tstamp', 8, { writable: true }),
  field('wire_len', 4),
  field('gso_segs', 4),
  field('sk', 8, { pointer: 'socket' }),
  field('gso_size', 4),
  field('tstamp_type', 1),
  field('hwtstamp', 8),
];

/** net/sched/cls_bpf.c, cls_bpf_exec_opcode: every other code is TC_ACT_UNSPEC. */
const clsact: VerdictMode = {
  verdicts: [
    { code: TC_ACT.UNSPEC, name: 'TC_ACT_UNSPEC', outcome: 'next' },
    { code: TC_ACT.OK, name: 'TC_ACT_OK', outcome: 'pass' },
    { code: TC_ACT.RECLASSIFY, name: 'TC_ACT_RECLASSIFY', outcome: 'next' },
    { code: TC_ACT.SHOT, name: 'TC_ACT_SHOT', outcome: 'drop' },
    { code: TC_ACT.PIPE, name: 'TC_ACT_PIPE', outcome: 'next' },
    { code: TC_ACT.STOLEN, name: 'TC_ACT_STOLEN', outcome: 'consumed' },
    { code: TC_ACT.QUEUED, name: 'TC_ACT_QUEUED', outcome: 'next' },
    { code: TC_ACT.REPEAT, name: 'TC_ACT_REPEAT', outcome: 'next' },
    { code: TC_ACT.REDIRECT, name: 'TC_ACT_REDIRECT', outcome: 'redirect' },
    { code: TC_ACT.TRAP, name: 'TC_ACT_TRAP', outcome: 'consumed' },
  ],
  unknown: 'next',
};

/** include/net/tcx.h, tcx_action_code: a code of its own ends the tcx chain; clsact still runs after one it does not know. */
const tcx: VerdictMode = {
  verdicts: [
    { code: TC_ACT.UNSPEC, name: 'TCX_NEXT', outcome: 'next' },
    { code: TC_ACT.OK, name: 'TCX_PASS', outcome: 'pass' },
    { code: TC_ACT.SHOT, name: 'TCX_DROP', outcome: 'drop' },
    { code: TC_ACT.REDIRECT, name: 'TCX_REDIRECT', outcome: 'redirect' },
  ],
  unknown: 'leave',
};

const tc = {
  programTypes: ['sched_cls', 'sched_act'],
  contextBytes: SK_BUFF.publicSize,
  context,
  modes: { tcx, clsact },
  defaultMode: 'clsact',
  onFault: { code: TC_ACT.SHOT, name: 'TC_ACT_SHOT', outcome: 'drop' },
} as const satisfies Omit<Hook, 'name'>;

export const tcIngress: Hook = { name: 'tc-ingress', ...tc };
export const tcEgress: Hook = { name: 'tc-egress', ...tc };
