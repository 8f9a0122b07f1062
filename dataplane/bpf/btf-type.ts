/**
 * The types of BTF as values: one record of `.BTF` is one member of a closed union (Linux Documentation/bpf/btf.rst).
 * Type ids are numbers; 0 is void. Only btf.ts knows the bits.
 */

export interface BtfMember {
  /** Empty for an anonymous struct or union, whose members count as the outer's. */
  readonly name: string;
  readonly type: number;
  readonly offsetBits: number;
  /** Width of a bitfield, 0 for other members. */
  readonly bitfieldBits: number;
}

export interface BtfEnumerator {
  readonly name: string;
  /** Signed when the enum is. */
  readonly value: bigint;
}

export interface BtfParameter {
  readonly name: string;
  readonly type: number;
}

export interface BtfVariable {
  readonly type: number;
  readonly offset: number;
  readonly sizeBytes: number;
}

/** Of functions and variables. */
export const BTF_LINKAGE = ['static', 'global', 'extern'] as const;
export type BtfLinkage = (typeof BTF_LINKAGE)[number];

export interface BtfInt {
  readonly kind: 'int';
  readonly name: string;
  readonly sizeBytes: number;
  readonly signed: boolean;
  readonly char: boolean;
  readonly bool: boolean;
  /** A bitfield of old compilers, which put place and width in the type. */
  readonly offsetBits: number;
  readonly bits: number;
}

export interface BtfComposite {
  readonly kind: 'struct' | 'union';
  readonly name: string;
  readonly sizeBytes: number;
  readonly members: readonly BtfMember[];
}

export interface BtfEnum {
  readonly kind: 'enum' | 'enum64';
  readonly name: string;
  readonly sizeBytes: number;
  readonly signed: boolean;
  readonly values: readonly BtfEnumerator[];
}

export interface BtfArray {
  readonly kind: 'array';
  readonly type: number;
  readonly indexType: number;
  readonly length: number;
}

export interface BtfDatasec {
  readonly kind: 'datasec';
  readonly name: string;
  readonly sizeBytes: number;
  readonly variables: readonly BtfVariable[];
}

/** Types that only stand in front of another. */
export interface BtfModifier {
  readonly kind: 'typedef' | 'volatile' | 'const' | 'restrict' | 'type_tag';
  readonly name: string;
  readonly type: number;
}

export interface BtfFuncProto {
  readonly kind: 'func_proto';
  readonly returnType: number;
  readonly parameters: readonly BtfParameter[];
}

export type BtfType =
  | { readonly kind: 'void' }
  | BtfInt
  | { readonly kind: 'ptr'; readonly type: number }
  | BtfArray
  | BtfComposite
  | BtfEnum
  | { readonly kind: 'fwd'; readonly name: string; readonly of: 'struct' | 'union' }
  | BtfModifier
  | { readonly kind: 'func'; readonly name: string; readonly type: number; readonly linkage: BtfLinkage }
  | BtfFuncProto
  | { readonly kind: 'var'; readonly name: string; readonly type: number; readonly linkage: BtfLinkage }
  | BtfDatasec
  | { readonly kind: 'float'; readonly name: string; readonly sizeBytes: number }
  /** `component` is a member's or parameter's index, −1 for the type itself. */
  | { readonly kind: 'decl_tag'; readonly name: string; readonly type: number; readonly component: number };

export type BtfKind = BtfType['kind'];

/** In the order of their numbers, BTF_KIND_UNKN as void. */
export const BTF_KINDS = [
  'void', 'int', 'ptr', 'array', 'struct', 'union', 'enum', 'fwd', 'typedef', 'volatile', 'const', 'restrict', 'func',
  'func_proto', 'var', 'datasec', 'float', 'decl_tag', 'type_tag', 'enum64',
] as const satisfies readonly BtfKind[];

export function isModifier(type: BtfType): type is BtfModifier {
  return type.kind === 'typedef' || type.kind === 'volatile' || type.kind === 'const' || type.kind === 'restrict' || type.kind === 'type_tag';
}

/** The name of a type, empty for kinds that have none. */
export function btfName(type: BtfType): string {
  return 'name' in type ? type.name : '';
}
