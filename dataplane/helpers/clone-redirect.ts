/** bpf_clone_redirect: a copy of the packet as it is now goes to a device at once; the program goes on with its own. */
import { ERRNO } from '../maps/map.ts';
import { SK_BUFF } from '../packet/frame.ts';
import { inMemory } from './bounds.ts';
import type { Helper } from './helper.ts';
import { TC_PROGRAMS } from './program-sets.ts';
import { getField } from './skb-buffer.ts';

const BPF_F_INGRESS = 1;

export const CLONE_REDIRECT_HELPERS: readonly Helper[] = [
  {
    id: 13,
    name: 'clone_redirect',
    args: ['ctx', 'u32', 'u64'],
    returns: 'int',
    programs: TC_PROGRAMS,
    changesPacket: true,
    implementation: {
      kind: 'js',
      bind: (machine) => (ctx, ifindex, flags, flagsHigh) => {
        const { memory, network } = machine;
        const refused = (flags! & ~BPF_F_INGRESS) !== 0 || flagsHigh !== 0 || network.device(ifindex! >>> 0) === undefined;
        if (refused) return -ERRNO.EINVAL;
        const lengthBytes = getField(machine, ctx!, SK_BUFF.len);
        const data = inMemory(memory, getField(machine, ctx!, SK_BUFF.data), lengthBytes);
        network.onClone({ ifindex: ifindex! >>> 0, toIngress: flags === BPF_F_INGRESS, bytes: memory.u8.slice(data, data + lengthBytes) });
        return 0;
      },
    },
  },
];
