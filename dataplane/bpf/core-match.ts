/**
 * When a type of a program and a type of a kernel are the same for CO-RE: libbpf's rules (relo_core.c, in its words
 * *candidates*, *compatible* and *match*), from loose to strict.
 *
 * Both sides may be hostile, so that recursion is limited and each pair is compared once.
 */
import type { Btf } from './btf.ts';
import { essentialName } from './btf.ts';
import { btfName, type BtfComposite, type BtfFuncProto, type BtfType } from './btf-type.ts';

/** libbpf's limit too. */
const MAX_DEPTH = 32;

function isEnum(type: BtfType): boolean {
  return type.kind === 'enum' || type.kind === 'enum64';
}

function isComposite(type: BtfType): type is BtfComposite {
  return type.kind === 'struct' || type.kind === 'union';
}

function isOldBitfield(type: BtfType): boolean {
  return type.kind === 'int' && type.offsetBits !== 0;
}

export function sameKind(local: BtfType, target: BtfType): boolean {
  return local.kind === target.kind || (isEnum(local) && isEnum(target));
}

function sameName(local: string, target: string): boolean {
  return essentialName(local) === essentialName(target);
}

/** The kernel's types of this name and kind, whatever flavour. */
export function candidates(local: Btf, localId: number, target: Btf): number[] {
  const type = local.type(localId);
  const name = essentialName(btfName(type));
  return target.idsByEssentialName(name).filter((id) => sameKind(type, target.type(id)));
}

export class CoreMatcher {
  readonly #local: Btf;
  readonly #target: Btf;
  /** Answers of `matches`; a pair that is being compared counts as matching, as recursive types do. */
  readonly #known = new Map<string, boolean>();

  constructor(local: Btf, target: Btf) {
    this.#local = local;
    this.#target = target;
  }

  /** Of a member that is read: what it holds may be read as what the program declares. */
  fieldsCompatible(localId: number, targetId: number): boolean {
    let local = this.#local.resolve(localId).type;
    let target = this.#target.resolve(targetId).type;
    for (let depth = 0; depth < MAX_DEPTH; depth++) {
      if (isComposite(local) && isComposite(target)) return true;
      if (!sameKind(local, target)) return false;
      if (local.kind === 'ptr' || local.kind === 'float') return true;
      if (local.kind === 'int') return !isOldBitfield(local) && !isOldBitfield(target);
      if (isEnum(local) || local.kind === 'fwd') {
        const names = [local, target].map((type) => essentialName(btfName(type)));
        return names.includes('') || names[0] === names[1];
      }
      if (local.kind !== 'array' || target.kind !== 'array') return false;
      local = this.#local.resolve(local.type).type;
      target = this.#target.resolve(target.type).type;
    }
    return false;
  }

  /** Of whole types, for `bpf_core_type_exists`: the same shape to the first name. */
  typesCompatible(localId: number, targetId: number, depth = 0): boolean {
    if (!sameKind(this.#local.type(localId), this.#target.type(targetId))) return false;
    return this.#shapesCompatible(localId, targetId, depth);
  }

  #shapesCompatible(localId: number, targetId: number, depth: number): boolean {
    if (depth > MAX_DEPTH) return false;
    const local = this.#local.resolve(localId).type;
    const target = this.#target.resolve(targetId).type;
    if (!sameKind(local, target)) return false;
    switch (local.kind) {
      case 'void':
      case 'struct':
      case 'union':
      case 'enum':
      case 'enum64':
      case 'fwd':
        return true;
      case 'int':
        return !isOldBitfield(local) && !isOldBitfield(target);
      case 'ptr':
      case 'array':
        return this.#shapesCompatible(local.type, (target as typeof local).type, depth + 1);
      case 'func_proto':
        return this.#memo(`shape ${localId} ${targetId}`, () => this.#protosAgree(local, target as BtfFuncProto, (ours, theirs) => this.#shapesCompatible(ours, theirs, depth + 1)));
      default:
        return false;
    }
  }

  #protosAgree(local: BtfFuncProto, target: BtfFuncProto, agree: (localId: number, targetId: number) => boolean): boolean {
    return local.parameters.length === target.parameters.length
      && local.parameters.every((parameter, index) => agree(parameter.type, target.parameters[index]!.type))
      && agree(local.returnType, target.returnType);
  }

  /** For `bpf_core_type_matches`: all that the program declares is there, by name and type. */
  typesMatch(localId: number, targetId: number, behindPointer = false, depth = 0): boolean {
    if (depth > MAX_DEPTH) return false;
    const local = this.#local.resolve(localId);
    const target = this.#target.resolve(targetId);
    return this.#memo(`match ${local.id} ${target.id} ${behindPointer}`, () => this.#resolvedMatch(local.type, target.type, behindPointer, depth + 1));
  }

  #resolvedMatch(local: BtfType, target: BtfType, behindPointer: boolean, depth: number): boolean {
    if (!sameName(btfName(local), btfName(target))) return false;
    switch (local.kind) {
      case 'void':
        return target.kind === 'void';
      case 'fwd':
        return target.kind === 'fwd' ? target.of === local.of : behindPointer && target.kind === local.of;
      case 'enum':
      case 'enum64':
        return (target.kind === 'enum' || target.kind === 'enum64') && local.values.every((one) => target.values.some((other) => sameName(one.name, other.name)));
      case 'struct':
      case 'union':
        if (behindPointer) return target.kind === local.kind || (target.kind === 'fwd' && target.of === local.kind);
        return target.kind === local.kind && this.#membersMatch(local, target, depth);
      case 'int':
        return target.kind === 'int' && target.sizeBytes === local.sizeBytes && target.signed === local.signed;
      case 'ptr':
        return target.kind === 'ptr' && this.typesMatch(local.type, target.type, true, depth);
      case 'array':
        return target.kind === 'array' && target.length === local.length && this.typesMatch(local.type, target.type, behindPointer, depth);
      case 'func_proto':
        return target.kind === 'func_proto' && this.#protosAgree(local, target, (ours, theirs) => this.typesMatch(ours, theirs, behindPointer, depth));
      default:
        return false;
    }
  }

  #membersMatch(local: BtfComposite, target: BtfComposite, depth: number): boolean {
    const byName = new Map<string, number[]>();
    for (const member of target.members) {
      const name = essentialName(member.name);
      const types = byName.get(name);
      if (types === undefined) byName.set(name, [member.type]);
      else types.push(member.type);
    }
    return local.members.every((member) => (byName.get(essentialName(member.name)) ?? []).some((type) => this.typesMatch(member.type, type, false, depth)));
  }

  #memo(key: string, answer: () => boolean): boolean {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    this.#known.set(key, true);
    const result = answer();
    this.#known.set(key, result);
    return result;
  }
}
