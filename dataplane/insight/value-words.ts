/** What the verifier knows of a register, in words. */
import { isConstant, type Scalar } from '../verifier/scalar.ts';
import type { RegisterState, RegisterType } from '../verifier/register.ts';

const U64_MAX = (1n << 64n) - 1n;
const U32_MAX = (1n << 32n) - 1n;
const S64_MIN = -(1n << 63n);
const S64_MAX = (1n << 63n) - 1n;
/** Above it a bound says nothing to a reader. */
const TELLING = 1n << 48n;

/** `7`, `0 to 60, a multiple of 4`, `any number` */
export function numberWords(scalar: Scalar): string {
  if (isConstant(scalar)) return number(BigInt.asIntN(64, scalar.value));
  const { smin, smax, umin, umax, value, mask } = scalar;
  if (value === 0n && mask === U32_MAX && umin === 0n && umax === U32_MAX) return 'any 32-bit number';
  const step = multipleOf(value | mask);
  const multiple = step > 1n && step < 4096n ? `, a multiple of ${step}` : '';
  if (smin >= 0n || umax < TELLING) return umax === S64_MAX || umax === U64_MAX ? `${number(umin)} or more${multiple}` : `${number(umin)} to ${number(umax)}${multiple}`;
  if (smin === S64_MIN && smax === S64_MAX) return umin === 0n && umax === U64_MAX ? 'any number' : umin > 0n && umax === U64_MAX ? `any number but 0${umin > 1n ? ` to ${number(umin - 1n)}` : ''}, negative ones too` : `any number up to ${number(umax)}`;
  if (smin === S64_MIN) return `${number(smax)} or less, negative ones too`;
  return smax === S64_MAX ? `${number(smin)} or more` : `${number(smin)} to ${number(smax)}${multiple}`;
}

const number = (value: bigint): string => value.toLocaleString('en-US');

function multipleOf(bits: bigint): bigint {
  return bits === 0n ? 1n : bits & -bits;
}

const THINGS: Readonly<Record<Exclude<RegisterType, '?' | 'scalar' | 'pkt' | 'pkt_end' | 'fp'>, string>> = {
  ctx: 'the context',
  map_ptr: 'the map',
  map_value: 'a value of map',
  map_key: 'a key of map',
  pkt_meta: 'the metadata in front of the packet',
  flow_keys: 'the flow keys',
  sock: 'a socket',
  sock_common: 'a socket',
  tcp_sock: 'a TCP socket',
  mem: 'memory',
  ringbuf_mem: 'a record of the ring buffer',
  func: 'a function',
  iterator: 'the state of an iterator',
  dynptr: 'a dynptr',
  ptr_: 'something of the kernel',
};

/** Where a pointer points, counted from the beginning of what it points into: ` + 12`, ` + 14 + (0 to 60)`. */
export function offsetWords({ offset, scalar }: RegisterState, more = 0): string {
  const constant = isConstant(scalar);
  const fixed = offset + more + (constant ? Number(BigInt.asIntN(64, scalar.value)) : 0);
  return `${fixed === 0 ? '' : fixed > 0 ? ` + ${number(BigInt(fixed))}` : ` - ${number(BigInt(-fixed))}`}${constant ? '' : ` + (${numberWords(scalar)})`}`;
}

export function valueWords(register: RegisterState): string {
  const { type, nullable, map, bytes } = register;
  const orNull = nullable ? ', or NULL' : '';
  if (type === 'map_value' && map?.section !== undefined) return `${map.section.startsWith('.rodata') ? 'constants' : 'global variables'} (${map.section}, ${map.valueBytes} bytes)${offsetWords(register)}`;
  switch (type) {
    case '?':
      return 'nothing';
    case 'scalar':
      return numberWords(register.scalar);
    case 'pkt':
      return `the packet${offsetWords(register)}${provenWords(register)}`;
    case 'pkt_end':
      return 'the end of the packet';
    case 'fp':
      return `the stack${offsetWords(register)}`;
    case 'map_ptr':
      return `the map ${map?.name ?? ''}`;
    case 'map_value':
    case 'map_key':
      return `${THINGS[type]} ${map?.name ?? ''} (${type === 'map_key' ? map?.keyBytes : map?.valueBytes} bytes)${offsetWords(register)}${orNull}`;
    case 'mem':
    case 'ringbuf_mem':
      return `${THINGS[type]} (${bytes} bytes)${offsetWords(register)}${orNull}`;
    default:
      return `${THINGS[type]}${offsetWords(register)}${orNull}`;
  }
}

/** How many bytes from there on a comparison with the packet's end has shown to be there. */
export function provenBytes({ range, offset, scalar }: RegisterState): number {
  return Math.max(0, range - offset - (isConstant(scalar) ? Number(BigInt.asIntN(64, scalar.value)) : 0));
}

function provenWords(register: RegisterState): string {
  if (register.range < 0) return ', beyond its end';
  const bytes = provenBytes(register);
  return `; ${bytes === 0 ? 'nothing is' : bytes === 1 ? '1 byte is' : `${bytes} bytes are`} proven from there on`;
}
