/**
 * LD_ABS and LD_IND (RFC 9669 §5.5, inherited from classic BPF): bytes of the skb that r6 points to, in network
 * order. Offsets below zero start at a header: SKF_LL_OFF at the link layer's, SKF_NET_OFF at the network layer's.
 */
import type { Instruction } from '../../bpf/isa.ts';
import { LINK_HEADER, NETWORK_HEADER, SK_BUFF } from '../../packet/frame.ts';
import { i32, i64, select, type I32, type I64 } from '../../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../../wasm/function-builder.ts';
import { reverseBytes, type Value } from './arithmetic.ts';
import { bits } from './known-value.ts';
import { load } from './memory-access.ts';

/** The value that r0 gets; a packet that is too short ends the function with 0. `index` is the register of LD_IND. */
export function packetLoad(f: FunctionBuilder, { bytes, offset }: Extract<Instruction, { kind: 'load_packet' }>, context: I32, index: I32 | undefined, scratch: () => Local<'i64'>): I64 {
  const data = f.let(i32.load(context, SK_BUFF.data));
  const length = f.let(i32.sub(i32.load(context, SK_BUFF.data_end), data));
  const network = i32.load(context, SK_BUFF.network_offset);
  const at = f.let(index === undefined ? fromHeader(offset, network) : fromAnyHeader(f.let(i32.add(index, i32.const(offset))), network));
  // What means nothing is still negative: as an unsigned number, it is past the end.
  const inside = i32.and(i32.leU(at, length), i32.leU(i32.const(bytes), i32.sub(length, at)));
  f.if(i32.eqz(inside), () => f.return(i64.const(0)));
  const loaded = load(bytes, false, { base: i32.add(data, at), offset: 0 });
  if (bytes === 1) return loaded;
  const raw = f.let(i32.wrap(loaded));
  const value: Value = { wide: i64.extendU(raw), narrow: raw, known: bits(bytes * 8) };
  return reverseBytes(f, bytes === 2 ? 16 : 32, value, scratch);
}

function fromHeader(offset: number, network: I32): I32 {
  if (offset >= 0 || offset < LINK_HEADER) return i32.const(offset);
  return offset < NETWORK_HEADER ? i32.const(offset - LINK_HEADER) : i32.add(network, i32.const(offset - NETWORK_HEADER));
}

function fromAnyHeader(offset: I32, network: I32): I32 {
  const below = (limit: number): I32 => i32.ltS(offset, i32.const(limit));
  const fromLink = select(below(LINK_HEADER), offset, i32.sub(offset, i32.const(LINK_HEADER)));
  const fromNetwork = i32.add(network, i32.sub(offset, i32.const(NETWORK_HEADER)));
  return select(below(0), select(below(NETWORK_HEADER), fromLink, fromNetwork), offset);
}
