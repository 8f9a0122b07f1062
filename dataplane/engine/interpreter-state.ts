/**
 * What interpreted instructions act on: eleven registers, and the machine's memory.
 *
 *   bytes      0      4      8     12           80     84    88
 *              +------+------+------+---- … ----+------+-----+
 *              |  r0 low|high |  r1 low|high     |  r10 low|high|
 *              +------+------+------+---- … ----+------+-----+
 *   u64[r]     the register            u32[2 * r], i32[2 * r]   its low half
 *
 * Two views of the same bytes: 64-bit operations use BigInts, while 32-bit operations, addresses and arguments of
 * helpers, which are most of what a program does, are plain numbers.
 */
import { MAY_GOTO_LIMIT, type AccessBytes, type Register } from '../bpf/isa.ts';
import { CPU_BLOCK, FAULT, type Fault } from '../machine/cpu.ts';
import type { Machine } from '../machine/machine.ts';
import type { MachineMemory } from '../machine/memory.ts';

/** Stops the running program. It is caught where the program was entered and never seen outside of the engine. */
export class ProgramFault extends Error {
  readonly fault: Fault;

  constructor(fault: Fault) {
    super(`program fault ${fault}`);
    this.fault = fault;
  }
}

export class InterpreterState {
  readonly u64 = new BigUint64Array(11);
  readonly u32 = new Uint32Array(this.u64.buffer);
  readonly i32 = new Int32Array(this.u64.buffer);
  /** How often the may_gotos of the running function go on from now. */
  goesOn = MAY_GOTO_LIMIT;
  readonly machine: Machine;
  readonly #memory: MachineMemory;

  constructor(machine: Machine) {
    this.machine = machine;
    this.#memory = machine.memory;
  }

  /** The register's low half; what an address is. */
  low(register: Register): number {
    return this.u32[2 * register]!;
  }

  /** Sets a register to a 32-bit number, zero-extended; bits above 32 are ignored. */
  setLow(register: Register, value: number): void {
    this.u32[2 * register] = value;
    this.u32[2 * register + 1] = 0;
  }

  load(address: number, bytes: AccessBytes): bigint {
    const { view } = this.#memory;
    this.#check(address, bytes, view);
    switch (bytes) {
      case 1:
        return BigInt(view.getUint8(address));
      case 2:
        return BigInt(view.getUint16(address, true));
      case 4:
        return BigInt(view.getUint32(address, true));
      case 8:
        return view.getBigUint64(address, true);
    }
  }

  /** The same for at most 32 bits, without a BigInt. */
  loadLow(address: number, bytes: 1 | 2 | 4): number {
    const { view } = this.#memory;
    this.#check(address, bytes, view);
    switch (bytes) {
      case 1:
        return view.getUint8(address);
      case 2:
        return view.getUint16(address, true);
      case 4:
        return view.getUint32(address, true);
    }
  }

  /** Stores the low bytes of `value`. */
  store(address: number, bytes: AccessBytes, value: bigint): void {
    if (bytes === 8) {
      const { view } = this.#memory;
      this.#check(address, bytes, view);
      view.setBigUint64(address, value, true);
    } else {
      this.storeLow(address, bytes, Number(BigInt.asUintN(32, value)));
    }
  }

  storeLow(address: number, bytes: 1 | 2 | 4, value: number): void {
    const { view } = this.#memory;
    this.#check(address, bytes, view);
    switch (bytes) {
      case 1:
        view.setUint8(address, value);
        break;
      case 2:
        view.setUint16(address, value, true);
        break;
      case 4:
        view.setUint32(address, value, true);
        break;
    }
  }

  zero(address: number, lengthBytes: number): void {
    this.#memory.u8.fill(0, address, address + lengthBytes);
  }

  /** Charges the running program; it is stopped when it has spent more than it was given. */
  spend(instructions: number): void {
    const left = (this.machine.cell(CPU_BLOCK.budget) | 0) - instructions;
    this.machine.setCell(CPU_BLOCK.budget, left);
    if (left < 0) throw new ProgramFault(FAULT.budget);
  }

  #check(address: number, lengthBytes: number, { byteLength }: DataView): void {
    if (address < 0 || address + lengthBytes > byteLength) throw new ProgramFault(FAULT.memory);
  }
}
