/**
 * A packet's contexts in machine memory: `struct xdp_md` and `struct __sk_buff` exactly as programs see them
 * (include/uapi/linux/bpf.h), each followed by what the kernel keeps beside it (struct xdp_buff, struct sk_buff).
 * `data`, `data_end` and `data_meta` hold machine addresses, so a program's 4-byte load *is* the pointer.
 *
 * A frame's buffer, low to high. An skb keeps the frame's buffer; what XDP may not use, an skb may:
 *
 *   front                hard_start                data                    data_end         hard_end        end
 *     | skb headroom       | xdp_frame | headroom    | [metadata] packet     | tailroom       | skb_shared_info |
 *     |      768           |    40     |    216      |                       |                |       320       |
 */
export const FRAME = {
  /** Room in front of the XDP headroom, for skb helpers that push headers. */
  skbHeadroom: 768,
  /** XDP_PACKET_HEADROOM. */
  headroom: 256,
  /** struct xdp_frame, kept at the front of the headroom: bpf_xdp_adjust_head cannot reach it. */
  xdpFrame: 40,
  /** SKB_DATA_ALIGN(sizeof(struct skb_shared_info)), kept at the end. */
  sharedInfo: 320,
  /** Headroom, packet and tail of an ordinary frame; a larger packet gets a larger frame. */
  size: 4096,
  /** ETH_HLEN: what a packet cannot be shorter than. */
  minimumLength: 14,
} as const;

/** The longest packet an ordinary frame holds: 3520 bytes. */
export const LINEAR_BYTES = FRAME.size - FRAME.headroom - FRAME.sharedInfo;

export const XDP_MD = {
  data: 0,
  data_end: 4,
  data_meta: 8,
  ingress_ifindex: 12,
  rx_queue_index: 16,
  egress_ifindex: 20,
  /** Private: first byte of the frame. */
  hard_start: 32,
  /** Private: end of the tailroom; data_end never passes it. */
  hard_end: 36,
  /** Private: lowest address a program has been shown; what is newly exposed below it is zeroed. */
  exposed: 40,
  /** Private: end of the packet where fragments follow the linear part; equal to data_end otherwise. */
  packet_end: 44,
  size: 64,
} as const;

export const SK_BUFF = {
  len: 0,
  pkt_type: 4,
  mark: 8,
  queue_mapping: 12,
  protocol: 16,
  vlan_present: 20,
  vlan_tci: 24,
  vlan_proto: 28,
  priority: 32,
  ingress_ifindex: 36,
  ifindex: 40,
  tc_index: 44,
  cb: 48,
  hash: 68,
  tc_classid: 72,
  data: 76,
  data_end: 80,
  napi_id: 84,
  family: 88,
  remote_ip4: 92,
  local_ip4: 96,
  remote_ip6: 100,
  local_ip6: 116,
  remote_port: 132,
  local_port: 136,
  data_meta: 140,
  flow_keys: 144,
  tstamp: 152,
  wire_len: 160,
  gso_segs: 164,
  sk: 168,
  gso_size: 176,
  tstamp_type: 180,
  hwtstamp: 184,
  /** End of struct __sk_buff; private from here. */
  publicSize: 192,
  /** First byte of the buffer: headroom is data - head. */
  head: 192,
  /** End of the buffer, skb_shared_info excluded: tailroom is end - data_end. */
  end: 196,
  /** Offset of the network header from data. */
  network_offset: 200,
  /** enum: CHECKSUM_NONE 0, UNNECESSARY 1, COMPLETE 2, PARTIAL 3. */
  ip_summed: 204,
  /** skb->csum, valid while ip_summed is COMPLETE. */
  csum: 208,
  /** Address of the tunnel key set or received, 0 if none; see helpers. */
  tunnel_key: 212,
  /** 1 at ingress, 0 at egress. */
  at_ingress: 216,
  /** Offset of the transport header from data, 0 where it is unknown. */
  transport_offset: 224,
  /** skb->encapsulation: an outer header was pushed by bpf_skb_adjust_room. */
  encapsulation: 228,
  /** How many checksums CHECKSUM_UNNECESSARY vouches for, less one. */
  csum_level: 232,
  /** Where the tunnel key is kept, 64 bytes: see helpers/skb-tunnel.ts. */
  tunnel_key_storage: 256,
  /** Tunnel options: u32 length, then at most 255 bytes. */
  tunnel_options: 320,
  size: 640,
} as const;

export const CHECKSUM = { none: 0, unnecessary: 1, complete: 2, partial: 3 } as const;

/** SKF_NET_OFF and SKF_LL_OFF of include/uapi/linux/filter.h: what negative offsets of packet loads count from. */
export const NETWORK_HEADER = -0x10_0000;
export const LINK_HEADER = -0x20_0000;

/** skb->pkt_type, include/uapi/linux/if_packet.h. */
export const PACKET_TYPE = { host: 0, broadcast: 1, multicast: 2, otherhost: 3, outgoing: 4 } as const;
