/** A compiled program as WebAssembly text, for reading: above what an instruction was compiled to stands the instruction. */
import { disassembleInstruction, type Names } from '../bpf/disassemble.ts';
import type { ProgramSpec } from '../bpf/spec.ts';
import { HELPER_NAMES } from '../helpers/index.ts';

const MARK = /^( *)nop$/gm;
/** Names are the object's, which anybody may have made: none ends a comment, or speaks to a terminal. */
const UNPRINTABLE = /[^\x20-\x7e]/g;

/** `marks`: the slots of the instructions, in the order of the marks in the code. */
export async function wasmText(bytes: Uint8Array, marks: readonly number[], { instructions, functions }: ProgramSpec): Promise<string> {
  const names: Names = { helper: (id) => HELPER_NAMES[id], subprogram: (slot) => functions.find((one) => one.slot === slot)?.name };
  let mark = 0;
  return (await textOf(bytes)).replaceAll(MARK, (_line, indent: string) => {
    const slot = marks[mark++]!;
    return `${indent};; ${slot}: ${disassembleInstruction(instructions[slot]!, slot, names).replaceAll(UNPRINTABLE, '?')}`;
  });
}

async function textOf(bytes: Uint8Array): Promise<string> {
  const { default: wabt } = await import('wabt');
  const module = (await wabt()).readWasm(bytes, { readDebugNames: true, threads: true, tail_call: true, bulk_memory: true, sign_extension: true });
  try {
    module.generateNames();
    module.applyNames();
    return module.toText({ foldExprs: false, inlineExport: false });
  } finally {
    module.destroy();
  }
}
