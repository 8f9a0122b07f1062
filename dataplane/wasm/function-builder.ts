/**
 * The body of one WebAssembly function, written as structured statements:
 *
 *   const f = module.function('length', ['i32'], 'i32');
 *   const packet = f.param(0, 'i32');
 *   f.if(i32.eqz(packet), () => f.return(i32.const(0)));
 *   f.return(i32.load(packet, 4));
 */
import { ByteWriter } from './byte-writer.ts';
import { unsignedLeb, type Callee, type Code, type Effect, type Expr, type FunctionType, type I32, type ValueType } from './expression.ts';

export const VALUE_TYPE_CODE = { i32: 0x7f, i64: 0x7e } as const satisfies Record<ValueType, number>;

/** A parameter or local variable; reading it is an expression. */
export interface Local<T extends ValueType = ValueType> extends Expr<T> {
  readonly index: number;
}

/** The target of a branch: the end of a block, or the head of a loop. */
export interface Label {
  readonly level: number;
}

const EMPTY = 0x40;
const OPEN = { block: 0x02, loop: 0x03, if: 0x04 } as const;

export class FunctionBuilder<R extends ValueType | undefined = ValueType | undefined> implements Callee<R> {
  readonly name: string;
  readonly params: readonly ValueType[];
  readonly result: R;
  index = -1;
  readonly #locals: Local[] = [];
  /** Statements are flattened as they come, so that a large function does not stay a tree. */
  readonly #body = new ByteWriter();
  readonly #localNames: (string | undefined)[] = [];
  readonly #marks: number[] = [];
  #level = 0;

  constructor(name: string, params: readonly ValueType[], result: R) {
    this.name = name;
    this.params = params;
    this.result = result;
    for (const type of params) this.#addLocal(type);
  }

  /** Parameter `index`, which must have been declared with type `type`. */
  param<T extends ValueType>(index: number, type: T, name?: string): Local<T> {
    const local = this.#locals[index];
    if (index >= this.params.length || local?.type !== type) throw new TypeError(`${this.name}: parameter ${index} is not ${type}`);
    if (name !== undefined) this.#localNames[index] = name;
    return local as Local<T>;
  }

  /** A new variable, zero at first. */
  local<T extends ValueType>(type: T, name?: string): Local<T> {
    return this.#addLocal(type, name);
  }

  /** A new variable with a value. */
  let<T extends ValueType>(value: Expr<T>, name?: string): Local<T> {
    const local = this.#addLocal(value.type, name);
    this.set(local, value);
    return local;
  }

  set<T extends ValueType>(local: Local<T>, value: Expr<T>): void {
    this.#body.write(value.code);
    this.#body.byte(0x21);
    this.#body.write(unsignedLeb(local.index));
  }

  /** Sets a variable within an expression, whose value it has. */
  tee<T extends ValueType>(local: Local<T>, value: Expr<T>): Expr<T> {
    return { type: local.type, code: [value.code, 0x22, unsignedLeb(local.index)] };
  }

  /** Runs a store, or a call for its effect; a value it leaves is dropped. */
  do(statement: Effect | Expr): void {
    this.#body.write(statement.code);
    if (statement.type !== undefined) this.#body.byte(0x1a);
  }

  if(condition: I32, then: () => void, otherwise?: () => void): void {
    this.#body.write([condition.code, 0x04, EMPTY]);
    this.#nested(then);
    if (otherwise) {
      this.#body.byte(0x05);
      this.#nested(otherwise);
    }
    this.#body.byte(0x0b);
  }

  /** Branching to the label leaves the block. */
  block(body: (end: Label) => void): void {
    this.#body.write([0x02, EMPTY]);
    this.#nested(body);
    this.#body.byte(0x0b);
  }

  /** Branching to the label starts the body again; falling out of it ends the loop. */
  loop(body: (again: Label) => void): void {
    this.#body.write([0x03, EMPTY]);
    this.#nested(body);
    this.#body.byte(0x0b);
  }

  /** `while (condition) body`; branching to `again` re-evaluates the condition. The condition may declare statements of its own. */
  while(condition: () => I32, body: (again: Label, end: Label) => void): void {
    this.block((end) => {
      this.loop((again) => {
        this.#body.write([condition().code, 0x45]);
        this.br(end, true);
        body(again, end);
        this.br(again);
      });
    });
  }

  /** Branches to `label`; with `onStack`, if the i32 just pushed is not zero. */
  br(label: Label, onStack = false): void {
    this.#body.write([onStack ? 0x0d : 0x0c, unsignedLeb(this.#depth(label))]);
  }

  brIf(label: Label, condition: I32): void {
    this.#body.write(condition.code);
    this.br(label, true);
  }

  brTable(index: I32, labels: readonly Label[], otherwise: Label): void {
    this.#body.write([index.code, 0x0e, unsignedLeb(labels.length)]);
    for (const label of labels) this.#body.write(unsignedLeb(this.#depth(label)));
    this.#body.write(unsignedLeb(this.#depth(otherwise)));
  }

  return(value?: Expr): void {
    if (value) this.#body.write(value.code);
    this.#body.byte(0x0f);
  }

  /** A tail call through table `table`: this frame is gone before the callee starts. */
  returnCallIndirect(type: FunctionType, table: number, index: I32, ...args: readonly Expr[]): void {
    this.#body.write([
      args.map((arg) => arg.code),
      index.code,
      0x13,
      unsignedLeb(type.index),
      unsignedLeb(table),
    ]);
  }

  unreachable(): void {
    this.#body.byte(0x00);
  }

  /** A `nop` for whoever reads the code, and what it is to say; nothing else emits one. */
  mark(meaning: number): void {
    this.#body.byte(0x01);
    this.#marks.push(meaning);
  }

  /** In the order of the code. */
  get marks(): readonly number[] {
    return this.#marks;
  }

  /** For code that keeps its own labels: opens and closes a block, loop or if without a callback. */
  open(kind: 'block' | 'loop'): Label;
  open(kind: 'if', condition: I32): Label;
  open(kind: 'block' | 'loop' | 'if', condition?: I32): Label {
    if (condition) this.#body.write(condition.code);
    this.#body.write([OPEN[kind], EMPTY]);
    return { level: this.#level++ };
  }

  close(): void {
    this.#level--;
    this.#body.byte(0x0b);
  }

  /** Bytes of instructions so far. */
  get lengthBytes(): number {
    return this.#body.lengthBytes;
  }

  /** The function's entry in the code section, without its size, once function indices are fixed. */
  assemble(): Code {
    const groups: [count: number, type: ValueType][] = [];
    for (const { type } of this.#locals.slice(this.params.length)) {
      const last = groups.at(-1);
      if (last?.[1] === type) last[0]++;
      else groups.push([1, type]);
    }
    // A function that returns a value on every path may still end in a block; `unreachable` satisfies the validator.
    const tail = this.result === undefined ? [0x0b] : [0x00, 0x0b];
    return [unsignedLeb(groups.length), groups.map(([count, type]) => [unsignedLeb(count), VALUE_TYPE_CODE[type]]), this.#body.bytes(), tail];
  }

  /** Names of locals for the name section, by index. */
  get localNames(): readonly (string | undefined)[] {
    return this.#localNames;
  }

  #addLocal<T extends ValueType>(type: T, name?: string): Local<T> {
    const index = this.#locals.length;
    const local: Local<T> = { type, index, code: [0x20, unsignedLeb(index)] };
    this.#locals.push(local);
    this.#localNames.push(name);
    return local;
  }

  #nested(body: (label: Label) => void): void {
    const label = { level: this.#level++ };
    body(label);
    this.#level--;
  }

  #depth(label: Label): number {
    return this.#level - label.level - 1;
  }
}
