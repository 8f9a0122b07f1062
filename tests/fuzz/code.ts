/** A program as it is written: one line a slot, branches and calls to labels that are placed later. */
import type { BranchOp, Immediate64, Instruction, Operand, OperandWidth, Register } from '../../dataplane/bpf/isa.ts';

export interface Label {
  slot: number;
}

export class Code {
  readonly #lines: Instruction[] = [];
  readonly #targets: { readonly slot: number; readonly label: Label }[] = [];

  get length(): number {
    return this.#lines.length;
  }

  label(): Label {
    return { slot: -1 };
  }

  place(label: Label): void {
    label.slot = this.#lines.length;
  }

  emit(...instructions: readonly Instruction[]): void {
    this.#lines.push(...instructions);
  }

  loadWide(dst: Register, value: Immediate64): void {
    this.emit({ kind: 'load_imm64', dst, value }, { kind: 'upper' });
  }

  jump(label: Label): void {
    this.#refer(label, { kind: 'jump', offset: 0, long: false });
  }

  branch(op: BranchOp, width: OperandWidth, dst: Register, source: Operand, label: Label): void {
    this.#refer(label, { kind: 'branch', op, width, dst, source, offset: 0 });
  }

  call(label: Label): void {
    this.#refer(label, { kind: 'call', target: { kind: 'subprogram', slot: 0 } });
  }

  finish(): Instruction[] {
    for (const { slot, label } of this.#targets) {
      const line = this.#lines[slot]!;
      if (line.kind === 'call') this.#lines[slot] = { kind: 'call', target: { kind: 'subprogram', slot: label.slot } };
      else if (line.kind === 'jump' || line.kind === 'branch') this.#lines[slot] = { ...line, offset: label.slot - slot - 1 };
    }
    return this.#lines;
  }

  #refer(label: Label, instruction: Instruction): void {
    this.#targets.push({ slot: this.#lines.length, label });
    this.emit(instruction);
  }
}
