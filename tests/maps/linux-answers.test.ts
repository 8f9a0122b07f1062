/**
 * What Linux answered to the cases in linux-answers.json (record-linux-answers.py asked it), asked of our maps: which
 * declarations are refused, and every errno and byte of every step.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Machine } from '../../dataplane/machine/machine.ts';
import { createMap, type BpfMap } from '../../dataplane/maps/bpf-map.ts';
import { MAP_TYPES } from '../../dataplane/maps/index.ts';
import { errnoName } from '../../dataplane/maps/map-error.ts';
import { mapsOf, type ProgramReference } from '../../dataplane/maps/map-registry.ts';
import type { MapSpec } from '../../dataplane/bpf/spec.ts';
import { errnoOf, hex, mapSpec, u32 } from './map-fixtures.ts';

interface Declaration {
  readonly type: number;
  readonly key?: number;
  readonly value?: number;
  readonly entries?: number;
  readonly flags?: number;
  readonly inner?: string;
}

interface Step {
  readonly do: 'lookup' | 'update' | 'delete' | 'next' | 'push' | 'pop' | 'peek' | 'freeze';
  readonly key?: string;
  readonly value?: string;
  readonly flags?: number;
  readonly answer: string;
}

interface Case {
  readonly name: string;
  readonly maps?: Readonly<Record<string, Declaration>>;
  readonly map: Declaration;
  readonly steps: readonly Step[];
  readonly made: string;
}

interface Answers {
  readonly linux: string;
  readonly declarations: readonly (readonly [type: number, key: number, value: number, entries: number, flags: number, answer: string])[];
  readonly cases: readonly Case[];
}

const answers = JSON.parse(readFileSync(new URL('linux-answers.json', import.meta.url), 'utf8')) as Answers;

const PROGRAMS: Readonly<Record<string, ProgramReference>> = {
  'program:xdp': { id: 11, type: 'xdp', spec: { name: 'xdp', section: 'xdp', frags: false } },
  'program:xdp.frags': { id: 12, type: 'xdp', spec: { name: 'frags', section: 'xdp.frags', frags: true } },
  'program:xdp_devmap': { id: 13, type: 'xdp', spec: { name: 'devmap', section: 'xdp/devmap', frags: false, attach: 'xdp_devmap' } },
  'program:tc': { id: 14, type: 'sched_cls', spec: { name: 'tc', section: 'tc', frags: false } },
};
const MISSING = 9999;
const LOOPBACK = { ifindex: 1, name: 'lo', mac: new Uint8Array(6), mtuBytes: 65_536, up: true, forwarding: false, addresses: [], queues: 1 };

const typeOf = (id: number) => MAP_TYPES.get(id)!;
const nameOf = ({ type }: Declaration) => typeOf(type).name;

function specOf({ type, key = 0, value = 0, entries = 0, flags = 0 }: Declaration, inner?: MapSpec): MapSpec {
  return mapSpec(typeOf(type), { keyBytes: key, valueBytes: value, maxEntries: entries, flags, ...(inner && { inner }) });
}

describe(`declarations, as Linux ${answers.linux} takes them`, () => {
  const types = [...new Set(answers.declarations.map(([type]) => type))];
  test.each(types.map((id) => ({ id, name: typeOf(id).name })))('$name', ({ id }) => {
    const rows = answers.declarations.filter(([type]) => type === id);
    for (const [type, key, value, entries, flags, answer] of rows) {
      const found = errnoOf(() => typeOf(type).check(specOf({ type, key, value, entries, flags }))) || 'ok';
      expect(found, `key ${key}, value ${value}, max_entries ${entries}, flags 0x${flags.toString(16)}`).toBe(answer);
    }
  });
});

/** The map of a case and what its steps name. */
class Run {
  readonly map: BpfMap;
  readonly #machine = new Machine({ cpus: 2 });
  readonly #ids = new Map<string, number>([['missing', MISSING]]);

  constructor({ map, maps = {} }: Case) {
    this.#machine.network.addDevice(LOOPBACK);
    for (const [name, program] of Object.entries(PROGRAMS)) {
      mapsOf(this.#machine).addProgram(program);
      this.#ids.set(name, program.id);
    }
    const inner = map.inner === undefined ? undefined : specOf(maps[map.inner.slice('map:'.length)]!);
    for (const [name, declaration] of Object.entries(maps)) {
      if (inner?.type !== 3) this.#ids.set(`map:${name}`, createMap(this.#machine, specOf(declaration)).id);
    }
    this.map = createMap(this.#machine, specOf(map, inner));
  }

  answer(step: Step): string {
    const key = Uint8Array.from(Buffer.from(step.key ?? '', 'hex'));
    switch (step.do) {
      case 'update':
        return this.#errno(() => this.map.update(key, this.#write(step.value!), step.flags));
      case 'push':
        return this.#errno(() => this.map.push(this.#write(step.value!), step.flags));
      case 'delete':
        return this.#errno(() => this.map.delete(key) || 'ENOENT');
      case 'freeze':
        return this.#errno(() => this.map.freeze());
      case 'next':
        return this.#errno(() => this.#next(step.key === undefined ? undefined : key));
      case 'lookup':
        return this.#errno(() => this.#read(this.map.lookup(key)));
      case 'pop':
      case 'peek':
        return this.#errno(() => this.#read(this.map[step.do as 'pop' | 'peek']()));
    }
  }

  #errno(action: () => unknown): string {
    let answer: unknown;
    const errno = errnoOf(() => (answer = action()));
    return errno || (typeof answer === 'string' ? answer : 'ok');
  }

  /** BPF_MAP_GET_NEXT_KEY; user space that may not read cannot iterate either. */
  #next(key: Uint8Array | undefined): string {
    if (key === undefined && errnoOf(() => this.map.keys().next()) === 'EPERM') return 'EPERM';
    const { memory } = this.#machine;
    const [at, out] = [memory.allocate(264, 8, 'test'), memory.allocate(264, 8, 'test')];
    memory.u8.set(key ?? [], at);
    const result = this.map.operations.next(key === undefined ? 0 : at, out);
    return errnoName(result) ?? hex(memory.u8.slice(out, out + this.map.spec.keyBytes))!;
  }

  #write(value: string): Uint8Array {
    const words = value.split(' ').map((word) => (this.#ids.has(word) ? u32(this.#ids.get(word)!) : Buffer.from(word, 'hex')));
    const bytes = Uint8Array.from(words.flatMap((word) => [...word]));
    return this.map.type.perCpu ? Uint8Array.from([...bytes, ...bytes]) : bytes;
  }

  #read(bytes: Uint8Array | undefined): string {
    if (bytes === undefined) return 'ENOENT';
    const names = new Map([...this.#ids].map(([name, id]) => [hex(u32(id))!, name]));
    const value = hex(this.map.type.perCpu ? bytes.subarray(0, bytes.length / 2) : bytes)!;
    const { holds } = this.map.type;
    if (holds === 'programs' || holds === 'maps') return names.get(value) ?? value;
    const program = holds === 'devices' && value.length === 16 ? names.get(value.slice(8)) : undefined;
    return program ? `${value.slice(0, 8)} ${program}` : value;
  }
}

describe(`elements, as Linux ${answers.linux} answers`, () => {
  test.each(answers.cases.map((entry) => ({ ...entry, type: nameOf(entry.map) })))('$name: $type', (entry) => {
    if (entry.made !== 'ok') {
      expect(errnoOf(() => new Run(entry))).toBe(entry.made);
      return;
    }
    const run = new Run(entry);
    entry.steps.forEach((step, index) => expect(run.answer(step), `step ${index}: ${JSON.stringify(step)}`).toBe(step.answer));
  });
});
