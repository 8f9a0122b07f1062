/**
 * The path from a type to what a CO-RE relocation is about: `0:1:2` in the program's BTF, and the same by name in the
 * kernel's.
 *
 * The first number is an array index, as in `p[0]`; each that follows is a member of a struct or an element of an array.
 * Members of anonymous structs have no step of their own: the kernel may have them elsewhere.
 */
import type { Btf } from './btf.ts';
import type { BtfMember } from './btf-type.ts';
import type { CoreMatcher } from './core-match.ts';

/** libbpf's limit too. */
const MAX_STEPS = 64;
/** Anonymous structs within one struct; also how deep they can nest. */
const MAX_SEARCHED = 1000;

/** A named member of a struct, or (without `member`) an element of an array. */
export interface AccessStep {
  /** The struct that the member is in, or the type of the element. */
  readonly typeId: number;
  readonly index: number;
  readonly member?: BtfMember;
}

export interface Access {
  readonly btf: Btf;
  readonly rootId: number;
  readonly steps: readonly AccessStep[];
  readonly offsetBits: number;
}

/** Undefined when the text is no path of that type. */
export function parseAccess(btf: Btf, rootId: number, text: string): Access | undefined {
  if (!/^\d{1,10}(:\d{1,10})*$/.test(text)) return undefined;
  const indices = text.split(':').map(Number);
  if (indices.length > MAX_STEPS) return undefined;
  const [first = 0, ...rest] = indices;
  let id = btf.resolve(rootId).id;
  let offsetBits = first * btf.sizeBytes(id) * 8;
  const steps: AccessStep[] = [{ typeId: id, index: first }];
  for (const index of rest) {
    const resolved = btf.resolve(id);
    const { type } = resolved;
    if (type.kind === 'struct' || type.kind === 'union') {
      const member = type.members[index];
      if (member === undefined) return undefined;
      offsetBits += member.offsetBits;
      if (member.name !== '') steps.push({ typeId: resolved.id, index, member });
      id = member.type;
    } else if (type.kind === 'array') {
      if (index >= type.length && !isFlexible(btf, steps.at(-1)!, type.length)) return undefined;
      id = btf.resolve(type.type).id;
      offsetBits += index * btf.sizeBytes(id) * 8;
      steps.push({ typeId: id, index });
    } else {
      return undefined;
    }
  }
  return { btf, rootId, steps, offsetBits };
}

/** `items[]` at the end of a struct has any number of elements. */
function isFlexible(btf: Btf, step: AccessStep, length: number): boolean {
  if (step.member === undefined || length > 0) return false;
  const owner = btf.type(step.typeId);
  return owner.kind === 'struct' && step.index === owner.members.length - 1;
}

interface FoundMember {
  readonly step: AccessStep;
  readonly offsetBits: number;
}

/** A member by name, also within anonymous structs. The first of the name decides; no struct is searched twice. */
function findMember(btf: Btf, structId: number, name: string, searched = new Set<number>()): FoundMember | undefined {
  const { id, type } = btf.resolve(structId);
  if ((type.kind !== 'struct' && type.kind !== 'union') || searched.has(id) || searched.size > MAX_SEARCHED) return undefined;
  searched.add(id);
  for (const [index, member] of type.members.entries()) {
    if (member.name === name) return { step: { typeId: id, index, member }, offsetBits: member.offsetBits };
    const inner = member.name === '' ? findMember(btf, member.type, name, searched) : undefined;
    if (inner !== undefined) return { step: inner.step, offsetBits: member.offsetBits + inner.offsetBits };
  }
  return undefined;
}

/** The same path in the kernel's type; undefined when it has no such member, or one that holds something else. */
export function matchAccess(local: Access, target: Btf, targetId: number, matcher: CoreMatcher): Access | undefined {
  const steps: AccessStep[] = [];
  let id = targetId;
  let offsetBits = 0;
  for (const [position, step] of local.steps.entries()) {
    if (step.member !== undefined) {
      const found = findMember(target, id, step.member.name);
      if (found === undefined || !matcher.fieldsCompatible(step.member.type, found.step.member!.type)) return undefined;
      steps.push(found.step);
      offsetBits += found.offsetBits;
      id = found.step.member!.type;
      continue;
    }
    id = target.resolve(id).id;
    if (position > 0) {
      const array = target.type(id);
      if (array.kind !== 'array' || (step.index >= array.length && !isFlexible(target, steps.at(-1)!, array.length))) return undefined;
      id = target.resolve(array.type).id;
    }
    steps.push({ typeId: id, index: step.index });
    offsetBits += step.index * target.sizeBytes(id) * 8;
  }
  return { btf: target, rootId: targetId, steps, offsetBits };
}
