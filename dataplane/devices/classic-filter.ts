/**
 * A filter of packet sockets (`struct sock_filter`, Documentation/networking/filter.rst) run on bytes, as Linux runs it:
 * a load past the end of the packet, or a division by zero, refuses the packet. Jumps go forward only, so a run takes at
 * most as many steps as the program has instructions.
 */
import { XdplabError } from '../errors.ts';

const INSTRUCTION_BYTES = 8;
const CELLS = 16;
/** 4 * (byte & 15): no header is longer. */
const LONGEST_HEADER = 60;

/** What is in the low three bits of a code; the others say which. */
const CLASS = { ld: 0, ldx: 1, st: 2, stx: 3, alu: 4, jmp: 5, ret: 6, misc: 7 } as const;
const MODE = { imm: 0x00, abs: 0x20, ind: 0x40, mem: 0x60, len: 0x80, msh: 0xa0 } as const;
const SIZE_BYTES: Readonly<Record<number, number>> = { 0x00: 4, 0x08: 2, 0x10: 1 };
const ALU = { add: 0x00, sub: 0x10, mul: 0x20, div: 0x30, or: 0x40, and: 0x50, lsh: 0x60, rsh: 0x70, neg: 0x80, mod: 0x90, xor: 0xa0 } as const;
const JMP = { ja: 0x00, jeq: 0x10, jgt: 0x20, jge: 0x30, jset: 0x40 } as const;
const FROM_X = 0x08;
const RET_A = 0x10;
const TXA = 0x80;

export class ClassicFilter {
  /** Bytes from the packet's beginning that it may look at; Infinity where that depends on the packet. */
  readonly reachBytes: number;
  readonly #codes: Uint16Array;
  readonly #whenTrue: Uint8Array;
  readonly #whenFalse: Uint8Array;
  readonly #values: Uint32Array;
  readonly #cells = new Uint32Array(CELLS);

  /** Throws ERR_UNSUPPORTED for what is no such program: nothing else could run without end. */
  constructor(program: Uint8Array) {
    const count = program.length / INSTRUCTION_BYTES;
    if (count === 0) throw new XdplabError('ERR_UNSUPPORTED', 'filter: has no instructions, expected at least one');
    const view = new DataView(program.buffer, program.byteOffset, program.length);
    const each = Array.from({ length: count }, (_, index) => index * INSTRUCTION_BYTES);
    this.#codes = Uint16Array.from(each, (at) => view.getUint16(at, true));
    this.#whenTrue = Uint8Array.from(each, (at) => view.getUint8(at + 2));
    this.#whenFalse = Uint8Array.from(each, (at) => view.getUint8(at + 3));
    this.#values = Uint32Array.from(each, (at) => view.getUint32(at + 4, true));
    for (let index = 0; index < count; index++) {
      const problem = this.#problemAt(index, count);
      if (problem !== undefined) throw new XdplabError('ERR_UNSUPPORTED', `filter: instruction ${index} of ${count}: ${problem}`);
    }
    this.reachBytes = this.#reach();
  }

  get length(): number {
    return this.#codes.length;
  }

  /** How many bytes of the packet to keep; 0: it is refused. `wireBytes`: what its length is called. */
  run(packet: Uint8Array, wireBytes: number): number {
    const [codes, values, cells] = [this.#codes, this.#values, this.#cells];
    cells.fill(0);
    let [a, x] = [0, 0];
    for (let at = 0; ; at++) {
      const code = codes[at]!;
      const k = values[at]!;
      switch (code & 7) {
        case CLASS.ld:
        case CLASS.ldx: {
          const value = this.#load(code, k, x, packet, wireBytes);
          if (value < 0) return 0;
          if ((code & 7) === CLASS.ld) a = value;
          else x = value;
          break;
        }
        case CLASS.st:
          cells[k] = a;
          break;
        case CLASS.stx:
          cells[k] = x;
          break;
        case CLASS.alu: {
          const by = (code & FROM_X) === 0 ? k : x;
          if (by === 0 && ((code & 0xf0) === ALU.div || (code & 0xf0) === ALU.mod)) return 0;
          a = compute(code & 0xf0, a, by);
          break;
        }
        case CLASS.jmp:
          if ((code & 0xf0) === JMP.ja) at += k;
          else at += compare(code & 0xf0, a, (code & FROM_X) === 0 ? k : x) ? this.#whenTrue[at]! : this.#whenFalse[at]!;
          break;
        case CLASS.ret:
          return (code & RET_A) === 0 ? k : a;
        default:
          if ((code & TXA) === 0) x = a;
          else a = x;
      }
    }
  }

  /** Below 0: past the end of the packet. */
  #load(code: number, k: number, x: number, packet: Uint8Array, wireBytes: number): number {
    switch (code & 0xe0) {
      case MODE.imm:
        return k;
      case MODE.mem:
        return this.#cells[k]!;
      case MODE.len:
        return wireBytes;
      case MODE.msh:
        return k < packet.length ? 4 * (packet[k]! & 0x0f) : -1;
      default: {
        const at = (code & 0xe0) === MODE.ind ? k + x : k;
        const bytes = SIZE_BYTES[code & 0x18]!;
        if (at + bytes > packet.length) return -1;
        let value = 0;
        for (let index = 0; index < bytes; index++) value = value * 256 + packet[at + index]!;
        return value;
      }
    }
  }

  /** What is wrong with an instruction, undefined where it is right. */
  #problemAt(index: number, count: number): string | undefined {
    const code = this.#codes[index]!;
    const k = this.#values[index]!;
    const operation = code & 0xf0;
    const isPast = (by: number): boolean => index + 1 + by >= count;
    switch (code & 7) {
      case CLASS.ld:
      case CLASS.ldx: {
        const mode = code & 0xe0;
        const isKnown = (Object.values(MODE) as number[]).includes(mode) && (SIZE_BYTES[code & 0x18] !== undefined);
        if (!isKnown || (mode === MODE.msh) !== (code === 0xb1)) return `code ${code} is no load`;
        return mode === MODE.mem && k >= CELLS ? `there is no cell ${k}` : ending(isPast(0));
      }
      case CLASS.st:
      case CLASS.stx:
        return k >= CELLS ? `there is no cell ${k}` : ending(isPast(0));
      case CLASS.alu:
        if (!(Object.values(ALU) as number[]).includes(operation)) return `code ${code} is no operation`;
        if ((code & FROM_X) === 0 && k === 0 && (operation === ALU.div || operation === ALU.mod)) return 'divides by zero';
        return ending(isPast(0));
      case CLASS.jmp:
        if (!(Object.values(JMP) as number[]).includes(operation)) return `code ${code} is no jump`;
        // Where protocols are followed from header to header, as 'protochain' does it, a jump goes back: its k is huge.
        return isPast(operation === JMP.ja ? k : Math.max(this.#whenTrue[index]!, this.#whenFalse[index]!)) ? 'jumps back or past the end; leave protochain out' : undefined;
      case CLASS.ret:
        return undefined;
      default:
        return ending(isPast(0));
    }
  }

  /** X is at most a header's length, unless it is made of the packet in another way. */
  #reach(): number {
    let reach = 0;
    let xIsComputed = false;
    for (const code of this.#codes) {
      const isOther = (code & 7) === CLASS.ldx && (code & 0xe0) !== MODE.msh && (code & 0xe0) !== MODE.imm;
      if (isOther || ((code & 7) === CLASS.misc && (code & TXA) === 0)) xIsComputed = true;
    }
    this.#codes.forEach((code, index) => {
      if ((code & 7) > CLASS.ldx) return;
      const k = this.#values[index]!;
      const mode = code & 0xe0;
      if (mode === MODE.msh) reach = Math.max(reach, k + 1);
      else if (mode === MODE.abs) reach = Math.max(reach, k + SIZE_BYTES[code & 0x18]!);
      else if (mode === MODE.ind) reach = xIsComputed ? Number.POSITIVE_INFINITY : Math.max(reach, k + LONGEST_HEADER + SIZE_BYTES[code & 0x18]!);
    });
    return reach;
  }
}

function ending(isLast: boolean): string | undefined {
  return isLast ? 'the program does not end' : undefined;
}

function compute(operation: number, a: number, by: number): number {
  switch (operation) {
    case ALU.add:
      return (a + by) >>> 0;
    case ALU.sub:
      return (a - by) >>> 0;
    case ALU.mul:
      return Math.imul(a, by) >>> 0;
    case ALU.div:
      return Math.floor(a / by);
    case ALU.or:
      return (a | by) >>> 0;
    case ALU.and:
      return (a & by) >>> 0;
    case ALU.lsh:
      return by > 31 ? 0 : (a << by) >>> 0;
    case ALU.rsh:
      return by > 31 ? 0 : a >>> by;
    case ALU.neg:
      return -a >>> 0;
    case ALU.mod:
      return a % by;
    default:
      return (a ^ by) >>> 0;
  }
}

function compare(operation: number, a: number, by: number): boolean {
  switch (operation) {
    case JMP.jeq:
      return a === by;
    case JMP.jgt:
      return a > by;
    case JMP.jge:
      return a >= by;
    default:
      return (a & by) !== 0;
  }
}
