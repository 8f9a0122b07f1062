/** XDP: programs on a device's receive path, before the kernel has built an skb (include/uapi/linux/bpf.h, struct xdp_md). */
import { XDP_MD } from '../packet/frame.ts';
import type { Hook, Outcome, VerdictMode } from './hook.ts';

export const XDP_ACTION = { ABORTED: 0, DROP: 1, PASS: 2, TX: 3, REDIRECT: 4 } as const;

/** Where a program runs decides what these three do; the other codes do the same everywhere. */
function mode(outcomes: Readonly<Record<'PASS' | 'TX' | 'REDIRECT', Outcome>>): VerdictMode {
  return {
    verdicts: [
      { code: XDP_ACTION.ABORTED, name: 'XDP_ABORTED', outcome: 'aborted' },
      { code: XDP_ACTION.DROP, name: 'XDP_DROP', outcome: 'drop' },
      { code: XDP_ACTION.PASS, name: 'XDP_PASS', outcome: outcomes.PASS },
      { code: XDP_ACTION.TX, name: 'XDP_TX', outcome: outcomes.TX },
      { code: XDP_ACTION.REDIRECT, name: 'XDP_REDIRECT', outcome: outcomes.REDIRECT },
    ],
    unknown: 'aborted',
  };
}

export const xdp: Hook = {
  name: 'xdp',
  programTypes: ['xdp'],
  contextBytes: 24,
  context: [
    { name: 'data', offset: XDP_MD.data, bytes: 4, writable: false, pointer: 'packet' },
    { name: 'data_end', offset: XDP_MD.data_end, bytes: 4, writable: false, pointer: 'packet_end' },
    { name: 'data_meta', offset: XDP_MD.data_meta, bytes: 4, writable: false, pointer: 'packet_meta' },
    { name: 'ingress_ifindex', offset: XDP_MD.ingress_ifindex, bytes: 4, writable: false },
    { name: 'rx_queue_index', offset: XDP_MD.rx_queue_index, bytes: 4, writable: false },
    { name: 'egress_ifindex', offset: XDP_MD.egress_ifindex, bytes: 4, writable: false },
  ],
  modes: {
    /** Several programs run as under the libxdp dispatcher: XDP_PASS asks the next one. */
    dispatcher: mode({ PASS: 'next', TX: 'transmit', REDIRECT: 'redirect' }),
    /** In a slot of a DEVMAP, on the way out: XDP_PASS sends, and nothing else leads anywhere (Linux's dev_map_bpf_prog_run). */
    devmap: { ...mode({ PASS: 'pass', TX: 'aborted', REDIRECT: 'aborted' }), inSlots: true },
    /** In a slot of a CPUMAP, on that CPU before there is an skb (cpu_map_bpf_prog_run_xdp). */
    cpumap: { ...mode({ PASS: 'pass', TX: 'aborted', REDIRECT: 'redirect' }), inSlots: true },
  },
  defaultMode: 'dispatcher',
  onFault: { code: XDP_ACTION.ABORTED, name: 'XDP_ABORTED', outcome: 'aborted' },
};
