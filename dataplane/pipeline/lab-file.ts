/**
 * A lab as a YAML file: devices with their programs, routes, neighbours, and what is in the maps.
 *
 *   devices:
 *     - { name: eth0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1/24], xdp: [firewall.bpf.o, lb.bpf.o:balancer] }
 *   routes:     [ { prefix: 0.0.0.0/0, via: 10.0.0.254, device: eth0 } ]
 *   neighbours: [ { address: 10.0.0.254, mac: "02:00:00:00:00:fe", device: eth0 } ]
 *   constants:   { debug: 1, mode: MODE_STRICT }
 *   max_entries: { rx_counters: 8 }
 *   maps:
 *     deny: [ { key: 192.0.2.0/24, value: 1 } ]
 *   events: { drop_events: drop_event }
 *   show: [ { map: backend_stats, title: Backends, by: packets, fields: [flows], label: backends.address, names: { 1: web-1 }, top: 8 } ]
 *
 * Paths are relative to the file. Everything that is wrong is one line that says where.
 */
import { parseAddress, parseMac, parsePrefix, type Prefix } from '../address.ts';
import { PROGRAM_TYPES, type ProgramType } from '../bpf/spec.ts';
import { XdplabError } from '../errors.ts';
import { HOOK_NAMES, type HookName } from '../hooks/hook.ts';
import { MOST_CPUS } from '../machine/machine.ts';
import { ROUTE_TYPES, type RouteType } from '../machine/network.ts';
import { plain } from '../program/typed-map.ts';
import { INDIRECTION_ENTRIES, parseRssKey, RSS_KEYS } from './receive-side-scaling.ts';
import { parseYaml } from './yaml.ts';

/** `object[:program]`, attached in the order given. */
export interface ProgramChoice {
  readonly hook: HookName;
  readonly object: string;
  readonly program?: string;
  readonly mode?: string;
  readonly type?: ProgramType;
}

export interface DeviceDescription {
  readonly name: string;
  readonly ifindex?: number;
  readonly mac?: Uint8Array;
  readonly mtuBytes?: number;
  readonly queues?: number;
  readonly rssKey?: Uint8Array;
  readonly indirection?: readonly number[];
  readonly up?: boolean;
  readonly forwarding?: boolean;
  readonly addresses?: readonly Prefix[];
  /** Name of the other end of a veth pair. */
  readonly peer?: string;
  readonly programs: readonly ProgramChoice[];
}

/** A map the summary shows: its largest entries by one field, labelled by name and by another map's value of the same key. */
export interface Highlight {
  readonly map: string;
  readonly title?: string;
  /** Field of the value that bars are drawn of, `packets` or `ingress.packets`; the first number unless said. */
  readonly by?: string;
  /** What else of the value is shown; every other number unless said. */
  readonly fields?: readonly string[];
  /** `map.field`: what to call an entry, looked up there by the entry's key. */
  readonly label?: string;
  /** What to call entries, by key; stands before `label`. */
  readonly names?: ReadonlyMap<string, string>;
  readonly top?: number;
}

export interface LabDescription {
  readonly cpus?: number;
  readonly seed?: number;
  readonly share: readonly string[];
  /** What the programs' own loader sets before it loads them: constants by name, as they stand in the file, and sizes by map name. */
  readonly constants: Readonly<Record<string, unknown>>;
  readonly maxEntries: Readonly<Record<string, number>>;
  readonly show: readonly Highlight[];
  /** The struct that a map's records are, by map name. */
  readonly events: ReadonlyMap<string, string>;
  readonly devices: readonly DeviceDescription[];
  readonly routes: readonly { readonly prefix: Prefix; readonly via?: Uint8Array; readonly device?: string; readonly type: RouteType; readonly metric?: number; readonly mtuBytes?: number }[];
  readonly neighbours: readonly { readonly address: Uint8Array; readonly mac: Uint8Array; readonly device: string }[];
  /** Contents by map name, as they stand in the file. */
  readonly maps: ReadonlyMap<string, unknown>;
}

export function parseLabFile(text: string, file: string): LabDescription {
  return new LabReader(file).read(parseYaml(text, file, 'ERR_LAB') ?? new Map());
}

type Node = ReadonlyMap<unknown, unknown>;

class LabReader {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  read(root: unknown): LabDescription {
    const lab = this.#node(root, 'lab', ['cpus', 'seed', 'share', 'constants', 'max_entries', 'show', 'events', 'devices', 'routes', 'neighbours', 'maps']);
    return {
      ...optional('cpus', this.#number(lab, 'cpus', 1, MOST_CPUS)),
      ...optional('seed', this.#number(lab, 'seed', 0, 0xffff_ffff)),
      share: this.#list(lab, 'share').map((name, i) => this.#text(name, `share[${i}]`)),
      constants: plain(this.#mapping(lab, 'constants')) as Readonly<Record<string, unknown>>,
      maxEntries: this.#sizes(this.#mapping(lab, 'max_entries')),
      show: this.#list(lab, 'show').map((highlight, i) => this.#highlight(highlight, `show[${i}]`)),
      events: this.#names(lab.get('events') ?? new Map(), 'events'),
      devices: this.#list(lab, 'devices').map((device, i) => this.#device(device, `devices[${i}]`)),
      routes: this.#list(lab, 'routes').map((route, i) => this.#route(route, `routes[${i}]`)),
      neighbours: this.#list(lab, 'neighbours').map((neighbour, i) => this.#neighbour(neighbour, `neighbours[${i}]`)),
      maps: new Map([...this.#mapping(lab, 'maps')].map(([name, contents]) => [String(name), contents])),
    };
  }

  #device(value: unknown, at: string): DeviceDescription {
    const device = this.#node(value, at, ['name', 'ifindex', 'mac', 'mtu', 'queues', 'rss_key', 'indirection', 'up', 'forwarding', 'addresses', 'peer', ...HOOK_NAMES]);
    const mac = device.get('mac');
    const peer = device.get('peer');
    return {
      name: this.#text(device.get('name'), `${at}.name`),
      ...optional('ifindex', this.#number(device, 'ifindex', 1, 0x7fff_ffff, at)),
      ...optional('mac', mac === undefined ? undefined : this.#parsed(mac, `${at}.mac`, parseMac, 'an address such as 02:00:00:00:00:01')),
      ...optional('mtuBytes', this.#number(device, 'mtu', 68, 262_144, at)),
      ...optional('queues', this.#number(device, 'queues', 1, 1024, at)),
      ...optional('rssKey', device.has('rss_key') ? this.#parsed(device.get('rss_key'), `${at}.rss_key`, parseRssKey, `${Object.keys(RSS_KEYS).join(' or ')}, or 40 bytes as hexadecimal`) : undefined),
      ...optional('indirection', device.has('indirection') ? this.#queues(device, at) : undefined),
      ...optional('up', this.#flag(device, 'up', at)),
      ...optional('forwarding', this.#flag(device, 'forwarding', at)),
      ...optional('peer', peer === undefined ? undefined : this.#text(peer, `${at}.peer`)),
      addresses: this.#list(device, 'addresses', at).map((address, i) => this.#prefix(address, `${at}.addresses[${i}]`)),
      programs: HOOK_NAMES.flatMap((hook) => this.#list(device, hook, at).map((choice, i) => this.#program(choice, hook, `${at}.${hook}[${i}]`))),
    };
  }

  #queues(device: Node, at: string): readonly number[] | undefined {
    const queues = this.#list(device, 'indirection', at);
    if (queues.length === 0 || queues.length > INDIRECTION_ENTRIES) this.#fail(`${at}.indirection`, queues.length, `1 to ${INDIRECTION_ENTRIES} queues`);
    return queues.map((queue, i) => this.#number(new Map([[String(i), queue]]), String(i), 0, 1023, `${at}.indirection`)!);
  }

  #program(value: unknown, hook: HookName, at: string): ProgramChoice {
    if (typeof value === 'string') return { hook, ...splitProgram(value) };
    const choice = this.#node(value, at, ['object', 'program', 'mode', 'type']);
    const [program, mode, type] = ['program', 'mode', 'type'].map((key) => (choice.has(key) ? this.#text(choice.get(key), `${at}.${key}`) : undefined));
    return {
      hook,
      object: this.#text(choice.get('object'), `${at}.object`),
      ...optional('program', program),
      ...optional('mode', mode),
      ...optional('type', type === undefined ? undefined : this.#oneOf(type, PROGRAM_TYPES, `${at}.type`)),
    };
  }

  #highlight(value: unknown, at: string): Highlight {
    const highlight = this.#node(value, at, ['map', 'title', 'by', 'fields', 'label', 'names', 'top']);
    const text = (key: string): string | undefined => (highlight.has(key) ? this.#text(highlight.get(key), `${at}.${key}`) : undefined);
    return {
      map: this.#text(highlight.get('map'), `${at}.map`),
      ...optional('title', text('title')),
      ...optional('by', text('by')),
      ...optional('fields', highlight.has('fields') ? this.#list(highlight, 'fields', at).map((field, i) => this.#text(field, `${at}.fields[${i}]`)) : undefined),
      ...optional('label', text('label')),
      ...optional('names', highlight.has('names') ? this.#names(highlight.get('names'), `${at}.names`) : undefined),
      ...optional('top', this.#number(highlight, 'top', 1, 1000, at)),
    };
  }

  #names(value: unknown, at: string): ReadonlyMap<string, string> {
    return new Map([...this.#node(value, at)].map(([key, name]) => [String(key), this.#text(name, `${at}.${String(key)}`)]));
  }

  #sizes(sizes: Node): Readonly<Record<string, number>> {
    return Object.fromEntries([...sizes.keys()].map((map) => [String(map), this.#number(sizes, String(map), 1, 0xffff_ffff, 'max_entries') ?? 0]));
  }

  #route(value: unknown, at: string): LabDescription['routes'][number] {
    const route = this.#node(value, at, ['prefix', 'via', 'device', 'type', 'metric', 'mtu']);
    const via = route.get('via');
    return {
      prefix: this.#prefix(route.get('prefix'), `${at}.prefix`),
      ...optional('via', via === undefined ? undefined : this.#address(via, `${at}.via`)),
      ...optional('device', route.has('device') ? this.#text(route.get('device'), `${at}.device`) : undefined),
      type: route.has('type') ? this.#oneOf(this.#text(route.get('type'), `${at}.type`), ROUTE_TYPES, `${at}.type`) : 'unicast',
      ...optional('metric', this.#number(route, 'metric', 0, 0xffff_ffff, at)),
      ...optional('mtuBytes', this.#number(route, 'mtu', 68, 262_144, at)),
    };
  }

  #neighbour(value: unknown, at: string): LabDescription['neighbours'][number] {
    const neighbour = this.#node(value, at, ['address', 'mac', 'device']);
    return {
      address: this.#address(neighbour.get('address'), `${at}.address`),
      mac: this.#parsed(neighbour.get('mac'), `${at}.mac`, parseMac, 'an address such as 02:00:00:00:00:01'),
      device: this.#text(neighbour.get('device'), `${at}.device`),
    };
  }

  #address(value: unknown, at: string): Uint8Array {
    return this.#parsed(value, at, parseAddress, 'an IPv4 or IPv6 address');
  }

  /** An address without a length is a host. */
  #prefix(value: unknown, at: string): Prefix {
    return this.#parsed(value, at, parsePrefix, 'a prefix such as 10.0.0.0/8');
  }

  #parsed<T>(value: unknown, at: string, parse: (text: string) => T | undefined, expected: string): T {
    const parsed = typeof value === 'string' ? parse(value) : undefined;
    return parsed ?? this.#fail(at, value, expected);
  }

  #node(value: unknown, at: string, known?: readonly string[]): Node {
    if (!(value instanceof Map)) this.#fail(at, value, 'a mapping');
    const stranger = known && [...value.keys()].find((key) => !known.includes(String(key)));
    if (stranger !== undefined) this.#fail(`${at}: key '${String(stranger)}'`, value.get(stranger), `only ${known!.join(', ')}`);
    return value;
  }

  #mapping(node: Node, key: string): Node {
    return this.#node(node.get(key) ?? new Map(), key);
  }

  #list(node: Node, key: string, at?: string): readonly unknown[] {
    const value = node.get(key) ?? [];
    return Array.isArray(value) ? value : this.#fail(at ? `${at}.${key}` : key, value, 'a list');
  }

  #text(value: unknown, at: string): string {
    return typeof value === 'string' && value !== '' ? value : this.#fail(at, value, 'text');
  }

  #flag(node: Node, key: string, at: string): boolean | undefined {
    const value = node.get(key);
    return value === undefined || typeof value === 'boolean' ? value : this.#fail(`${at}.${key}`, value, 'true or false');
  }

  #number(node: Node, key: string, least: number, most: number, at?: string): number | undefined {
    const value = node.get(key);
    if (value === undefined) return undefined;
    if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value;
    return this.#fail(at ? `${at}.${key}` : key, value, `a whole number from ${least} to ${most}`);
  }

  #oneOf<const T extends string>(value: string, choices: readonly T[], at: string): T {
    return choices.find((choice) => choice === value) ?? this.#fail(at, value, choices.join(', '));
  }

  #fail(at: string, found: unknown, expected: string): never {
    throw new XdplabError('ERR_LAB', `${this.#file}: ${at}: found ${describe(found)}, expected ${expected}`);
  }
}

/** `object.bpf.o:program`; the object's path may itself contain colons. */
export function splitProgram(text: string): { readonly object: string; readonly program?: string } {
  const colon = text.lastIndexOf(':');
  const program = text.slice(colon + 1);
  return colon > 0 && program !== '' && !/[/\\]/.test(program) ? { object: text.slice(0, colon), program } : { object: text };
}

function optional<K extends string, T>(key: K, value: T | undefined): { readonly [P in K]?: T } {
  return value === undefined ? {} : ({ [key]: value } as { readonly [P in K]?: T });
}

function describe(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (value instanceof Map) return 'a mapping';
  return Array.isArray(value) ? 'a list' : `'${String(value)}'`;
}
