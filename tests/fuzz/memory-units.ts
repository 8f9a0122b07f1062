/** Units that read and write memory: stack, packet, map values, records, and the context. */
import type { AccessBytes, AtomicOp, Register } from '../../dataplane/bpf/isa.ts';
import { immediate } from './constants.ts';
import { NOTHING, SCALAR, type Held, type Memory } from './frame.ts';
import { alu, arithmetic, bound, compare, imm, isCareless, leave, mov, ownScalar, place, reg, scalar, target, anyWidth, type Writer } from './writer.ts';

const SIZES: readonly AccessBytes[] = [1, 2, 4, 8];

const CONTEXT = {
  xdp: { data: 0, end: 4, readable: [12, 16], writable: [] },
  // len, pkt_type, mark, queue_mapping, protocol, vlan_present, priority, ifindex, hash, cb; mark, priority, cb.
  sched_cls: { data: 76, end: 80, readable: [0, 4, 8, 16, 20, 32, 40, 48, 52, 56, 60, 64], writable: [8, 32, 48, 52, 56, 60, 64] },
} as const;

const contextOf = (writer: Writer): (typeof CONTEXT)['xdp' | 'sched_cls'] => (writer.type === 'xdp' ? CONTEXT.xdp : CONTEXT.sched_cls);

export function contextRegister({ frame, random }: Writer): Register | undefined {
  const found = frame.having(({ kind }) => kind === 'context');
  return found.length === 0 ? undefined : random.pick(found);
}

export function readContext(writer: Writer): void {
  const { code, frame, random } = writer;
  const context = contextRegister(writer);
  if (context === undefined) return;
  const { readable, writable } = contextOf(writer);
  if (writable.length > 0 && random.chance(0.4)) {
    code.emit({ kind: 'store', bytes: 4, dst: context, offset: random.pick(writable), source: random.chance(0.5) ? reg(scalar(writer)) : imm(immediate(random)) });
    return;
  }
  const dst = target(writer);
  const offset = isCareless(writer) ? random.below(200) : random.pick(readable);
  code.emit({ kind: 'load', bytes: offset % 4 === 0 && random.chance(0.9) ? 4 : random.pick(SIZES), signed: false, dst, src: context, offset });
  frame.set(dst, SCALAR);
}

/** data and data_end, and the comparison that proves some bytes. */
export function provePacket(writer: Writer): void {
  const { code, frame, random } = writer;
  const context = contextRegister(writer);
  if (context === undefined || writer.owes > 0) return;
  const { data, end } = contextOf(writer);
  const free = frame.writable().filter((register) => register !== context);
  if (free.length < 3) return;
  const [start, limit, probe] = [0, 1, 2].map(() => free.splice(random.below(free.length), 1)[0]!) as [Register, Register, Register];
  const fields = [{ register: start, offset: data }, { register: limit, offset: end }];
  for (const { register, offset } of random.chance(0.5) ? fields : fields.toReversed()) code.emit({ kind: 'load', bytes: 4, signed: false, dst: register, src: context, offset });
  const low = random.chance(0.3) ? random.between(1, 16) : 0;
  if (low > 0) code.emit(alu('add', start, imm(low)));
  prove(writer, start, limit, probe, random.pick([1, 2, 4, 8, 14, 20, 34, 42, 54, 60]), -low);
}

function prove(writer: Writer, start: Register, limit: Register, probe: Register, bytes: number, low: number): void {
  const { code, frame, random } = writer;
  const [inside, outside] = [code.label(), code.label()];
  const out = (): void => {
    code.place(outside);
    leave(writer);
    code.place(inside);
  };
  code.emit(mov(probe, reg(start)), alu('add', probe, imm(bytes)));
  let proven = bytes;
  switch (isCareless(writer) ? 9 : random.below(6)) {
    case 0:
      code.branch('jgt', 64, probe, reg(limit), outside);
      code.jump(inside);
      out();
      break;
    case 1:
      code.branch('jle', 64, probe, reg(limit), inside);
      out();
      break;
    case 2:
      code.branch('jge', 64, limit, reg(probe), inside);
      out();
      break;
    case 3:
      code.branch('jlt', 64, limit, reg(probe), outside);
      code.jump(inside);
      out();
      break;
    case 4:
      // Strictly less: one byte more.
      code.branch('jlt', 64, probe, reg(limit), inside);
      proven = bytes + 1;
      out();
      break;
    case 5:
      code.branch('jgt', 64, limit, reg(probe), inside);
      proven = bytes + 1;
      out();
      break;
    default:
      break;
  }
  frame.set(start, { kind: 'memory', region: 'packet', low, high: proven });
  frame.set(probe, { kind: 'memory', region: 'packet', low: low - bytes, high: proven - bytes });
  frame.set(limit, { kind: 'packet_end' });
}

/** A variable offset into the packet, and its own comparison. */
export function walkPacket(writer: Writer): void {
  const { code, frame, random } = writer;
  const [start] = frame.memories('packet').filter((register) => !frame.reserved.has(register));
  const [limit] = frame.having(({ kind }) => kind === 'packet_end');
  if (start === undefined || limit === undefined || writer.owes > 0) return provePacket(writer);
  const offset = ownScalar(writer);
  bound(writer, offset, random.pick([1, 15, 60, 255, 4095, 65_535]));
  code.emit(alu('add', start, reg(offset)));
  frame.set(start, { kind: 'memory', region: 'packet', low: 0, high: 0 });
  const probe = frame.writable().find((register) => register !== start && register !== limit && frame.get(register).kind !== 'context');
  if (probe !== undefined) prove(writer, start, limit, probe, random.pick([1, 2, 4, 8, 20]), 0);
}

function memoryRegister({ frame, random }: Writer): Register {
  const found = frame.memories();
  return found.length === 0 || random.chance(0.25) ? 10 : random.pick(found);
}

/** One load or store of 1 to 8 bytes. */
export function access(writer: Writer): void {
  const { code, frame, random } = writer;
  const base = memoryRegister(writer);
  const memory = frame.get(base) as Memory;
  if (memory.region === 'stack') return accessStack(writer, base, memory);
  const bytes = random.pick(SIZES);
  const offset = place(writer, memory, bytes, memory.region !== 'packet' || random.chance(0.5));
  if (offset === undefined) return;
  if (random.chance(0.6)) loadAt(writer, bytes, base, offset);
  else code.emit({ kind: 'store', bytes, dst: base, offset, source: random.chance(0.7) ? reg(scalar(writer)) : imm(immediate(random)) });
}

function loadAt(writer: Writer, bytes: AccessBytes, src: Register, offset: number): void {
  const { code, frame, random } = writer;
  const dst = target(writer);
  code.emit({ kind: 'load', bytes, signed: bytes !== 8 && random.chance(0.25), dst, src, offset });
  frame.set(dst, SCALAR);
}

/** Within one slot; from `base`, which is somewhere in the frame. */
function accessStack(writer: Writer, base: Register, memory: Memory): void {
  const { code, frame, random } = writer;
  // Another function's frame: nothing is known of its slots but that they are there.
  const own = memory.high - memory.low === frame.stackBytes;
  const initialised = frame.slotsHaving(({ kind }) => kind === 'scalar');
  const isLoad = own ? initialised.length > 0 && random.chance(0.5) : random.chance(0.5);
  const bytes = random.pick(SIZES);
  if (isCareless(writer)) {
    const offset = random.between(memory.low - 8, memory.high + 1);
    if (isLoad) loadAt(writer, bytes, base, offset);
    else code.emit({ kind: 'store', bytes, dst: base, offset, source: reg(scalar(writer)) });
    return;
  }
  if (!own) {
    const offset = place(writer, memory, bytes, true);
    if (offset === undefined) return;
    if (isLoad) loadAt(writer, bytes, base, offset);
    else code.emit({ kind: 'store', bytes, dst: base, offset, source: reg(scalar(writer)) });
    return;
  }
  const slot = isLoad ? random.pick(initialised) : random.below(frame.slots.length);
  const within = random.below(8 / bytes) * bytes;
  const offset = memory.low + 8 * slot + within;
  if (isLoad) return loadAt(writer, bytes, base, offset);
  code.emit({ kind: 'store', bytes, dst: base, offset, source: random.chance(0.7) ? reg(scalar(writer)) : imm(immediate(random)) });
  if (frame.slots[slot]!.kind !== 'scalar') frame.slots[slot] = bytes === 8 ? SCALAR : NOTHING;
}

/** Any register to the stack, and back later. */
export function spill(writer: Writer): void {
  const { code, frame, random } = writer;
  const registers = frame.having(({ kind }) => kind !== 'nothing');
  if (registers.length === 0) return;
  const register = random.pick(registers);
  const slot = random.below(frame.slots.length);
  code.emit({ kind: 'store', bytes: 8, dst: 10, offset: frame.slotOffset(slot), source: reg(register) });
  frame.slots[slot] = frame.get(register);
}

export function fill(writer: Writer): void {
  const { code, frame, random } = writer;
  const slots = frame.slotsHaving(({ kind }) => kind !== 'nothing');
  if (slots.length === 0) return spill(writer);
  const slot = random.pick(slots);
  const dst = target(writer);
  const held = frame.slots[slot]!;
  if (held.kind === 'scalar' && random.chance(0.4)) {
    const bytes = random.pick([1, 2, 4] as const);
    code.emit({ kind: 'load', bytes, signed: random.chance(0.3), dst, src: 10, offset: frame.slotOffset(slot) + bytes * random.below(8 / bytes) });
    frame.set(dst, SCALAR);
    return;
  }
  code.emit({ kind: 'load', bytes: 8, signed: false, dst, src: 10, offset: frame.slotOffset(slot) });
  frame.set(dst, held);
}

/** A pointer that moves by a constant or by a bounded number, and an access behind it. */
export function moveAndAccess(writer: Writer): void {
  const { code, frame, random } = writer;
  const base = random.pick([...frame.memories('value'), ...frame.memories('value'), ...frame.memories('packet'), ...frame.memories('record'), ...(random.chance(0.3) ? frame.memories('stack') : [])]);
  if (base === undefined) return access(writer);
  const memory = frame.get(base) as Memory;
  const pointer = target(writer);
  if (random.chance(0.3)) {
    const by = random.between(-8, 16);
    if (pointer !== base) code.emit(mov(pointer, reg(base)));
    code.emit(random.chance(0.7) ? alu('add', pointer, imm(by)) : alu('sub', pointer, imm(-by)));
    frame.set(pointer, { ...memory, low: memory.low - by, high: memory.high - by });
    return accessThrough(writer, pointer);
  }
  if (memory.region === 'packet' || memory.high < 2) return accessThrough(writer, base);
  const offset = scalar(writer, (register) => register !== pointer && register !== base && !frame.reserved.has(register));
  if (frame.get(pointer).kind === 'context' || offset === pointer || offset === base) return;
  for (let steps = random.below(4); steps > 0; steps--) arithmetic(writer, offset);
  if (writer.owes === 0 && random.chance(0.4)) {
    const on = code.label();
    compare(writer, on, offset);
    leave(writer);
    code.place(on);
  }
  const bytes = random.pick(SIZES);
  const room = memory.high - bytes;
  if (room < 0) return;
  const max = random.chance(0.5) ? room : random.below(room + 1);
  if (!isCareless(writer)) boundSomehow(writer, offset, max, pointer, base);
  const reach = { ...memory, high: memory.high - max };
  if (memory.region === 'stack') {
    // Linux tells slots apart only where the offset is one; a write may have hit any.
    for (const slot of frame.slots.keys()) if (frame.slots[slot]!.kind !== 'scalar') frame.slots[slot] = NOTHING;
    if (frame.slots.some(({ kind }) => kind === 'nothing')) writer.steady = false;
  }
  if (pointer !== base) code.emit(mov(pointer, reg(base)));
  code.emit(alu('add', pointer, reg(offset)));
  frame.set(pointer, reach);
  accessThrough(writer, pointer, bytes);
}

/** Directly, or by way of what is the same number: a copy, or what was put on the stack before. */
function boundSomehow(writer: Writer, offset: Register, max: number, ...kept: readonly Register[]): void {
  const { code, frame, random } = writer;
  const way = writer.owes > 0 ? 0 : random.below(8);
  const other = frame.writable().find((register) => register !== offset && !kept.includes(register) && ['nothing', 'scalar'].includes(frame.get(register).kind));
  if (way === 6 && other !== undefined) {
    // Not followed through arithmetic, but through comparisons.
    code.emit(mov(other, reg(offset)));
    compareBelow(writer, random.chance(0.5) ? other : offset, max);
    if (random.chance(0.5)) code.emit(mov(offset, reg(other)));
    frame.set(other, { kind: 'scalar', max });
    frame.set(offset, { kind: 'scalar', max });
  } else if (way === 7) {
    const slot = random.below(frame.slots.length);
    const bytes = random.chance(0.8) ? 8 : 4;
    code.emit({ kind: 'store', bytes, dst: 10, offset: frame.slotOffset(slot), source: reg(offset) });
    if (bytes === 8 || frame.slots[slot]!.kind !== 'scalar') frame.slots[slot] = bytes === 8 ? SCALAR : NOTHING;
    compareBelow(writer, offset, max);
    code.emit({ kind: 'load', bytes, signed: false, dst: offset, src: 10, offset: frame.slotOffset(slot) });
    frame.set(offset, { kind: 'scalar', max });
  } else bound(writer, offset, max);
}

function compareBelow(writer: Writer, register: Register, max: number): void {
  const { code, random } = writer;
  const inside = code.label();
  if (random.chance(0.5)) code.branch('jle', 64, register, imm(max), inside);
  else code.branch('jlt', 64, register, imm(max + 1), inside);
  leave(writer);
  code.place(inside);
}

/** What a loop does: a byte, or several, at the place that the counter says. */
export function accessAtCounter(writer: Writer, counter: Register, turns: number): void {
  const { code, frame, random } = writer;
  const bases = frame.memories().filter((register) => (frame.get(register) as Memory).region !== 'packet' && frame.reserved.has(register));
  const free = frame.writable().filter((register) => register !== counter);
  if (bases.length === 0 || free.length < 2) return;
  const base = random.pick(bases);
  const pointer = random.pick(free);
  const scale = random.pick([1, 2, 4, 8] as const);
  const step = random.pick(free.filter((register) => register !== pointer));
  code.emit(mov(step, reg(counter)));
  if (scale > 1) code.emit(random.chance(0.5) ? alu('mul', step, imm(scale)) : alu('lsh', step, imm(Math.log2(scale))));
  code.emit(mov(pointer, reg(base)), alu('add', pointer, reg(step)));
  frame.set(step, SCALAR);
  const memory = frame.get(base) as Memory;
  frame.set(pointer, { ...memory, high: memory.high - turns * scale });
  accessThrough(writer, pointer, scale);
}

function accessThrough(writer: Writer, base: Register, bytes: AccessBytes = writer.random.pick(SIZES)): void {
  const { code, frame, random } = writer;
  const memory = frame.get(base) as Memory;
  const offset = place(writer, memory, bytes, false);
  if (offset === undefined) return;
  if (memory.region === 'stack') {
    // Which slot it is, is not followed.
    if (random.chance(0.5)) writer.steady &&= frame.slots.every(({ kind }) => kind === 'scalar');
    else for (const slot of frame.slots.keys()) if (frame.slots[slot]!.kind !== 'scalar') frame.slots[slot] = NOTHING;
  }
  if (random.chance(0.6)) {
    writer.steady &&= memory.region !== 'stack' || frame.slots.every(({ kind }) => kind === 'scalar');
    loadAt(writer, bytes, base, offset);
  } else {
    code.emit({ kind: 'store', bytes, dst: base, offset, source: random.chance(0.6) ? reg(scalar(writer)) : imm(immediate(random)) });
  }
}

const READ_MODIFY_WRITE: readonly AtomicOp[] = ['add', 'or', 'and', 'xor', 'xchg', 'cmpxchg'];

/** On the stack or in a map's value, of 4 or 8 bytes. */
export function atomic(writer: Writer): void {
  const { code, frame, random } = writer;
  const values = [...frame.memories('value'), ...frame.memories('record')];
  const initialised = frame.slotsHaving(({ kind }) => kind === 'scalar');
  const onStack = values.length === 0 || random.chance(0.3);
  const op = random.pick(random.chance(0.15) ? (['load_acquire', 'store_release'] as const) : READ_MODIFY_WRITE);
  const bytes = op === 'load_acquire' || op === 'store_release' ? random.pick(SIZES) : random.pick([4, 8] as const);
  if (onStack && initialised.length === 0) return;
  const base: Register = onStack ? 10 : random.pick(values);
  const offset = onStack ? frame.slotOffset(random.pick(initialised)) + (bytes === 8 ? 0 : bytes * random.below(8 / bytes)) : place(writer, frame.get(base) as Memory, bytes, true);
  if (offset === undefined) return;
  if (op === 'load_acquire') {
    const dst = target(writer);
    code.emit({ kind: 'atomic', op, fetch: true, bytes, dst, src: base, offset });
    frame.set(dst, SCALAR);
    return;
  }
  if (op === 'cmpxchg') {
    if (frame.get(0).kind !== 'scalar') {
      if (frame.reserved.has(0) || base === 0) return;
      code.emit(mov(0, imm(immediate(random))));
      frame.set(0, SCALAR);
    }
    code.emit({ kind: 'atomic', op, fetch: true, bytes, dst: base, src: scalar(writer, (register) => register !== base), offset });
    return;
  }
  const fetch = op === 'xchg' || (op !== 'store_release' && random.chance(0.5));
  const src = fetch ? ownScalar(writer) : scalar(writer);
  if (src !== base) code.emit({ kind: 'atomic', op, fetch, bytes, dst: base, src, offset });
}

/** Packet bytes of an skb in network order; the context must be in r6. */
export function packetLoad(writer: Writer): void {
  const { code, frame, random } = writer;
  if (writer.type === 'xdp' || frame.get(6).kind !== 'context' || writer.owes > 0) return;
  const bytes = random.pick([1, 2, 4] as const);
  const index = random.chance(0.4) ? scalar(writer) : undefined;
  code.emit({ kind: 'load_packet', bytes, offset: random.pick([0, 12, 14, 23, 60, 1500]), ...(index === undefined ? {} : { index }) });
  frame.clobber();
  frame.set(0, SCALAR);
}

/** A pointer to a slot of the stack. */
export function stackPointer(writer: Writer): void {
  const { code, frame, random } = writer;
  const dst = target(writer);
  const by = -8 * random.between(1, frame.slots.length);
  code.emit(mov(dst, reg(10)), alu('add', dst, imm(by)));
  frame.set(dst, { kind: 'memory', region: 'stack', low: -frame.stackBytes - by, high: -by });
}

/** A copy of any register: two names for one pointer, or for one number. */
export function copy(writer: Writer): void {
  const { code, frame, random } = writer;
  const from = frame.having(({ kind }) => kind !== 'nothing');
  if (from.length === 0) return;
  const src = random.pick(from);
  const dst = target(writer);
  const held: Held = frame.get(src);
  code.emit(alu('mov', dst, reg(src), held.kind === 'scalar' ? anyWidth(writer) : 64));
  frame.set(dst, held.kind === 'scalar' ? SCALAR : held);
}
