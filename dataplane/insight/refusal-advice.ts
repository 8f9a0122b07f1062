/**
 * What a refused program would have needed, and what to change: a row for each way in which Linux refuses. Rows speak of
 * the program in its own words, as far as its C lines show them.
 */
import type { Instruction, Register } from '../bpf/isa.ts';
import { BPF_MAP_TYPE, mapTypeName } from '../bpf/map-type.ts';
import { PROGRAM_TYPES, type LineInfo, type ProgramType } from '../bpf/spec.ts';
import { capabilityFor, HELPER_NAMES, prototypeOf } from '../helpers/index.ts';
import { mapAllows } from '../helpers/map-compatibility.ts';
import { contextAccess, contextField } from '../hooks/context-access.ts';
import { MAP_FLAG } from '../maps/map-check.ts';
import { isConstant } from '../verifier/scalar.ts';
import { isPointer, type RegisterState } from '../verifier/register.ts';
import { addedIn, argumentIn, dereferenceIn, elementIn, packetEndIn } from './c-line.ts';
import { accessed, argument, calledFunction, heldBy, kernelFunction, leave, madeIn, type Situation } from './refusal-situation.ts';
import { numberWords } from './value-words.ts';

export interface Advice {
  readonly needed: string;
  readonly suggestion: string;
}

interface Row {
  readonly pattern: RegExp;
  readonly advise: (situation: Situation) => Advice;
}

const fixed = (pattern: RegExp, needed: string, suggestion: string): Row => ({ pattern, advise: () => ({ needed, suggestion }) });

/** The first that fits; most particular ones first. */
const ROWS: readonly Row[] = [
  fixed(/unsupported alu operation.*!root/, 'without CAP_PERFMON, a pointer into the stack or into a map value: other pointers move by constants alone', 'read the bytes with bpf_skb_load_bytes() or bpf_xdp_load_bytes(), which take the place as a number; or load the program with CAP_PERFMON'),
  fixed(/from different maps, paths or scalars/, 'without CAP_PERFMON, one object and one range for each place where an index is added', 'add the index in each branch by itself, behind the same bounds check (index &= 63); or load the program with CAP_PERFMON'),
  fixed(/variable stack access prohibited for !root/, 'without CAP_PERFMON, a place in the stack that is the same on every run', 'keep the array in a map value, where an index may vary; or load the program with CAP_PERFMON'),
  fixed(/prohibited for !root/, 'without CAP_PERFMON, a pointer that never leaves its object, not even on its way to the right place, and an index that is never negative', 'bound the index first (index &= 63), and add all of it at once; or load the program with CAP_PERFMON'),
  fixed(/tail_call abusing map_ptr/, 'without CAP_PERFMON, one program array for each tail call', 'call bpf_tail_call() in each branch, with the array itself'),
  fixed(/back-edge/, 'CAP_BPF for loops: without it jumps lead forwards only', 'write the rounds out (#pragma unroll), or load the program with CAP_BPF'),
  fixed(/allowed only to CAP_BPF|allowed for CAP_BPF/, 'a right that this user does not have', 'load the program with CAP_BPF and CAP_NET_ADMIN; or do without'),
  fixed(/allowed only to CAP_PERFMON/, 'CAP_PERFMON: without it the structures of the kernel stay hidden', 'load the program with CAP_PERFMON; or ask a helper'),
  fixed(/div by zero/, 'a constant that is not 0 to divide by', 'divide by another constant; a variable may be 0: what is divided by it is 0 then, and of % the number itself is left'),
  fixed(/invalid shift/, 'a constant to shift by that is less than the bits of the number: at most 63, of 32 bits at most 31', 'shift by less; of a variable only as many low bits count'),
  { pattern: /is not a known constant'/, advise: constantSize },
  { pattern: /cannot pass map_type|expected prog array map/, advise: otherMap },
  { pattern: /BPF_ATOMIC/, advise: atomicElsewhere },
  { pattern: /helper access to the packet is not allowed/, advise: copyFirst },
  { pattern: /offset is outside of the packet/, advise: packetBounds },
  { pattern: /null-check it first|invalid mem access '\w+_or_null'|type=\w+_or_null expected/, advise: mayBeNull },
  { pattern: /type=\w+ expected=ringbuf_mem|reference has not been acquired/, advise: releasedBefore },
  { pattern: /invalid mem access 'scalar'/, advise: notAPointer },
  fixed(/invalid mem access 'ctx'|invalid mem access 'map_ptr'|invalid mem access 'pkt_end'/, 'memory that programs may read', 'this pointer is only for helpers or comparisons'),
  { pattern: /!read_ok/, advise: noValue },
  { pattern: /leaks addr/, advise: leak },
  { pattern: /R\d+ (unbounded memory access, use|min value is negative, either|invalid zero-sized)/, advise: helperSize },
  { pattern: /unbounded memory access|(max|min) value is outside of the allowed|min value is negative/, advise: regionBounds },
  { pattern: /math between|pointer be out of bounds/, advise: pointerMath },
  fixed(/infinite loop detected/, 'a loop in which something changes with each round', 'count the rounds and stop at a constant: for (int i = 0; i < 16; i++)'),
  { pattern: /sequence of \d+ jumps/, advise: tooManyBranches },
  fixed(/program is too large/i, 'at most a million instructions over all paths', 'make loops shorter, or move work into bpf_loop(), a global function (verified by itself, once) or a tail call'),
  fixed(/dynptr/i, 'a struct bpf_dynptr on the stack that is set up once, and that nothing else writes over', 'declare it as a local variable; submit or discard that of a ring buffer record on every path, also where it could not be reserved'),
  fixed(/iter_\w+ as arg|pointer to an iterator/, 'an iterator on the stack that is set up once, and destroyed on every path', 'use the bpf_for() macro, which does both; leave it with break, not with return'),
  fixed(/kptr/, 'a pointer field of a map value (__kptr, __kptr_untrusted), as a whole, at a place that is known', 'put a __kptr there, and take it out, with bpf_kptr_xchg(); release what comes out'),
  fixed(/rcu_read_lock-ed|rcu read (un)?lock/, 'RCU sections that do not nest, each left on every path', 'call bpf_rcu_read_unlock() before every return and tail call; programs for packets are in an RCU section as it is, and rarely need one'),
  fixed(/preempt_disable-ed|enable preemption/, 'as many bpf_preempt_enable() as bpf_preempt_disable(), on every path', 'enable it again before every return and tail call'),
  fixed(/metadata kfuncs/, 'a program that is loaded for one device', 'load it with BPF_F_XDP_DEV_BOUND_ONLY (libbpf: bpf_program__set_ifindex); a lab takes it as it is'),
  fixed(/must be referenced or trusted|expected pointer to STRUCT|must point to scalar, or struct/, 'the pointer that the function which hands out such a thing returned', 'look it up, compare it with NULL, and pass it on as it is; what it points to is only for reading'),
  fixed(/(is ptr_\w+ invalid|access beyond (struct|the end of member)|cannot access ptr member|no write support to|only read is supported)/, 'one field of the structure, in its own size', 'use BPF_CORE_READ or a vmlinux.h of this kernel; of a connection, only the mark may be written'),
  fixed(/kernel function \S+ is not (known|allowed)/, 'a kernel function (kfunc) that this type of program may call', '`xdplab supported` lists them'),
  { pattern: /would lead to reference leak|Unreleased reference/, advise: leakedReference },
  { pattern: /combined stack size|call stack of/, advise: stackDepth },
  fixed(/misaligned (packet|value|stack|pointer|\w+)? ?access/, 'an address that is a multiple of the size of the access', 'align the variable, or copy it with __builtin_memcpy'),
  { pattern: /invalid (indirect )?read from stack|invalid (write to|unbounded variable-offset|variable-offset).*stack/, advise: stackBounds },
  { pattern: /invalid bpf_context access/, advise: contextFields },
  fixed(/cannot write into rdonly_mem/, 'memory that programs may write', 'ask for bytes to write with bpf_dynptr_slice_rdwr()'),
  fixed(/cannot write into packet/, 'a program type that may write packets', 'socket filters and control group programs only read: attach at XDP or TC, or change the packet with a helper'),
  { pattern: /cannot use helper|unknown func|invalid func/, advise: otherHelper },
  fixed(/GPL/, 'a license that is compatible with the GPL', 'char _license[] SEC("license") = "Dual MIT/GPL"; or do without the helper'),
  { pattern: /^write into map forbidden|^read from map forbidden/, advise: mapRights },
  fixed(/function calls are not allowed while holding a lock/, 'no call of anything but bpf_spin_unlock while the lock is held', 'call before bpf_spin_lock or behind bpf_spin_unlock, and unlock on every way out'),
  fixed(/spin_(lock|unlock) of different lock/, 'the lock that was taken last given back, before any other', 'pass bpf_spin_unlock() the same lock as bpf_spin_lock()'),
  fixed(/spin_lock cannot be accessed/, 'a lock that nothing but bpf_spin_lock() and bpf_spin_unlock() touches', 'read and write the other fields of the value; leave its lock alone'),
  fixed(/bpf_spin_lock-ed region|spin_lock/, 'bpf_spin_lock and bpf_spin_unlock in pairs on every path', 'unlock before each return'),
  { pattern: /has (smin|smax|unknown)|should have been in|not a known value|not a scalar value/, advise: returnRange },
  { pattern: /R\d+ type=\S+ expected=/, advise: otherArgument },
  fixed(/32-bit pointer arithmetic|bitwise operator|partial copy of pointer|pointer arithmetic with|sign-extension part/, 'pointers whole, and moved only by adding or subtracting', 'compute with the bytes that it points to, or with the length of the packet: skb->len, bpf_xdp_get_buff_len()'),
  fixed(/pointer -= pointer prohibited/, 'CAP_PERFMON, which the difference of two pointers takes', 'ask for the length: skb->len, or bpf_xdp_get_buff_len(); or load the program with CAP_PERFMON'),
  fixed(/pointer comparison prohibited/, 'without CAP_PERFMON, pointers compared with NULL, or packet pointers with each other', 'compare what it points to; or load the program with CAP_PERFMON'),
  { pattern: /arithmetic on pkt_end/, advise: endMoved },
  fixed(/pointer .*pointer prohibited|subtract pointer from scalar|pointer comparison prohibited|pointer arithmetic/, 'pointers moved only by adding or subtracting 64-bit numbers', 'compute the index in a number first, bound it, then add it to the pointer'),
];

export function adviceFor(situation: Situation): Advice | undefined {
  const advice = ROWS.find(({ pattern }) => pattern.test(situation.refusal.message))?.advise(situation);
  return advice === undefined || situation.program.lines.length > 0 ? advice : { ...advice, suggestion: `${advice.suggestion.replace(/;$/, '')}; compile with -g to see lines of C` };
}

const bytesWords = (bytes: number): string => (bytes === 1 ? '1 byte' : `${bytes} bytes`);
const before = ({ line }: Situation): string => (line === undefined ? '' : ` before line ${line.line}`);

/** A comparison of the pointer plus a few bytes is already one of a place behind 65,535. */
const NEARLY_MOST_OFFSET = 0xff00;

function packetBounds(situation: Situation): Advice {
  const { register, line, program, history, lineAt } = situation;
  const access = accessed(situation) ?? { from: 0, bytes: 1 };
  const compared = history.map(({ slot }) => lineAt(slot)).findLast((each) => each !== undefined && packetEndIn([each], undefined) !== undefined);
  // Metadata ends where the packet begins.
  const end = register?.type === 'pkt_meta' ? 'data' : (packetEndIn(compared === undefined ? program.lines : [compared], line) ?? 'data_end');
  if (register !== undefined && !isConstant(register.scalar) && register.scalar.umax >= 0xffffn) {
    const offset = addedTo(situation) ?? 'offset';
    return {
      needed: `an offset into the packet of less than 65,535; what was added can be ${numberWords(register.scalar)}, and no comparison with ${end} says anything about such a pointer`,
      suggestion: `bound the number first, then add it and compare: if (${offset} > 1500) ${leave(situation)}`,
    };
  }
  const bytes = access.from + access.bytes;
  if (register?.type === 'pkt' && !isConstant(register.scalar) && register.offset + access.from < 0) {
    const offset = addedTo(situation) ?? 'offset';
    return {
      needed: `an offset that is never negative: this may be ${bytesWords(-register.offset - access.from)} in front of the packet, where no comparison with ${end} helps`,
      suggestion: `before ${offset} is added: barrier_var(${offset}); if (${offset} < 0 || ${offset} > 1500) ${leave(situation)}`,
    };
  }
  if (register !== undefined && register.offset + Number(register.scalar.umax) + bytes >= NEARLY_MOST_OFFSET) {
    return {
      needed: `an offset into the packet of at most 65,535: of places behind that, no comparison with ${end} says anything`,
      suggestion: 'end the loop that leads so far: count its rounds and stop at a constant (for (int i = 0; i < 16; i++))',
    };
  }
  return {
    needed: `${bytes > 0 ? `${bytesWords(bytes)} proven from there on` : 'that place proven'}, by a comparison with ${end} on every way here`,
    suggestion: comparedElsewhere(situation, end) ?? `if (${packetComparison(situation, bytes)} > ${end}) ${leave(situation)}${before(situation)}`,
  };
}

/** Where the very comparison stands in front of the line, compilers made another one of it: they compare what the loop adds up, or move a part of it out of the loop. */
function comparedElsewhere(situation: Situation, end: string): string | undefined {
  const { program, line, instruction, refusal: { path }, lineAt } = situation;
  const found = dereferenceIn(line?.text ?? '', instruction?.kind === 'load' ? 'read' : 'written');
  if (found === undefined || line === undefined) return undefined;
  const wanted = bare(`${found.place} + 1 > ${end}`);
  const compared = path.map(lineAt).findLast((each) => each !== undefined && each.file === line.file && each.line < line.line && bare(each.text).includes(wanted));
  if (compared === undefined) return undefined;
  const changes = new RegExp(String.raw`\b${found.name}\s*(?:=(?!=)|[-+]=|\+\+|--)|(?:\+\+|--)${found.name}\b`);
  if (program.lines.some((each) => each.file === line.file && each.line > compared.line && each.line < line.line && changes.test(each.text))) return undefined;
  const way = `if ((void *)(at + 1) > ${end}) ${leave(situation)}`;
  const element = found.place.startsWith('&') ? found.place.slice(1) : `*${found.place.startsWith('(') ? `(${found.place})` : found.place}`;
  return `the compiler made another comparison of line ${compared.line}; instead of it: ${typeOf(program.lines, found.name, element)} *at = ${found.place}; barrier_var(at); ${way} and use *at in line ${line.line}`;
}

/** Without casts to void, spaces and parentheses. */
const bare = (text: string): string => text.replaceAll(/\(\s*void\s*\*\s*\)|[\s()]/g, '');

/** Of what the pointer leads to, as it is declared; else in the words of C for that. */
function typeOf(lines: readonly LineInfo[], pointer: string, element: string): string {
  const declared = new RegExp(String.raw`(?:^|[;({])\s*((?:const\s+)?(?:struct\s+)?[A-Za-z_]\w*)\s*\*\s*${pointer.replaceAll(/\W/g, '.')}\s*=`);
  const type = lines.map(({ text }) => declared.exec(text)?.[1]).find((each) => each !== undefined && each !== 'void' && each !== 'return');
  return type !== undefined && new RegExp(String.raw`^\*?${pointer.replaceAll(/\W/g, '.')}(?:\[[^[\]]*\])?$`).test(element) ? type : `__typeof__(${element})`;
}

/** The number that was last added to the pointer, as far as the lines show. */
function addedTo({ history, lineAt }: Situation): string | undefined {
  return history.map(({ slot }) => addedIn(lineAt(slot)?.text ?? '')).findLast((name) => name !== undefined);
}

function packetComparison(situation: Situation, bytes: number): string {
  const { line, instruction, number, history } = situation;
  if (instruction?.kind === 'call') {
    const pointer = (number === undefined ? undefined : argument(situation, number)) ?? 'pointer';
    return `(void *)${/^&?[\w.>-]+$/.test(pointer) ? pointer : `(${pointer})`} + ${bytes}`;
  }
  const found = dereferenceIn(line?.text ?? '', instruction?.kind === 'load' ? 'read' : 'written');
  if (found !== undefined) return bytes > 0 ? `(void *)(${found.place} + 1)` : `(void *)${found.name}`;
  const made = history.map(({ slot }) => madeIn(situation, slot)).findLast((name) => name !== undefined);
  return made === undefined ? 'pointer + size' : `(void *)(${made} + 1)`;
}

function constantSize(situation: Situation): Advice {
  const { number, instruction } = situation;
  const size = number === undefined ? undefined : argument(situation, number);
  return {
    needed: `a size that is the same on every run: ${kernelFunction(instruction) ?? 'the call'} makes room before the program runs`,
    suggestion: `pass a constant${size === undefined ? '' : ` instead of ${size}`}: as much as there may ever be; bpf_ringbuf_output() and bpf_ringbuf_reserve_dynptr() take sizes that vary`,
  };
}

/** The types of maps that the helper takes, or else what takes maps of the type that it was given. Behind the call nothing is known of its arguments. */
function otherMap(situation: Situation): Advice {
  const { type, instruction, refusal: { message } } = situation;
  const id = instruction?.kind === 'call' && instruction.target.kind === 'helper' ? instruction.target.id : 0;
  const place = (prototypeOf(id, type)?.args.indexOf('map') ?? 0) + 1;
  const name = argument(situation, place)?.replace(/^&/, '') ?? `argument ${place}`;
  const given = Number(/map_type (\d+)/.exec(message)?.[1] ?? Number.NaN);
  const is = `${name} is ${mapTypeName(given) ?? 'of another type'}`;
  const taken = Object.entries(BPF_MAP_TYPE).flatMap(([each, number]) => (mapAllows(number, id) ? [each] : []));
  if (taken.length <= FEW) return { needed: `a map of type ${taken.join(', ').replace(/, (?=\w+$)/, ' or ')} for bpf_${HELPER_NAMES[id]}; ${is}`, suggestion: `declare it with __uint(type, BPF_MAP_TYPE_${taken[0]!.toUpperCase()}), or pass another map` };
  const takers = HELPER_NAMES.flatMap((each, number) => (prototypeOf(number, type)?.args.includes('map') === true && mapAllows(given, number) ? [`bpf_${each}()`] : []));
  return { needed: `a map that bpf_${HELPER_NAMES[id]} takes; ${is}${takers.length === 0 ? '' : `, which is for ${takers.join(', ')}`}`, suggestion: 'use what is for this type; or declare it as an array or a hash map' };
}

/** Of more types a sentence is no longer one. */
const FEW = 4;

function atomicElsewhere({ register, line }: Situation): Advice {
  const variable = argumentIn(line?.text ?? '', 1, String.raw`(?:__sync|__atomic)_\w+`);
  const needed = 'memory that several CPUs may change: a map value, a global variable or the stack';
  if (register?.type !== 'pkt' && register?.type !== 'pkt_meta') return { needed, suggestion: 'count in a map value' };
  return { needed, suggestion: `read, change and write it as any other variable${variable === undefined ? '' : ` (${/^\w+$/.test(variable) ? `*${variable}` : `*(${variable})`} += …)`}: nobody else has this packet` };
}

function copyFirst(situation: Situation): Advice {
  const { instruction, refusal: { registers } } = situation;
  const number = registers.findIndex(({ type }, index) => index >= 1 && index <= 5 && (type === 'pkt' || type === 'pkt_meta'));
  const given = argument(situation, number) ?? 'data';
  const size = accessed({ ...situation, number: number as Register })?.bytes;
  return {
    needed: `memory outside of the packet as argument ${number} of ${kernelFunction(instruction) ?? 'the call'}`,
    suggestion: `__u8 copy[${size ?? 'SIZE'}] __attribute__((aligned(8))); __builtin_memcpy(copy, ${given}, sizeof(copy));${before(situation)}, and pass copy instead of ${given}`,
  };
}

function mayBeNull(situation: Situation): Advice {
  const { line, history, number, instruction } = situation;
  const text = line?.text ?? '';
  const assigned = madeIn(situation, history.at(-1)?.slot);
  const used = instruction?.kind === 'call' && number !== undefined ? argument(situation, number) : dereferenceIn(text, instruction?.kind === 'load' ? 'read' : 'written')?.name;
  const name = (assigned !== undefined && new RegExp(`\\b${assigned}\\b`).test(text) ? assigned : used) ?? assigned ?? 'pointer';
  const needed = 'a pointer that is known not to be NULL';
  const suggestion = `if (!${name}) ${leave(situation)}${before(situation)}`;
  const around = calledFunction(situation);
  // Nothing made it what it is, so it is an argument.
  if (around?.linkage !== 'global' || history.length > 0) return { needed, suggestion };
  return { needed: `${needed}: ${around.name} is a global function, verified by itself, whoever calls it`, suggestion: `${suggestion}; or make ${around.name} static, so that it is verified with each call` };
}

function releasedBefore(situation: Situation): Advice {
  const { history, lineAt, number } = situation;
  const released = history.at(-1);
  const where = released === undefined ? undefined : lineAt(released.slot);
  const name = (number === undefined ? undefined : argument(situation, number)) ?? 'it';
  return {
    needed: `what was acquired and not given back yet${where === undefined ? '' : `; line ${where.line} has given it back`}`,
    suggestion: `give ${name} back once: an else, or a return behind line ${where?.line ?? '…'}`,
  };
}

function notAPointer(situation: Situation): Advice {
  const { program, type, history, register, lineAt } = situation;
  const moved = history.findLast(({ slot, before: was, value }) => {
    const instruction = program.instructions[slot];
    return was !== undefined && isPointer(was) && value.type === 'scalar' && instruction?.kind === 'call' && (instruction.target.kind !== 'helper' || prototypeOf(instruction.target.id, type)?.changesPacket === true);
  });
  const released = history.findLast(({ slot, before: was, value }) => {
    const instruction = program.instructions[slot];
    return was !== undefined && isPointer(was) && value.type === 'scalar' && instruction?.kind === 'call' && instruction.target.kind === 'helper' && prototypeOf(instruction.target.id, type)?.releases !== undefined;
  });
  if (released !== undefined) {
    const by = kernelFunction(program.instructions[released.slot])!;
    const at = lineAt(released.slot);
    const given = argumentIn(at?.text ?? '', 1, by) ?? 'it';
    return { needed: `what was not given back yet; ${by}${at === undefined ? '' : ` in line ${at.line}`} has given it back`, suggestion: `use ${given} before ${by}, or keep what is read later in a variable of its own` };
  }
  if (moved === undefined && register?.type === 'scalar' && isConstant(register.scalar) && register.scalar.value === 0n) return mayBeNull(situation);
  if (moved === undefined) return { needed: 'a pointer; this is a number', suggestion: 'an address has to come from the context, the stack, a map or a helper; a cast makes none' };
  const call = program.instructions[moved.slot];
  const name = call?.kind === 'call' && call.target.kind === 'helper' ? `bpf_${HELPER_NAMES[call.target.id]}` : 'the call';
  const at = lineAt(moved.slot);
  const place = at === undefined ? '' : ` in line ${at.line}`;
  return {
    needed: `a pointer into the packet as it is now: ${name}${place} may have moved it, and all pointers into it are void`,
    suggestion: `behind ${name}, read data and data_end from the context again, compare again, and use the new pointer`,
  };
}

function noValue({ history, program, number }: Situation): Advice {
  const lost = history.at(-1);
  const by = lost === undefined ? undefined : program.instructions[lost.slot];
  if (by?.kind === 'call') return { needed: `a value in r${number}; calls leave nothing in r1 to r5`, suggestion: 'keep the value in a variable that lives across the call' };
  return { needed: number === 0 ? 'a value in r0, which is what the program returns' : `a value in r${number} on every way here`, suggestion: number === 0 ? 'end every path with a return' : 'give the variable a value before the branch' };
}

function leak({ refusal: { message } }: Situation): Advice {
  const where = /as return value/.test(message) ? 'returned' : /helper function/.test(message) ? 'passed to a helper as a number' : /into (map|packet|ctx|mem)/.exec(message)?.[1] === 'map' ? 'stored in a map, which user space reads' : 'stored there';
  return { needed: `a number: without CAP_PERFMON a kernel address may not be ${where}`, suggestion: 'store what it points to, or a number of your own; or load the program with CAP_PERFMON' };
}

/** The size behind a pointer that a helper is given, where more is asked for than there is behind the pointer. */
export function sizeAtFault(type: ProgramType, instruction: Instruction | undefined, registers: readonly RegisterState[], number: number): Register | undefined {
  if (sizeKind(type, instruction, number + 1) === undefined) return undefined;
  const [memory, size] = [registers[number]!, registers[number + 1]!];
  return size.scalar.umax > (roomBehind(memory) ?? Infinity) ? ((number + 1) as Register) : undefined;
}

function sizeKind(type: ProgramType, instruction: Instruction | undefined, number: number): 'size' | 'size_or_zero' | undefined {
  if (instruction?.kind !== 'call' || instruction.target.kind !== 'helper') return undefined;
  const kind = prototypeOf(instruction.target.id, type)?.args[number - 1];
  return kind === 'size' || kind === 'size_or_zero' ? kind : undefined;
}

function helperSize(situation: Situation): Advice {
  const { type, program, number, register, refusal, instruction } = situation;
  const memory = number === undefined ? undefined : refusal.registers[number - 1];
  const room = memory === undefined ? undefined : roomBehind(memory);
  const least = number !== undefined && sizeKind(type, instruction, number) === 'size_or_zero' ? 0 : 1;
  const [variable, given] = [-1, 0].map((from) => (number === undefined ? undefined : argument(situation, number + from)));
  const isPointerVariable = variable !== undefined && program.lines.some(({ text }) => new RegExp(`\\*\\s*${variable}\\b|\\b${variable}->`).test(text));
  const owned = memory?.type === 'fp' && !isPointerVariable ? /^&?(\w+)$/.exec(variable ?? '')?.[1] : undefined;
  const most = owned === undefined ? (room ?? 'MAX') : `sizeof(${owned})`;
  const isFixed = register !== undefined && isConstant(register.scalar);
  const needed = `a size from ${least} to ${room ?? 'the size of the memory'}${room === undefined ? '' : ', which is what is there'}${isFixed ? `; here it is ${numberWords(register.scalar)}` : ''}`;
  const isVariable = given === undefined || /^[a-z_]\w*$/.test(given);
  if (isFixed && (given === undefined || !isVariable)) return { needed, suggestion: `pass ${most} as argument ${number}${given === undefined ? '' : ` instead of ${given}`}; or make room for more` };
  const size = isVariable ? (given ?? 'size') : 'size';
  const test = `${least === 0 ? '' : `${size} < ${least} || `}${size} > ${most}`;
  return {
    needed,
    // Compilers compare what is left of a variable of 32 bits, or of what they just computed, and pass the whole.
    suggestion: `${isVariable ? '' : `__u64 size = ${given}; `}barrier_var(${size}); if (${test}) ${leave(situation)}${before(situation)}, ${isVariable ? `with ${size} declared as __u64` : 'and pass size'}`,
  };
}

/** Bytes from where the pointer points to the end of what it points into. */
function roomBehind({ type, offset, scalar, map, bytes }: RegisterState): number | undefined {
  if (!isConstant(scalar)) return undefined;
  const at = offset + Number(BigInt.asIntN(64, scalar.value));
  if (type === 'fp') return -at;
  if (type === 'map_value' && map !== undefined) return map.valueBytes - at;
  if (type === 'map_key' && map !== undefined) return map.keyBytes - at;
  return type === 'mem' || type === 'ringbuf_mem' ? bytes - at : undefined;
}

/** An index into something of known size. */
function regionBounds(situation: Situation): Advice {
  const { type, register, refusal: { message }, line, instruction, number } = situation;
  if (number !== undefined && sizeKind(type, instruction, number) !== undefined) return helperSize(situation);
  const access = accessed(situation);
  const size = register?.type === 'map_value' ? register.map?.valueBytes : register?.type === 'map_key' ? register.map?.keyBytes : register?.bytes;
  const { array = '', index = 'index' } = elementIn(line?.text ?? '') ?? {};
  if (register === undefined || size === undefined || access === undefined) return { needed: 'an index inside of it', suggestion: `if (${index} >= SIZE) ${leave(situation)}${before(situation)}` };
  const from = register.offset + access.from;
  const what = `${size} bytes`;
  if (isConstant(register.scalar)) {
    const at = from + Number(BigInt.asIntN(64, register.scalar.value));
    const needed = `${bytesWords(access.bytes)} inside of ${what}; this is at ${at}`;
    if (array === '' || /^\w*[A-Z\d]$/.test(index)) return { needed, suggestion: 'look at the type that the pointer was cast to, and at the size that the map was declared with' };
    const begin = situation.history.find(({ value }) => value.type === register.type)?.value.offset ?? 0;
    // Arrays have a size in C; what a pointer leads to has none.
    const bytes = register.map?.section !== undefined || /[.>]/.test(array) ? `sizeof(${array})` : String(size - begin);
    return { needed, suggestion: `if (${index} >= ${bytes} / sizeof(${array}[0])) ${leave(situation)}${before(situation)}` };
  }
  const step = stepOf(register);
  const elements = Math.max(1, Math.floor((size - access.bytes - Math.max(0, from)) / step) + 1);
  const negative = /min value/.test(message);
  const test = negative ? `${index} < 0 || ${index} >= ${elements}` : `${index} >= ${elements}`;
  return {
    needed: `an index that keeps ${bytesWords(access.bytes)} inside of ${what}: ${from} + ${step > 1 ? `${step} × ` : ''}index at most ${size - access.bytes}`,
    suggestion: `if (${test}) ${leave(situation)}${before(situation)}, and use the variable that was compared`,
  };
}

function stepOf({ scalar: { value, mask } }: RegisterState): number {
  const bits = value | mask;
  return bits === 0n ? 1 : Math.min(4096, Number(bits & -bits));
}

function pointerMath(situation: Situation): Advice {
  const index = elementIn(situation.line?.text ?? '')?.index ?? 'index';
  const limit = elementsBehind(situation) ?? 'SIZE';
  return { needed: 'a number with a lower and an upper bound to add to the pointer', suggestion: `if (${index} < 0 || ${index} >= ${limit}) ${leave(situation)}${before(situation)}; or make it unsigned, which leaves the upper bound` };
}

/** How many elements there are behind the pointer that is moved, by the access that follows. */
function elementsBehind({ program, instruction, refusal: { registers, slot } }: Situation): number | undefined {
  if (instruction?.kind !== 'alu' || instruction.source.kind !== 'register') return undefined;
  const [to, from] = [registers[instruction.dst]!, registers[instruction.source.register]!];
  const base = to.type === 'scalar' ? from : to;
  const access = program.instructions.slice(slot + 1, slot + 4).find((each) => (each.kind === 'load' && each.src === instruction.dst) || (each.kind === 'store' && each.dst === instruction.dst));
  const room = roomBehind(base);
  if (room === undefined || (access?.kind !== 'load' && access?.kind !== 'store')) return undefined;
  // What C subtracts from an index, compilers subtract from the place.
  return Math.max(1, Math.floor((room - Math.max(0, access.offset)) / access.bytes));
}

function endMoved(situation: Situation): Advice {
  const { instruction, line, program } = situation;
  const end = packetEndIn(program.lines, line) ?? 'data_end';
  const bytes = instruction?.kind === 'alu' && instruction.source.kind === 'immediate' ? Math.abs(instruction.source.value) : 'size';
  return { needed: "a pointer that is not the packet's end: that may be compared, and not moved", suggestion: `go from the beginning, and move the other side of the comparison: if (pointer + ${bytes} > ${end}) ${leave(situation)}` };
}

/** The line that the path left by: the last one with a way out behind where something was acquired. */
function leftIn({ refusal: { path }, lineAt }: Situation, acquiredAt: number): LineInfo | undefined {
  return path.slice(path.lastIndexOf(acquiredAt) + 1).map(lineAt).findLast((line) => line !== undefined && /\breturn\b/.test(line.text));
}

function leakedReference(situation: Situation): Advice {
  const { refusal, lineAt, program } = situation;
  const acquiredAt = refusal.references[0]?.acquiredAt;
  const line = acquiredAt === undefined ? undefined : lineAt(acquiredAt);
  const { release, iterator } = heldBy(acquiredAt === undefined ? undefined : program.instructions[acquiredAt], line);
  const left = acquiredAt === undefined ? undefined : leftIn(situation, acquiredAt);
  const where = refusal.message.startsWith('tail_call') ? 'this tail call' : left === undefined || left.line === line?.line ? 'this return' : `the return of line ${left.line}`;
  const submit = release.includes('discard') ? `, or ${release.replace('discard', 'submit')}` : '';
  const more = iterator === true ? ': leave the loop with break, not with return' : release.includes('dynptr') ? ' also where it could not be reserved' : '';
  return { needed: `what line ${line?.line ?? '…'} acquired given back on every way out`, suggestion: `${release} before ${where}${submit}${more}` };
}

function tooManyBranches({ user }: Situation): Advice {
  const needed = 'at most 8,192 branches whose other side is still to be looked at';
  if (user === 'privileged') return { needed, suggestion: 'give the loop a constant bound (for (int i = 0; i < 16; i++)), or use bpf_loop()' };
  return { needed: `${needed}; without CAP_PERFMON, wrong guesses of the processor count too, whatever bound the loop has`, suggestion: 'use bpf_loop(), or load the program with CAP_PERFMON' };
}

function stackDepth({ program, report }: Situation): Advice {
  const sizes = program.functions.map(({ name }, index) => `${name} ${report.stackBytes[index] ?? 0}`).join(', ');
  return { needed: `at most 512 bytes of stack in all functions that are active at once, each rounded up to 16; here: ${sizes}`, suggestion: 'move the largest local variable into a per-CPU array map with one element' };
}

function stackBounds(situation: Situation): Advice {
  const { type, refusal: { message }, instruction, number } = situation;
  if (number !== undefined && sizeKind(type, instruction, number) !== undefined) return helperSize(situation);
  const small = smallerThanMap(situation);
  if (small !== undefined) return small;
  if (/invalid (indirect )?read from stack/.test(message)) return { needed: 'bytes that were written before, within the 512 bytes of the frame', suggestion: 'initialise the whole variable, padding too: struct key key = {}; and pass no more than its size' };
  return { needed: 'an access within the 512 bytes of the frame', suggestion: 'bound the index, make local data smaller, or keep it in a per-CPU array map' };
}

/** How libbpf is told to attach, by attach types for which there are fields of their own. */
const SECTIONS: Readonly<Record<string, string>> = { xdp_devmap: 'SEC("xdp/devmap")' };

/** Instead of a field that may not be read, or written. */
const INSTEAD_OF_READING: Readonly<Partial<Record<string, string>>> = {
  data: 'read the packet with bpf_skb_load_bytes(skb, offset, &copy, sizeof(copy))',
  data_end: 'compare with skb->len, and read the packet with bpf_skb_load_bytes(skb, offset, &copy, sizeof(copy))',
};

/** A key or value on the stack of which the helper reads beyond the end of the frame: it has the bytes up to there at most. */
function smallerThanMap(situation: Situation): Advice | undefined {
  const { type, register, refusal: { registers }, instruction, number } = situation;
  if (instruction?.kind !== 'call' || instruction.target.kind !== 'helper' || number === undefined || register?.type !== 'fp') return undefined;
  const part = PARTS_OF_MAP[prototypeOf(instruction.target.id, type)?.args[number - 1] ?? ''];
  const [bytes, room, map] = [accessed(situation)?.bytes, roomBehind(register), registers[1]?.map];
  if (part === undefined || bytes === undefined || room === undefined || map === undefined || bytes <= room) return undefined;
  const name = /^&(\w+)$/.exec(argument(situation, number) ?? '')?.[1] ?? `what argument ${number} points to`;
  return { needed: `the ${part} of ${map.name} is ${bytesWords(bytes)}, ${name} has ${room}`, suggestion: `declare it with the type of the ${part} that ${map.name} was declared with` };
}

const PARTS_OF_MAP: Readonly<Partial<Record<string, 'key' | 'value'>>> = { map_key: 'key', map_value: 'value', map_value_or_null: 'value' };

function contextFields({ type, instruction }: Situation): Advice {
  if (instruction?.kind !== 'load' && instruction?.kind !== 'store' && instruction?.kind !== 'atomic') return { needed: 'a field of the context', suggestion: 'read fields by name, with their declared type' };
  const field = contextField(type, instruction.offset);
  const context = type === 'xdp' ? 'struct xdp_md' : 'struct __sk_buff';
  const sizes = instruction.kind === 'load' ? field?.read : field?.write;
  if (field === undefined) return { needed: `a field of ${context}`, suggestion: `there is none at ${instruction.offset}: read fields by name, as linux/bpf.h declares them` };
  const attach = Object.keys(SECTIONS).find((each) => contextAccess(type, instruction.offset, instruction.bytes, instruction.kind !== 'load', undefined, true) === undefined && contextAccess(type, instruction.offset, instruction.bytes, instruction.kind !== 'load', each, true) !== undefined);
  if (attach !== undefined) return { needed: `a program for ${attach}: no other has ${field.name}`, suggestion: `${SECTIONS[attach]}; or do without the field` };
  if (sizes?.includes(instruction.bytes) === true && instruction.offset === field.offset) return { needed: `a right or an attach type that ${field.name} takes`, suggestion: field.kind === 'scalar' ? 'load the program with CAP_BPF; or do without the field' : 'load the program with CAP_BPF; or read the packet with bpf_skb_load_bytes()' };
  if (sizes === undefined || sizes.length === 0) return { needed: `a field that may be ${instruction.kind === 'load' ? 'read' : 'written'}; ${field.name} may not`, suggestion: instruction.kind === 'load' ? (INSTEAD_OF_READING[field.name] ?? 'do without the field; or attach the program where it is there') : field.name === 'len' ? 'the length changes with the packet: bpf_skb_change_tail()' : field.kind !== 'scalar' ? 'the packet is moved by helpers: bpf_xdp_adjust_head(), bpf_xdp_adjust_tail(), bpf_skb_adjust_room()' : 'keep the value in a map or on the stack' };
  return { needed: `${field.name} of ${context} ${instruction.kind === 'load' ? 'read' : 'written'} as it is declared, ${sizes.join(' or ')} bytes at offset ${field.offset}; here it is ${bytesWords(instruction.bytes)} at offset ${instruction.offset}`, suggestion: `use ${field.name} without a cast, and cut the result to size afterwards` };
}

function otherHelper({ type, refusal: { message } }: Situation): Advice {
  const id = Number(/#(\d+)$/.exec(message)?.[1]);
  const capability = prototypeOf(id, type) === undefined ? undefined : capabilityFor(id);
  if (capability !== undefined) return { needed: `CAP_${capability.toUpperCase()}, which this helper takes`, suggestion: `load the program with CAP_${capability.toUpperCase()}; or do without the helper` };
  return { needed: `a helper that programs of type ${type} may call`, suggestion: suppliersOf(id, type) };
}

/** Types of programs that may call the helper. */
function suppliersOf(id: number, type: ProgramType): string {
  const others = PROGRAM_TYPES.filter((each) => each !== type && prototypeOf(id, each) !== undefined);
  return others.length === 0 ? 'do without it: no type of program that is known here has it' : `do without it; or make it a program of type ${others.join(', ')}`;
}

function mapRights({ register, refusal: { message, registers }, instruction, line }: Situation): Advice {
  // Helpers take the map itself, first.
  const map = instruction?.kind === 'call' ? registers[1]?.map : register?.map;
  const writes = message.startsWith('write');
  const name = map?.name ?? 'the map';
  if (map?.section?.startsWith('.rodata') === true) return { needed: 'a variable that is not constant', suggestion: `leave out const where it is declared: then it lives in .data, which programs write${line === undefined ? '' : `; or do without line ${line.line}`}` };
  if (map !== undefined && (map.flags & (writes ? MAP_FLAG.RDONLY_PROG : MAP_FLAG.WRONLY_PROG)) === 0) return { needed: `a map that programs may ${writes ? 'write' : 'read'}; ${name} is of type ${mapTypeName(map.type) ?? map.type}, which user space alone ${writes ? 'writes' : 'reads'}`, suggestion: `let user space ${writes ? 'write' : 'read'} it: bpf_map_${writes ? 'update' : 'lookup'}_elem() of libbpf` };
  return { needed: `a map that programs may ${writes ? 'write' : 'read'}; ${name} is declared with ${writes ? 'BPF_F_RDONLY_PROG' : 'BPF_F_WRONLY_PROG'}`, suggestion: `take the flag out of its map_flags, or let user space ${writes ? 'write' : 'read'} it` };
}

function returnRange({ refusal: { message }, register }: Situation): Advice {
  const range = /in \[(-?\d+), (-?\d+)\]/.exec(message);
  const callback = /callback/.test(message);
  return {
    needed: range === null ? 'a number in r0' : range[1] === range[2] ? `${range[1]} as result` : `a result from ${range[1]} to ${range[2]}${callback && range[2] === '1' ? ': 0 goes on, 1 ends the loop' : ''}${register === undefined ? '' : `; here it is ${numberWords(register.scalar)}`}`,
    suggestion: callback ? 'return 0 or 1 from the callback on every path' : 'return one of the verdicts of this program type on every path',
  };
}

const ARGUMENT_WORDS: Readonly<Record<string, string>> = { map_ptr: 'a map', fp: 'memory: the stack, a map value, a record, or packet bytes', ctx: 'the context', scalar: 'a number', func: 'a function', ringbuf_mem: 'a record', map_value: 'a map value', sock_common: 'a socket', sock: 'a socket' };

/** What helpers take, as their prototypes name it; numbers where nothing is said. */
const KIND_WORDS: Readonly<Partial<Record<string, string>>> = { u64: 'number', u32: 'number', i32: 'number', unchecked: 'anything', memory_out: 'memory', memory_inout: 'memory', ringbuf_record: 'record', size_or_zero: 'size', allocated_size: 'size', map_value_out: 'value', map_key: 'key', map_value: 'value' };

function otherArgument(situation: Situation): Advice {
  const { refusal: { message, registers }, type, instruction, number, register } = situation;
  const expected = /expected=(.*)/.exec(message)?.[1]?.split(', ') ?? [];
  const first = expected[0] ?? '';
  const id = instruction?.kind === 'call' && instruction.target.kind === 'helper' ? instruction.target.id : undefined;
  const name = id === undefined ? 'the function' : `bpf_${HELPER_NAMES[id]}`;
  const kinds = id === undefined ? [] : (prototypeOf(id, type)?.args ?? []).map((kind) => KIND_WORDS[kind] ?? kind.replaceAll('_', ' '));
  const words = (index: number): string => argument(situation, index) ?? `argument ${index}`;
  const needed = `${ARGUMENT_WORDS[first] ?? first} as argument ${number} of ${name}${kinds.length === 0 ? '' : `(${kinds.join(', ')})`}`;
  if (number === undefined) return { needed, suggestion: 'see man bpf-helpers' };
  if (register?.type === 'scalar' && isConstant(register.scalar) && register.scalar.value === 0n) return { needed, suggestion: `NULL is not allowed here: pass the address of a variable that holds it` };
  const other = registers.findIndex((each, index) => index >= 1 && index <= kinds.length && index !== number && expected.includes(each.type));
  if (other > 0 && first === 'map_ptr') return { needed, suggestion: `exchange arguments ${number} and ${other}: ${words(other)} is the map` };
  return { needed, suggestion: `pass that instead of ${words(number)}; man bpf-helpers says what each argument is` };
}
