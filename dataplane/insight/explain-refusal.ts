/**
 * A refusal in words that can be acted on: Linux's own line first, so that it can be searched for; then the C line, what
 * is known of the value, how it came to be, what was needed and what to change.
 */
import { disassembleInstruction } from '../bpf/disassemble.ts';
import type { Instruction } from '../bpf/isa.ts';
import { lineAt } from '../bpf/line-at.ts';
import type { LineInfo, ProgramSpec } from '../bpf/spec.ts';
import { HELPER_NAMES } from '../helpers/index.ts';
import { registerText } from '../verifier/log.ts';
import type { Refusal } from '../verifier/verify.ts';

export interface Explanation {
  /** As Linux spells it. */
  readonly message: string;
  readonly slot: number;
  readonly instruction: string;
  readonly line?: LineInfo;
  /** `R2 = pkt(off=14,r=34)` */
  readonly known?: string;
  /** Instructions that made the value what it is, in order. */
  readonly history: readonly { readonly slot: number; readonly text: string; readonly line?: LineInfo }[];
  readonly needed?: string;
  readonly suggestion?: string;
}

interface Advice {
  readonly pattern: RegExp;
  readonly needed: string;
  readonly suggestion: string;
}

/** The first that fits; most particular ones first. */
const ADVICE: readonly Advice[] = [
  { pattern: /offset is outside of the packet/, needed: 'every byte of the access before data_end, on this path', suggestion: 'compare with data_end first: if (pointer + size > data_end) return XDP_DROP; and load through the pointer that was compared' },
  { pattern: /_or_null'|null-check it first/, needed: 'a pointer that cannot be NULL', suggestion: 'check the result first: if (!value) return …; and use the variable that was checked' },
  { pattern: /type=\w+_or_null expected/, needed: 'a pointer that cannot be NULL', suggestion: 'check the pointer against NULL before it is passed on' },
  { pattern: /invalid mem access 'scalar'/, needed: 'a pointer', suggestion: 'packet pointers are lost when a helper may move the packet (bpf_xdp_adjust_head, bpf_skb_store_bytes, …): load data and data_end from the context again and compare again' },
  { pattern: /!read_ok/, needed: 'a value on every path that leads here', suggestion: 'give the variable a value before the branch; after a call r1 to r5 are gone, so keep what is needed in another variable' },
  { pattern: /unbounded memory access|max value is outside of the allowed/, needed: 'an upper bound of the index', suggestion: 'compare the index with the size first (if (i >= SIZE) return …;), or mask it (i &= SIZE - 1); compare the same variable that is used' },
  { pattern: /min value is (negative|outside)/, needed: 'an index that cannot be negative', suggestion: 'make the index unsigned, or check it: if (i < 0) return …;' },
  { pattern: /iter_\w+ as arg|pointer to an iterator/, needed: 'an iterator on the stack that is set up once, and destroyed on every path', suggestion: 'use the bpf_for() macro, which does both; leave it with break, not with return' },
  { pattern: /kernel function \S+ is not (known|allowed)/, needed: 'a kernel function (kfunc) that this type of program may call', suggestion: '`xdplab supported` lists them' },
  { pattern: /GPL/, needed: "a license that is compatible with the GPL", suggestion: 'char license[] SEC("license") = "GPL"; or "Dual MIT/GPL"' },
  { pattern: /infinite loop detected/, needed: 'a loop that gets nearer to its end each time', suggestion: 'count up to a constant bound, or use bpf_loop()' },
  { pattern: /program is too large|sequence of \d+ jumps/, needed: `at most a million instructions over all paths`, suggestion: 'make loops shorter, move work into bpf_loop(), a global function (verified once) or a tail call' },
  { pattern: /reference leak|Unreleased reference/, needed: 'what was acquired to be released on every path', suggestion: 'release it before returning: bpf_ringbuf_submit or bpf_ringbuf_discard, bpf_sk_release' },
  { pattern: /reference has not been acquired/, needed: 'a reference that is still held', suggestion: 'release it once only, and do not use it afterwards' },
  { pattern: /(invalid (write|read|indirect|unbounded|variable).*stack|stack R\d+ off)/, needed: 'an access within the 512 bytes of the frame', suggestion: 'make the local data smaller, bound the index, or keep it in a per-CPU array map' },
  { pattern: /combined stack size|call stack of/, needed: 'at most 512 bytes of stack in a chain of at most 8 functions', suggestion: 'move large local variables into a per-CPU array map, or call fewer functions from each other' },
  { pattern: /misaligned stack access/, needed: 'a stack address that is a multiple of the access size', suggestion: 'align the variable, or copy it with __builtin_memcpy' },
  { pattern: /invalid bpf_context access/, needed: 'a field of the context that this type of program may use, at its own size', suggestion: 'see docs/SUPPORTED.md for the fields; read them by name with their declared type' },
  { pattern: /cannot write into packet/, needed: 'a program type that may write packets', suggestion: 'socket filters and control group programs only read; attach at XDP or TC' },
  { pattern: /cannot use helper|unknown func|invalid func/, needed: 'a helper that this type of program may call', suggestion: '`xdplab supported` lists helpers by program type' },
  { pattern: /R\d+ type=(\S+) expected=/, needed: 'another kind of argument', suggestion: 'look at the order and the kinds of the helper’s arguments: man bpf-helpers' },
  { pattern: /read from map forbidden|write into map forbidden/, needed: 'a map whose flags let programs do this', suggestion: 'leave BPF_F_RDONLY_PROG or BPF_F_WRONLY_PROG out of its map_flags; constants in .rodata cannot be written' },
  { pattern: /holding a lock|spin_lock/, needed: 'bpf_spin_lock and bpf_spin_unlock in pairs, with nothing called in between', suggestion: 'copy what is needed under the lock, unlock, then call' },
  { pattern: /pointer (arithmetic|.*pointer prohibited)|bitwise operator|partial copy of pointer|32-bit pointer/, needed: 'pointers moved only by adding or subtracting 64-bit numbers', suggestion: 'compute the index in a number first, bound it, then add it to the pointer' },
  { pattern: /math between|makes .* pointer be out of bounds/, needed: 'a bounded number to add to the pointer', suggestion: 'bound it on both sides before adding: mask it, or compare it as unsigned' },
];

const HISTORY_SHOWN = 8;

export function explainRefusal(program: ProgramSpec, refusal: Refusal): Explanation {
  const { slot, message, path, registers } = refusal;
  const names = { helper: (id: number) => HELPER_NAMES[id], subprogram: (start: number) => program.functions.find((one) => one.slot === start)?.name };
  const show = (at: number): string => disassembleInstruction(program.instructions[at]!, at, names);
  const line = lineAt(program, slot);
  const subject = /\bR(\d+)\b/.exec(message);
  const number = subject === null ? undefined : Number(subject[1]);
  const register = number === undefined ? undefined : registers[number];
  const advice = ADVICE.find(({ pattern }) => pattern.test(message));
  const history = number === undefined ? [] : originOf(program.instructions, path, number).map((at) => ({ slot: at, text: show(at), ...withLine(lineAt(program, at)) }));
  return {
    message,
    slot,
    instruction: program.instructions[slot] === undefined ? '' : show(slot),
    ...withLine(line),
    ...(register === undefined ? {} : { known: `R${number} = ${registerText(register)}` }),
    history,
    ...(advice === undefined ? {} : { needed: advice.needed, suggestion: advice.suggestion }),
  };
}

const withLine = (line: LineInfo | undefined): { readonly line?: LineInfo } => (line === undefined ? {} : { line });

/** Instructions of the path that wrote the register, or what it was made of, or compared it: the newest few. */
function originOf(instructions: readonly Instruction[], path: readonly number[], number: number): number[] {
  const wanted = new Set([number]);
  const found: number[] = [];
  for (let index = path.length - 2; index >= 0 && found.length < HISTORY_SHOWN && wanted.size > 0; index--) {
    const at = path[index]!;
    const instruction = instructions[at];
    if (instruction === undefined) break;
    switch (instruction.kind) {
      case 'alu':
      case 'movsx':
      case 'endian':
      case 'neg':
      case 'load':
      case 'load_imm64': {
        if (!wanted.has(instruction.dst)) break;
        found.push(at);
        const replaces = instruction.kind === 'load' || instruction.kind === 'load_imm64' || instruction.kind === 'movsx' || (instruction.kind === 'alu' && instruction.op === 'mov');
        if (replaces) wanted.delete(instruction.dst);
        if (instruction.kind === 'movsx') wanted.add(instruction.src);
        else if (instruction.kind === 'alu' && instruction.source.kind === 'register') wanted.add(instruction.source.register);
        break;
      }
      case 'branch':
        if (wanted.has(instruction.dst) || (instruction.source.kind === 'register' && wanted.has(instruction.source.register))) found.push(at);
        break;
      case 'call':
        if ([...wanted].some((register) => register <= 5)) found.push(at);
        for (let register = 0; register <= 5; register++) wanted.delete(register);
        break;
      default:
    }
  }
  return found.reverse();
}
