/**
 * The running Linux as this process can call it: bpf() and the few other system calls around it, through koffi.
 *
 * The kernel is handed addresses, and JavaScript moves its buffers: everything that a system call reads or writes is
 * in memory that was mapped here and stays where it is. File descriptors close with the thread that opened them, so
 * programs, maps and what is attached are gone when it ends, however it ends; until then, whoever opens one closes it.
 */
import { closeSync, openSync, readFileSync } from 'node:fs';
import { constants, devNull } from 'node:os';
import { XdplabError } from '../../errors.ts';
import { errnoText, KOFFI_MISSING, openNative, PAGE_BYTES, type Native, type NativeFunction, type PinnedMemory } from '../../system/native.ts';
import { ATTRIBUTE_BYTES, readAttribute, writeAttributes, type Attributes, type CommandName, type FieldName, COMMANDS } from './bpf-attributes.ts';

interface SystemCalls {
  readonly bpf: number;
  readonly membarrier: number;
}

/** By process.arch. */
const SYSTEM_CALLS: Readonly<Record<string, SystemCalls>> = { x64: { bpf: 321, membarrier: 324 }, arm64: { bpf: 280, membarrier: 283 } };
/** Waits until every CPU has let go of what was freed before. */
const MEMBARRIER_CMD_GLOBAL = 1;
const PROGRAMS_FREED_TOGETHER = 200;
const FREEING_MS = 5;
const PAUSE = new Int32Array(new SharedArrayBuffer(4));
const POSSIBLE_CPUS = '/sys/devices/system/cpu/possible';
const CPU_MASK_BYTES = 128;
/** capget(2): struct __user_cap_header_struct, then effective, permitted and inheritable capabilities, 32 of each, twice. */
const CAPABILITIES = { version: 0x2008_0522, headerBytes: 8, effective: [8, 20] } as const;
const FIRST_SCRATCH_BYTES = 1 << 16;
const O_CLOEXEC = 0o2000000;
/** How often a call that a signal interrupted is made again. */
const ATTEMPTS = 5;

/** What the kernel refused. */
export class KernelRefusal extends XdplabError {
  /** `EINVAL`, … */
  readonly errno: string;
  /** What the verifier, or whoever refused, wrote; empty where nothing. */
  readonly log: string;

  constructor(code: 'ERR_MAP' | 'ERR_PROGRAM' | 'ERR_BTF', result: number, message: string, log = '') {
    const errno = errnoText(result);
    super(code, `${message} (${errno})`);
    this.errno = errno;
    this.log = log;
  }
}

export class Linux {
  /** As the kernel's per-CPU values count them. */
  readonly possibleCpus = possibleCpus();
  readonly #native: Native;
  readonly #numbers: SystemCalls;
  readonly #syscall: NativeFunction;
  readonly #close: NativeFunction;
  readonly #duplicate: NativeFunction;
  readonly #getAffinity: NativeFunction;
  readonly #setAffinity: NativeFunction;
  readonly #getCapabilities: NativeFunction;
  readonly #setCapabilities: NativeFunction;
  readonly #attributes: PinnedMemory;
  readonly #open = new Set<number>();
  #scratch: PinnedMemory | undefined;
  #closedPrograms = 0;
  /** The CPU that this thread stays on for now. */
  #stays: number | undefined;

  constructor(native: Native, numbers: SystemCalls) {
    const { libc } = native;
    this.#native = native;
    this.#numbers = numbers;
    this.#syscall = libc.func('syscall', 'long', ['long', 'int', 'uintptr_t', 'uint']);
    this.#close = libc.func('close', 'int', ['int']);
    this.#duplicate = libc.func('dup3', 'int', ['int', 'int', 'int']);
    this.#getAffinity = libc.func('sched_getaffinity', 'int', ['int', 'size_t', 'uintptr_t']);
    this.#setAffinity = libc.func('sched_setaffinity', 'int', ['int', 'size_t', 'uintptr_t']);
    this.#getCapabilities = libc.func('capget', 'int', ['uintptr_t', 'uintptr_t']);
    this.#setCapabilities = libc.func('capset', 'int', ['uintptr_t', 'uintptr_t']);
    this.#attributes = this.allocate(PAGE_BYTES);
  }

  /** Calls bpf(): a file descriptor or 0, or negative errno. */
  bpf<C extends CommandName>(command: C, attributes: Attributes<C>): number {
    const { view, address } = this.#attributes;
    const { number, sizeBytes } = COMMANDS[command];
    for (let attempt = 1; ; attempt++) {
      writeAttributes(view, 0, command, attributes);
      const result = Number(this.#syscall(this.#numbers.bpf, number, address, sizeBytes));
      if (result >= 0) return result;
      const errno = this.#native.errno;
      const interrupted = errno === constants.errno.EINTR || errno === constants.errno.EAGAIN;
      if (!interrupted || attempt === ATTEMPTS) return -errno;
    }
  }

  /** The same for commands that open a file descriptor, which `close` closes. */
  open<C extends CommandName>(command: C, attributes: Attributes<C>): number {
    const opened = this.bpf(command, attributes);
    if (opened < 0) return opened;
    try {
      // Node closes what a worker thread has opened through it, also where the thread is ended from outside.
      const fd = openSync(devNull, 'r');
      this.#open.add(fd);
      this.#duplicate(opened, fd, O_CLOEXEC);
      return fd;
    } finally {
      this.#close(opened);
    }
  }

  /** A field that the kernel wrote in the last call of bpf(). */
  attribute<C extends CommandName>(command: C, field: FieldName<C>): number {
    return readAttribute(this.#attributes.view, 0, command, field);
  }

  close(fd: number): void {
    if (this.#open.delete(fd)) closeSync(fd);
  }

  /** Closes a program. Its memory is freed later, by a worker each; Linux 6.18 locks up for good when a thousand wait. */
  closeProgram(fd: number): void {
    this.close(fd);
    if (++this.#closedPrograms % PROGRAMS_FREED_TOGETHER !== 0) return;
    this.#syscall(this.#numbers.membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
    Atomics.wait(PAUSE, 0, 0, FREEING_MS);
  }

  /** Memory for the arguments and answers of one call: valid until the next call of `scratch`. */
  scratch(lengthBytes: number): PinnedMemory {
    if (this.#scratch !== undefined && this.#scratch.bytes.length >= lengthBytes) return this.#scratch;
    if (this.#scratch !== undefined) this.unmap(this.#scratch);
    this.#scratch = this.allocate(Math.max(lengthBytes, FIRST_SCRATCH_BYTES, 2 * (this.#scratch?.bytes.length ?? 0)));
    return this.#scratch;
  }

  /** Zeroed memory that stays until it is unmapped. */
  allocate(lengthBytes: number): PinnedMemory {
    return this.#native.allocate(lengthBytes);
  }

  /** Memory that is shared with the kernel: the pages of a map. */
  share(fd: number, offsetBytes: number, lengthBytes: number, access: 'read' | 'write'): PinnedMemory {
    return this.#native.share(fd, offsetBytes, lengthBytes, access);
  }

  /** Views of it must not be used any more. */
  unmap(memory: PinnedMemory): void {
    this.#native.unmap(memory);
  }

  /** Runs `action` with this thread on one CPU, so that programs find that CPU's values of per-CPU maps. */
  onCpu<T>(cpu: number, action: () => T): T {
    const release = this.#pin(cpu);
    try {
      return action();
    } finally {
      release();
    }
  }

  /** Keeps this thread on one CPU until the code that runs now has given way: to pin it for each of many runs takes longer than they do. */
  stayOnCpu(cpu: number): void {
    if (this.#stays === cpu) return;
    const release = this.#pin(cpu);
    this.#stays = cpu;
    queueMicrotask(() => {
      this.#stays = undefined;
      release();
    });
  }

  /** Runs `action` as somebody who has not got these capabilities (a bit for each): what it asks of the kernel is answered accordingly. */
  withoutCapabilities<T>(bits: bigint, action: () => T): T {
    const memory = this.allocate(PAGE_BYTES);
    const { view, address } = memory;
    view.setUint32(0, CAPABILITIES.version, true);
    const change = (call: NativeFunction): void => {
      if (Number(call(address, address + CAPABILITIES.headerBytes)) !== 0) throw new XdplabError('ERR_PRIVILEGE', 'capabilities of this process cannot be read or changed');
    };
    change(this.#getCapabilities);
    const [low, high] = CAPABILITIES.effective;
    const before = [view.getUint32(low, true), view.getUint32(high, true)] as const;
    try {
      view.setUint32(low, before[0] & ~Number(bits & 0xffff_ffffn), true);
      view.setUint32(high, before[1] & ~Number(bits >> 32n), true);
      change(this.#setCapabilities);
      return action();
    } finally {
      view.setUint32(low, before[0], true);
      view.setUint32(high, before[1], true);
      change(this.#setCapabilities);
      this.unmap(memory);
    }
  }

  /** The answer lets the thread run where it could before. */
  #pin(cpu: number): () => void {
    const masks = this.#attributes;
    const [before, only] = [masks.address + ATTRIBUTE_BYTES * 2, masks.address + ATTRIBUTE_BYTES * 2 + CPU_MASK_BYTES];
    const at = only - masks.address;
    masks.bytes.fill(0, at - CPU_MASK_BYTES, at + CPU_MASK_BYTES);
    this.#getAffinity(0, CPU_MASK_BYTES, before);
    const saved = masks.bytes.slice(at - CPU_MASK_BYTES, at);
    masks.bytes[at + (cpu >>> 3)] = 1 << (cpu & 7);
    if (Number(this.#setAffinity(0, CPU_MASK_BYTES, only)) !== 0) throw new XdplabError('ERR_PRIVILEGE', `CPU ${cpu}: this process may not run on it; allow it (taskset, cpuset)`);
    return () => {
      masks.bytes.set(saved, at);
      this.#setAffinity(0, CPU_MASK_BYTES, only);
    };
  }
}

let linux: Linux | undefined;

/** The running Linux. ERR_PRIVILEGE, in one line, where this process cannot load programs into it. */
export function openLinux(): Linux {
  linux ??= tryLinux();
  return linux;
}

/** Why there is no kernel to run programs in; undefined where there is one. */
export function whyNoLinux(): string | undefined {
  try {
    openLinux();
    return undefined;
  } catch (error) {
    if (error instanceof XdplabError) return error.message;
    throw error;
  }
}

function tryLinux(): Linux {
  const numbers = SYSTEM_CALLS[process.arch];
  if (process.platform !== 'linux' || numbers === undefined) refuse(`it needs Linux on ${Object.keys(SYSTEM_CALLS).join(' or ')}, this is ${process.platform} on ${process.arch}`);
  const found = new Linux(openNative() ?? refuse(KOFFI_MISSING), numbers);
  probe(found);
  return found;
}

/** Loads the smallest XDP program, which takes all the rights that larger ones take. */
function probe(found: Linux): void {
  const memory = found.allocate(PAGE_BYTES);
  const GPL = 64;
  // r0 = 2; exit
  memory.bytes.set([0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]);
  memory.bytes.set(new TextEncoder().encode('GPL'), GPL);
  const fd = found.open('prog_load', { prog_type: 6, insn_cnt: 2, insns: memory.address, license: memory.address + GPL });
  found.unmap(memory);
  if (fd >= 0) found.close(fd);
  else if (fd === -constants.errno.EPERM) refuse('bpf() is not allowed: run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN');
  else refuse(`bpf() answers ${errnoText(fd)}: this kernel has no eBPF, or something in front of it (seccomp) refuses`);
}

function refuse(problem: string): never {
  throw new XdplabError('ERR_PRIVILEGE', `programs cannot run in the kernel: ${problem}`);
}

/** `0-3` or `0,2-5`: the kernel counts up to the last one. Guessing would let it write past what was allocated for its values. */
function possibleCpus(): number {
  try {
    return Number(/(\d+)\s*$/.exec(readFileSync(POSSIBLE_CPUS, 'latin1'))![1]) + 1;
  } catch {
    return refuse(`${POSSIBLE_CPUS} cannot be read`);
  }
}
