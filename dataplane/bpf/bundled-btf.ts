/**
 * The BTF that programs are fitted to where no kernel's is given: the networking types of Linux 6.18, declared in
 * bundled-types.c. Always the same, so that loading an object is a pure function of its bytes.
 */
import { Btf } from './btf.ts';
import { BUNDLED_BTF_BASE64 } from './bundled-btf-data.ts';

let parsed: Btf | undefined;

export function bundledBtf(): Btf {
  parsed ??= Btf.parse(Buffer.from(BUNDLED_BTF_BASE64, 'base64'), 'bundled BTF of Linux 6.18');
  return parsed;
}
