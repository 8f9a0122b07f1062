/**
 * An IEEE 802.1Q tag, the part behind the Ethernet type.   0 u16 priority:3 drop:1 id:12   2 u16 type   4
 */
import { readU16, writeU16 } from './big-endian.ts';
import { ETHER_TYPE, ETHERNET } from './ethernet.ts';
import { asLayer, prepend } from './layer.ts';
import type { Layer, Payload } from './layer.ts';

export const VLAN = { control: 0, type: 2, headerLength: 4 } as const;

export interface Vlan {
  readonly id: number;
  readonly priority: number;
  readonly dropEligible: boolean;
  readonly type: number;
}

export function readVlan(bytes: Uint8Array, at: number): Vlan | undefined {
  if (at + VLAN.headerLength > bytes.length) return undefined;
  const control = readU16(bytes, at + VLAN.control);
  return {
    id: control & 0xfff,
    priority: control >>> 13,
    dropEligible: (control & 0x1000) !== 0,
    type: readU16(bytes, at + VLAN.type),
  };
}

/** Where the type stands of what a frame at `start` carries, behind its tags; `end` is where the frame ends. */
export function innermostTypeAt(bytes: Uint8Array, start: number, end: number): number {
  let at = start + ETHERNET.type;
  for (let type = readU16(bytes, at); (type === ETHER_TYPE.vlan || type === ETHER_TYPE.qinq) && at + VLAN.headerLength < end; type = readU16(bytes, at)) at += VLAN.headerLength;
  return at;
}

export interface VlanFields {
  readonly id: number;
  readonly priority?: number;
  /** The tag's own type: 802.1Q unless ETHER_TYPE.qinq is given for an outer one. */
  readonly tagType?: number;
  readonly type?: number;
}

export function vlan(fields: VlanFields, payload: Payload): Layer {
  const inner = asLayer(payload);
  const bytes = prepend(VLAN.headerLength, inner.bytes);
  writeU16(bytes, VLAN.control, ((fields.priority ?? 0) << 13) | fields.id);
  writeU16(bytes, VLAN.type, fields.type ?? inner.etherType ?? 0);
  return { bytes, etherType: fields.tagType ?? ETHER_TYPE.vlan };
}
