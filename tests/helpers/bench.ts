/** A machine with one packet, and helpers called on it by name, as the tests here need them. */
import type { MapSpec, ProgramType } from '../../dataplane/bpf/spec.ts';
import { HELPERS, bindHelper } from '../../dataplane/helpers/index.ts';
import { ARGUMENT_KINDS, type Helper } from '../../dataplane/helpers/helper.ts';
import { Machine, type MachineOptions } from '../../dataplane/machine/machine.ts';
import { ERRNO } from '../../dataplane/maps/map.ts';
import { FRAME, SK_BUFF, XDP_MD } from '../../dataplane/packet/frame.ts';

/** `EINVAL` for -22, as results are written in the tables; other numbers stay. */
export function spell(result: number | bigint | void): string | number | bigint | void {
  if (typeof result !== 'number' || result >= 0) return result;
  return Object.entries(ERRNO).find(([, errno]) => errno === -result)?.[0] ?? result;
}

export function helperNamed(name: string, type: ProgramType): Helper {
  const helper = HELPERS.find((row) => row.name === name && row.programs.includes(type));
  if (helper === undefined) throw new Error(`no helper ${name} for ${type}`);
  return helper;
}

export function mapSpec(fields: Partial<MapSpec>): MapSpec {
  return { name: 'map', type: 2, keyBytes: 4, valueBytes: 8, maxEntries: 1, flags: 0, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false, ...fields };
}

export class Bench {
  readonly machine: Machine;
  readonly type: ProgramType;
  readonly #buffer: number;
  /** Address of the context. */
  readonly ctx: number;

  constructor(type: ProgramType, packet: Uint8Array = new Uint8Array(64), options: MachineOptions = {}) {
    this.machine = new Machine(options);
    this.type = type;
    const { memory } = this.machine;
    const frame = memory.allocate(FRAME.skbHeadroom + FRAME.size, 64, 'frame');
    // What the frame held before must not show: fill it with bytes that are not zero.
    memory.bytes(frame, FRAME.skbHeadroom + FRAME.size).fill(0xa5);
    this.#buffer = frame;
    const hardStart = frame + FRAME.skbHeadroom;
    const data = hardStart + FRAME.headroom;
    memory.u8.set(packet, data);
    this.ctx = memory.allocate(Math.max(XDP_MD.size, SK_BUFF.size), 64, 'context');
    if (type === 'xdp') this.#initialiseXdp(hardStart, data, packet.length);
    else this.#initialiseSkb(data, packet);
  }

  #initialiseXdp(hardStart: number, data: number, lengthBytes: number): void {
    this.set(XDP_MD.data, data);
    this.set(XDP_MD.data_end, data + lengthBytes);
    this.set(XDP_MD.packet_end, data + lengthBytes);
    this.set(XDP_MD.data_meta, data);
    this.set(XDP_MD.exposed, data);
    this.set(XDP_MD.hard_start, hardStart);
    this.set(XDP_MD.hard_end, hardStart + FRAME.size - FRAME.sharedInfo);
    this.set(XDP_MD.ingress_ifindex, 1);
  }

  #initialiseSkb(data: number, packet: Uint8Array): void {
    this.set(SK_BUFF.len, packet.length);
    this.set(SK_BUFF.data, data);
    this.set(SK_BUFF.data_end, data + packet.length);
    this.set(SK_BUFF.data_meta, data);
    this.set(SK_BUFF.head, this.#buffer);
    this.set(SK_BUFF.end, this.#buffer + FRAME.skbHeadroom + FRAME.size - FRAME.sharedInfo);
    this.set(SK_BUFF.network_offset, 14);
    this.set(SK_BUFF.protocol, ((packet[13] ?? 0) << 8) | (packet[12] ?? 0));
    this.set(SK_BUFF.ifindex, 1);
    this.set(SK_BUFF.at_ingress, 1);
  }

  get(field: number): number {
    return this.machine.memory.view.getUint32(this.ctx + field, true);
  }

  set(field: number, value: number): void {
    this.machine.memory.view.setUint32(this.ctx + field, value, true);
  }

  get #fields(): { data: number; data_end: number } {
    return this.type === 'xdp' ? XDP_MD : SK_BUFF;
  }

  /** Copy of the packet, from data to data_end. */
  get packet(): Uint8Array {
    return this.machine.memory.u8.slice(this.get(this.#fields.data), this.get(this.#fields.data_end));
  }

  /** Puts bytes into machine memory. */
  bytes(content: Uint8Array | readonly number[]): number {
    const address = this.machine.memory.allocate(Math.max(content.length, 8), 8, 'test bytes');
    this.machine.memory.u8.set(content, address);
    return address;
  }

  text(content: string): number {
    return this.bytes([...new TextEncoder().encode(content), 0]);
  }

  read(address: number, lengthBytes: number): Uint8Array {
    return this.machine.memory.u8.slice(address, address + lengthBytes);
  }

  /** Calls a helper; a bigint argument is a u64. Errors come back by name. */
  call(name: string, ...args: readonly (number | bigint)[]): string | number | bigint | void {
    return spell(this.answer(name, ...args));
  }

  /** The same, as the number it is. */
  answer(name: string, ...args: readonly (number | bigint)[]): number | bigint | void {
    const helper = helperNamed(name, this.type);
    const words = helper.args.flatMap((kind, index) => {
      const value = BigInt(args[index] ?? 0);
      const low = Number(BigInt.asIntN(32, value));
      return ARGUMENT_KINDS[kind] === 1 ? [low] : [low, Number(BigInt.asIntN(32, value >> 32n))];
    });
    const result = bindHelper(this.machine, helper)(...words);
    return helper.returns === 'u64' ? BigInt.asUintN(64, result as bigint) : result;
  }
}
