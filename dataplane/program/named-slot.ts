/**
 * Values of maps that hold programs, maps, devices or CPUs, as people write them: by name.
 *
 *   PROG_ARRAY            handle_tcp
 *   *_OF_MAPS             inner_map
 *   DEVMAP, DEVMAP_HASH   eth1, or { ifindex: eth1, bpf_prog: on_the_way_out }    struct bpf_devmap_val
 *   CPUMAP                192, or { qsize: 192, bpf_prog: on_that_cpu }           struct bpf_cpumap_val
 *
 * What is read is written in the same words, so that saved contents can be given back.
 */
import type { BtfValue } from '../bpf/btf-value.ts';
import { XdplabError } from '../errors.ts';
import type { BpfMap } from '../maps/bpf-map.ts';

/** How names become what slots hold. */
export interface NameScope {
  map(name: string): BpfMap;
  /** Id of the program. */
  program(name: string): number;
  programName(id: number): string | undefined;
  /** ifindex of the device. */
  device(name: string): number;
  deviceName(ifindex: number): string | undefined;
}

/** The member beside `bpf_prog`, and what it is. */
const TARGETS = {
  devices: { field: 'ifindex', expected: 'the name or ifindex of a device' },
  cpus: { field: 'qsize', expected: 'a number of packets' },
} as const;
const PROGRAM_FIELD = 'bpf_prog';
const PROGRAM_AT = 4;
/** File descriptor that says: no program. */
const NO_PROGRAM = 0xffff_ffff;

/** The bytes of a value given by name; undefined where the map's values are no slots, or are to be written by their type. */
export function writeSlot({ type, spec, name }: BpfMap, value: unknown, scope: NameScope, path: string): Uint8Array | undefined {
  const { holds } = type;
  if (holds === 'maps') return typeof value === 'string' ? words(spec.valueBytes, scope.map(value).id) : undefined;
  if (holds === 'programs') return words(spec.valueBytes, programId(value, scope, path));
  if (holds !== 'devices' && holds !== 'cpus') return undefined;
  const { field, expected } = TARGETS[holds];
  const members: Readonly<Record<string, unknown>> = isRecord(value) ? value : { [field]: value };
  const stranger = Object.keys(members).find((member) => member !== field && member !== PROGRAM_FIELD);
  if (stranger !== undefined) fail(`${path}.${stranger}`, 'unknown field', `an object of ${field}, ${PROGRAM_FIELD}`);
  const at = isRecord(value) ? `${path}.${field}` : path;
  const target = holds === 'devices' && typeof members[field] === 'string' ? scope.device(members[field]) : members[field];
  if (typeof target !== 'number' || !Number.isInteger(target) || target < 0 || target > 0xffff_ffff) fail(at, found(members[field]), expected);
  const program = members[PROGRAM_FIELD];
  if (program === undefined || program === null) return words(spec.valueBytes, target);
  if (spec.valueBytes <= PROGRAM_AT) fail(`${path}.${PROGRAM_FIELD}`, `that values of ${name} have ${spec.valueBytes} bytes`, 'struct bpf_devmap_val or bpf_cpumap_val in its declaration');
  return words(spec.valueBytes, target, programId(program, scope, `${path}.${PROGRAM_FIELD}`));
}

/** A slot in the words that writeSlot takes; undefined where the value is to be read by its type. */
export function readSlot({ type }: BpfMap, bytes: Uint8Array, scope: NameScope): BtfValue | undefined {
  const { holds } = type;
  if (holds !== 'programs' && holds !== 'devices' && holds !== 'cpus') return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const first = view.getUint32(0, true);
  if (holds === 'programs') return scope.programName(first) ?? first;
  const target = holds === 'devices' ? (scope.deviceName(first) ?? first) : first;
  const program = bytes.length > PROGRAM_AT ? view.getUint32(PROGRAM_AT, true) : 0;
  if (program === 0 || program === NO_PROGRAM) return target;
  return { [TARGETS[holds].field]: target, [PROGRAM_FIELD]: scope.programName(program) ?? program };
}

/** An id that nothing was loaded under would be followed by a tail call. */
function programId(value: unknown, scope: NameScope, path: string): number {
  if (typeof value === 'string') return scope.program(value);
  if (typeof value === 'number' && scope.programName(value) !== undefined) return value;
  return fail(path, found(value), 'the name of a program');
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function words(sizeBytes: number, ...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  values.forEach((value, index) => new DataView(bytes.buffer).setUint32(index * 4, value, true));
  return bytes;
}

function found(value: unknown): string {
  return value === undefined || value === null ? 'nothing' : JSON.stringify(value);
}

function fail(path: string, what: string, expected: string): never {
  throw new XdplabError('ERR_VALUE', `${path}: found ${what}, expected ${expected}`);
}
