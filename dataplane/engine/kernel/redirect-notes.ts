/**
 * Where a program wants its packet to go. Linux keeps that for itself after a test run, so before a program is loaded
 * its calls of the redirect helpers become calls of functions that note the arguments, and then call the helper. Notes
 * are in the map of virtual-time.ts, behind the time:
 *
 *   16 u32 helper    id, 0 where none was called: the last call counts, as in Linux
 *   20 u32 target    ifindex, or the key in a map
 *   24 u64 flags
 *   32 u32 map       id of the map here
 *   36 u32 given     1 where a next hop was given
 *   40 u8[20] hop    struct bpf_redir_neigh
 */
import { isJump, jumpTarget } from '../../bpf/isa.ts';
import type { ProgramSpec } from '../../bpf/spec.ts';
import { XdplabError } from '../../errors.ts';
import { replaceCalls, type Replacement } from './replace-calls.ts';
import { VIRTUAL_TIME_MAP } from './virtual-time.ts';

export const NOTE = { helper: 16, target: 20, flags: 24, map: 32, given: 36, nextHop: 40, nextHopBytes: 20, end: 60 } as const;

export const REDIRECT_HELPER = { redirect: 23, redirect_map: 51, redirect_neigh: 152, redirect_peer: 155 } as const;

/** `mapId` is the id that stands for a map of the program in its notes. */
export function withRedirectNotes(spec: ProgramSpec, mapId: (name: string) => number, targets: readonly string[]): ProgramSpec {
  return replaceCalls(spec, (id, slot) => {
    switch (id) {
      case REDIRECT_HELPER.redirect:
        return toDevice('redirect', id);
      case REDIRECT_HELPER.redirect_peer:
        return toDevice('redirect_peer', id);
      case REDIRECT_HELPER.redirect_map: {
        const name = mapOfCall(spec, slot) ?? (targets.length === 1 ? targets[0] : undefined);
        if (name === undefined) throw new XdplabError('ERR_PROGRAM', `program '${spec.name}': instruction ${slot} redirects by a map that is chosen at run time, which a run in the kernel does not tell; name the map in the call, or use another engine`);
        return { name: `redirect_map_${mapId(name)}`, code: `${note(id, 'r2', 'r3')}\nr4 = ${mapId(name)}\n*(u32 *)(r5 +${NOTE.map - NOTE.helper}) = r4\ncall ${id}` };
      }
      case REDIRECT_HELPER.redirect_neigh:
        return { name: 'redirect_neigh', code: `${note(id, 'r1', 'r4')}\n${NEXT_HOP}\ncall ${id}` };
      default:
        return undefined;
    }
  });
}

/** Leaves r5 at the note. */
function note(id: number, target: string, flags: string): string {
  const field = (offset: number): string => `+${offset - NOTE.helper}`;
  return `
    r5 = map[${VIRTUAL_TIME_MAP.name}][0]+${NOTE.helper}
    *(u32 *)(r5 ${field(NOTE.target)}) = ${target}
    *(u64 *)(r5 ${field(NOTE.flags)}) = ${flags}
    r0 = ${id}
    *(u32 *)(r5 +0) = r0`;
}

function toDevice(name: string, id: number): Replacement {
  return { name, code: `${note(id, 'r1', 'r2')}\ncall ${id}` };
}

/** r2 is NULL, or points to the next hop, of r3 bytes; r4 are the flags. */
const NEXT_HOP = [
  'r0 = 0',
  `*(u32 *)(r5 +${NOTE.given - NOTE.helper}) = r0`,
  `if r3 == 0 goto +${2 + NOTE.nextHopBytes / 2}`,
  'r0 = 1',
  `*(u32 *)(r5 +${NOTE.given - NOTE.helper}) = r0`,
  ...Array.from({ length: NOTE.nextHopBytes / 4 }, (_, word) => [`r0 = *(u32 *)(r2 +${4 * word})`, `*(u32 *)(r5 +${NOTE.nextHop - NOTE.helper + 4 * word}) = r0`]).flat(),
].join('\n');

/** The map that was put into r1 before the call, where straight-line code that nothing jumps into says it. */
function mapOfCall({ instructions }: ProgramSpec, call: number): string | undefined {
  const entered = new Set(instructions.flatMap((each, slot) => (isJump(each) ? [jumpTarget(slot, each.offset)] : [])));
  for (let slot = call - 1; slot >= 0 && !entered.has(slot + 1); slot--) {
    const instruction = instructions[slot]!;
    if (instruction.kind === 'load_imm64' && instruction.dst === 1) return instruction.value.kind === 'map' ? instruction.value.map : undefined;
    const leaves = isJump(instruction) || instruction.kind === 'call' || instruction.kind === 'exit';
    if (leaves || ('dst' in instruction && instruction.dst === 1)) return undefined;
  }
  return undefined;
}
