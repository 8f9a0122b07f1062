/**
 * Puts a WebAssembly module together (core specification, §5.5). Imports come first in every index space, so
 * function indices are fixed only in `assemble`.
 */
import { ByteWriter } from './byte-writer.ts';
import { unsignedLeb, type Callee, type Code, type FunctionType, type ValueType } from './expression.ts';
import { FunctionBuilder, VALUE_TYPE_CODE } from './function-builder.ts';

const SECTION = { custom: 0, type: 1, import: 2, function: 3, table: 4, export: 7, code: 10 } as const;
const SHARED_MEMORY = 3;
const MOST_PAGES = 65_536;
const KIND = { function: 0, table: 1, memory: 2 } as const;

interface ImportedFunction extends Callee {
  readonly module: string;
  readonly field: string;
  readonly type: number;
}

export class ModuleBuilder {
  readonly #types: FunctionType[] = [];
  readonly #functionImports: ImportedFunction[] = [];
  readonly #otherImports: Code[] = [];
  readonly #functions: FunctionBuilder[] = [];
  readonly #exports: { name: string; callee: Callee }[] = [];
  readonly #tables = new Map<string, number>();

  /** Imports the machine's memory. A shared one has to be imported as what it is, with the most pages that it may grow to. */
  importMemory(module: string, field: string, shared = false): void {
    this.#otherImports.push([nameBytes(module), nameBytes(field), KIND.memory, shared ? [SHARED_MEMORY, unsignedLeb(1), unsignedLeb(MOST_PAGES)] : [0, unsignedLeb(1)]]);
  }

  /** Imports a table of functions, once however often it is asked for; returns its index. */
  importTable(module: string, field: string): number {
    const key = `${module}.${field}`;
    const known = this.#tables.get(key);
    if (known !== undefined) return known;
    this.#otherImports.push([nameBytes(module), nameBytes(field), KIND.table, 0x70, 0, unsignedLeb(0)]);
    this.#tables.set(key, this.#tables.size);
    return this.#tables.size - 1;
  }

  importFunction<R extends ValueType | undefined>(module: string, field: string, params: readonly ValueType[], result: R): Callee<R> {
    const type = this.type(params, result).index;
    const callee = { module, field, name: `${module}.${field}`, params, result, index: -1, type };
    this.#functionImports.push(callee);
    return callee;
  }

  function<R extends ValueType | undefined>(name: string, params: readonly ValueType[], result: R): FunctionBuilder<R> {
    const builder = new FunctionBuilder(name, params, result);
    this.#functions.push(builder);
    return builder;
  }

  /** Of all functions, in the order of the code. */
  get marks(): readonly number[] {
    return this.#functions.flatMap(({ marks }) => marks);
  }

  export(name: string, callee: Callee): void {
    this.#exports.push({ name, callee });
  }

  type<R extends ValueType | undefined>(params: readonly ValueType[], result: R): FunctionType<R> {
    const found = this.#types.find((type) => type.result === result && type.params.join() === params.join());
    if (found) return found as FunctionType<R>;
    const type = { index: this.#types.length, params, result };
    this.#types.push(type);
    return type;
  }

  assemble(): Uint8Array<ArrayBuffer> {
    const callees: Callee[] = [...this.#functionImports, ...this.#functions];
    callees.forEach((callee, index) => (callee.index = index));
    const functionTypes = this.#functions.map((f) => unsignedLeb(this.type(f.params, f.result).index));
    const out = new ByteWriter(4096);
    const section = (id: number, entries: readonly Code[]): void => {
      if (entries.length > 0) out.write([id, sized(vector(entries))]);
    };
    out.write([0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    section(
      SECTION.type,
      this.#types.map(({ params, result }) => [0x60, vector(params.map(typeCode)), vector(result === undefined ? [] : [typeCode(result)])]),
    );
    section(SECTION.import, [
      ...this.#functionImports.map((f) => [nameBytes(f.module), nameBytes(f.field), KIND.function, unsignedLeb(f.type)]),
      ...this.#otherImports,
    ]);
    section(SECTION.function, functionTypes);
    section(
      SECTION.export,
      this.#exports.map((entry) => [nameBytes(entry.name), KIND.function, entry.callee]),
    );
    section(
      SECTION.code,
      this.#functions.map((f) => sized(f.assemble())),
    );
    out.write([SECTION.custom, sized([nameBytes('name'), this.#functionNames(callees), this.#localNames()])]);
    return out.bytes();
  }

  #functionNames(callees: readonly Callee[]): Code {
    return [1, sized(vector(callees.map((callee) => [unsignedLeb(callee.index), nameBytes(callee.name)])))];
  }

  #localNames(): Code {
    const named = this.#functions.map((f) => {
      const locals = f.localNames.flatMap((text, index) => (text === undefined ? [] : [[unsignedLeb(index), nameBytes(text)]]));
      return [unsignedLeb(f.index), vector(locals)];
    });
    return [2, sized(vector(named))];
  }
}

function typeCode(type: ValueType): number {
  return VALUE_TYPE_CODE[type];
}

function vector(entries: readonly (Code | number)[]): Code {
  return [unsignedLeb(entries.length), entries];
}

function sized(code: Code): Code {
  const writer = new ByteWriter();
  writer.write(code);
  const bytes = writer.bytes();
  return [unsignedLeb(bytes.length), bytes];
}

function nameBytes(text: string): Code {
  const bytes = new TextEncoder().encode(text);
  return [unsignedLeb(bytes.length), bytes];
}
