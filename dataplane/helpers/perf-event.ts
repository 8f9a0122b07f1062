/**
 * bpf_perf_event_output: a sample to user space, followed by as much of the packet as the flags ask for.
 *
 * Slot i of the map holds an event of CPU i, as libbpf's perf_buffer sets them up, so only the current CPU's takes samples.
 * The order of checks is Linux's: unknown flags, packet bytes, the index, the slot.
 */
import type { Machine } from '../machine/machine.ts';
import { mapsOf } from '../maps/map-registry.ts';
import { ERRNO, MAP_DESCRIPTOR } from '../maps/map.ts';
import { SK_BUFF, XDP_MD } from '../packet/frame.ts';
import { inMemory } from './bounds.ts';
import type { Helper, HelperFunction } from './helper.ts';
import { SKB_PROGRAMS, XDP_PROGRAMS } from './program-sets.ts';

const BPF_F_CURRENT_CPU = 0xffff_ffff;
/** Bits 32 to 51 of the flags, as bits of their high half. */
const PACKET_BYTES_MASK = 0xf_ffff;

const output =
  (packetBytes: (machine: Machine, ctx: number) => number, packetStart: (machine: Machine, ctx: number) => number) =>
  (machine: Machine): HelperFunction =>
  (ctx, map, index, flagsHigh, data, dataBytes) => {
    const { memory } = machine;
    const appended = flagsHigh! & PACKET_BYTES_MASK;
    if (appended !== flagsHigh) return -ERRNO.EINVAL;
    if (appended > packetBytes(machine, ctx! >>> 0)) return -ERRNO.EFAULT;
    const slot = index! >>> 0 === BPF_F_CURRENT_CPU ? machine.cpu : index! >>> 0;
    const descriptor = map! >>> 0;
    if (slot >= memory.view.getUint32(descriptor + MAP_DESCRIPTOR.maxEntries, true)) return -ERRNO.E2BIG;
    const slots = memory.view.getUint32(descriptor + MAP_DESCRIPTOR.storage, true);
    if (memory.view.getUint32(slots + 4 * slot, true) === 0) return -ERRNO.ENOENT;
    if (slot !== machine.cpu) return -ERRNO.EOPNOTSUPP;

    const lengthBytes = dataBytes! >>> 0;
    const start = inMemory(memory, data!, lengthBytes);
    const bytes = new Uint8Array(lengthBytes + appended);
    bytes.set(memory.u8.subarray(start, start + lengthBytes));
    if (appended > 0) {
      const packet = inMemory(memory, packetStart(machine, ctx! >>> 0), appended);
      bytes.set(memory.u8.subarray(packet, packet + appended), lengthBytes);
    }
    machine.onEvent({ source: 'perf', cpu: machine.cpu, timestampNs: machine.nowNs, map: mapsOf(machine).byDescriptor(descriptor)?.name ?? '', bytes });
    return 0;
  };

const row = (programs: Helper['programs'], bind: (machine: Machine) => HelperFunction): Helper => ({
  id: 25,
  name: 'perf_event_output',
  args: ['ctx', 'map', 'u64', 'memory', 'size_or_zero'],
  returns: 'int',
  programs,
  gplOnly: true,
  implementation: { kind: 'js', bind },
});

const u32 = (machine: Machine, address: number): number => machine.memory.view.getUint32(address, true);

export const PERF_EVENT_HELPERS: readonly Helper[] = [
  row(
    XDP_PROGRAMS,
    output(
      (machine, ctx) => u32(machine, ctx + XDP_MD.packet_end) - u32(machine, ctx + XDP_MD.data),
      (machine, ctx) => u32(machine, ctx + XDP_MD.data),
    ),
  ),
  row(
    SKB_PROGRAMS,
    output(
      (machine, ctx) => u32(machine, ctx + SK_BUFF.len),
      (machine, ctx) => u32(machine, ctx + SK_BUFF.data),
    ),
  ),
];
