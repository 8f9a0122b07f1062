/**
 * What an object expects from outside, as libbpf provides it: kernel configuration (`__kconfig`, a map of their values),
 * kernel symbols (`__ksym` variables) and kernel functions (`__ksym` functions, kfuncs).
 *
 * Weak ones that do not exist are 0; strong configuration that does not exist fails the object, and strong symbols leave
 * an unresolved reference where they are used.
 */
import type { Btf } from './btf.ts';
import { internalMapName } from './data-section.ts';
import { SHN, STB, type ElfSymbol } from './elf.ts';
import { BPF_MAP_TYPE } from './map-type.ts';
import { failObject, type ObjectFile } from './object-file.ts';
import type { MapSpec } from './spec.ts';

const KCONFIG_SECTION = '.kconfig';
const BPF_F_RDONLY_PROG = 1 << 7;

/** Linux 6.18, and what its configuration says where programs ask. A value is spelled as in .config. */
const KERNEL_CONFIG: Readonly<Record<string, string>> = {
  LINUX_KERNEL_VERSION: String((6 << 16) | (18 << 8)),
  LINUX_HAS_BPF_COOKIE: '1',
  LINUX_HAS_SYSCALL_WRAPPER: '1',
  CONFIG_64BIT: 'y',
  CONFIG_X86_64: 'y',
  CONFIG_BPF: 'y',
  CONFIG_BPF_SYSCALL: 'y',
  CONFIG_BPF_JIT: 'y',
  CONFIG_NET: 'y',
  CONFIG_INET: 'y',
  CONFIG_IPV6: 'y',
  CONFIG_NF_CONNTRACK: 'y',
  CONFIG_SMP: 'y',
  CONFIG_HZ: '250',
};

/** enum libbpf_tristate. */
const TRISTATE: Readonly<Record<string, number>> = { n: 0, m: 1, y: 2 };

export type Extern =
  | { readonly kind: 'kconfig'; readonly name: string; readonly map: string; readonly offset: number }
  | { readonly kind: 'ksym'; readonly name: string; readonly weak: boolean; readonly typed: boolean }
  | { readonly kind: 'kfunc'; readonly name: string; readonly weak: boolean };

export interface Externs {
  /** By symbol name. */
  readonly bySymbol: ReadonlyMap<string, Extern>;
  /** Values of the configuration; undefined when none is asked for. */
  readonly kconfig: MapSpec | undefined;
}

interface Setting {
  readonly name: string;
  readonly type: number;
  readonly sizeBytes: number;
  readonly alignment: number;
  readonly weak: boolean;
}

/** Of variables and functions declared extern, the type by name. */
function externTypes(btf: Btf, section: string): Map<string, number> {
  const types = new Map<string, number>();
  for (const id of btf.idsByName(section, 'datasec')) {
    const datasec = btf.type(id);
    if (datasec.kind !== 'datasec') continue;
    for (const place of datasec.variables) {
      const type = btf.type(place.type);
      if (type.kind === 'var' || type.kind === 'func') types.set(type.name, place.type);
    }
  }
  return types;
}

function settingBytes(file: ObjectFile, btf: Btf, setting: Setting, text: string): Uint8Array {
  const bytes = new Uint8Array(setting.sizeBytes);
  const wrong = (expected: string): never => failObject(file, `kernel configuration ${setting.name} is ${text}, expected ${expected}: its type is ${btf.describe(setting.type)}`);
  const { type } = btf.resolve(setting.type);
  if (type.kind === 'array') {
    const quoted = /^"(.*)"$/.exec(text)?.[1] ?? wrong('a string in quotes');
    bytes.set(new TextEncoder().encode(quoted).subarray(0, Math.max(0, setting.sizeBytes - 1)));
    return bytes;
  }
  const isTristate = type.kind === 'enum' && type.name === 'libbpf_tristate';
  const letter = TRISTATE[text];
  let value: bigint;
  if (letter !== undefined) {
    if (type.kind === 'int' && type.sizeBytes === 1 && !type.bool) value = BigInt(text.charCodeAt(0));
    else if (type.kind === 'int' && type.bool) value = letter === 1 ? wrong('y or n') : BigInt(letter >> 1);
    else value = isTristate ? BigInt(letter) : wrong('a number');
  } else {
    if (!/^-?(0x[0-9a-fA-F]+|[0-9]+)$/.test(text) || isTristate) wrong('a number, y, m or n, as the type demands');
    value = text.startsWith('-') ? -BigInt(text.slice(1)) : BigInt(text);
  }
  for (let at = 0; at < bytes.length; at++) bytes[at] = Number((value >> BigInt(8 * at)) & 0xffn);
  return bytes;
}

/** libbpf's order: larger alignment first, then larger size, then name. */
function compareSettings(a: Setting, b: Setting): number {
  return b.alignment - a.alignment || b.sizeBytes - a.sizeBytes || (a.name < b.name ? -1 : 1);
}

function kconfigMap(file: ObjectFile, btf: Btf, settings: readonly Setting[], config: Readonly<Record<string, string>>): { map: MapSpec; offsets: Map<string, number> } {
  const offsets = new Map<string, number>();
  let end = 0;
  for (const setting of settings.toSorted(compareSettings)) {
    offsets.set(setting.name, Math.ceil(end / setting.alignment) * setting.alignment);
    end = offsets.get(setting.name)! + setting.sizeBytes;
  }
  if (end > 1 << 20) failObject(file, `section .kconfig takes ${end} bytes`);
  const contents = new Uint8Array(end);
  for (const setting of settings) {
    const text = Object.hasOwn(config, setting.name) ? config[setting.name] : undefined;
    if (text !== undefined) contents.set(settingBytes(file, btf, setting, text), offsets.get(setting.name));
    else if (!setting.weak) failObject(file, `kernel configuration ${setting.name} is not known here; declare it __weak, which makes it 0 then, or give its value as loadObject's kernelConfig`);
  }
  const map: MapSpec = {
    name: internalMapName(file.prefix, KCONFIG_SECTION), section: KCONFIG_SECTION, type: BPF_MAP_TYPE.array, keyBytes: 4, valueBytes: end, maxEntries: 1,
    flags: BPF_F_RDONLY_PROG, pinning: 'none', keyTypeId: 0, valueTypeId: 0, contents, frozen: true, btf,
  };
  return { map, offsets };
}

function isExtern(symbol: ElfSymbol): boolean {
  return symbol.section === SHN.UNDEF && symbol.name !== '' && symbol.binding !== STB.LOCAL;
}

/** `config` is set over the defaults: `{ CONFIG_HZ: '1000' }`. */
export function readExterns(file: ObjectFile, config: Readonly<Record<string, string>> = {}): Externs {
  const { btf } = file;
  const symbols = file.elf.symbols.filter(isExtern);
  const settingTypes = btf ? externTypes(btf, KCONFIG_SECTION) : new Map<string, number>();
  const symbolTypes = btf ? externTypes(btf, '.ksyms') : new Map<string, number>();
  const settings: Setting[] = [];
  const bySymbol = new Map<string, Extern>();
  for (const { name, binding } of symbols) {
    const weak = binding === STB.WEAK;
    const settingId = settingTypes.get(name);
    const typeId = symbolTypes.get(name);
    const type = typeId === undefined ? undefined : btf?.type(typeId);
    const variable = settingId === undefined ? undefined : btf?.type(settingId);
    if (btf && variable?.kind === 'var') settings.push({ name, type: variable.type, sizeBytes: btf.sizeBytes(variable.type), alignment: btf.alignmentBytes(variable.type), weak });
    else if (type?.kind === 'var') bySymbol.set(name, { kind: 'ksym', name, weak, typed: btf?.resolve(type.type).type.kind !== 'void' });
    else bySymbol.set(name, { kind: 'kfunc', name, weak });
  }
  if (btf === undefined || settings.length === 0) return { bySymbol, kconfig: undefined };
  const { map, offsets } = kconfigMap(file, btf, settings, { ...KERNEL_CONFIG, ...config });
  for (const [name, offset] of offsets) bySymbol.set(name, { kind: 'kconfig', name, map: map.name, offset });
  return { bySymbol, kconfig: map };
}
