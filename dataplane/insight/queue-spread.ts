/**
 * How receive-side scaling spreads the packets of a load balancer over a NIC's queues and the CPUs that serve them, and
 * whether a flow's queue tells its backend: where NIC and balancer choose by the same hash, each CPU has some backends
 * only, and a backend is served by some CPUs only.
 */
import type { NetworkDevice } from '../machine/network.ts';
import { indirectionTable, queueChooser, rssKeyText } from '../pipeline/receive-side-scaling.ts';
import { dependence, firstPlaces, sharesOf, type Dependence, type Share, type Shares } from './shares.ts';

/** What is to be other than the device has it. */
export type QueueSettings = Pick<NetworkDevice, 'queues' | 'rssKey' | 'indirection'>;

export interface QueueShare extends Share {
  readonly queue: number;
  /** That serves it: queue modulo CPUs, of which there are as many as queues unless the lab says. */
  readonly cpu: number;
}

export interface QueueSpread extends Shares {
  readonly device: string;
  /** By its name, or as hexadecimal. */
  readonly key: string;
  /** `weight`: slots of the indirection table. */
  readonly queues: readonly QueueShare[];
  /** Where they are fewer than queues. */
  readonly cpus: readonly (Share & { readonly cpu: number })[];
  readonly rings: readonly QueuesAndBackends[];
}

/** Whether the queue of a flow tells its backend; rows of the counts are queues, columns are backends. Of one queue or one backend, or of too few flows, nothing is known. */
export interface QueuesAndBackends {
  readonly ring: string;
  readonly backends: readonly string[];
  readonly dependence?: Dependence;
}

/** Where the packets of a ring's flows went. */
export interface RingFlows {
  readonly ring: string;
  readonly flows: ReadonlySet<number>;
  /** Its backends' numbers in `found`, with their names. */
  readonly backends: ReadonlyMap<number, string>;
}

export interface QueueSpreadOptions {
  readonly device: NetworkDevice;
  readonly settings: QueueSettings;
  readonly cpus: number;
  readonly packets: Iterable<Uint8Array>;
  /** Of each packet its flow, and the backend it went to. */
  readonly flowOf: Int32Array;
  readonly found: Int32Array;
  readonly rings: readonly RingFlows[];
}

export function dependenceText(found: Dependence | undefined): string {
  if (found === undefined) return 'one queue or backend, or too few flows, to tell whether one chooses the other';
  const { isDependent, strength, chiSquare: { value, degrees, probability } } = found;
  const figures = `Cramér's V ${strength.toFixed(2)}, chi-square ${value.toFixed(1)} with ${degrees} degrees, p = ${probability.toFixed(3)}`;
  return isDependent ? `queue and backend of a flow depend on each other: both are chosen by much the same bits (${figures})` : `a flow's queue does not tell its backend (${figures})`;
}

export function queueSpread({ device, settings, cpus, packets, flowOf, found, rings }: QueueSpreadOptions): QueueSpread {
  const scaled = scaledDevice(device, settings);
  const queues = scaled.queues ?? cpus;
  const slots = indirectionTable(scaled, queues);
  const queueOf = Int32Array.from(packets, queueChooser(scaled, queues));
  const allFlows = new Set(flowOf);
  const numbers = [...Array(queues).keys()];
  const weights = new Map(numbers.map((queue) => [queue, slots.filter((each) => each === queue).length]));
  const { places, ...shares } = sharesOf(queueOf, flowOf, allFlows, weights);
  const serving = Math.min(cpus === 1 ? queues : cpus, queues);
  const cpuOf = (queue: number): number => queue % serving;
  const cpuWeights = new Map(numbers.slice(0, serving).map((cpu) => [cpu, numbers.filter((queue) => cpuOf(queue) === cpu).reduce((all, queue) => all + weights.get(queue)!, 0)]));
  return {
    ...shares,
    device: device.name,
    key: rssKeyText(scaled.rssKey),
    queues: places.map(({ place, ...share }) => ({ queue: place, cpu: cpuOf(place), ...share })),
    cpus: serving === queues ? [] : sharesOf(queueOf.map(cpuOf), flowOf, allFlows, cpuWeights).places.map(({ place, ...share }) => ({ cpu: place, ...share })),
    rings: rings.map(({ ring, flows, backends }) => {
      const [queueByFlow, backendByFlow] = [queueOf, found].map((each) => firstPlaces(each, flowOf, flows)) as [Map<number, number>, Map<number, number>];
      const columns = [...backends.keys()];
      const counts = numbers.map(() => columns.map(() => 0));
      for (const [flow, backend] of backendByFlow) counts[queueByFlow.get(flow)!]![columns.indexOf(backend)]!++;
      const known = dependence(counts);
      return { ring, backends: [...backends.values()], ...(known === undefined ? {} : { dependence: known }) };
    }),
  };
}

/** Another number of queues has them all in turn, unless said; and to name a queue is to have it. */
function scaledDevice({ name, queues, rssKey, indirection }: NetworkDevice, settings: QueueSettings): QueueSettings & { readonly name: string } {
  const isSaid = settings.queues !== undefined || settings.indirection !== undefined;
  const own = { ...(queues === undefined ? {} : { queues }), ...(indirection === undefined ? {} : { indirection }) };
  const named = settings.indirection === undefined ? {} : { queues: Math.max(...settings.indirection) + 1 };
  return { name, ...(rssKey === undefined ? {} : { rssKey }), ...(isSaid ? named : own), ...settings };
}
