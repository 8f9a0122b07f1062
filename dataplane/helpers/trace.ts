/** bpf_trace_printk and bpf_trace_vprintk: lines for the trace log. They answer the length of what was printed. */
import type { Machine } from '../machine/machine.ts';
import { ERRNO } from '../maps/map.ts';
import { inMemory } from './bounds.ts';
import { formatMessage, MAX_FORMAT_ARGUMENTS } from './format.ts';
import type { Helper } from './helper.ts';
import { ANY_PROGRAM } from './program-sets.ts';

/** MAX_TRACE_PRINTK_BUF, of which the last byte is a NUL. */
const LONGEST_LINE = 1023;

/** The format at `address`, up to its NUL, which must be among its `sizeBytes`. */
function readFormat(machine: Machine, address: number, sizeBytes: number): string | undefined {
  const { memory } = machine;
  const start = inMemory(memory, address, sizeBytes);
  const end = memory.u8.subarray(start, start + sizeBytes).indexOf(0);
  return end < 0 ? undefined : String.fromCharCode(...memory.u8.subarray(start, start + end));
}

function print(machine: Machine, formatAddress: number, formatBytes: number, args: readonly bigint[]): number {
  const format = readFormat(machine, formatAddress, formatBytes);
  if (format === undefined) return -ERRNO.EINVAL;
  const line = formatMessage(machine.memory, format, args);
  if (typeof line === 'number') return line;
  const bytes = Uint8Array.from(line.slice(0, LONGEST_LINE), (character) => character.charCodeAt(0));
  machine.onEvent({ source: 'trace', cpu: machine.cpu, timestampNs: machine.nowNs, map: '', bytes });
  return line.length;
}

const join = (low: number, high: number): bigint => (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);

/** The 64-bit words of a data argument, or undefined where Linux refuses its size. */
export function readFormatArguments(machine: Machine, address: number, sizeBytes: number): readonly bigint[] | undefined {
  if (sizeBytes % 8 !== 0 || sizeBytes > MAX_FORMAT_ARGUMENTS * 8 || (sizeBytes > 0 && address === 0)) return undefined;
  const { view } = machine.memory;
  return Array.from({ length: sizeBytes / 8 }, (_, index) => view.getBigUint64((address >>> 0) + 8 * index, true));
}

export const TRACE_HELPERS: readonly Helper[] = [
  {
    id: 6,
    name: 'trace_printk',
    args: ['memory', 'size', 'unchecked', 'unchecked', 'unchecked'],
    returns: 'int',
    programs: ANY_PROGRAM,
    gplOnly: true,
    implementation: {
      kind: 'js',
      bind:
        (machine) =>
        (format, formatBytes, ...words) =>
          print(machine, format!, formatBytes! >>> 0, [join(words[0]!, words[1]!), join(words[2]!, words[3]!), join(words[4]!, words[5]!)]),
    },
  },
  {
    id: 177,
    name: 'trace_vprintk',
    args: ['memory', 'size', 'memory_or_null', 'size_or_zero'],
    returns: 'int',
    programs: ANY_PROGRAM,
    gplOnly: true,
    implementation: {
      kind: 'js',
      bind: (machine) => (format, formatBytes, data, dataBytes) => {
        const args = readFormatArguments(machine, data!, dataBytes! >>> 0);
        return args === undefined ? -ERRNO.EINVAL : print(machine, format!, formatBytes! >>> 0, args);
      },
    },
  },
];
