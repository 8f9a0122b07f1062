/**
 * Compiles one function of a program: function-plan.ts says what can run and what is known there, structure.ts nests
 * it, and here each instruction becomes WebAssembly.
 *
 *   r0 .. r9   i64 variables
 *   fp         i32, r10; never written
 *   frame      i32, the lowest byte of the stack frame: offsets from it are not negative
 *
 * Addresses are the low 32 bits of register + offset, as WebAssembly adds: an offset that is not negative is left to
 * the access, which faults instead of wrapping past 4 GiB.
 */
import { MAY_GOTO_LIMIT, type Instruction, type Operand, type Register } from '../../bpf/isa.ts';
import { CPU_BLOCK, FAULT, FRAME_BYTES, type Fault } from '../../machine/cpu.ts';
import type { Found } from '../../maps/map.ts';
import { call, i32, i64, memory, select, type I32, type I64 } from '../../wasm/expression.ts';
import type { FunctionBuilder, Label, Local } from '../../wasm/function-builder.ts';
import { branchCondition, constantValue, emitAlu, extendSign, negate, reverseBytes, truncate, type Value } from './arithmetic.ts';
import { emitHelperCall, type CallSite } from './calls.ts';
import { exitEdges, type Block, type Edge } from './control-flow.ts';
import { charge, emitCharge, emitFault, emitNotThrown, isThrown, setThrown } from './fault.ts';
import { planFunction, type FunctionPlan } from './function-plan.ts';
import { bits, immediate } from './known-value.ts';
import { emitLookAhead, isLeftOut, planScout, type ScoutPlan, type Stop } from './look-ahead.ts';
import { exchangeAtomically, load, loadAcquire, MODIFY, modifyAtomically, store, storeRelease, type Address } from './memory-access.ts';
import { packetLoad } from './packet-load.ts';
import type { ProgramModule } from './program-module.ts';
import { keyOf, nullEdge } from './lookup.ts';
import { lookedUpMap, stackArguments } from './stack-arguments.ts';
import { StackWords } from './stack-words.ts';
import { emitStructured, type BlockEmitter } from './structure.ts';
import { copyRegisters, copyState, transfer, WORD_BYTES, type Registers, type StackRange, type State } from './value-flow.ts';

type Of<Kind extends Instruction['kind']> = Extract<Instruction, { kind: Kind }>;

/** Above this, a call that fills memory is faster than stores. */
const MOST_CLEARED_BYTES = 256;

/** Compiles the program's entry function, and the subprograms that it and they call. */
export function compileFunctions(program: ProgramModule): void {
  const { entry } = program;
  new FunctionCompiler(program, entry, entry.param(0, 'i32', 'ctx'), planFunction(program, 0, { 1: bits(32) })).compile();
  // Grows while it is walked.
  for (const { slot, f } of program.subprograms) new FunctionCompiler(program, f, undefined, planFunction(program, slot, {})).compile();
}

/** Compiles, into a module of its own, what tells where the program will look; false where there is nothing to tell. */
export function compileLookAhead(program: ProgramModule): boolean {
  const { entry } = program;
  const scout = planScout(program);
  if (scout === undefined) return false;
  new FunctionCompiler(program, entry, entry.param(0, 'i32', 'ctx'), scout.plan, scout).compile();
  emitLookAhead(program, entry, scout.tables);
  return true;
}

class FunctionCompiler implements BlockEmitter, CallSite {
  readonly f: FunctionBuilder<'i64'>;
  readonly program: ProgramModule;
  readonly framePointer: Local<'i32'>;
  readonly #frame: Local<'i32'>;
  readonly #instructions: readonly Instruction[];
  readonly #isEntry: boolean;
  readonly #unresolved: ReadonlySet<number>;
  readonly #r: readonly Local<'i64'>[];
  /** Their low halves. */
  readonly #low: readonly I32[];
  readonly #selectors: Local<'i32'>[] = [];
  readonly #cpu: I32;
  readonly #plan: FunctionPlan;
  /** Where it stops, if it is no more than that. */
  readonly #scout: ScoutPlan | undefined;
  readonly #stack: StackWords;
  /** What is known before the instruction that is being compiled, or at the end of the block that was. */
  readonly #registers: Registers = [];
  readonly #after: State = [];
  #scratch: Local<'i64'> | undefined;
  #left: Local<'i32'> | undefined;
  /** Where the function goes when its budget is spent: its end, out of the way of what runs. */
  #spent: Label | undefined;
  #index: Local<'i32'> | undefined;
  /** That which is compiled. */
  #block: Block | undefined;
  /** Instead of the branch that comes next, which compares what a lookup found with 0. */
  #isThere: I32 | undefined;
  /** How often the function's may_gotos go on from now; below 0 they jump. */
  #goesOn: Local<'i32'> | undefined;

  /** `context` is the parameter of the entry function. */
  constructor(program: ProgramModule, f: FunctionBuilder<'i64'>, context: Local<'i32'> | undefined, plan: FunctionPlan, scout?: ScoutPlan) {
    this.program = program;
    this.f = f;
    this.#instructions = program.program.spec.instructions;
    this.#isEntry = context !== undefined;
    this.#unresolved = new Set(program.program.spec.unresolved?.map(({ slot }) => slot));
    this.#cpu = i32.const(program.machine.cpuBlock);
    const parameters = context ? [] : ([1, 2, 3, 4, 5] as const).map((register) => f.param(register - 1, 'i64', `r${register}`));
    this.#r = Array.from({ length: 10 }, (_, register) => parameters[register - 1] ?? f.local('i64', `r${register}`));
    this.#low = this.#r.map((register) => i32.wrap(register));
    this.framePointer = context ? f.local('i32', 'fp') : f.param(5, 'i32', 'fp');
    this.#frame = f.local('i32', 'frame');
    this.#plan = plan;
    this.#scout = scout;
    this.#stack = new StackWords(f, this.#frame, this.#plan.stack);
    if (context) this.#enter(context);
    else this.#enterSubprogram();
  }

  compile(): void {
    const { f } = this;
    const { stack, ordered, tree, regions } = this.#plan;
    for (const range of stack.uninitialised) this.#clear(range);
    for (let region = 0; region < regions; region++) this.#selectors.push(f.local('i32', `selector${region}`));
    if (ordered.some(({ start, end }) => end > start && this.#instructions[end - 1]!.kind === 'may_goto')) f.set((this.#goesOn = f.local('i32', 'goes_on')), i32.const(MAY_GOTO_LIMIT));
    const loops = this.#scout === undefined && ordered.some(({ exit }) => exitEdges(exit).some((edge) => edge.charge > 0));
    this.#spent = loops ? f.open('block') : undefined;
    emitStructured(f, ordered, tree, this);
    if (loops) {
      f.close();
      this.#fault(FAULT.budget);
    }
  }

  /** A program that was tail-called from a subprogram runs on that one's frame. */
  #enter(context: Local<'i32'>): void {
    const { f, program } = this;
    const top = i32.const(program.machine.stackTop);
    f.set(this.framePointer, select(i32.load(this.#cpu, CPU_BLOCK.tailCalls), i32.load(this.#cpu, CPU_BLOCK.framePointer), top));
    f.set(this.#frame, i32.sub(this.framePointer, i32.const(FRAME_BYTES)));
    f.set(this.#r[1]!, i64.extendU(context));
  }

  #enterSubprogram(): void {
    const { f, program } = this;
    f.set(this.#frame, i32.sub(this.framePointer, i32.const(FRAME_BYTES)));
    f.if(i32.ltU(this.#frame, i32.const(program.machine.cpuBlock + CPU_BLOCK.stack)), () => this.#fault(FAULT.depth));
  }

  /** What a function reads of its frame before it has written it is zero. */
  #clear({ from, to }: StackRange): void {
    const { f } = this;
    if (to - from > MOST_CLEARED_BYTES) f.do(memory.fill(i32.add(this.#frame, i32.const(from)), i32.const(0), i32.const(to - from)));
    else for (let at = from; at < to; at += WORD_BYTES) f.do(i64.store(this.#frame, at, i64.const(0)));
  }

  #fault(fault: Fault): void {
    emitFault(this.f, this.program.machine, fault);
  }

  // What structure asks.

  body(block: Block): void {
    if (block.selects) this.f.set(this.#selectors[block.selects.region]!, i32.const(block.selects.index));
    const stop = this.#scout?.stops.get(block);
    if (block.start === block.end) return;
    const registers = this.#registers;
    const after = this.#after;
    copyState(this.#plan.flow.at(block), after);
    const end = stop?.slot ?? block.end;
    this.#block = block;
    this.#stack.startBlock();
    for (let slot = block.start; slot < end; slot++) {
      const instruction = this.#instructions[slot]!;
      copyRegisters(after, registers);
      transfer(instruction, after, this.#plan.surroundings);
      if (this.program.isMarked) this.f.mark(slot);
      slot += this.#emit(instruction, slot, end, after);
    }
    copyRegisters(after, registers);
    if (stop !== undefined) this.#tell(stop);
  }

  /** The end of a scout: where the lookup that comes now would begin. */
  #tell({ slot, map }: Stop): void {
    if (map === undefined) {
      this.f.return(i64.const(0));
      return;
    }
    const key = keyOf(this.#instructions[slot] as Of<'call'>, this.value(2).narrow, this.#registers, this, this.#stack);
    this.f.return(i64.extendU(map.type.ahead!.bucketOf(this.f, map.codeIn(this.program.module), key)));
  }

  condition(block: Block, whenTaken: boolean): I32 {
    const branch = this.#instructions[block.end - 1] as Of<'branch' | 'may_goto'>;
    if (this.#isThere !== undefined) {
      const isThere = this.#isThere;
      this.#isThere = undefined;
      return whenTaken === (branch.kind === 'branch' && branch.op === 'jne') ? isThere : i32.eqz(isThere);
    }
    if (branch.kind === 'may_goto') return whenTaken ? i32.ltS(this.#goesOn!, i32.const(0)) : i32.geS(this.#goesOn!, i32.const(0));
    return branchCondition(branch.op, branch.width, this.value(branch.dst), this.#operand(branch.source), whenTaken);
  }

  charge(edge: Edge): void {
    // Nothing of a scout runs twice.
    if (this.#scout !== undefined) return;
    const left = (this.#left ??= this.f.local('i32', 'left'));
    this.f.brIf(this.#spent!, charge(this.f, this.program.machine, edge.charge, left));
  }

  selector(region: number): I32 {
    return this.#selectors[region]!;
  }

  // Values.

  value = (register: Register): Value => {
    const known = this.#registers[register]!;
    if (known.kind === 'constant') return constantValue(known);
    if (register === 10) return { wide: i64.extendU(this.framePointer), narrow: this.framePointer, known };
    return { wide: this.#r[register]!, narrow: this.#low[register]!, known };
  };

  setResult = (result: I64): void => {
    this.f.set(this.#r[0]!, result);
  };

  unwind = (): void => {
    const { f, program } = this;
    const [thrown] = this.#r;
    const callback = program.program.spec.exceptionCallback;
    if (!this.#isEntry) return f.return(thrown!);
    setThrown(f, program.machine, 0);
    if (callback === undefined) return f.return(thrown!);
    emitCharge(f, program.machine, 1, (this.#left ??= f.local('i32', 'left')));
    const none = i64.const(0);
    this.setResult(call(program.subprogram(callback), thrown!, none, none, none, none, this.#calleesFrame()));
    if (program.mayThrow(callback)) emitNotThrown(f, program.machine);
    return f.return(thrown!);
  };

  #calleesFrame(): I32 {
    return i32.sub(this.framePointer, i32.const(FRAME_BYTES));
  }

  #operand(operand: Operand): Value {
    if (operand.kind === 'register') return this.value(operand.register);
    return constantValue(immediate(operand.value));
  }

  #address(register: Register, offset: number): Address {
    const { known, narrow } = this.value(register);
    if (known.kind === 'constant' && offset < 0) return { base: i32.const(Number(BigInt.asIntN(32, known.value + BigInt(offset)))), offset: 0 };
    if (known.kind === 'frame') {
      const above = FRAME_BYTES + known.offset + offset;
      return above >= 0 ? { base: this.#frame, offset: above } : { base: i32.add(this.#frame, i32.const(above)), offset: 0 };
    }
    return offset >= 0 ? { base: narrow, offset } : { base: i32.add(narrow, i32.const(offset)), offset: 0 };
  }

  #scratchLocal = (): Local<'i64'> => (this.#scratch ??= this.f.local('i64', 'scratch'));

  // Instructions.

  /** Compiles the instruction at `slot`; `after` is what is known behind it. Returns how many following slots it took along. */
  #emit(instruction: Instruction, slot: number, end: number, after: Registers): number {
    const { f } = this;
    if (this.#scout !== undefined && isLeftOut(instruction, this.#registers)) return 0;
    switch (instruction.kind) {
      case 'alu':
        return this.#emitAlu(instruction, slot, end, after);
      case 'neg':
        this.#set(instruction.dst, after, () => negate(instruction.width, this.value(instruction.dst)));
        return 0;
      case 'movsx':
        this.#set(instruction.dst, after, () => extendSign(instruction.width, instruction.bits, this.value(instruction.src)));
        return 0;
      case 'endian':
        this.#set(instruction.dst, after, () => {
          const value = this.value(instruction.dst);
          return instruction.op === 'le' ? truncate(instruction.bits, value) : reverseBytes(f, instruction.bits, value, this.#scratchLocal);
        });
        return 0;
      case 'load_imm64':
        this.#set(instruction.dst, after, () => i64.const(0));
        return 0;
      case 'load':
        this.#set(instruction.dst, after, () => this.#load(instruction));
        return 0;
      case 'store':
        this.#store(instruction);
        return 0;
      case 'atomic':
        this.#emitAtomic(instruction);
        return 0;
      case 'load_packet':
        this.setResult(packetLoad(f, instruction, this.value(6).narrow, instruction.index === undefined ? undefined : this.value(instruction.index).narrow, this.#scratchLocal));
        return 0;
      case 'call':
        this.#emitCall(instruction, slot);
        return 0;
      case 'exit':
        f.return(this.value(0).wide);
        return 0;
      case 'may_goto':
        f.set(this.#goesOn!, i32.sub(this.#goesOn!, i32.const(1)));
        return 0;
      case 'upper':
      case 'jump':
      case 'branch':
        return 0;
    }
  }

  /** Sets a register to what is known of it, or else to what `compute` says. */
  #set(register: Register, after: Registers, compute: () => I64): void {
    const known = after[register]!;
    this.f.set(this.#r[register]!, known.kind === 'constant' ? i64.const(known.value) : compute());
  }

  #load({ bytes, signed, src, offset }: Pick<Of<'load'>, 'bytes' | 'signed' | 'src' | 'offset'>): I64 {
    const word = this.#stackWord(src, offset);
    return word === undefined ? load(bytes, signed, this.#address(src, offset)) : this.#stack.load(word, bytes, signed);
  }

  #store({ bytes, dst, offset, source }: Of<'store'>): void {
    const word = this.#stackWord(dst, offset);
    const value = this.#operand(source);
    if (word !== undefined) this.#stack.store(word, bytes, value);
    if (word === undefined || this.#stack.isShared(word)) this.f.do(store(bytes, this.#address(dst, offset), value.wide));
  }

  /** The place in the frame of an access to a word that is kept in variables. */
  #stackWord(base: Register, offset: number): number | undefined {
    const known = this.#registers[base]!;
    if (known.kind !== 'frame') return undefined;
    const from = FRAME_BYTES + known.offset + offset;
    return this.#stack.has(from) ? from : undefined;
  }

  #emitAlu(instruction: Of<'alu'>, slot: number, end: number, after: Registers): number {
    const { op, width, dst, source } = instruction;
    const known = after[dst]!;
    const local = this.#r[dst]!;
    if (known.kind === 'constant') {
      this.f.set(local, i64.const(known.value));
      return 0;
    }
    if (known.kind === 'frame') {
      this.f.set(local, i64.extendU(i32.add(this.framePointer, i32.const(known.offset))));
      return 0;
    }
    const next = slot + 1 < end ? this.#instructions[slot + 1] : undefined;
    if (op === 'lsh' && width === 64 && next && this.#emitExtension(instruction, next, after)) return 1;
    emitAlu(this.f, local, op, width, this.value(dst), this.#operand(source));
    return 0;
  }

  /** Before there were 32-bit instructions, compilers shifted left and back to cut off or extend the upper half. */
  #emitExtension(left: Of<'alu'>, right: Instruction, after: Registers): boolean {
    if (right.kind !== 'alu' || right.width !== 64 || right.dst !== left.dst || (right.op !== 'rsh' && right.op !== 'arsh')) return false;
    if (left.source.kind !== 'immediate' || left.source.value !== 32 || right.source.kind !== 'immediate' || right.source.value < 32) return false;
    const value = this.value(left.dst);
    const extended = right.op === 'rsh' ? i64.extendU(value.narrow) : i64.extend32S(value.wide);
    const rest = right.source.value - 32;
    const shift = right.op === 'rsh' ? i64.shrU : i64.shrS;
    this.f.set(this.#r[left.dst]!, rest === 0 ? extended : shift(extended, i64.const(rest)));
    transfer(right, after, this.#plan.surroundings);
    return true;
  }

  /** What an atomic operation found, until it is in its register. */
  #fetched(value: I64): Local<'i64'> {
    const old = this.#scratchLocal();
    this.f.set(old, value);
    return old;
  }

  #emitAtomic(instruction: Of<'atomic'>): void {
    const { f } = this;
    const { op, bytes } = instruction;
    if (this.program.machine.parallel && this.#registers[op === 'load_acquire' ? instruction.src : instruction.dst]!.kind !== 'frame') return this.#emitShared(instruction);
    if (op === 'load_acquire') {
      f.set(this.#r[instruction.dst]!, load(bytes, false, this.#address(instruction.src, instruction.offset)));
      return;
    }
    const at = this.#address(instruction.dst, instruction.offset);
    const operand = this.value(instruction.src).wide;
    if (op === 'store_release') {
      f.do(store(bytes, at, operand));
      return;
    }
    if (op === 'cmpxchg') {
      const old = this.#fetched(load(bytes, false, at));
      const expected = this.value(0);
      f.if(bytes === 4 ? i32.eq(i32.wrap(old), expected.narrow) : i64.eq(old, expected.wide), () => f.do(store(bytes, at, operand)));
      this.setResult(old);
      return;
    }
    if (!instruction.fetch) {
      f.do(store(bytes, at, MODIFY[op](load(bytes, false, at), operand)));
      return;
    }
    const old = this.#fetched(load(bytes, false, at));
    f.do(store(bytes, at, MODIFY[op](old, operand)));
    f.set(this.#r[instruction.src]!, old);
  }

  /** The same where other CPUs may do so at once. */
  #emitShared(instruction: Of<'atomic'>): void {
    const { f } = this;
    const { op, bytes } = instruction;
    if (op === 'load_acquire') {
      f.set(this.#r[instruction.dst]!, loadAcquire(bytes, this.#address(instruction.src, instruction.offset)));
      return;
    }
    const at = this.#address(instruction.dst, instruction.offset);
    const operand = this.value(instruction.src).wide;
    if (op === 'store_release') f.do(storeRelease(bytes, at, operand));
    else if (op === 'cmpxchg') this.setResult(exchangeAtomically(bytes as 4 | 8, at, bytes === 4 ? i64.extendU(this.value(0).narrow) : this.value(0).wide, operand));
    else if (instruction.fetch) f.set(this.#r[instruction.src]!, modifyAtomically(op, bytes as 4 | 8, at, operand));
    else f.do(modifyAtomically(op, bytes as 4 | 8, at, operand));
  }

  #emitCall(instruction: Of<'call'>, slot: number): void {
    if (this.#lookUp(instruction, slot)) return;
    const stack = stackArguments(instruction, this.#registers, this.program) ?? [];
    for (const range of stack) this.#stack.flush(range);
    this.#call(instruction.target, slot);
    for (const range of stack) if (range.written) this.#stack.reload(range);
  }

  /** bpf_map_lookup_elem of a map that is known, and of a type that has code for it. */
  #lookUp(instruction: Of<'call'>, slot: number): boolean {
    const { f, program } = this;
    const map = lookedUpMap(instruction, this.#registers, program);
    if (map?.type.addressOf !== undefined) {
      // The key is an index, wherever that is.
      const index = (this.#index ??= f.local('i32', 'index'));
      f.set(index, i32.wrap(this.#load({ bytes: 4, signed: false, src: 2, offset: 0 })));
      this.#answer({ isThere: i32.ltU(index, i32.const(map.spec.maxEntries)), address: map.type.addressOf(map.geometry, index) }, slot);
      return true;
    }
    if (map?.type.lookupInPlace === undefined || !program.takesInPlace()) return false;
    const key = keyOf(instruction, this.value(2).narrow, this.#registers, this, this.#stack);
    this.#answer(map.type.lookupInPlace(f, map.codeIn(program.module), key), slot);
    return true;
  }

  /** Sets r0 to what was found, or 0. Where that is only compared with 0 next, the comparison asks the lookup itself. */
  #answer({ isThere, address }: Found, slot: number): void {
    const missing = nullEdge(this.#block!, this.#instructions, slot + 1);
    const isAsked = missing !== undefined && !this.program.parameters.isRead(0, missing.target);
    this.setResult(i64.extendU(isAsked ? address : select(isThere, address, i32.const(0))));
    if (isAsked) this.#isThere = isThere;
  }

  #call(target: Of<'call'>['target'], slot: number): void {
    const { program } = this;
    if (target.kind === 'subprogram') {
      const args = ([1, 2, 3, 4, 5] as const).map((register) => this.value(register).wide);
      emitCharge(this.f, program.machine, 1, (this.#left ??= this.f.local('i32', 'left')));
      this.setResult(call(program.subprogram(target.slot), ...args, this.#calleesFrame()));
      if (program.mayThrow(target.slot)) this.f.if(isThrown(program.machine), this.unwind);
      return;
    }
    const helper = program.callee(target);
    if (helper) emitHelperCall(helper, this, this.#registers);
    else if (this.#unresolved.has(slot)) this.#fault(FAULT.unsupported);
    else throw program.refuse(`instruction ${slot} calls ${target.kind === 'helper' ? `helper ${target.id}, which is not supported; docs/SUPPORTED.md lists those that are` : `kernel function ${target.name ?? target.btfId}, which is not supported; docs/SUPPORTED.md lists those that are`}`);
  }
}
