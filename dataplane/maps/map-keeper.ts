/**
 * What keeps a map's contents in place of machine memory, because programs run elsewhere: in the kernel. A BpfMap that
 * has one asks it instead of its own operations. Of maps whose values refer to something, the machine's own contents
 * stay the true ones, since programs cannot write them; the keeper is told of what user space writes.
 *
 * Keys and values are those of BpfMap: a value of a per-CPU map is the values of the machine's CPUs. Numbers are 0 or
 * negative errno.
 */
export interface MapKeeper {
  lookup(key: Uint8Array): Uint8Array | undefined;
  update(key: Uint8Array, value: Uint8Array, flags: number): number;
  delete(key: Uint8Array): number;
  /** The key after `key`, the first if there is none. */
  next(key: Uint8Array | undefined): Uint8Array | undefined;
  /** Of a QUEUE or STACK. */
  push(value: Uint8Array, flags: number): number;
  pop(): Uint8Array | undefined;
  peek(): Uint8Array | undefined;
  /** Their values, in the order they would leave. */
  values(): readonly Uint8Array[];
  /** Takes the records of a RINGBUF. */
  records(): readonly Uint8Array[];
}
