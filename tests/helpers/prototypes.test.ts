/**
 * Prototypes against what Linux said: prototypes.txt, which `UPDATE_GOLDEN=1` writes anew from the running kernel. For
 * each helper, by program types: what each argument has to be, up to the first one that is not easily had. Programs that ask
 * are all refused, whatever they call, so that none has to be freed.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { BPF_MAP_TYPE } from '../../dataplane/bpf/map-type.ts';
import { PROGRAM_TYPES, type ProgramType } from '../../dataplane/bpf/spec.ts';
import { createKernelMap } from '../../dataplane/engine/kernel/kernel-map.ts';
import { openLinux } from '../../dataplane/engine/kernel/linux.ts';
import type { ArgumentKind } from '../../dataplane/helpers/helper.ts';
import { HELPER_NAMES, HELPERS, prototypeOf, PROTOTYPES } from '../../dataplane/helpers/index.ts';
import { mapAllows } from '../../dataplane/helpers/map-compatibility.ts';
import { kernelTitle, whyNoKernel } from '../engine/kernel/kernel-here.ts';
import { refusalLog } from '../engine/kernel/refused-program.ts';

const GOLDEN = fileURLToPath(new URL('prototypes.txt', import.meta.url));
const SOCKETS = 'sock_common, sock, tcp_sock, xdp_sock';
const MEMORY = 'fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_';
const OBJECT = 'ptr_, trusted_ptr_, rcu_ptr_';
const DYNPTR = 'fp, dynptr_ptr';

/** Register types that Linux names where an argument is of none of them; undefined where a number will do. */
const EXPECTED: Readonly<Record<ArgumentKind, string | undefined>> = {
  ctx: 'ctx', ctx_or_null: 'ctx', map: 'map_ptr',
  map_key: MEMORY, map_value: MEMORY, map_value_or_null: MEMORY, map_value_out: MEMORY,
  memory: MEMORY, memory_or_null: MEMORY, memory_out: MEMORY, memory_inout: MEMORY, memory_inout_or_null: MEMORY,
  size: undefined, size_or_zero: undefined, u32: undefined, i32: undefined, u64: undefined, unchecked: undefined,
  callback: 'func', callback_ctx: 'fp', spin_lock: 'map_value, ptr_', timer: 'map_value',
  ringbuf_record: 'ringbuf_mem', allocated_size: undefined,
  socket: `${SOCKETS}, ptr_, trusted_ptr_`, sock_common: SOCKETS,
  long_out: MEMORY, int_inout: MEMORY, const_string: 'map_value',
  dynptr: DYNPTR, dynptr_out: DYNPTR, ringbuf_dynptr: DYNPTR, ringbuf_dynptr_out: DYNPTR,
  kptr_slot: 'map_value, ptr_', kptr_or_null: 'ptr_, trusted_ptr_',
  percpu_variable: 'percpu_ptr_, percpu_rcu_ptr_, percpu_trusted_ptr_', task: OBJECT, task_or_null: OBJECT, cgroup_or_null: OBJECT,
};

/** An argument that will do, as code; undefined for kinds that are not easily had. */
const GOOD: Partial<Readonly<Record<ArgumentKind, (register: string) => string>>> = {
  ctx: (register) => `${register} = r6`,
  ctx_or_null: (register) => `${register} = r6`,
  map: (register) => `${register} = map[any]`,
  size: (register) => `${register} = 8`,
  size_or_zero: (register) => `${register} = 0`,
  allocated_size: (register) => `${register} = 8`,
  callback_ctx: (register) => `${register} = 0`,
  ...Object.fromEntries(['u32', 'i32', 'u64', 'unchecked'].map((kind) => [kind, (register: string) => `${register} = 0`])),
  ...Object.fromEntries(
    ['map_key', 'map_value', 'map_value_or_null', 'map_value_out', 'memory', 'memory_or_null', 'memory_out', 'memory_inout', 'memory_inout_or_null', 'long_out', 'int_inout'].map((kind) => [
      kind,
      (register: string) => `${register} = r10\n${register} += -64`,
    ]),
  ),
};

const SIZES: ReadonlySet<ArgumentKind> = new Set(['size', 'size_or_zero', 'allocated_size']);
/** Where a program finds the packet, by type. */
const PACKET_AT: Partial<Readonly<Record<ProgramType, number>>> = { xdp: 0, sched_cls: 76, sched_act: 76 };

/** What an argument has to be, in the words of the golden file. */
type Ask = (type: ProgramType, id: number, kinds: readonly ArgumentKind[], at: number) => string;

function described(ask: Ask, mayCall: (type: ProgramType, id: number) => string | undefined): string {
  const lines: string[] = [];
  for (let id = 1; id <= HELPER_NAMES.length; id++) {
    const byAnswer = new Map<string, ProgramType[]>();
    for (const type of PROGRAM_TYPES) {
      const refused = mayCall(type, id);
      if (refused === undefined) continue;
      const kinds = prototypeOf(id, type)?.args ?? [];
      const reached = kinds.findIndex((kind) => GOOD[kind] === undefined);
      const asked = reached < 0 ? kinds.length + 1 : reached + 1;
      const args = refused === '' ? Array.from({ length: asked }, (_, at) => ask(type, id, kinds, at)) : [refused];
      const answer = args.map((text) => `\n    ${text}`).join('');
      byAnswer.set(answer, [...(byAnswer.get(answer) ?? []), type]);
    }
    for (const [answer, types] of byAnswer) lines.push(`${id} ${HELPER_NAMES[id] ?? 'unknown'} (${types.join(' ')})${answer}`);
  }
  return `${lines.join('\n')}\n`;
}

const NO_MORE = 'no more';
const SLEEPS = 'only for programs that may sleep';

const ourAsk: Ask = (type, id, kinds, at) => {
  if (at === kinds.length) return NO_MORE;
  const kind = kinds[at]!;
  const expected = EXPECTED[kind];
  if (kind === 'unchecked') return 'anything';
  if (SIZES.has(kind)) return 'scalar';
  if (expected === undefined) return 'anything initialised';
  const packet = expected === MEMORY && PACKET_AT[type] !== undefined ? prototypeOf(id, type)!.packetAccess === true ? '; in packets' : '; not in packets' : '';
  return `${expected}${kind === 'callback_ctx' || kind.endsWith('_or_null') ? ' or NULL' : ''}${packet}`;
};

function kernelAsk(map: (name: string) => number): Ask {
  return (type, id, kinds, at) => {
    const register = `r${at + 1}`;
    const program = (given: string): string => {
      const args = kinds.map((kind, index) => (index === at ? given : GOOD[kind]?.(`r${index + 1}`) ?? '')).filter((line) => line !== '');
      const packet = PACKET_AT[type];
      return refusalLog(['r6 = r1', packet === undefined ? 'r8 = 0' : `r8 = *(u32 *)(r6 +${packet})`, 'call 7', ...args, `call ${id}`, 'r0 = r7', 'exit'].join('\n'), type, { map });
    };
    const says = (log: string, what: string): boolean => log.includes(`${register.toUpperCase()} ${what}`);
    // The map that is handed over may be of the wrong type, which is said after all arguments.
    if (at === kinds.length) return says(program(''), '!read_ok') ? 'more' : NO_MORE;
    const notRead = program('');
    if (!says(notRead, '!read_ok')) return 'anything';
    const number = program(`${register} = 4660`);
    const expected = new RegExp(`^R${at + 1} type=scalar expected=(.*)$`, 'm').exec(number)?.[1];
    if (expected === undefined) return says(program(`${register} = r10`), 'type=fp expected=scalar') ? 'scalar' : 'anything initialised';
    const nullable = !says(program(`${register} = 0`), 'type=scalar expected=');
    let packet = '';
    if (expected.startsWith('fp, pkt') && PACKET_AT[type] !== undefined) packet = program(`${register} = r8`).includes('helper access to the packet is not allowed') ? '; not in packets' : '; in packets';
    return `${expected}${nullable ? ' or NULL' : ''}${packet}`;
  };
}

/** Why the call is refused whatever its arguments are, `''` where it is not; undefined where the type may not call it. */
function kernelMayCall(type: ProgramType, id: number): string | undefined {
  const log = refusalLog(`call 7\ncall ${id}\nr0 = r7\nexit`, type);
  if (/program of this type cannot use helper|invalid func unknown/.test(log)) return undefined;
  return log.includes('helper call might sleep in a non-sleepable prog') ? SLEEPS : '';
}

function ourMayCall(type: ProgramType, id: number): string | undefined {
  const prototype = prototypeOf(id, type);
  return prototype === undefined ? undefined : prototype.mightSleep === true ? SLEEPS : '';
}

const golden = (): string => readFileSync(GOLDEN, 'utf8').replace(/^#.*\n/gm, '');

describe.skipIf(whyNoKernel !== undefined)(kernelTitle('prototypes, asked of the kernel'), () => {
  test('the running Linux wants the arguments that were recorded', { timeout: 300_000 }, () => {
    const map = createKernelMap(openLinux(), { name: 'any', type: BPF_MAP_TYPE.hash, keyBytes: 8, valueBytes: 8, maxEntries: 1, flags: 0, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false });
    const answers = described(kernelAsk(() => map.fd), kernelMayCall);
    map.close();
    if (process.env['UPDATE_GOLDEN'] !== undefined) {
      writeFileSync(GOLDEN, `# What Linux ${readFileSync('/proc/sys/kernel/osrelease', 'latin1').trim()} wants the arguments of helpers to be, by the program types that may call them.\n${answers}`);
    }
    expect(answers).toBe(golden());
  });
});

test('prototypes are what Linux wants', () => {
  expect(described(ourAsk, ourMayCall)).toBe(golden());
});

test('a helper is in one of the two tables, under the name that Linux gives it', () => {
  for (const { id, name, programs } of PROTOTYPES) {
    expect(HELPER_NAMES[id]).toBe(name);
    for (const type of programs) expect(HELPERS.some((helper) => helper.id === id && helper.programs.includes(type))).toBe(false);
  }
});

test('a program may be told of sizes only for arguments that there are', () => {
  for (const { args, sizes = [], releases = 0 } of [...HELPERS, ...PROTOTYPES]) {
    expect(sizes.length).toBeLessThanOrEqual(args.length);
    expect(releases).toBeLessThan(Math.max(1, args.length));
  }
});

describe('maps and helpers', () => {
  test('some maps know only some helpers', () => {
    expect(mapAllows(BPF_MAP_TYPE.prog_array, 1)).toBe(false);
    expect(mapAllows(BPF_MAP_TYPE.cpumap, 1)).toBe(false);
    expect(mapAllows(BPF_MAP_TYPE.devmap, 1)).toBe(true);
    expect(mapAllows(BPF_MAP_TYPE.ringbuf, 130)).toBe(true);
  });

  test('some helpers know only some maps', () => {
    expect(mapAllows(BPF_MAP_TYPE.hash, 12)).toBe(false);
    expect(mapAllows(BPF_MAP_TYPE.hash, 87)).toBe(false);
    expect(mapAllows(BPF_MAP_TYPE.bloom_filter, 88)).toBe(false);
    expect(mapAllows(BPF_MAP_TYPE.lru_percpu_hash, 195)).toBe(true);
  });
});
