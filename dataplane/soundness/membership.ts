/**
 * Whether what a program really has is among what the verifier says it may have: the meaning of a RegisterState, and of a
 * stack slot, in terms of a running program's memory.
 *
 *   pointers   value = base + offset + variable part, and the variable part is a member of `scalar`
 *              base: the frame pointer, the context, data, data_meta, data_end, or where the region begins
 *   range      of packets: data + variable part + range is not beyond data_end
 */
import type { MapSpec } from '../bpf/spec.ts';
import { AT_PACKET_END, BEYOND_PACKET_END, type RegisterState } from '../verifier/register.ts';
import { coerceToBytes, contains } from '../verifier/scalar.ts';
import { BYTE, isSpilled, kindAt, SLOT_BYTES, type StackSlot } from '../verifier/state.ts';
import type { Region } from './provenance.ts';

/** What a running program's pointers are measured from: addresses in the machine's memory. */
export interface Surroundings {
  /** 0 in callbacks that run later. */
  readonly context: number;
  readonly data: number;
  readonly dataEnd: number;
  readonly dataMeta: number;
  /** By frame: r10. */
  framePointer(frame: number): number;
  /** Whether a live map with that descriptor is the declared one, or may be where any of a shape may be. */
  isMap(descriptor: number, declared: MapSpec): boolean;
}

const REGIONS: ReadonlySet<RegisterState['type']> = new Set(['map_value', 'map_key', 'mem', 'ringbuf_mem']);

/** Pointers into what was handed out; the others have their base from where they are. */
export const isOfRegion = ({ type }: RegisterState): boolean => REGIONS.has(type);

/** How much of the region the verifier lets a program reach. */
export function regionBytes({ type, bytes, map }: RegisterState): number {
  return type === 'map_value' ? map!.valueBytes : type === 'map_key' ? map!.keyBytes : bytes;
}

/** What the pointer is measured from; undefined where it only has to be something. */
export function baseOf({ type, frame }: RegisterState, region: Region | undefined, around: Surroundings): number | undefined {
  switch (type) {
    case 'fp':
      return around.framePointer(frame);
    case 'ctx':
      return around.context;
    case 'pkt':
      return around.data;
    case 'pkt_meta':
      return around.dataMeta;
    case 'pkt_end':
      return around.dataEnd;
    default:
      return region?.start;
  }
}

/** `region`: of a pointer into what was handed out. */
export function isMember(register: RegisterState, value: bigint, region: Region | undefined, around: Surroundings): boolean {
  const { type, nullable, scalar, offset, map } = register;
  if (type === '?') return true;
  if (type === 'scalar') return contains(scalar, value);
  if (value === 0n) return nullable;
  if (type === 'map_ptr') return around.isMap(Number(BigInt.asUintN(32, value)) + offset, map!);
  const base = baseOf(register, region, around);
  if (base === undefined) return true;
  const variable = BigInt.asIntN(64, value - BigInt(base) - BigInt(offset));
  if (!contains(scalar, variable)) return false;
  if (isOfRegion(register)) return region!.bytes >= regionBytes(register) && (map === undefined || region!.map === undefined || around.isMap(region!.map.descriptor, map));
  return reaches(register, value, BigInt(base) + variable, around);
}

/** What comparisons with the packet's end have said of it. */
function reaches({ type, range }: RegisterState, value: bigint, from: bigint, { data, dataEnd }: Surroundings): boolean {
  if (type !== 'pkt' && type !== 'pkt_meta') return true;
  const end = BigInt(type === 'pkt' ? dataEnd : data);
  if (range === BEYOND_PACKET_END) return value > end;
  if (range === AT_PACKET_END) return value >= end;
  return range === 0 || from + BigInt(range) <= end;
}

/** Bytes of the register that is spilled there, from the slot's lowest address on. */
export function spilledBytes(slot: StackSlot): number {
  let bytes = 1;
  while (bytes < SLOT_BYTES && kindAt(slot, SLOT_BYTES - 1 - bytes) === BYTE.spill) bytes++;
  return bytes;
}

/** `word`: the slot's bytes, little endian. */
export function isSlotMember(slot: StackSlot, word: bigint, region: Region | undefined, around: Surroundings): boolean {
  for (let byte = 0; byte < SLOT_BYTES; byte++) {
    if (kindAt(slot, byte) === BYTE.zero && ((word >> BigInt(8 * (SLOT_BYTES - 1 - byte))) & 0xffn) !== 0n) return false;
  }
  if (!isSpilled(slot)) return true;
  const { spilled } = slot;
  const bytes = spilledBytes(slot);
  if (bytes === SLOT_BYTES) return isMember(spilled, word, region, around);
  // The register may have been larger than what was stored of it.
  return spilled.type !== 'scalar' || (bytes !== 1 && bytes !== 2 && bytes !== 4) || contains(coerceToBytes(spilled.scalar, bytes), BigInt.asUintN(8 * bytes, word));
}
