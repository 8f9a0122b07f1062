/** What holds of a register, whichever of two it is: bits and bounds of both, what both point to, the least that is proven. */
import { NOT_INITIALISED, withFacts, type ObjectFacts, type RegisterState } from './register.ts';
import { big, constant, rangeWithin, small, tnumIn, UNKNOWN, type Scalar } from './scalar.ts';
import { alu } from './scalar-arithmetic.ts';
import { tnumUnion } from './tnum.ts';

/** The same object where `b` says nothing new. */
export function joinScalars(a: Scalar, b: Scalar): Scalar {
  if (a === b || a === UNKNOWN || (rangeWithin(a, b) && tnumIn(a, b))) return a;
  return {
    ...tnumUnion(a, b),
    smin: small(a.smin, b.smin), smax: big(a.smax, b.smax), umin: small(a.umin, b.umin), umax: big(a.umax, b.umax),
    s32min: Math.min(a.s32min, b.s32min), s32max: Math.max(a.s32max, b.s32max), u32min: Math.min(a.u32min, b.u32min), u32max: Math.max(a.u32max, b.u32max),
  };
}

/** NOT_INITIALISED where they are different things, or one is nothing that is known. Who is related to whom is left out. */
export function joinRegisters(a: RegisterState, b: RegisterState): RegisterState {
  if (a === b || a === NOT_INITIALISED) return a;
  if (a.type !== b.type || a.map !== b.map || a.frame !== b.frame) return NOT_INITIALISED;
  if (a.type === 'scalar') {
    const scalar = joinScalars(a.scalar, b.scalar);
    return scalar === a.scalar ? a : withFacts(a, { scalar });
  }
  const object = joinObjects(a.object, b.object);
  // What it is, is in there.
  if (a.type === 'ptr_' && object === undefined) return NOT_INITIALISED;
  const [left, right] = a.offset === b.offset ? [a, b] : [allVariable(a), allVariable(b)];
  const scalar = joinScalars(left.scalar, right.scalar);
  const range = left.range === right.range ? left.range : Math.max(0, Math.min(left.range, right.range));
  const nullable = a.nullable || b.nullable;
  const readOnly = a.readOnly || b.readOnly;
  const bytes = Math.min(a.bytes, b.bytes);
  if (left === a && scalar === a.scalar && range === a.range && nullable === a.nullable && readOnly === a.readOnly && bytes === a.bytes && object === a.object) return a;
  return { ...left, object, nullable, readOnly, scalar, range, bytes };
}

/** The same pointer without a constant part. What is proven begins at the variable part. */
function allVariable(register: RegisterState): RegisterState {
  const { scalar, offset, range } = register;
  if (offset === 0) return register;
  return withFacts(register, { scalar: alu('add', 64, scalar, constant(BigInt(offset))), offset: 0, range: range < 0 ? range : Math.max(0, range - offset) });
}

function joinObjects(a: ObjectFacts | undefined, b: ObjectFacts | undefined): ObjectFacts | undefined {
  if (a === b) return a;
  return a?.kind === 'struct' && b?.kind === 'struct' && a.name === b.name && a.trust === b.trust && a.local === b.local ? a : undefined;
}
