/**
 * Facts about the instruction graph, found before any path is walked (Linux: check_cfg, compute_live_registers,
 * compute_scc): where states are compared, which registers are read again, and which instructions are in loops.
 */
import type { FunctionRange } from '../bpf/check.ts';
import { jumpTarget, type Instruction } from '../bpf/isa.ts';

export interface ControlFlow {
  /** By slot: 1 states are compared here, 2 the way here is remembered, 4 a state is always kept here. */
  readonly points: Uint8Array;
  /** By slot: registers whose value is read before it is replaced, a bit each. */
  readonly liveRegisters: Uint16Array;
  /** By slot: number of the loop it is in (strongly connected component), 0 for none. */
  readonly scc: Uint32Array;
  /** Starts of functions that may move packets, by themselves or by what they call. */
  readonly changesPacket: ReadonlySet<number>;
}

export interface HelperFacts {
  readonly changesPacket?: true;
  readonly callsCallback?: boolean;
  readonly args?: number;
}
const PRUNE = 1, JUMP = 2, FORCE = 4;

export function successors(instructions: readonly Instruction[], slot: number): number[] {
  const i = instructions[slot]!;
  switch (i.kind) {
    case 'exit': return [];
    case 'jump': return [jumpTarget(slot, i.offset)];
    case 'branch': return [slot + 1, jumpTarget(slot, i.offset)];
    case 'load_imm64': return [slot + 2];
    default: return [slot + 1];
  }
}
export function analyseControlFlow(instructions: readonly Instruction[], functions: readonly FunctionRange[], helper: (id: number) => HelperFacts | undefined): ControlFlow {
  const n = instructions.length; const points = new Uint8Array(n); const live = new Uint16Array(n); const scc = new Uint32Array(n);
  const cp = new Set<number>();
  for (let s = 0; s < n; s++) { const i = instructions[s]!;
    if (i.kind === 'branch') { points[s]! |= PRUNE; const t = jumpTarget(s, i.offset); points[t]! |= PRUNE | JUMP; points[s + 1]! |= 0; }
    if (i.kind === 'jump') points[jumpTarget(s, i.offset)]! |= PRUNE | JUMP;
    if (i.kind === 'call') { if (i.target.kind === 'subprogram') { points[s + 1]! |= PRUNE | JUMP; points[i.target.slot]! |= JUMP; } if (i.target.kind === 'helper') { const h = helper(i.target.id); if (h?.callsCallback) { points[s]! |= PRUNE | JUMP | FORCE; points[s + 1]! |= JUMP; } } }
    if (i.kind === 'load_imm64' && i.value.kind === 'function') points[i.value.slot]! |= JUMP;
  }
  const use = (i: Instruction): [number, number] => { // use, def
    const b = (r: number): number => 1 << r; const src = (o: { kind: string; register?: number }): number => (o.kind === 'register' ? b(o.register!) : 0);
    switch (i.kind) {
      case 'alu': return [(i.op === 'mov' ? 0 : b(i.dst)) | src(i.source), b(i.dst)]; case 'neg': case 'endian': return [b(i.dst), b(i.dst)]; case 'movsx': return [b(i.src), b(i.dst)];
      case 'load_imm64': return [0, b(i.dst)]; case 'load': return [b(i.src), b(i.dst)]; case 'store': return [b(i.dst) | src(i.source), 0];
      case 'atomic': return [b(i.dst) | b(i.src) | (i.op === 'cmpxchg' ? 1 : 0), 0];
      case 'load_packet': return [b(6) | (i.index === undefined ? 0 : b(i.index)), 0b111111]; case 'branch': return [b(i.dst) | src(i.source), 0];
      case 'call': { const a = i.target.kind === 'helper' ? helper(i.target.id)?.args ?? 5 : 5; return [((1 << a) - 1) << 1, 0b111111]; } case 'exit': return [1, 0]; default: return [0, 0]; } };
  for (let more = true; more; ) { more = false; for (let s = n - 1; s >= 0; s--) { const i = instructions[s]!; if (i.kind === 'upper') continue; let out = 0; for (const t of successors(instructions, s)) out |= live[t] ?? 0; const [u, d] = use(i); const v = (out & ~d) | u; if (v !== live[s]) { live[s] = v; more = true; } } }
  // back edges: everything between target and source is one loop
  let c = 0; for (let s = 0; s < n; s++) for (const t of successors(instructions, s)) if (t <= s) { c++; for (let k = t; k <= s; k++) scc[k] ||= c; }
  for (let more = true; more; ) {
    more = false;
    for (const { start, end } of functions) {
      if (cp.has(start)) continue;
      const changes = instructions.slice(start, end).some((i) => i.kind === 'call' && (i.target.kind === 'helper' ? helper(i.target.id)?.changesPacket === true : i.target.kind === 'subprogram' && cp.has(i.target.slot)));
      if (changes) {
        cp.add(start);
        more = true;
      }
    }
  }
  return { points, liveRegisters: live, scc, changesPacket: cp };
}
