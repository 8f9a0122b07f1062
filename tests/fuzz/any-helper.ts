/** A call of any helper there is, with arguments of the kinds it wants, or sometimes of others. Answers are not compared. */
import type { Register } from '../../dataplane/bpf/isa.ts';
import type { ArgumentKind, Helper } from '../../dataplane/helpers/helper.ts';
import { HELPERS } from '../../dataplane/helpers/index.ts';
import { call, checkNull, clearArguments, pass, passBytes } from './call-units.ts';
import { immediate } from './constants.ts';
import { FIXED_MAPS } from './fixed-maps.ts';
import { NOTHING, SCALAR } from './frame.ts';
import { alu, bound, imm, isCareless, reg, scalar, type Writer } from './writer.ts';

/** bpf_sk_release */
const RELEASE = 86;
const ARGUMENTS: readonly Register[] = [1, 2, 3, 4, 5];
/** These want a type in BTF, which the programs do not have. */
const TYPED: ReadonlySet<ArgumentKind> = new Set(['callback', 'spin_lock', 'timer', 'socket', 'ringbuf_record']);
const MEMORY: ReadonlySet<ArgumentKind> = new Set(['memory', 'memory_or_null', 'memory_out', 'memory_inout', 'memory_inout_or_null']);

export function anyHelper(writer: Writer): void {
  const { frame, random } = writer;
  if (frame.reserved.has(0) || writer.owes > 0) return;
  const helper = random.pick(HELPERS.filter((each) => each.programs.includes(writer.type) && (random.chance(0.05) || !each.args.some((kind) => TYPED.has(kind)))));
  writer.steady = false;
  const size = random.pick([1, 2, 4, 8, 16, 24]);
  clearArguments(writer);
  for (const [at, kind] of helper.args.entries()) argument(writer, helper, ARGUMENTS[at]!, isCareless(writer) ? random.pick(helper.args) : kind, size);
  call(writer, helper.name, SCALAR);
  after(writer, helper);
}

function argument(writer: Writer, helper: Helper, register: Register, kind: ArgumentKind, size: number): void {
  const { frame, random, code } = writer;
  if (kind === 'ctx') pass(writer, register, { from: frame.get(6).kind === 'context' ? 6 : 10 });
  else if (kind === 'map') pass(writer, register, { map: random.pick([...FIXED_MAPS.values()].filter((map) => !map.name.startsWith('programs') && (random.chance(0.1) || suits(helper, map.name)))) ?? [...FIXED_MAPS.values()][0]! });
  else if (kind === 'memory_or_null' && random.chance(0.2)) pass(writer, register, 0);
  else if (MEMORY.has(kind) || kind.startsWith('map_') || /_(in)?out$/.test(kind) || kind === 'const_string') {
    if (!passBytes(writer, register, kind.startsWith('map_') ? 16 : Math.max(8, size))) pass(writer, register, 0);
  } else if (kind === 'size' || kind === 'size_or_zero' || kind === 'allocated_size') {
    const known = random.chance(0.7) || kind === 'allocated_size';
    if (known) pass(writer, register, kind === 'size_or_zero' && random.chance(0.2) ? 0 : size);
    else {
      code.emit(alu('mov', register, reg(scalar(writer, (each) => each >= 6))));
      bound(writer, register, size);
      if (kind === 'size') code.emit(alu('or', register, imm(1)));
      frame.set(register, NOTHING);
    }
  } else if (random.chance(0.4) && frame.scalars().some((each) => each >= 6)) pass(writer, register, { from: scalar(writer, (each) => each >= 6) });
  else pass(writer, register, random.chance(0.5) ? 0 : immediate(random));
}

/** By its name, roughly. */
function suits({ name }: Helper, map: string): boolean {
  if (name.startsWith('ringbuf')) return map === 'ringbuf';
  if (/push|pop|peek/.test(name)) return map === 'queue';
  if (name.includes('percpu')) return map.startsWith('percpu');
  return !['ringbuf', 'queue'].includes(map);
}

function after(writer: Writer, { returns, changesPacket }: Helper): void {
  const { code, frame } = writer;
  if (changesPacket === true) frame.forget('packet');
  if (returns === 'void' || returns === 'never') frame.set(0, NOTHING);
  if (returns === 'map_value_or_null') {
    frame.set(0, { kind: 'memory', region: 'value', low: 0, high: 8 });
    checkNull(writer);
  }
  if (returns === 'socket_or_null' && !isCareless(writer)) {
    const none = code.label();
    code.branch('jeq', 64, 0, imm(0), none);
    code.emit(alu('mov', 1, reg(0)), { kind: 'call', target: { kind: 'helper', id: RELEASE } });
    code.place(none);
    frame.clobber();
  }
}
