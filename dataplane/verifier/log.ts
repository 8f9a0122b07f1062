/** Registers and states as Linux's verifier log spells them (print_reg_state). */
import { typeText, type RegisterState } from './register.ts';
import { isConstant, type Scalar } from './scalar.ts';
import { tnumText } from './stack.ts';

const S64 = { min: -(1n << 63n), max: (1n << 63n) - 1n };
const U64_MAX = (1n << 64n) - 1n;

/** Bounds that say something; each value named once, with all the names it has. */
function bounds(scalar: Scalar): string[] {
  const said: [string, bigint, boolean][] = [
    ['smin', scalar.smin, scalar.smin !== S64.min],
    ['smax', scalar.smax, scalar.smax !== S64.max],
    ['umin', scalar.umin, scalar.umin !== 0n],
    ['umax', scalar.umax, scalar.umax !== U64_MAX],
    ['smin32', BigInt(scalar.s32min), scalar.s32min !== -0x8000_0000 && BigInt(scalar.s32min) !== scalar.smin],
    ['smax32', BigInt(scalar.s32max), scalar.s32max !== 0x7fff_ffff && BigInt(scalar.s32max) !== scalar.smax],
    ['umin32', BigInt(scalar.u32min), scalar.u32min !== 0 && BigInt(scalar.u32min) !== scalar.umin],
    ['umax32', BigInt(scalar.u32max), scalar.u32max !== 0xffff_ffff && BigInt(scalar.u32max) !== scalar.umax],
  ];
  const shown: string[] = [];
  const done = new Set<string>();
  for (const [name, value, says] of said) {
    if (!says || done.has(name)) continue;
    const same = said.filter(([other, its, speaks]) => speaks && its === value && !done.has(other)).map(([other]) => other);
    for (const other of same) done.add(other);
    shown.push(`${same.join('=')}=${value}`);
  }
  return shown;
}

const MAP_TYPES: ReadonlySet<RegisterState['type']> = new Set(['map_ptr', 'map_value', 'map_key']);

export function registerText(register: RegisterState): string {
  const { type, scalar } = register;
  if (type === '?') return '?';
  if (type === 'scalar' && isConstant(scalar)) return String(BigInt.asIntN(64, scalar.value));
  if (type === 'fp' && isConstant(scalar)) return `fp${register.offset + Number(BigInt.asIntN(64, scalar.value))}`;
  const parts: string[] = [];
  if (register.id !== 0) parts.push(`id=${register.id}${register.delta ? `+${register.offset}` : ''}`);
  if (register.reference !== 0) parts.push(`ref_obj_id=${register.reference}`);
  if (MAP_TYPES.has(type) && register.map !== undefined) parts.push(`map=${register.map.name}`, `ks=${register.map.keyBytes}`, `vs=${register.map.valueBytes}`);
  if (type !== 'scalar' && register.offset !== 0) parts.push(`off=${register.offset}`);
  if (type === 'pkt' || type === 'pkt_meta') parts.push(`r=${register.range}`);
  if (type === 'mem' || type === 'ringbuf_mem') parts.push(`sz=${register.bytes}`);
  if (!isConstant(scalar)) {
    parts.push(...bounds(scalar));
    if (scalar.mask !== U64_MAX) parts.push(`var_off=${tnumText(scalar)}`);
  } else if (scalar.value !== 0n) parts.push(`imm=0x${scalar.value.toString(16)}`);
  const name = typeText(register);
  return type === 'scalar' || parts.length > 0 ? `${name}(${parts.join(',')})` : `${name}()`;
}
