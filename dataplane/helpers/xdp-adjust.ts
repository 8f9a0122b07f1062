/**
 * bpf_xdp_adjust_head, _tail and _meta: moving the bounds of a packet inside its frame.
 *
 *   hard_start   + 40          data_meta   data             data_end      hard_end
 *      | xdp_frame | headroom     | metadata | packet          | tailroom    |
 *
 * A refused move changes nothing. Linux shows a program whatever the frame held in front of the packet; here those
 * bytes are zero the first time they are shown, so that a run can be repeated. What a program wrote there stays.
 */
import type { Machine } from '../machine/machine.ts';
import { ERRNO } from '../maps/map.ts';
import { FRAME, XDP_MD } from '../packet/frame.ts';
import { i32, memory, select, type I32 } from '../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../wasm/function-builder.ts';
import type { ModuleBuilder } from '../wasm/module-builder.ts';
import type { Helper } from './helper.ts';
import { XDP_PROGRAMS } from './program-sets.ts';

/** What the meta_len of struct skb_shared_info, a u8, can say. */
const LONGEST_METADATA_BYTES = 255;
/** Fragments behind the linear part of a large packet are pages, all full but the last. */
const FRAGMENT_BYTES = 4096;

const refuse = (f: FunctionBuilder, condition: I32, errno: number): void => f.if(condition, () => f.return(i32.const(-errno)));

/** Zeroes what `from` exposes below everything shown so far. */
function expose(f: FunctionBuilder, ctx: I32, from: Local<'i32'>): void {
  const exposed = f.let(i32.load(ctx, XDP_MD.exposed), 'exposed');
  f.if(i32.ltU(from, exposed), () => {
    f.do(memory.fill(from, i32.const(0), i32.sub(exposed, from)));
    f.do(i32.store(ctx, XDP_MD.exposed, from));
  });
}

/** Lowest address that metadata or packet may start at. */
const firstUsable = (ctx: I32): I32 => i32.add(i32.load(ctx, XDP_MD.hard_start), i32.const(FRAME.xdpFrame));

/** Metadata moves along with the packet's start. */
function adjustHead(f: FunctionBuilder<'i32'>, ctx: I32, delta: I32): void {
  const data = f.let(i32.load(ctx, XDP_MD.data), 'data');
  const meta = f.let(i32.load(ctx, XDP_MD.data_meta), 'meta');
  const headroom = i32.sub(meta, firstUsable(ctx));
  const longest = i32.sub(i32.sub(i32.load(ctx, XDP_MD.data_end), data), i32.const(FRAME.minimumLength));
  refuse(f, i32.gtS(delta, longest), ERRNO.EINVAL);
  refuse(f, i32.ltS(i32.add(headroom, delta), i32.const(0)), ERRNO.EINVAL);
  const moved = f.let(i32.add(meta, delta), 'moved');
  expose(f, ctx, moved);
  f.if(i32.ne(meta, data), () => f.do(memory.copy(moved, meta, i32.sub(data, meta))));
  f.do(i32.store(ctx, XDP_MD.data_meta, moved));
  f.do(i32.store(ctx, XDP_MD.data, i32.add(data, delta)));
}

/** Grown bytes are zero, also where the packet had bytes before it was cut. */
function adjustTail(f: FunctionBuilder<'i32'>, ctx: I32, delta: I32): void {
  const data = f.let(i32.load(ctx, XDP_MD.data), 'data');
  const linearEnd = f.let(i32.load(ctx, XDP_MD.data_end), 'linearEnd');
  const end = f.let(i32.load(ctx, XDP_MD.packet_end), 'end');
  const fragmented = f.let(i32.ne(end, linearEnd), 'fragmented');
  f.if(
    i32.gtS(delta, i32.const(0)),
    () => {
      refuse(f, i32.gtS(delta, i32.sub(i32.load(ctx, XDP_MD.hard_end), end)), ERRNO.EINVAL);
      f.if(fragmented, () => {
        // Only the last fragment grows, to the end of its page.
        const lastFragment = i32.and(i32.sub(i32.sub(end, linearEnd), i32.const(1)), i32.const(FRAGMENT_BYTES - 1));
        refuse(f, i32.gtS(delta, i32.sub(i32.const(FRAGMENT_BYTES - 1), lastFragment)), ERRNO.EINVAL);
      });
      f.do(memory.fill(end, i32.const(0), delta));
    },
    () => {
      const shortest = i32.sub(i32.const(FRAME.minimumLength), i32.sub(end, data));
      refuse(f, i32.ltS(delta, shortest), ERRNO.EINVAL);
    },
  );
  const moved = f.let(i32.add(end, delta), 'moved');
  f.do(i32.store(ctx, XDP_MD.packet_end, moved));
  f.do(i32.store(ctx, XDP_MD.data_end, select(i32.and(fragmented, i32.ltU(linearEnd, moved)), linearEnd, moved)));
}

function adjustMeta(f: FunctionBuilder<'i32'>, ctx: I32, delta: I32): void {
  const data = f.let(i32.load(ctx, XDP_MD.data), 'data');
  const meta = f.let(i32.load(ctx, XDP_MD.data_meta), 'meta');
  refuse(f, i32.gtS(delta, i32.sub(data, meta)), ERRNO.EINVAL);
  refuse(f, i32.ltS(i32.add(i32.sub(meta, firstUsable(ctx)), delta), i32.const(0)), ERRNO.EINVAL);
  const moved = f.let(i32.add(meta, delta), 'moved');
  const metadataBytes = f.let(i32.sub(data, moved), 'metadataBytes');
  refuse(f, i32.or(i32.and(metadataBytes, i32.const(3)), i32.gtU(metadataBytes, i32.const(LONGEST_METADATA_BYTES))), ERRNO.EACCES);
  expose(f, ctx, moved);
  f.do(i32.store(ctx, XDP_MD.data_meta, moved));
}

const row = (id: number, name: string, body: (f: FunctionBuilder<'i32'>, ctx: I32, delta: I32) => void): Helper => ({
  id,
  name,
  args: ['ctx', 'i32'],
  returns: 'int',
  programs: XDP_PROGRAMS,
  changesPacket: true,
  implementation: {
    kind: 'wasm',
    emit: (module: ModuleBuilder, _machine: Machine) => {
      const f = module.function(name, ['i32', 'i32'], 'i32');
      body(f, f.param(0, 'i32'), f.param(1, 'i32'));
      f.return(i32.const(0));
      return f;
    },
  },
});

export const XDP_ADJUST_HELPERS: readonly Helper[] = [
  row(44, 'xdp_adjust_head', adjustHead),
  row(65, 'xdp_adjust_tail', adjustTail),
  row(54, 'xdp_adjust_meta', adjustMeta),
];
