/**
 * What one simulated CPU keeps in machine memory: cells that programs, helpers and the packet loop share, and the
 * BPF stack. Every engine sees the same bytes, so a helper is written once.
 *
 *   0 u64 now            nanoseconds: virtual time, the clock of bpf_ktime_get_ns
 *   8 u64 random         state of the generator behind bpf_get_prandom_u32
 *  16 u32 redirect       what the last redirect helper asked for: REDIRECT_NONE, or a kind
 *  20 u32 redirectTarget an ifindex, or the address of the map slot that was found
 *  24 u32 redirectFlags
 *  28 u32 redirectMap    descriptor of the map, for redirect_map; for redirect_neigh the address of the next hop
 *                        the program gave (struct bpf_redir_neigh), or 0
 *  32 i32 budget         instructions the running program may still spend, charged at backward jumps and calls
 *  36 u32 tailCalls      made by the running program
 *  40 u32 framePointer   r10 of the next callback a helper calls
 *  44 u32 fault          why the running program was stopped, FAULT_NONE while it runs
 *  48 u32 programId      of the program that runs now
 *  52 u32 device         address of the device record whose programs run
 *  56 u32 descriptor     address of the packet's descriptor
 *  60 u32 records        not 0 where programs have committed ring buffer records that nobody was told of
 *  64 u64 nextTimer      when the next bpf_timer expires, all ones while none runs
 *  72 u32 spinLock       address of the bpf_spin_lock that the running program holds, 0 for none; kept where CPUs run at once
 *  76 u32 mapLock        address of the lock of the map that is being changed, 0 for none; likewise
 *  80 u32 thrown         not 0 while a program unwinds: what its functions return is what was thrown
 * 256 ..                 the stack, 8 frames of 512 bytes: r10 of the entry function is its end
 */
export const CPU_BLOCK = {
  now: 0,
  random: 8,
  redirect: 16,
  redirectTarget: 20,
  redirectFlags: 24,
  redirectMap: 28,
  budget: 32,
  tailCalls: 36,
  framePointer: 40,
  fault: 44,
  programId: 48,
  device: 52,
  descriptor: 56,
  records: 60,
  nextTimer: 64,
  spinLock: 72,
  mapLock: 76,
  thrown: 80,
  stack: 256,
} as const;

export const FRAME_BYTES = 512;
/** The entry function and seven below it. */
export const MAX_FRAMES = 8;
/** A program may tail-call 33 times: it and 33 successors run, the 34th call falls through. */
export const MAX_TAIL_CALLS = 33;
export const STACK_BYTES = FRAME_BYTES * MAX_FRAMES;
export const CPU_BLOCK_BYTES = CPU_BLOCK.stack + STACK_BYTES;

export const REDIRECT = { none: 0, ifindex: 1, map: 2, broadcast: 3, peer: 4, neigh: 5 } as const;

/** Why a program was stopped. `memory` also stands for any other trap of the engine; `null` is a write through a NULL pointer. */
export const FAULT = { none: 0, memory: 1, budget: 2, depth: 3, unsupported: 4, null: 5 } as const;
export type Fault = (typeof FAULT)[keyof typeof FAULT];
