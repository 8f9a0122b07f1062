/**
 * How well a load balancer balances: which backend every flow goes to, against the ideal, and which flows move when the
 * backends change. Programs are looked at from outside: a backend is where packets go, the destination address as they
 * leave (of the outer header) or, where that is the client's own wish, the Ethernet address.
 *
 * What can be changed is known where the lab fills rings by Maglev hashing (`maglev:` in a map's contents). The flows of
 * a ring, and the address behind each of its numbers, are found by filling the ring with one backend after the other.
 */
import type { LabSources } from '../pipeline/open-lab.ts';
import { openLab } from '../pipeline/open-lab.ts';
import { MemorySnapshot } from '../machine/memory-snapshot.ts';
import { readEthernet } from '../packet/ethernet.ts';
import { flowKey, formatFlow } from '../packet/flow.ts';
import { packetAt, packetCount, type PacketTrace } from '../packet/packet-trace.ts';
import { ResidentTrace } from '../packet/resident-trace.ts';
import { DESCRIPTOR } from '../packet/packet-batch.ts';
import type { Lab } from '../pipeline/lab.ts';
import { FATE } from '../pipeline/outcome.ts';
import { plain } from '../program/typed-map.ts';
import { queueSpread, type QueueSettings, type QueueSpread, type RingFlows } from './queue-spread.ts';
import { NO_PLACE, sharesOf, sum, type Share, type Shares } from './shares.ts';

export interface BalanceOptions {
  readonly sources: LabSources;
  readonly trace: PacketTrace;
  /** Shares by backend where no ring says them; the same for all unless given. */
  readonly weights?: Readonly<Record<string, number>>;
  /** The first device's queues are looked at too, with these settings. */
  readonly rss?: QueueSettings;
}

export interface BackendShare extends Share {
  readonly backend: string;
}

/** What happened to flows when backends changed. */
export interface Movement {
  readonly change: string;
  /** Flows that no table knows, before and after: how many find another backend, and how many have to. */
  readonly newFlows: { readonly moved: number; readonly unavoidable: number };
  /** Flows under way while it changed. */
  readonly establishedFlows: { readonly moved: number };
}

export interface BalancedGroup extends Shares {
  /** The map and its elements, or `all packets`. */
  readonly ring: string;
  readonly backends: readonly BackendShare[];
  readonly movements: readonly Movement[];
}

export interface Balance {
  /** Packets looked at, and those that went to no backend. */
  readonly packets: number;
  readonly elsewhere: number;
  /** Flows of several packets all of which went to one backend, among all such. */
  readonly affinity: { readonly kept: number; readonly flows: number };
  readonly groups: readonly BalancedGroup[];
  /** Where it was asked for. */
  readonly queues?: QueueSpread;
  /** Why nothing is known of movements. */
  readonly remark?: string;
}

/** Looking at a packet takes microseconds. */
const MOST_OBSERVED_PACKETS = 200_000;

interface Ring {
  readonly map: string;
  readonly from: number;
  readonly slots: number;
  /** Weights by number. */
  readonly backends: ReadonlyMap<number, number>;
}

/** Undefined where packets go to fewer than two backends and no ring is known: no load balancer. Its queues can be looked at all the same. */
export async function measureBalance({ sources, trace, weights, rss }: BalanceOptions): Promise<Balance | undefined> {
  const { lab, contents } = await openLab({ ...sources, engine: 'wasm', parallel: false });
  const watch = new Watch(lab, trace);
  const base = watch.fresh();
  const rings = ringsOf(contents);
  const groups: BalancedGroup[] = [];
  const followed: RingFlows[] = [];
  const add = (ring: string, flows: ReadonlySet<number>, weightOf: ReadonlyMap<number, number>, movements: readonly Movement[]): void => {
    const group = shares(watch, base, flows, weightOf);
    groups.push({ ...group, ring, movements });
    followed.push({ ring, flows, backends: new Map(group.backends.map(({ backend }) => [watch.places.indexOf(backend), backend])) });
  };
  for (const ring of rings) {
    const numbered = identify(watch, ring);
    if (numbered === undefined) continue;
    const weightOf = new Map([...ring.backends].map(([number, weight]) => [numbered.places.get(number)!, weight]));
    add(`${ring.map}[${ring.from} to ${ring.from + ring.slots - 1}]`, numbered.flows, weightOf, movements(watch, ring, numbered));
  }
  const hasRing = groups.length > 0;
  if (!hasRing) {
    const places = new Set([...base].filter((place) => place !== NO_PLACE));
    if (places.size < 2 && rss === undefined) return undefined;
    const named = Object.entries(weights ?? {});
    const weightOf = new Map([...places].map((place) => [place, named.find(([name]) => name === watch.places[place])?.[1] ?? (weights === undefined ? 1 : 0)]));
    if (places.size >= 2) add('all packets', watch.allFlows(base), weightOf, []);
  }
  const elsewhere = base.reduce((sum, place) => sum + (place === NO_PLACE ? 1 : 0), 0);
  return {
    packets: base.length,
    elsewhere,
    affinity: affinityOf(watch, base),
    groups,
    ...(rss === undefined ? {} : { queues: queueSpread({ device: lab.devices[0]!, settings: rss, cpus: lab.machine.cpus, packets: watch.packets(), flowOf: watch.flowOf, found: base, rings: followed }) }),
    ...(hasRing ? {} : { remark: 'No ring of these packets is filled by maglev in the lab, so it is not known how to change backends.' }),
  };
}

/** Runs the trace through the lab and notes where each packet went: places are numbers of `places`. */
class Watch {
  readonly lab: Lab;
  /** Addresses of backends, in the order they were first seen. */
  readonly places: string[] = [];
  /** Of each packet that is looked at. */
  readonly flowOf: Int32Array;
  readonly #numbers = new Map<string, number>();
  readonly #trace: PacketTrace;
  readonly #resident: ResidentTrace;
  readonly #snapshot: MemorySnapshot;
  readonly #end: number;

  constructor(lab: Lab, trace: PacketTrace) {
    this.lab = lab;
    this.#trace = trace;
    this.#resident = new ResidentTrace(lab.machine.memory, trace);
    lab.pipeline.setInterface(0, lab.devices[0]);
    this.#snapshot = new MemorySnapshot(lab.machine.memory);
    this.#end = Math.min(packetCount(trace), trace.opening + MOST_OBSERVED_PACKETS);
    const flows = new Map<string, number>();
    this.flowOf = Int32Array.from({ length: this.#end - trace.opening }, (_, index) => {
      const key = flowKey(packetAt(trace, trace.opening + index));
      const text = key === undefined ? '' : formatFlow(key);
      if (!flows.has(text)) flows.set(text, flows.size);
      return flows.get(text)!;
    });
  }

  /** Those that are looked at, as they come in. */
  *packets(): Generator<Uint8Array, void, undefined> {
    for (let index = this.#trace.opening; index < this.#end; index++) yield packetAt(this.#trace, index);
  }

  /** From the maps as the lab fills them, changed as said: opens the flows and looks at a round. */
  fresh(change: () => void = () => {}): Int32Array {
    this.#snapshot.restore();
    change();
    if (this.#trace.opening > 0) {
      this.#resident.batch.count = this.#trace.opening;
      this.lab.pipeline.run(this.#resident.batch);
    }
    return this.again();
  }

  /** Looks at a round with the maps as they are now. */
  again(): Int32Array {
    const { batch } = this.#resident;
    const { opening } = this.#trace;
    const found = new Int32Array(this.#end - opening).fill(NO_PLACE);
    batch.count = this.#end;
    this.lab.pipeline.run(
      batch,
      {
        finished: (_, first, count) => {
          for (let index = first; index < first + count; index++) found[index - opening] = this.#placeOf(index);
        },
      },
      opening,
    );
    this.#resident.advance();
    return found;
  }

  allFlows(found: Int32Array): Set<number> {
    return new Set([...this.flowOf].filter((_, index) => found[index] !== NO_PLACE));
  }

  #placeOf(index: number): number {
    const { memory } = this.lab.machine;
    const at = this.#resident.batch.descriptor(index);
    const { view } = memory;
    const fate = view.getUint16(at + DESCRIPTOR.outcome, true);
    if (fate === FATE.dropped || fate === FATE.rejected || fate === FATE.consumed) return NO_PLACE;
    const left = memory.bytes(view.getUint32(at + DESCRIPTOR.leftAddress, true), view.getUint32(at + DESCRIPTOR.leftLength, true));
    const came = packetAt(this.#trace, index);
    const [before, after] = [flowKey(came), flowKey(left)];
    if (before === undefined || after === undefined || after.destination === before.source) return NO_PLACE;
    if (after.destination !== before.destination) return this.#number(after.destination);
    if (fate !== FATE.transmitted && fate !== FATE.redirected) return NO_PLACE;
    return this.#number(readEthernet(left)!.destination);
  }

  #number(place: string): number {
    let number = this.#numbers.get(place);
    if (number === undefined) {
      this.#numbers.set(place, (number = this.places.length));
      this.places.push(place);
    }
    return number;
  }
}

function ringsOf(contents: readonly (readonly [string, unknown])[]): Ring[] {
  return contents.flatMap(([map, values]) =>
    (Array.isArray(values) ? values : []).flatMap((item: unknown) => {
      const ring: unknown = item instanceof Map ? plain(item.get('maglev')) : undefined;
      if (typeof ring !== 'object' || ring === null) return [];
      const { from = 0, slots, backends } = ring as { from?: number; slots: number; backends: Readonly<Record<string, number>> };
      return [{ map, from, slots, backends: new Map(Object.entries(backends).map(([number, weight]) => [Number(number), Number(weight)])) }];
    }),
  );
}

function fillRing({ lab }: Watch, { map, from, slots }: Ring, backends: ReadonlyMap<number, number>): void {
  lab.map(map).fill([{ maglev: { from, slots, backends: Object.fromEntries(backends) } }], map);
}

interface Numbered {
  /** Flows that follow this ring. */
  readonly flows: ReadonlySet<number>;
  /** Place by the ring's number for it. */
  readonly places: ReadonlyMap<number, number>;
}

/** Undefined where no packet follows the ring. */
function identify(watch: Watch, ring: Ring): Numbered | undefined {
  const numbers = [...ring.backends.keys()];
  const runs = numbers.map((number) => watch.fresh(() => fillRing(watch, ring, new Map([[number, 1]]))));
  const [first, second] = runs;
  if (first === undefined || second === undefined) return undefined;
  const followers = [...watch.flowOf.keys()].filter((index) => first[index] !== NO_PLACE && first[index] !== second[index]);
  const [packet] = followers;
  if (packet === undefined) return undefined;
  return { flows: new Set(followers.map((index) => watch.flowOf[index]!)), places: new Map(numbers.map((number, place) => [number, runs[place]![packet]!])) };
}

function shares({ flowOf, places: names }: Watch, found: Int32Array, flows: ReadonlySet<number>, weightOf: ReadonlyMap<number, number>): Omit<BalancedGroup, 'ring' | 'movements'> {
  const { places, ...rest } = sharesOf(found, flowOf, flows, weightOf);
  return { ...rest, backends: places.map(({ place, ...share }) => ({ backend: names[place] ?? '?', ...share })) };
}

/** One leaves, one joins, one gets twice the weight: the first of the ring each time. */
function movements(watch: Watch, ring: Ring, { flows, places }: Numbered): Movement[] {
  const all = ring.backends;
  const [[number, weight]] = [...all] as [[number, number]];
  const without = new Map([...all].filter(([other]) => other !== number));
  const heavier = new Map([...all, [number, 2 * weight]]);
  const name = watch.places[places.get(number)!]!;
  const changes: readonly (readonly [string, ReadonlyMap<number, number>, ReadonlyMap<number, number>])[] = [
    [`${name} leaves`, all, without],
    [`${name} joins`, without, all],
    [`${name} gets twice the weight`, all, heavier],
  ];
  return changes.map(([change, before, after]) => {
    const old = backendByFlow(watch, watch.fresh(() => fillRing(watch, ring, before)), flows);
    fillRing(watch, ring, after);
    const kept = backendByFlow(watch, watch.again(), flows);
    const fresh = backendByFlow(watch, watch.fresh(() => fillRing(watch, ring, after)), flows);
    const gone = after.has(number) ? undefined : places.get(number);
    const unavoidable = gone === undefined ? Math.round(distance(before, after) * old.size) : [...old.values()].filter((place) => place === gone).length;
    return { change, newFlows: { moved: differing(old, fresh), unavoidable }, establishedFlows: { moved: differing(old, kept) } };
  });
}

/** The part of all flows that has to move for shares to become others: the total variation distance. */
function distance(before: ReadonlyMap<number, number>, after: ReadonlyMap<number, number>): number {
  const [total, totalAfter] = [sum(before.values()), sum(after.values())];
  return [...new Set([...before.keys(), ...after.keys()])].reduce((all, number) => all + Math.max(0, (after.get(number) ?? 0) / totalAfter - (before.get(number) ?? 0) / total), 0);
}

function backendByFlow({ flowOf }: Watch, found: Int32Array, flows: ReadonlySet<number>): Map<number, number> {
  const places = new Map<number, number>();
  found.forEach((place, index) => {
    if (flows.has(flowOf[index]!)) places.set(flowOf[index]!, place);
  });
  return places;
}

function differing(before: ReadonlyMap<number, number>, after: ReadonlyMap<number, number>): number {
  return [...before].filter(([flow, place]) => after.get(flow) !== place).length;
}

function affinityOf({ flowOf }: Watch, found: Int32Array): Balance['affinity'] {
  const first = new Map<number, number>();
  const several = new Set<number>();
  const broken = new Set<number>();
  found.forEach((place, index) => {
    if (place === NO_PLACE) return;
    const flow = flowOf[index]!;
    if (!first.has(flow)) first.set(flow, place);
    else several.add(flow);
    if (first.get(flow) !== place) broken.add(flow);
  });
  return { kept: several.size - broken.size, flows: several.size };
}
