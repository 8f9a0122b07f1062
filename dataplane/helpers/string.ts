/** bpf_snprintf and bpf_strncmp. */
import { ERRNO } from '../maps/map.ts';
import { inMemory } from './bounds.ts';
import { formatMessage } from './format.ts';
import type { Helper } from './helper.ts';
import { ANY_PROGRAM } from './program-sets.ts';
import { readFormatArguments } from './trace.ts';

export const STRING_HELPERS: readonly Helper[] = [
  {
    id: 165,
    name: 'snprintf',
    args: ['memory_inout_or_null', 'size_or_zero', 'const_string', 'memory_or_null', 'size_or_zero'],
    returns: 'int',
    programs: ANY_PROGRAM,
    gplOnly: true,
    implementation: {
      kind: 'js',
      /** Answers the length the text would have with its NUL, however much of it fits. */
      bind: (machine) => (out, size, format, data, dataBytes) => {
        const { memory } = machine;
        const args = readFormatArguments(machine, data!, dataBytes! >>> 0);
        if (args === undefined) return -ERRNO.EINVAL;
        const start = inMemory(memory, format!, 1);
        const end = memory.u8.indexOf(0, start);
        const text = formatMessage(memory, String.fromCharCode(...memory.u8.subarray(start, end)), args);
        if (typeof text === 'number') return text;
        const room = size! >>> 0;
        const at = inMemory(memory, out!, room);
        const written = Math.min(text.length, room - 1);
        for (let index = 0; index < written; index++) memory.u8[at + index] = text.charCodeAt(index);
        if (room > 0) memory.u8[at + written] = 0;
        return text.length + 1;
      },
    },
  },
  {
    id: 182,
    name: 'strncmp',
    args: ['memory', 'size', 'const_string'],
    returns: 'int',
    programs: ANY_PROGRAM,
    implementation: {
      kind: 'js',
      /** As strncmp(3): the difference of the first bytes that differ is only known by its sign. */
      bind: (machine) => (text, size, other) => {
        const { view } = machine.memory;
        for (let index = 0; index < size! >>> 0; index++) {
          const a = view.getUint8((text! >>> 0) + index);
          const b = view.getUint8((other! >>> 0) + index);
          if (a !== b) return a < b ? -1 : 1;
          if (a === 0) return 0;
        }
        return 0;
      },
    },
  },
];
