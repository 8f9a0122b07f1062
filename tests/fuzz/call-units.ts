/** Units that call: helpers on maps, packets and rings, and subprograms. */
import type { Register } from '../../dataplane/bpf/isa.ts';
import type { MapSpec } from '../../dataplane/bpf/spec.ts';
import { HELPERS } from '../../dataplane/helpers/index.ts';
import { immediate } from './constants.ts';
import { DIRECT_MAP, PROGRAM_MAPS, QUEUE_MAP, RINGBUF_MAP, VALUE_MAPS } from './fixed-maps.ts';
import { NOTHING, SCALAR, type Held, type Memory } from './frame.ts';
import { contextRegister } from './memory-units.ts';
import { alu, bound, compare, imm, isCareless, leave, mov, reg, scalar, type Writer } from './writer.ts';

const IDS = new Map(HELPERS.map(({ name, id }) => [name, id]));

export function call(writer: Writer, name: string, returns: Held = SCALAR): void {
  const { code, frame } = writer;
  code.emit({ kind: 'call', target: { kind: 'helper', id: IDS.get(name)! } });
  frame.clobber();
  frame.set(0, returns);
}

/** Argument registers are written from r1 on; what is in them by then is not to be used any more. */
export function clearArguments({ frame }: Writer): void {
  for (const register of [1, 2, 3, 4, 5] as const) frame.set(register, NOTHING);
}

export function pass(writer: Writer, register: Register, value: number | { readonly map: MapSpec } | { readonly from: Register }): void {
  const { code, frame } = writer;
  if (typeof value === 'number') code.emit(mov(register, imm(value)));
  else if ('map' in value) code.loadWide(register, { kind: 'map', map: value.map.name });
  else if (value.from !== register) code.emit(mov(register, reg(value.from)));
  // As an argument it is written and not used otherwise.
  frame.set(register, NOTHING);
}

/** A pointer to `bytes` bytes that can be read: of the stack, or of what a callee-saved register points to. */
export function passBytes(writer: Writer, register: Register, bytes: number): boolean {
  const { code, frame, random } = writer;
  const others = frame.memories().filter((each) => each >= 6 && (frame.get(each) as Memory).region !== 'stack' && (frame.get(each) as Memory).high >= bytes && (frame.get(each) as Memory).low <= 0);
  if (others.length > 0 && random.chance(0.4)) {
    pass(writer, register, { from: random.pick(others) });
    return true;
  }
  const slots = Math.ceil(bytes / 8);
  if (slots > frame.slots.length) return false;
  const first = random.below(frame.slots.length - slots + 1);
  for (let slot = first; slot < first + slots; slot++) {
    if (frame.slots[slot]!.kind === 'scalar') continue;
    if (isCareless(writer)) continue;
    code.emit({ kind: 'store', bytes: 8, dst: 10, offset: frame.slotOffset(slot), source: imm(random.below(6)) });
    frame.slots[slot] = SCALAR;
  }
  code.emit(mov(register, reg(10)), alu('add', register, imm(frame.slotOffset(first))));
  frame.set(register, NOTHING);
  return true;
}

function key(writer: Writer, register: Register, map: MapSpec): boolean {
  const { code, frame, random } = writer;
  if (map.keyBytes > 8 || random.chance(0.3)) return passBytes(writer, register, map.keyBytes);
  const slot = random.below(frame.slots.length);
  code.emit({ kind: 'store', bytes: map.keyBytes === 4 && random.chance(0.5) ? 4 : 8, dst: 10, offset: frame.slotOffset(slot), source: imm(random.below(random.chance(0.9) ? 5 : 1000)) });
  // The other half may be whatever it was.
  frame.slots[slot] = frame.slots[slot]!.kind === 'scalar' ? SCALAR : NOTHING;
  code.emit(mov(register, reg(10)), alu('add', register, imm(frame.slotOffset(slot))));
  frame.set(register, NOTHING);
  return true;
}

export function lookup(writer: Writer): void {
  const { code, frame, random } = writer;
  if (frame.reserved.has(0)) return;
  if (random.chance(0.2)) return direct(writer);
  const map = random.pick(VALUE_MAPS);
  clearArguments(writer);
  const arrange = [() => pass(writer, 1, { map }), () => void key(writer, 2, map)];
  for (const step of random.chance(0.5) ? arrange : arrange.toReversed()) step();
  const value: Held = { kind: 'memory', region: 'value', low: 0, high: map.valueBytes };
  call(writer, 'map_lookup_elem', value);
  checkNull(writer);
  if (frame.get(0).kind === 'memory' && random.chance(0.6)) {
    const kept = frame.writable().filter((register) => register >= 6);
    if (kept.length === 0) return;
    const dst = random.pick(kept);
    code.emit(mov(dst, reg(0)));
    frame.set(dst, value);
  }
}

function direct({ code, frame, random }: Writer): void {
  const dst = random.pick(frame.writable());
  const offset = random.pick([0, 0, 1, 8, 64, 120]);
  code.loadWide(dst, { kind: 'map_value', map: DIRECT_MAP.name, offset });
  frame.set(dst, { kind: 'memory', region: 'value', low: -offset, high: DIRECT_MAP.valueBytes - offset });
}

/** r0 is known to point from here on, or the program has ended. */
export function checkNull(writer: Writer): void {
  const { code, frame, random } = writer;
  if (isCareless(writer)) return;
  const on = code.label();
  if (writer.owes > 0) {
    frame.set(0, NOTHING);
    return;
  }
  switch (random.below(3)) {
    case 0:
      code.branch('jne', 64, 0, imm(0), on);
      leave(writer);
      break;
    case 1: {
      const none = code.label();
      code.branch('jeq', 64, 0, imm(0), none);
      code.jump(on);
      code.place(none);
      leave(writer);
      break;
    }
    default: {
      // By way of a copy.
      const copies = frame.writable().filter((register) => register !== 0);
      const copied = random.pick(copies);
      code.emit(mov(copied, reg(0)));
      frame.set(copied, frame.get(0));
      code.branch('jne', 64, random.chance(0.5) ? copied : 0, imm(0), on);
      leave(writer);
    }
  }
  code.place(on);
}

export function changeMap(writer: Writer): void {
  const { random, frame } = writer;
  if (frame.reserved.has(0)) return;
  const map = random.pick([...VALUE_MAPS, DIRECT_MAP, QUEUE_MAP]);
  clearArguments(writer);
  pass(writer, 1, { map });
  if (map === QUEUE_MAP) {
    if (!passBytes(writer, 2, map.valueBytes)) return;
    const name = random.pick(['map_push_elem', 'map_pop_elem', 'map_peek_elem']);
    if (name === 'map_push_elem') pass(writer, 3, 0);
    call(writer, name);
    return;
  }
  if (!key(writer, 2, map)) return;
  if (random.chance(0.35) && map.name !== DIRECT_MAP.name) return call(writer, 'map_delete_elem');
  if (!passBytes(writer, 3, map.valueBytes)) return;
  pass(writer, 4, random.chance(0.8) ? 0 : random.below(4));
  call(writer, 'map_update_elem');
}

export function checksum(writer: Writer): void {
  const { random, frame, code } = writer;
  if (frame.reserved.has(0)) return;
  clearArguments(writer);
  const bytes = [0, 0].map(() => 4 * random.below(6));
  for (const [at, length] of bytes.entries()) {
    const [from, size] = at === 0 ? ([1, 2] as const) : ([3, 4] as const);
    if (length === 0) pass(writer, from, 0);
    else if (!passBytes(writer, from, length)) pass(writer, from, 0);
    pass(writer, size, length);
  }
  code.emit(mov(5, imm(immediate(random))));
  call(writer, 'csum_diff');
}

/** Bytes of the packet to the stack, and from it. */
export function packetBytes(writer: Writer): void {
  const { random, frame, code } = writer;
  const context = contextRegister(writer);
  if (context === undefined || frame.reserved.has(0)) return;
  const room = frame.stackBytes;
  const length = random.pick([1, 2, 4, 6, 8, 14, 20, 40].filter((each) => each <= room));
  const from = context < 6 ? 6 : context;
  if (frame.get(from).kind !== 'context') return;
  const size = random.chance(0.3) && frame.writable().some((register) => register >= 6) ? scalar(writer, (register) => register >= 6 && !frame.reserved.has(register)) : undefined;
  if (size !== undefined) {
    bound(writer, size, length);
    if (random.chance(0.5) && writer.owes === 0) {
      const on = code.label();
      code.branch('jne', 64, size, imm(0), on);
      leave(writer);
      code.place(on);
    }
  }
  clearArguments(writer);
  pass(writer, 1, { from });
  pass(writer, 2, random.pick([0, 0, 12, 14, 30, 60]));
  if (!passBytes(writer, 3, length)) return;
  pass(writer, 4, size === undefined ? length : { from: size });
  const isStore = random.chance(0.25);
  if (writer.type === 'xdp') {
    call(writer, isStore ? 'xdp_store_bytes' : 'xdp_load_bytes');
    return;
  }
  if (isStore) pass(writer, 5, 0);
  call(writer, isStore ? 'skb_store_bytes' : 'skb_load_bytes');
  if (isStore) frame.forget('packet');
}

/** The packet's bounds move: what was proven is gone. */
export function moveBounds(writer: Writer): void {
  const { random, frame } = writer;
  if (frame.get(6).kind !== 'context' || frame.reserved.has(0)) return;
  clearArguments(writer);
  pass(writer, 1, { from: 6 });
  if (writer.type === 'xdp') {
    pass(writer, 2, random.pick([-14, -8, -4, 4, 8, 14]));
    call(writer, random.pick(['xdp_adjust_head', 'xdp_adjust_tail']));
  } else {
    pass(writer, 2, random.pick([0, 14, 40, 60]));
    call(writer, 'skb_pull_data');
  }
  if (!isCareless(writer)) frame.forget('packet');
}

export function record(writer: Writer, body: () => void): void {
  const { code, frame, random } = writer;
  if (frame.reserved.has(0) || writer.owes > 0) return;
  const kept = frame.writable().filter((register) => register >= 6);
  if (kept.length === 0) return;
  const holder = random.pick(kept);
  const bytes = random.pick([8, 16, 24, 40]);
  clearArguments(writer);
  pass(writer, 1, { map: RINGBUF_MAP });
  pass(writer, 2, bytes);
  pass(writer, 3, 0);
  call(writer, 'ringbuf_reserve', { kind: 'memory', region: 'record', low: 0, high: bytes });
  const none = code.label();
  if (random.chance(0.5)) {
    code.branch('jeq', 64, 0, imm(0), none);
    code.emit(mov(holder, reg(0)));
  } else {
    code.emit(mov(holder, reg(0)));
    code.branch('jeq', 64, holder, imm(0), none);
  }
  const without = frame.save();
  frame.set(holder, frame.get(0));
  frame.set(0, random.chance(0.5) ? NOTHING : frame.get(0));
  for (let offset = 0; offset < bytes; offset += 8) code.emit({ kind: 'store', bytes: 8, dst: holder, offset, source: random.chance(0.5) ? imm(offset) : reg(scalar(writer)) });
  writer.owes++;
  frame.reserved.add(holder);
  body();
  frame.reserved.delete(holder);
  writer.owes--;
  if (!isCareless(writer)) {
    clearArguments(writer);
    pass(writer, 1, { from: holder });
    pass(writer, 2, 0);
    call(writer, random.chance(0.8) ? 'ringbuf_submit' : 'ringbuf_discard', NOTHING);
  }
  frame.forget('record');
  code.place(none);
  frame.meet(without);
  frame.set(0, NOTHING);
  frame.set(holder, NOTHING);
  frame.forget('record');
}

export function output(writer: Writer): void {
  const { random, frame } = writer;
  if (frame.reserved.has(0)) return;
  clearArguments(writer);
  pass(writer, 1, { map: RINGBUF_MAP });
  const bytes = random.pick([1, 4, 8, 16, 24]);
  if (!passBytes(writer, 2, bytes)) return;
  pass(writer, 3, bytes);
  pass(writer, 4, 0);
  call(writer, 'ringbuf_output');
}

export function plain(writer: Writer): void {
  if (!writer.frame.reserved.has(0)) call(writer, 'get_smp_processor_id');
}

/** To a slot where nothing is, so that it goes on. */
export function tailCall(writer: Writer): void {
  const { random, frame } = writer;
  if (frame.get(6).kind !== 'context' || frame.reserved.has(0) || writer.owes > 0) return;
  clearArguments(writer);
  pass(writer, 1, { from: 6 });
  pass(writer, 2, { map: PROGRAM_MAPS.get(writer.type)! });
  pass(writer, 3, random.below(6));
  call(writer, 'tail_call', NOTHING);
}

export function subprogram(writer: Writer): void {
  const { code, frame, random, subprograms } = writer;
  if (subprograms.length === 0 || frame.reserved.has(0)) return;
  const { label, parameters } = random.pick(subprograms);
  const sources = parameters.map((parameter) => sourceOf(writer, parameter));
  if (sources.includes(undefined)) return;
  clearArguments(writer);
  for (const [at, source] of sources.entries()) {
    const register = (at + 1) as Register;
    if (source === 10) {
      const offset = -8 * Math.ceil((parameters[at] as Memory).high / 8);
      code.emit(mov(register, reg(10)), alu('add', register, imm(offset)));
    } else if (source === 'constant') code.emit(mov(register, imm(immediate(random))));
    else code.emit(mov(register, reg(source!)));
  }
  code.call(label);
  frame.clobber();
  // What the function was given of this frame it may have written.
  for (const slot of frame.slots.keys()) if (sources.includes(10) && frame.slots[slot]!.kind !== 'scalar') frame.slots[slot] = NOTHING;
  frame.set(0, SCALAR);
}

/** Where an argument can come from: a callee-saved register, the stack, a constant. */
function sourceOf(writer: Writer, parameter: Held): Register | 'constant' | undefined {
  const { frame, random, code } = writer;
  const saved = frame.having((held) => held.kind === parameter.kind).filter((register) => register >= 6);
  if (parameter.kind === 'scalar') return saved.length > 0 && random.chance(0.7) ? random.pick(saved) : 'constant';
  if (parameter.kind !== 'memory') return saved[0];
  if (parameter.region === 'stack') {
    const slots = Math.ceil(parameter.high / 8);
    if (slots > frame.slots.length) return undefined;
    for (let slot = frame.slots.length - slots; slot < frame.slots.length; slot++) {
      if (frame.slots[slot]!.kind === 'scalar') continue;
      code.emit({ kind: 'store', bytes: 8, dst: 10, offset: frame.slotOffset(slot), source: imm(random.below(9)) });
      frame.slots[slot] = SCALAR;
    }
    return 10;
  }
  return saved.find((register) => {
    const held = frame.get(register) as Memory;
    return held.region === parameter.region && held.low <= parameter.low && held.high >= parameter.high;
  });
}

/** A comparison that both ways go on from. */
export function eitherWay(writer: Writer, then: () => void, otherwise: () => void): void {
  const { code, frame, random } = writer;
  const [elsewhere, end] = [code.label(), code.label()];
  compare(writer, elsewhere);
  const before = frame.save();
  then();
  const isOneSided = random.chance(0.4);
  if (!isOneSided) code.jump(end);
  code.place(elsewhere);
  const after = frame.save();
  frame.restore(before);
  if (!isOneSided) otherwise();
  code.place(end);
  frame.meet(after);
}
