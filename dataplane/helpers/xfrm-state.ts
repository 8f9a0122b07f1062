/** IPsec states (Linux: net/xfrm/xfrm_state_bpf.c), as on a machine that has none. */
import { ERRNO } from '../maps/map.ts';
import type { Kfunc } from './kfunc.ts';
import { XDP_PROGRAMS } from './program-sets.ts';

/** struct bpf_xfrm_state_opts. */
const OPTS = { error: 0, netns_id: 4, bytes: 36 } as const;

export const XFRM_STATE_KFUNCS: readonly Kfunc[] = [
  {
    name: 'bpf_xdp_get_xfrm_state',
    args: ['ctx', 'memory_inout', 'size_or_zero'],
    returns: 'btf_or_null',
    struct: 'xfrm_state',
    programs: XDP_PROGRAMS,
    acquires: true,
    trustedArguments: true,
    remark: 'NULL, and `opts->error` -ENOENT: there is no state',
    implementation: {
      kind: 'js',
      bind:
        ({ memory: { view } }) =>
        (_context, opts, optsBytes) => {
          if (opts === 0 || optsBytes! >>> 0 < 4) return 0;
          const at = opts! >>> 0;
          const network = optsBytes === OPTS.bytes ? view.getInt32(at + OPTS.netns_id, true) : -2;
          view.setInt32(at + OPTS.error, -(network < -1 ? ERRNO.EINVAL : network >= 0 ? ERRNO.ENONET : ERRNO.ENOENT), true);
          return 0;
        },
    },
  },
  { name: 'bpf_xdp_xfrm_state_release', args: ['object'], returns: 'void', programs: XDP_PROGRAMS, objects: ['xfrm_state'], releases: true, trustedArguments: true, remark: 'never runs: nobody has a state', implementation: { kind: 'js', bind: () => () => 0 } },
];
