/**
 * Sends packets out of an interface, many with one system call: sendmmsg() on a packet socket, past the queueing
 * discipline (PACKET_QDISC_BYPASS) and with it TC and taps, as XDP sends, unless it is asked for. The kernel reads them where they are in machine memory; nothing is allocated per
 * packet.
 *
 *   a message: struct mmsghdr 64 bytes:  16 u64 address of its iovec   24 u64 iovecs   56 u32 sent
 *   an iovec:  0 u64 address             8 u64 length
 */
import { constants } from 'node:os';
import type { MachineMemory } from '../machine/memory.ts';
import type { PinnedMemory } from '../system/native.ts';
import type { LiveInterface } from './device.ts';
import { PACKET_OPTION, PacketSocket } from './packet-socket.ts';

const MESSAGE = { iovec: 16, iovecs: 24, sizeBytes: 64 } as const;
const IOVEC_BYTES = 16;
const MESSAGES = 64;
const TWO_32 = 4_294_967_296;
/** How often a full queue is tried again before packets are dropped, as a NIC would. */
const ATTEMPTS = 16;

export interface SentCounts {
  readonly packets: number;
  readonly bytes: number;
  /** Longer than the interface may send. */
  readonly tooLong: number;
  /** Its queue was full, or it is down. */
  readonly refused: number;
}

export class PacketSender {
  readonly interface: LiveInterface;
  readonly #memory: MachineMemory;
  readonly #socket: PacketSocket;
  readonly #messages: PinnedMemory;
  readonly #words: Uint32Array;
  #waiting = 0;
  #buffer: ArrayBufferLike | undefined;
  #baseLow = 0;
  #baseHigh = 0;
  #packets = 0;
  #bytes = 0;
  #tooLong = 0;
  #refused = 0;

  constructor(device: LiveInterface, memory: MachineMemory, { queued = false }: { readonly queued?: boolean } = {}) {
    this.interface = device;
    this.#memory = memory;
    this.#socket = new PacketSocket();
    if (!queued) this.#socket.set(PACKET_OPTION.qdiscBypass, 'sending past the queueing discipline', 1);
    this.#socket.bind(device, false);
    this.#messages = this.#socket.native.allocate(MESSAGES * (MESSAGE.sizeBytes + IOVEC_BYTES));
    this.#words = new Uint32Array(this.#messages.bytes.buffer);
    for (let message = 0; message < MESSAGES; message++) {
      this.#messages.view.setBigUint64(message * MESSAGE.sizeBytes + MESSAGE.iovec, BigInt(this.#messages.address + MESSAGES * MESSAGE.sizeBytes + message * IOVEC_BYTES), true);
      this.#messages.view.setBigUint64(message * MESSAGE.sizeBytes + MESSAGE.iovecs, 1n, true);
    }
  }

  get counts(): SentCounts {
    return { packets: this.#packets, bytes: this.#bytes, tooLong: this.#tooLong, refused: this.#refused };
  }

  /** The bytes at `address` of machine memory. Borrowed: they must stay as they are until the next `flush`. */
  add(address: number, lengthBytes: number): void {
    const { buffer } = this.#memory.wasm;
    if (buffer !== this.#buffer) this.#locate(buffer);
    const low = this.#baseLow + address;
    const word = (MESSAGES * MESSAGE.sizeBytes + this.#waiting * IOVEC_BYTES) / 4;
    this.#words[word] = low;
    this.#words[word + 1] = this.#baseHigh + (low >= TWO_32 ? 1 : 0);
    this.#words[word + 2] = lengthBytes;
    if (++this.#waiting === MESSAGES) this.flush();
  }

  /** Gives everything that was added to the kernel. */
  flush(): void {
    let first = 0;
    let attempt = 1;
    while (first < this.#waiting) {
      const sent = this.#socket.sendMessages(this.#messages.address + first * MESSAGE.sizeBytes, this.#waiting - first);
      if (sent > 0) {
        for (let message = first; message < first + sent; message++) this.#bytes += this.#length(message);
        this.#packets += sent;
        first += sent;
        attempt = 1;
      } else if (sent === -constants.errno.EMSGSIZE) {
        this.#tooLong++;
        first++;
      } else if (attempt++ === ATTEMPTS) {
        this.#refused++;
        first++;
        attempt = 1;
      }
    }
    this.#waiting = 0;
  }

  close(): void {
    this.#socket.native.unmap(this.#messages);
    this.#socket.close();
  }

  #length(message: number): number {
    return this.#words[(MESSAGES * MESSAGE.sizeBytes + message * IOVEC_BYTES + 8) / 4]!;
  }

  /** Where machine memory is for the kernel: it may be elsewhere after it has grown. */
  #locate(buffer: ArrayBufferLike): void {
    const base = this.#socket.native.addressOf(this.#memory.u8);
    this.#buffer = buffer;
    this.#baseLow = base % TWO_32;
    this.#baseHigh = Math.floor(base / TWO_32);
  }
}
