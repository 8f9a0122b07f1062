/**
 * Checksums in packet headers and the state of skb->csum: bpf_l3_csum_replace, l4_csum_replace, csum_update and
 * csum_level. Fields are replaced as RFC 1624 says, on ones-complement sums of 32 bits.
 *
 * With CHECKSUM_COMPLETE, skb->csum covers the packet, header checksums included; replacing a field that the
 * transport checksum covers changes the sum only where that field is outside the packet's bytes: the pseudo header.
 */
import type { Machine } from '../machine/machine.ts';
import { ERRNO } from '../maps/map.ts';
import { CHECKSUM, SK_BUFF } from '../packet/frame.ts';
import type { Helper } from './helper.ts';
import { TC_PROGRAMS } from './program-sets.ts';
import { addSums, getField, setField } from './skb-buffer.ts';
import { resetChecksumUnnecessary } from './skb-room.ts';

/** Flags of both replacing helpers. The field mask is the size of the replaced field, 0 where `to` is a difference. */
const FIELD_MASK = 0xf;
const PSEUDO_HEADER = 0x10;
const MARK_MANGLED_0 = 0x20;
const MARK_ENFORCE = 0x40;
const IPV6 = 0x80;
const L4_FLAGS = FIELD_MASK | PSEUDO_HEADER | MARK_MANGLED_0 | MARK_ENFORCE | IPV6;
/** How a checksum of 0 is written where 0 stands for none. */
const CSUM_MANGLED_0 = 0xffff;

const LEVEL = { query: 0, increment: 1, decrement: 2, reset: 3 } as const;
const MAX_CSUM_LEVEL = 3;

function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return ~((once & 0xffff) + (once >>> 16)) & 0xffff;
}

/** The checksum after a change: `from` taken away, `to` added. */
function replaced(checksum: number, from: number, to: number): number {
  return fold(addSums(addSums(~checksum & 0xffff, ~from), to));
}

/** How much of the u64 arguments a field of this size takes; `undefined` where there is no such field. */
function fieldOf(flags: number, value: number): number | undefined {
  switch (flags & FIELD_MASK) {
    case 2:
      return value & 0xffff;
    case 0:
    case 4:
      return value >>> 0;
    default:
      return undefined;
  }
}

function writable(machine: Machine, ctx: number, offset: number): boolean {
  return offset <= 0xffff && (offset & 1) === 0 && offset + 2 <= getField(machine, ctx, SK_BUFF.len);
}

/** A checksum that covers the replaced field through a pseudo header changes skb->csum as well. */
function replacePseudo(machine: Machine, ctx: number, from: number, to: number): void {
  const sum = getField(machine, ctx, SK_BUFF.csum);
  setField(machine, ctx, SK_BUFF.csum, ~addSums(addSums(~sum, ~from), to) >>> 0);
}

export const SKB_CHECKSUM_HELPERS: readonly Helper[] = [
  {
    id: 10,
    name: 'l3_csum_replace',
    args: ['ctx', 'u32', 'u64', 'u64', 'u64'],
    returns: 'int',
    programs: TC_PROGRAMS,
    changesPacket: true,
    implementation: {
      kind: 'js',
      bind: (machine) => (ctx, offset, fromLow, fromHigh, toLow, _toHigh, flags, flagsHigh) => {
        if ((flags! & ~FIELD_MASK) !== 0 || flagsHigh !== 0) return -ERRNO.EINVAL;
        const start = offset! >>> 0;
        if (!writable(machine, ctx!, start)) return -ERRNO.EFAULT;
        const from = fieldOf(flags!, fromLow!);
        const to = fieldOf(flags!, toLow!);
        if (from === undefined || to === undefined || (flags === 0 && (fromLow !== 0 || fromHigh !== 0))) return -ERRNO.EINVAL;
        const at = getField(machine, ctx!, SK_BUFF.data) + start;
        const { view } = machine.memory;
        view.setUint16(at, replaced(view.getUint16(at, true), from, to), true);
        return 0;
      },
    },
  },
  {
    id: 11,
    name: 'l4_csum_replace',
    args: ['ctx', 'u32', 'u64', 'u64', 'u64'],
    returns: 'int',
    programs: TC_PROGRAMS,
    changesPacket: true,
    implementation: {
      kind: 'js',
      bind: (machine) => (ctx, offset, fromLow, fromHigh, toLow, _toHigh, flags, flagsHigh) => {
        if ((flags! & ~L4_FLAGS) !== 0 || flagsHigh !== 0) return -ERRNO.EINVAL;
        const start = offset! >>> 0;
        if (!writable(machine, ctx!, start)) return -ERRNO.EFAULT;
        const at = getField(machine, ctx!, SK_BUFF.data) + start;
        const { view } = machine.memory;
        const before = view.getUint16(at, true);
        const mangle = (flags! & MARK_MANGLED_0) !== 0;
        if (mangle && (flags! & MARK_ENFORCE) === 0 && before === 0) return 0;
        const from = fieldOf(flags!, fromLow!);
        const to = fieldOf(flags!, toLow!);
        const isDifference = (flags! & FIELD_MASK) === 0;
        if (from === undefined || to === undefined || (isDifference && (fromLow !== 0 || fromHigh !== 0))) return -ERRNO.EINVAL;

        const pseudo = (flags! & PSEUDO_HEADER) !== 0;
        const summed = getField(machine, ctx!, SK_BUFF.ip_summed);
        let after = before;
        if (summed !== CHECKSUM.partial) {
          after = replaced(before, from, to);
          if (summed === CHECKSUM.complete && pseudo && !(isDifference && (flags! & IPV6) !== 0)) replacePseudo(machine, ctx!, from, to);
        } else if (pseudo) {
          // The field holds the sum of the pseudo header, not yet complemented.
          after = ~replaced(~before & 0xffff, from, to) & 0xffff;
        }
        view.setUint16(at, mangle && after === 0 ? CSUM_MANGLED_0 : after, true);
        return 0;
      },
    },
  },
  {
    id: 40,
    name: 'csum_update',
    args: ['ctx', 'u32'],
    // The sum is unsigned, errors are negative: both fit an i64 only.
    returns: 'u64',
    programs: TC_PROGRAMS,
    implementation: {
      kind: 'js',
      bind: (machine) => (ctx, sum) => {
        if (getField(machine, ctx!, SK_BUFF.ip_summed) !== CHECKSUM.complete) return -BigInt(ERRNO.ENOTSUPP);
        const updated = addSums(getField(machine, ctx!, SK_BUFF.csum), sum!);
        setField(machine, ctx!, SK_BUFF.csum, updated);
        return BigInt(updated);
      },
    },
  },
  {
    id: 135,
    name: 'csum_level',
    args: ['ctx', 'u64'],
    returns: 'int',
    programs: TC_PROGRAMS,
    implementation: { kind: 'js', bind: (machine) => (ctx, level, levelHigh) => (levelHigh === 0 ? csumLevel(machine, ctx!, level!) : -ERRNO.EINVAL) },
  },
];

function csumLevel(machine: Machine, ctx: number, operation: number): number {
  const summed = getField(machine, ctx, SK_BUFF.ip_summed);
  const level = getField(machine, ctx, SK_BUFF.csum_level);
  const unnecessary = summed === CHECKSUM.unnecessary;
  switch (operation) {
    case LEVEL.query:
      return unnecessary ? level : -ERRNO.EACCES;
    case LEVEL.increment:
      if (unnecessary) setField(machine, ctx, SK_BUFF.csum_level, Math.min(level + 1, MAX_CSUM_LEVEL));
      else if (summed === CHECKSUM.none) {
        setField(machine, ctx, SK_BUFF.ip_summed, CHECKSUM.unnecessary);
        setField(machine, ctx, SK_BUFF.csum_level, 0);
      }
      return 0;
    case LEVEL.decrement:
      if (unnecessary && level === 0) setField(machine, ctx, SK_BUFF.ip_summed, CHECKSUM.none);
      else if (unnecessary) setField(machine, ctx, SK_BUFF.csum_level, level - 1);
      return 0;
    case LEVEL.reset:
      resetChecksumUnnecessary(machine, ctx);
      return 0;
    default:
      return -ERRNO.EINVAL;
  }
}
