/**
 * Programs that call helpers one after the other and keep all that can be seen of it: each call's answer, the buffers
 * the calls read and wrote, and the context as it is at the end. They are made for comparing, so they end in a map:
 *
 *   answers    8 bytes for each call, then the buffers, then 8 bytes for each field of the context
 *
 * Buffers are on the stack, initialised: byte n of all of them is n * 7 modulo 256, but each begins with a small number
 * of 32 bits, for it may be a key.
 */
import * as fc from 'fast-check';
import type { MapSpec, ProgramType } from '../../../dataplane/bpf/spec.ts';
import type { ArgumentKind, Helper } from '../../../dataplane/helpers/helper.ts';
import { HELPERS } from '../../../dataplane/helpers/index.ts';
import { hookByName } from '../../../dataplane/hooks/index.ts';
import { PROBE_MAPS } from './probe-maps.ts';

export interface ProbeCall {
  readonly helper: Helper;
  readonly args: readonly ProbeArgument[];
}

/** A number, the context, NULL, a map by name, or a buffer by its number. */
export type ProbeArgument = bigint | 'ctx' | 'null' | { readonly map: string } | { readonly buffer: number };

export const MOST_CALLS = 6;
const BUFFERS = 4;
const BUFFER_BYTES = 64;
const STACK_BYTES = BUFFERS * BUFFER_BYTES;
const MOST_FIELDS = 48;
const BUFFERS_AT = MOST_CALLS * 8;
const FIELDS_AT = BUFFERS_AT + STACK_BYTES;

const ARRAY = 2;
export const ANSWERS: MapSpec = {
  name: 'answers', type: ARRAY, keyBytes: 4, valueBytes: FIELDS_AT + 8 * MOST_FIELDS, maxEntries: 1, flags: 0, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false,
};
/** The answer of a lookup that found nothing; other lookups answer the value's first 8 bytes. */
const NULL_ANSWER = -77777;
/** Indexes within and outside, prefix lengths of both kinds. */
const FIRST_WORDS = [0, 1, 9, 33] as const;

/** Helpers whose answers depend on more than a test run has, each with what that is. */
const NOT_COMPARABLE: Readonly<Record<string, string>> = {
  trace_printk: 'writes to the trace of the whole system',
  trace_vprintk: 'writes to the trace of the whole system',
  clone_redirect: 'sends packets',
  get_hash_recalc: 'the key of the hash is random',
  get_socket_cookie: 'cookies are counted by the system',
  get_netns_cookie: 'cookies are counted by the system',
  get_socket_uid: 'a test run has a socket of its own',
  get_cgroup_classid: 'the cgroup is that of the tests',
  skb_cgroup_id: 'the cgroup is that of the tests',
  skb_ancestor_cgroup_id: 'the cgroup is that of the tests',
  skb_cgroup_classid: 'the cgroup is that of the tests',
  fib_lookup: 'the routes are those of the system',
};

const BUFFER_KINDS: readonly ArgumentKind[] = ['memory', 'memory_out', 'memory_inout', 'memory_inout_or_null', 'int_inout', 'map_key', 'map_value', 'map_value_out'];
const SIMPLE: readonly ArgumentKind[] = [...BUFFER_KINDS, 'ctx', 'u32', 'i32', 'u64', 'memory_or_null', 'size', 'size_or_zero'];

/** The helpers of a program type that can be probed: their arguments are the context, numbers, bytes, one of the maps. */
export function probeable(type: ProgramType): readonly Helper[] {
  return HELPERS.filter(({ name, args, programs, returns }) => {
    if (!programs.includes(type) || Object.hasOwn(NOT_COMPARABLE, name) || /^(tcp_raw|sk|skc)_/.test(name)) return false;
    if (returns === 'void' || (returns.endsWith('_or_null') && returns !== 'map_value_or_null')) return false;
    return args.every((kind) => SIMPLE.includes(kind) || (kind === 'map' && mapsOf(name).length > 0));
  });
}

const isMap = ({ implementation }: Helper): boolean => implementation.kind === 'map';

function mapsOf(helper: string): readonly string[] {
  return PROBE_MAPS.filter(({ helpers }) => helpers.test(helper)).map(({ spec }) => spec.name);
}

/** Around zero, and around what lengths, offsets and flags turn on. */
const NUMBERS = [0, 1, 2, 3, 4, 6, 8, 12, 14, 16, 18, 20, 24, 32, 34, 40, 54, 60, 64, 100, 128, 200, 216, 217, 252, 256, 1480, 1500, 3400, 3520, 4096, 0xffff, 0x10000];
const number: fc.Arbitrary<bigint> = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(fc.constantFrom(...NUMBERS), fc.integer({ min: -2, max: 2 })).map(([base, by]) => BigInt(base + by)) },
  { weight: 3, arbitrary: fc.constantFrom(...NUMBERS).map((base) => BigInt(-base)) },
  { weight: 3, arbitrary: fc.tuple(fc.nat(11), fc.nat(11)).map(([a, b]) => (1n << BigInt(a)) | (1n << BigInt(b))) },
  { weight: 1, arbitrary: fc.constantFrom(0x7fff_ffffn, -0x8000_0000n, 0xffff_ffffn, 0x1_0000_0000n, 0x8000_0000_0000_0000n) },
);

function argument(helper: Helper, kind: ArgumentKind): fc.Arbitrary<ProbeArgument> {
  if (BUFFER_KINDS.includes(kind)) return fc.nat(BUFFERS - 1).map((buffer) => ({ buffer }));
  switch (kind) {
    case 'ctx':
      return fc.constant('ctx');
    case 'map':
      return fc.constantFrom(...mapsOf(helper.name)).map((map) => ({ map }));
    case 'memory_or_null':
      return fc.oneof(fc.constant('null' as const), fc.nat(BUFFERS - 1).map((buffer) => ({ buffer })));
    case 'size':
      return fc.integer({ min: 1, max: BUFFER_BYTES }).map(BigInt);
    case 'size_or_zero':
      return fc.integer({ min: 0, max: BUFFER_BYTES }).map(BigInt);
    case 'u32':
      // Linux refuses flags above 32 bits; maps here look at 32, and engines hand them no more.
      return isMap(helper) ? number.map((value) => BigInt.asUintN(32, value)) : number;
    default:
      return number;
  }
}

export function probeCall(helper: Helper): fc.Arbitrary<ProbeCall> {
  return fc.tuple(...helper.args.map((kind) => argument(helper, kind))).map((args) => ({
    helper,
    // NULL goes with no bytes.
    args: args.map((value, index) => (args[index - 1] === 'null' && helper.args[index] === 'size_or_zero' ? 0n : value)),
  }));
}

export function probeCalls(type: ProgramType): fc.Arbitrary<readonly ProbeCall[]> {
  return fc.array(fc.constantFrom(...probeable(type)).chain(probeCall), { minLength: 1, maxLength: MOST_CALLS });
}

/** Fields of the context that are compared: numbers that a test run defines. */
function fieldsOf(type: ProgramType): readonly { readonly name: string; readonly offset: number; readonly bytes: number }[] {
  const { context } = hookByName(type === 'xdp' ? 'xdp' : 'tc-ingress');
  return context.filter(({ name, pointer }) => pointer === undefined && !/^(egress_ifindex|hash|napi_id|family|remote_|local_|flow_keys|sk$)/.test(name));
}

/** The text of the program, for the assembler. */
export function probeText(type: ProgramType, calls: readonly ProbeCall[]): string {
  const lines = ['r6 = r1'];
  const words = new DataView(initialBuffers().buffer);
  for (let at = 0; at < STACK_BYTES; at += 8) lines.push(`r1 = 0x${words.getBigUint64(at, true).toString(16)}`, `*(u64 *)(r10 ${at - STACK_BYTES}) = r1`);
  const keep = (offset: number): void => void lines.push(`r1 = map[${ANSWERS.name}][0]+${offset}`, '*(u64 *)(r1 +0) = r0');
  calls.forEach(({ helper, args }, index) => {
    args.forEach((value, place) => lines.push(...load(`r${place + 1}`, value)));
    lines.push(`call ${helper.id}`);
    if (helper.returns === 'map_value_or_null') lines.push('if r0 != 0 goto pc+2', `r0 = ${NULL_ANSWER}`, 'goto pc+1', 'r0 = *(u64 *)(r0 +0)');
    keep(8 * index);
  });
  for (let at = 0; at < STACK_BYTES; at += 8) {
    lines.push(`r0 = *(u64 *)(r10 ${at - STACK_BYTES})`);
    keep(BUFFERS_AT + at);
  }
  fieldsOf(type).forEach(({ offset, bytes }, index) => {
    lines.push(`r0 = *(u${bytes * 8} *)(r6 +${offset})`);
    keep(FIELDS_AT + 8 * index);
  });
  return [...lines, 'r0 = 2', 'exit'].join('\n');
}

function initialBuffers(): Uint8Array {
  const bytes = Uint8Array.from({ length: STACK_BYTES }, (_, at) => at * 7);
  FIRST_WORDS.forEach((word, buffer) => new DataView(bytes.buffer).setUint32(buffer * BUFFER_BYTES, word, true));
  return bytes;
}

function load(register: string, value: ProbeArgument): string[] {
  if (value === 'ctx') return [`${register} = r6`];
  if (value === 'null') return [`${register} = 0`];
  if (typeof value === 'bigint') return [`${register} = 0x${BigInt.asUintN(64, value).toString(16)}`];
  if ('map' in value) return [`${register} = map[${value.map}]`];
  return [`${register} = r10`, `${register} += ${BUFFER_BYTES * value.buffer - STACK_BYTES}`];
}

/** The maps that the calls name. */
export function mapsNamed(calls: readonly ProbeCall[]): ReadonlySet<string> {
  return new Set(calls.flatMap(({ args }) => args.flatMap((value) => (typeof value === 'object' && 'map' in value ? [value.map] : []))));
}

/** What the answers say, for people and for comparing. Buffers that are as they were are empty. */
export function readAnswers(type: ProgramType, calls: readonly ProbeCall[], bytes: Uint8Array): Readonly<Record<string, string>> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const initial = initialBuffers();
  const buffer = (index: number): string => {
    const from = BUFFERS_AT + index * BUFFER_BYTES;
    const same = bytes.subarray(from, from + BUFFER_BYTES).every((byte, at) => byte === initial[index * BUFFER_BYTES + at]);
    return same ? '' : Buffer.from(bytes.subarray(from, from + BUFFER_BYTES)).toString('hex');
  };
  return Object.fromEntries([
    ...calls.map((call, index) => [`${index + 1} ${describeCall(call)}`, String(view.getBigInt64(8 * index, true))]),
    ...Array.from({ length: BUFFERS }, (_, index) => [`buffer ${index}`, buffer(index)]),
    ...fieldsOf(type).map(({ name }, index) => [name, String(view.getBigUint64(FIELDS_AT + 8 * index, true))]),
  ]);
}

export function describeCall({ helper, args }: ProbeCall): string {
  const texts = args.map((value) => (typeof value === 'bigint' ? String(value) : typeof value === 'string' ? value : 'map' in value ? value.map : `buffer ${value.buffer}`));
  return `${helper.name}(${texts.join(', ')})`;
}

