/** What a program that is being written has in its registers and on its stack, so that the next instruction can make sense. */
import type { Register } from '../../dataplane/bpf/isa.ts';

export type Region = 'stack' | 'packet' | 'value' | 'record';

export type Held =
  | { readonly kind: 'nothing' }
  /** `max`: known to be at most this, unsigned. */
  | { readonly kind: 'scalar'; readonly max?: number }
  | { readonly kind: 'context' }
  | { readonly kind: 'packet_end' }
  /** Bytes `low` to `high` from where it points may be accessed. */
  | { readonly kind: 'memory'; readonly region: Region; readonly low: number; readonly high: number };

export type Memory = Extract<Held, { kind: 'memory' }>;

export const NOTHING: Held = { kind: 'nothing' };
export const SCALAR: Held = { kind: 'scalar' };
/** r0 to r9. */
export const REGISTERS: readonly Register[] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

export class Frame {
  readonly stackBytes: number;
  /** r10 stays where it is. */
  readonly registers: Held[];
  /** Eight bytes each, from the lowest. */
  readonly slots: Held[];
  /** Registers that must keep what they hold. */
  readonly reserved = new Set<Register>();

  constructor(stackBytes: number) {
    this.stackBytes = stackBytes;
    this.registers = Array.from({ length: 10 }, () => NOTHING);
    this.slots = Array.from({ length: stackBytes / 8 }, () => NOTHING);
  }

  get(register: Register): Held {
    return register === 10 ? { kind: 'memory', region: 'stack', low: -this.stackBytes, high: 0 } : this.registers[register]!;
  }

  set(register: Register, held: Held): void {
    this.registers[register] = held;
  }

  having(accept: (held: Held) => boolean): Register[] {
    return REGISTERS.filter((register) => accept(this.get(register)));
  }

  scalars(): Register[] {
    return this.having(({ kind }) => kind === 'scalar');
  }

  memories(region?: Region): Register[] {
    return this.having((held) => held.kind === 'memory' && (region === undefined || held.region === region));
  }

  writable(): Register[] {
    return REGISTERS.filter((register) => !this.reserved.has(register));
  }

  /** Offset from r10 of a slot. */
  slotOffset(slot: number): number {
    return 8 * slot - this.stackBytes;
  }

  slotsHaving(accept: (held: Held) => boolean): number[] {
    return [...this.slots.keys()].filter((slot) => accept(this.slots[slot]!));
  }

  /** After a call. */
  clobber(): void {
    for (const register of REGISTERS.slice(0, 6)) this.set(register, NOTHING);
  }

  /** After the packet moved, or a record was given back. */
  forget(region: Region): void {
    const gone = (held: Held): boolean => (held.kind === 'memory' && held.region === region) || (region === 'packet' && held.kind === 'packet_end');
    for (const register of REGISTERS) if (gone(this.get(register))) this.set(register, NOTHING);
    for (const [slot, held] of this.slots.entries()) if (gone(held)) this.slots[slot] = NOTHING;
  }

  save(): readonly Held[] {
    return [...this.registers, ...this.slots];
  }

  restore(saved: readonly Held[]): void {
    for (const [at, held] of saved.entries()) this.#put(at, held);
  }

  /** Where two ways meet, only what is the same on both is known. */
  meet(other: readonly Held[]): void {
    for (const [at, held] of this.save().entries()) this.#put(at, meet(held, other[at]!));
  }

  #put(at: number, held: Held): void {
    if (at < this.registers.length) this.registers[at] = held;
    else this.slots[at - this.registers.length] = held;
  }
}

function meet(a: Held, b: Held): Held {
  if (a.kind !== b.kind) return NOTHING;
  if (a.kind === 'scalar' && b.kind === 'scalar') return a.max !== undefined && b.max !== undefined ? { kind: 'scalar', max: Math.max(a.max, b.max) } : SCALAR;
  if (a.kind === 'memory' && b.kind === 'memory') {
    if (a.region !== b.region) return NOTHING;
    return { ...a, low: Math.max(a.low, b.low), high: Math.min(a.high, b.high) };
  }
  return a;
}
