/** Every helper there is here, in order of id. A new one is a file or a row of a file, and its line in this list. */
import { CHECK_MTU_HELPERS } from './check-mtu.ts';
import { CLONE_REDIRECT_HELPERS } from './clone-redirect.ts';
import { CSUM_DIFF_HELPERS } from './csum-diff.ts';
import { DYNPTR_HELPERS } from './dynptr.ts';
import { FIB_LOOKUP_HELPERS } from './fib-lookup.ts';
import type { Helper } from './helper.ts';
import { KERNEL_POINTER_HELPERS } from './kernel-pointer.ts';
import { LOOP_HELPERS } from './loop.ts';
import { MAP_ELEMENT_HELPERS } from './map-element.ts';
import { PERF_EVENT_HELPERS } from './perf-event.ts';
import { PROCESSOR_HELPERS } from './processor.ts';
import { RANDOM_HELPERS } from './random.ts';
import { REDIRECT_MAP_HELPERS } from './redirect-map.ts';
import { REDIRECT_HELPERS } from './redirect.ts';
import { RINGBUF_HELPERS } from './ringbuf.ts';
import { SKB_BYTES_HELPERS } from './skb-bytes.ts';
import { SKB_CHECKSUM_HELPERS } from './skb-checksum.ts';
import { SKB_METADATA_HELPERS } from './skb-metadata.ts';
import { SKB_ROOM_HELPERS } from './skb-room.ts';
import { SKB_TUNNEL_HELPERS } from './skb-tunnel.ts';
import { SKB_VLAN_HELPERS } from './skb-vlan.ts';
import { SOCKET_HELPERS } from './socket.ts';
import { SPIN_LOCK_HELPERS } from './spin-lock.ts';
import { STRING_HELPERS } from './string.ts';
import { TAIL_CALL_HELPERS } from './tail-call.ts';
import { TCP_SYNCOOKIE_HELPERS } from './tcp-syncookie.ts';
import { TIME_HELPERS } from './time.ts';
import { TIMER_HELPERS } from './timer.ts';
import { TRACE_HELPERS } from './trace.ts';
import { XDP_ADJUST_HELPERS } from './xdp-adjust.ts';
import { XDP_BYTES_HELPERS } from './xdp-bytes.ts';

export const HELPERS: readonly Helper[] = [
  ...MAP_ELEMENT_HELPERS,
  ...TIME_HELPERS,
  ...RANDOM_HELPERS,
  ...PROCESSOR_HELPERS,
  ...TRACE_HELPERS,
  ...TAIL_CALL_HELPERS,
  ...CSUM_DIFF_HELPERS,
  ...REDIRECT_HELPERS,
  ...REDIRECT_MAP_HELPERS,
  ...CLONE_REDIRECT_HELPERS,
  ...PERF_EVENT_HELPERS,
  ...XDP_ADJUST_HELPERS,
  ...XDP_BYTES_HELPERS,
  ...RINGBUF_HELPERS,
  ...SPIN_LOCK_HELPERS,
  ...DYNPTR_HELPERS,
  ...KERNEL_POINTER_HELPERS,
  ...LOOP_HELPERS,
  ...TIMER_HELPERS,
  ...STRING_HELPERS,
  ...SKB_BYTES_HELPERS,
  ...SKB_ROOM_HELPERS,
  ...SKB_VLAN_HELPERS,
  ...SKB_CHECKSUM_HELPERS,
  ...SKB_METADATA_HELPERS,
  ...SKB_TUNNEL_HELPERS,
  ...FIB_LOOKUP_HELPERS,
  ...CHECK_MTU_HELPERS,
  ...SOCKET_HELPERS,
  ...TCP_SYNCOOKIE_HELPERS,
].toSorted((a, b) => a.id - b.id);
