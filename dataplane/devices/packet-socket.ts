/**
 * A packet socket of Linux (man 7 packet, include/uapi/linux/if_packet.h): the system calls around AF_PACKET, through
 * the C library. It sees every packet of one interface; `bind` begins that, so that what is set up before holds for
 * the first packet too.
 */
import { constants } from 'node:os';
import { XdplabError } from '../errors.ts';
import { errnoText, KOFFI_MISSING, openNative, type Native, type NativeFunction, type PinnedMemory } from '../system/native.ts';
import type { LiveInterface } from './device.ts';

const AF_PACKET = 17;
const SOCK_RAW = 3;
const ETH_P_ALL = 3;
const SOL_SOCKET = 1;
const SOL_PACKET = 263;
const SO_ERROR = 4;
const SO_ATTACH_FILTER = 26;
const SIOCETHTOOL = 0x8946;
/** Of struct ifreq: the interface's name, and the address of a struct ethtool_value. */
const IFREQ = { nameBytes: 16, data: 16, value: 64 } as const;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_MR_PROMISC = 1;
const ADDRESS_BYTES = 20;
const FILTER_INSTRUCTION_BYTES = 8;
const SCRATCH_BYTES = 4096;
/** Where in the scratch memory the instructions of a filter go, behind struct sock_fprog. */
const FILTER_AT = 16;
const LONGEST_FILTER_BYTES = SCRATCH_BYTES * 16;

/** Socket options of SOL_PACKET. */
export const PACKET_OPTION = { rxRing: 5, statistics: 6, version: 10, fanout: 18, qdiscBypass: 20, fanoutData: 22, ignoreOutgoing: 23 } as const;

/** Environment variable with the descriptors of packet sockets that a process with more rights has handed to this one. */
export const HANDED_OVER = 'XDPLAB_PACKET_SOCKETS';
const handedOver = (process.env[HANDED_OVER] ?? '').split(',').filter((fd) => fd !== '').map(Number);

/** Of those, how many are left; undefined where none were handed to this process, and it makes its own. */
export function socketsLeft(): number | undefined {
  return process.env[HANDED_OVER] === undefined ? undefined : handedOver.length;
}

/** The calls, bound once for all sockets. */
class PacketCalls {
  readonly native: Native;
  readonly socket: NativeFunction;
  readonly bind: NativeFunction;
  readonly setsockopt: NativeFunction;
  readonly getsockopt: NativeFunction;
  readonly sendmmsg: NativeFunction;
  readonly ioctl: NativeFunction;
  readonly close: NativeFunction;
  readonly scratch: PinnedMemory;

  constructor(native: Native) {
    const { libc } = native;
    this.native = native;
    this.socket = libc.func('socket', 'int', ['int', 'int', 'int']);
    this.bind = libc.func('bind', 'int', ['int', 'uintptr_t', 'uint']);
    this.setsockopt = libc.func('setsockopt', 'int', ['int', 'int', 'int', 'uintptr_t', 'uint']);
    this.getsockopt = libc.func('getsockopt', 'int', ['int', 'int', 'int', 'uintptr_t', 'uintptr_t']);
    this.sendmmsg = libc.func('sendmmsg', 'int', ['int', 'uintptr_t', 'uint', 'int']);
    this.ioctl = libc.func('ioctl', 'int', ['int', 'ulong', 'uintptr_t']);
    this.close = libc.func('close', 'int', ['int']);
    this.scratch = native.allocate(LONGEST_FILTER_BYTES);
  }
}

let calls: PacketCalls | undefined;

/** What packet sockets need and is not there; undefined where nothing is missing. */
export function whatPacketSocketsMiss(): string | undefined {
  if (process.platform !== 'linux') return `it needs Linux, this is ${process.platform}`;
  return openNative() === undefined ? KOFFI_MISSING : undefined;
}

/** Why this process may have no packet sockets; undefined where it may. */
export function whyNoPacketSockets(): string | undefined {
  const missing = whatPacketSocketsMiss();
  if (missing !== undefined) return missing;
  try {
    new PacketSocket().close();
    return undefined;
  } catch (error) {
    if (error instanceof XdplabError) return error.message;
    throw error;
  }
}

export class PacketSocket {
  readonly fd: number;
  readonly #calls: PacketCalls;

  /** Throws ERR_PRIVILEGE without CAP_NET_RAW. It sees nothing yet. */
  constructor() {
    const native = openNative();
    const missing = whatPacketSocketsMiss();
    if (native === undefined || missing !== undefined) throw new XdplabError('ERR_PRIVILEGE', `packet sockets: ${missing}`);
    this.#calls = calls ??= new PacketCalls(native);
    // Only to make one takes a right; what is done with it takes none.
    this.fd = handedOver.pop() ?? Number(this.#calls.socket(AF_PACKET, SOCK_RAW, 0));
    if (this.fd >= 0) return;
    const { errno } = native;
    if (errno === constants.errno.EPERM || errno === constants.errno.EACCES) {
      throw new XdplabError('ERR_PRIVILEGE', 'packet sockets are not allowed: this process lacks CAP_NET_RAW; run as root, or give node the capability: sudo setcap cap_net_raw=eip "$(readlink -f "$(command -v node)")"');
    }
    throw new XdplabError('ERR_PRIVILEGE', `packet sockets: Linux refuses (${errnoText(-errno)})`);
  }

  get native(): Native {
    return this.#calls.native;
  }

  /** The sendmmsg() system call: messages sent, or negative errno. */
  sendMessages(headers: number, count: number): number {
    const sent = Number(this.#calls.sendmmsg(this.fd, headers, count, 0));
    return sent >= 0 ? sent : -this.native.errno;
  }

  /** Sets an option of SOL_PACKET to words of 32 bits. */
  set(option: number, what: string, ...words: readonly number[]): void {
    const { view } = this.#calls.scratch;
    words.forEach((word, index) => view.setUint32(4 * index, word, true));
    this.#set(SOL_PACKET, option, 4 * words.length, what);
  }

  /** Reads an option of SOL_PACKET that is words of 32 bits. */
  get(option: number, words: number, what: string): Uint32Array {
    return this.#get(SOL_PACKET, option, words, what);
  }

  /** Nothing that the interface has only by mistake: packets for other hosts, until this socket is closed. */
  beginPromiscuous({ ifindex }: LiveInterface): void {
    this.set(PACKET_ADD_MEMBERSHIP, 'promiscuous mode', ifindex, PACKET_MR_PROMISC, 0, 0);
  }

  /** A classic BPF program of `struct sock_filter`s: it answers how many bytes of a packet to keep, 0 for none. */
  setFilter(program: Uint8Array): void {
    this.#setProgram(SOL_SOCKET, SO_ATTACH_FILTER, program, 'filter');
  }

  /** The classic BPF program by which the socket's fanout group chooses one of its sockets, by place. */
  setFanoutProgram(program: Uint8Array): void {
    this.#setProgram(SOL_PACKET, PACKET_OPTION.fanoutData, program, 'sharing packets');
  }

  #setProgram(level: number, option: number, program: Uint8Array, what: string): void {
    const { bytes, view, address } = this.#calls.scratch;
    if (FILTER_AT + program.length > bytes.length) throw new XdplabError('ERR_USAGE', `filter: found ${program.length / FILTER_INSTRUCTION_BYTES} instructions, expected at most ${(bytes.length - FILTER_AT) / FILTER_INSTRUCTION_BYTES}; make it shorter`);
    view.setUint16(0, program.length / FILTER_INSTRUCTION_BYTES, true);
    view.setBigUint64(8, BigInt(address + FILTER_AT), true);
    bytes.set(program, FILTER_AT);
    this.#set(level, option, FILTER_AT, what);
  }

  /** From now on packets of the interface come in. `receive` false: it only sends. */
  bind({ name, ifindex }: LiveInterface, receive: boolean): void {
    const { bytes, view, address } = this.#calls.scratch;
    bytes.fill(0, 0, ADDRESS_BYTES);
    view.setUint16(0, AF_PACKET, true);
    view.setUint16(2, receive ? ETH_P_ALL : 0);
    view.setInt32(4, ifindex, true);
    if (Number(this.#calls.bind(this.fd, address, ADDRESS_BYTES)) < 0) this.#fail(name);
  }

  /** What `ethtool` reads with a command that answers one number; 0 where the driver does not know it. */
  ethtool(name: string, command: number): number {
    const { bytes, view, address } = this.#calls.scratch;
    bytes.fill(0, 0, IFREQ.value + 8);
    bytes.set(new TextEncoder().encode(name).subarray(0, IFREQ.nameBytes - 1));
    view.setBigUint64(IFREQ.data, BigInt(address + IFREQ.value), true);
    view.setUint32(IFREQ.value, command, true);
    return Number(this.#calls.ioctl(this.fd, SIOCETHTOOL, address)) < 0 ? 0 : view.getUint32(IFREQ.value + 4, true);
  }

  /** The errno of what went wrong since it was last asked, 0 if nothing did: ENETDOWN when the interface went down or away. */
  error(): number {
    return this.#get(SOL_SOCKET, SO_ERROR, 1, 'error')[0]!;
  }

  close(): void {
    this.#calls.close(this.fd);
  }

  #set(level: number, option: number, lengthBytes: number, what: string): void {
    if (Number(this.#calls.setsockopt(this.fd, level, option, this.#calls.scratch.address, lengthBytes)) < 0) this.#fail(what);
  }

  #get(level: number, option: number, words: number, what: string): Uint32Array {
    const { view, address } = this.#calls.scratch;
    const length = 4 * words;
    view.setUint32(0, length, true);
    if (Number(this.#calls.getsockopt(this.fd, level, option, address + 8, address)) < 0) this.#fail(what);
    return Uint32Array.from({ length: words }, (_, index) => view.getUint32(8 + 4 * index, true));
  }

  #fail(what: string): never {
    const { errno } = this.native;
    throw new XdplabError('ERR_DEVICE', `${what}: Linux refuses it to a packet socket (${errnoText(-errno)})`);
  }
}
