/**
 * The functions of an object, each decoded with its references resolved to names and to other functions, before any is
 * put into a program.
 *
 * In the file a reference is a relocation: the symbol says what, the immediate says how far from it. Calls within a
 * section have none, their immediate is right as it stands.
 */
import { decodeInstructions } from './decode.ts';
import { STB, STT, STV, type ElfRelocation, type ElfSection, type ElfSymbol } from './elf.ts';
import type { Extern } from './extern.ts';
import type { Immediate64, Instruction } from './isa.ts';
import { helperCall, MISSING_KFUNC_HELPER, poison } from './poison.ts';
import { failObject, isCode, recordsWithin, sectionOf, type ObjectFile } from './object-file.ts';
import type { FunctionSpec, LineInfo, UnresolvedReference } from './spec.ts';

const SLOT_BYTES = 8;

export interface CodeFunction {
  readonly name: string;
  readonly section: ElfSection;
  /** In its section. */
  readonly startBytes: number;
  readonly endBytes: number;
  readonly linkage: FunctionSpec['linkage'];
  /** BTF id of its FUNC, 0 where unknown. */
  readonly typeId: number;
  /** Changed in place while references are resolved. */
  readonly instructions: Instruction[];
  /** Slots that call, or take the address of, another function. */
  readonly calls: Map<number, CodeFunction>;
  readonly lines: readonly LineInfo[];
  readonly unresolved: UnresolvedReference[];
}

/** What the symbols of data and maps stand for, and what the kernel offers. */
export interface ReferenceScope {
  /** The map that begins at an offset of a section of declarations. */
  readonly mapAt: (section: number, offset: number) => string | undefined;
  /** The map that holds the variables of a section. */
  readonly dataMap: (section: number) => string | undefined;
  readonly externs: ReadonlyMap<string, Extern>;
  /** The type id of a function or variable of the kernel. */
  readonly kernelId: (name: string, kind: 'func' | 'var') => number | undefined;
}

interface Extent {
  readonly symbol: ElfSymbol;
  readonly startBytes: number;
  readonly endBytes: number;
}

/** In their order. Of aliases, which begin at the same place, the first global one counts. */
function extentsIn(file: ObjectFile, section: ElfSection): Extent[] {
  const symbols = file.elf.symbolsOf.get(section.index) ?? [];
  const functions = symbols.filter((symbol) => symbol.type === STT.FUNC);
  // Objects of old compilers have functions without a type.
  const candidates = functions.length > 0 ? functions : symbols.filter((symbol) => symbol.type === STT.NOTYPE && symbol.binding !== STB.LOCAL);
  const byStart = new Map<number, ElfSymbol>();
  for (const symbol of candidates) {
    const known = byStart.get(symbol.value);
    if (known === undefined || (known.binding === STB.LOCAL && symbol.binding !== STB.LOCAL)) byStart.set(symbol.value, symbol);
  }
  const chosen = [...byStart.values()].toSorted((a, b) => a.value - b.value);
  return chosen.map((symbol, index) => {
    const next = chosen[index + 1];
    const nextBytes = next?.value ?? section.bytes.length;
    const endBytes = symbol.sizeBytes === 0 ? nextBytes : symbol.value + symbol.sizeBytes;
    if (symbol.value % SLOT_BYTES !== 0 || endBytes > section.bytes.length) {
      failObject(file, `function ${symbol.name} spans ${symbol.value} to ${endBytes} of section ${section.name}, which has ${section.bytes.length} bytes`);
    }
    if (next !== undefined && endBytes > nextBytes) failObject(file, `functions ${symbol.name} and ${next.name} overlap in section ${section.name}`);
    return { symbol, startBytes: symbol.value, endBytes };
  });
}

function linkageOf(symbol: ElfSymbol): FunctionSpec['linkage'] {
  return symbol.binding === STB.LOCAL || symbol.visibility === STV.HIDDEN || symbol.visibility === STV.INTERNAL ? 'static' : 'global';
}

/** Every function of every code section, decoded, references still as in the file. */
export function readFunctions(file: ObjectFile): CodeFunction[] {
  return file.elf.sections.filter(isCode).flatMap((section) => {
    const types = file.btfExt?.functions.get(section.name);
    const lines = file.btfExt?.lines.get(section.name);
    return extentsIn(file, section).map(({ symbol, startBytes, endBytes }): CodeFunction => ({
      name: symbol.name,
      section,
      startBytes,
      endBytes,
      linkage: linkageOf(symbol),
      typeId: recordsWithin(types, startBytes, startBytes + 1)[0]?.typeId ?? 0,
      instructions: decodeInstructions(section.bytes.subarray(startBytes, endBytes), `${file.where}: ${symbol.name}`),
      calls: new Map(),
      lines: recordsWithin(lines, startBytes, endBytes).map(({ offset, file: path, line, column, text }) => ({ slot: (offset - startBytes) / SLOT_BYTES, file: path, line, column, text })),
      unresolved: [],
    }));
  });
}

/** Finds a function by where it begins. */
export type FunctionAt = (section: number, offsetBytes: number) => CodeFunction | undefined;

export function indexFunctions(functions: readonly CodeFunction[]): FunctionAt {
  const byPlace = new Map(functions.map((one) => [`${one.section.index}:${one.startBytes}`, one] as const));
  return (section, offsetBytes) => byPlace.get(`${section}:${offsetBytes}`);
}

/** Replaces what relocations and calls refer to in `code` by names and functions. */
export function resolveReferences(file: ObjectFile, code: CodeFunction, functionAt: FunctionAt, scope: ReferenceScope): void {
  const relocations = recordsWithin(file.elf.relocations.get(code.section.index), code.startBytes, code.endBytes);
  const bySlot = new Map(relocations.map((relocation) => [(relocation.offset - code.startBytes) / SLOT_BYTES, relocation] as const));
  for (const [slot, relocation] of bySlot) resolveRelocation(file, code, slot, relocation, functionAt, scope);
  code.instructions.forEach((instruction, slot) => {
    if (instruction.kind !== 'call' || instruction.target.kind !== 'subprogram' || bySlot.has(slot)) return;
    const offset = code.startBytes + instruction.target.slot * SLOT_BYTES;
    code.calls.set(slot, functionAt(code.section.index, offset) ?? failAt(file, code, slot, `calls offset ${offset} of section ${code.section.name}, where no function begins`));
  });
}

function failAt(file: ObjectFile, code: CodeFunction, slot: number, problem: string): never {
  return failObject(file, `${code.name}: instruction ${slot} ${problem}`);
}

function resolveRelocation(file: ObjectFile, code: CodeFunction, slot: number, relocation: ElfRelocation, functionAt: FunctionAt, scope: ReferenceScope): void {
  const instruction = code.instructions[slot];
  const { symbol } = relocation;
  const target = sectionOf(file.elf, symbol);
  if (instruction?.kind === 'call' && instruction.target.kind === 'subprogram') {
    if (target === undefined) {
      const extern = externOf(file, code, slot, symbol, scope);
      return extern.kind === 'kconfig' ? failAt(file, code, slot, `calls the variable ${extern.name}`) : callKernel(code, slot, extern, scope);
    }
    // The immediate counts slots from the symbol, −1 for its begin; decoding has added this slot and one.
    const offset = symbol.value + (instruction.target.slot - slot) * SLOT_BYTES;
    code.calls.set(slot, functionAt(target.index, offset) ?? failAt(file, code, slot, `calls offset ${offset} of section ${target.name}, where no function begins`));
    return;
  }
  if (instruction?.kind !== 'load_imm64') return failAt(file, code, slot, `refers to ${symbol.name}, but is a ${instruction?.kind ?? 'half instruction'}; expected a call or a 64-bit immediate load`);
  const addend = new DataView(code.section.bytes.buffer, code.section.bytes.byteOffset, code.section.bytes.byteLength).getInt32(relocation.offset + 4, true);
  const put = (value: Immediate64): void => void (code.instructions[slot] = { ...instruction, value });
  if (target === undefined) {
    const extern = externOf(file, code, slot, symbol, scope);
    const value = externValue(extern, addend, scope);
    if (value !== undefined) return put(value);
    poison(code.instructions, slot);
    code.unresolved.push({ slot, reason: `kernel symbol ${extern.name} does not exist` });
    return;
  }
  const offset = symbol.value + addend;
  if (isCode(target)) {
    const pointee = functionAt(target.index, offset) ?? failAt(file, code, slot, `takes the address of offset ${offset} of section ${target.name}, where no function begins`);
    code.calls.set(slot, pointee);
    return put({ kind: 'function', slot });
  }
  const declared = scope.mapAt(target.index, offset);
  if (declared !== undefined) return put({ kind: 'map', map: declared });
  const map = scope.dataMap(target.index) ?? failAt(file, code, slot, `refers to offset ${offset} of section ${target.name}, which is neither a map nor data`);
  return put({ kind: 'map_value', map, offset });
}

function externOf(file: ObjectFile, code: CodeFunction, slot: number, symbol: ElfSymbol, scope: ReferenceScope): Extern {
  return scope.externs.get(symbol.name) ?? failAt(file, code, slot, `refers to ${symbol.name || `symbol ${symbol.index}`}, which is not defined`);
}

/** Undefined for what a program needs and the kernel does not have. */
function externValue(extern: Extern, addend: number, scope: ReferenceScope): Immediate64 | undefined {
  if (extern.kind === 'kconfig') return { kind: 'map_value', map: extern.map, offset: extern.offset + addend };
  const id = scope.kernelId(extern.name, extern.kind === 'kfunc' ? 'func' : 'var');
  if (id !== undefined) return { kind: 'btf_id', id, fd: 0, ...(extern.kind === 'kfunc' ? { name: extern.name } : {}) };
  return extern.weak ? { kind: 'constant', value: 0n } : undefined;
}

function callKernel(code: CodeFunction, slot: number, extern: Exclude<Extern, { kind: 'kconfig' }>, scope: ReferenceScope): void {
  const btfId = scope.kernelId(extern.name, 'func');
  if (btfId === undefined && extern.weak) {
    code.instructions[slot] = helperCall(MISSING_KFUNC_HELPER);
    code.unresolved.push({ slot, reason: `kernel function ${extern.name} does not exist` });
    return;
  }
  code.instructions[slot] = { kind: 'call', target: { kind: 'kfunc', btfId: btfId ?? 0, module: 0, name: extern.name } };
}
