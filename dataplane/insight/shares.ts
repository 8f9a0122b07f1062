/** How flows and packets are shared among places, backends or queues, against how they should be; and whether two such choices of a flow know of each other. */

/** `probability`: that chance alone gives as much. */
export interface ChiSquare {
  readonly value: number;
  readonly degrees: number;
  readonly probability: number;
}

export interface Share {
  readonly weight: number;
  readonly flows: number;
  readonly idealFlows: number;
  readonly packets: number;
  readonly idealPackets: number;
}

export interface Shares {
  readonly flows: number;
  readonly packets: number;
  /** Of the fullest place, as a multiple of its ideal. */
  readonly maxOverIdeal: { readonly flows: number; readonly packets: number };
  /** Of flows against the ideal. */
  readonly chiSquare: ChiSquare;
}

/** The place of a packet that went to none. */
export const NO_PLACE = -1;

/** `found`: the place of each packet, `flowOf` its flow; of `flows` alone. A flow counts where its first packet is. */
export function sharesOf(found: Int32Array, flowOf: Int32Array, flows: ReadonlySet<number>, weightOf: ReadonlyMap<number, number>): Shares & { readonly places: readonly (Share & { readonly place: number })[] } {
  const packets = new Map<number, number>();
  found.forEach((place, index) => {
    if (place !== NO_PLACE && flows.has(flowOf[index]!)) packets.set(place, (packets.get(place) ?? 0) + 1);
  });
  const flowCounts = new Map<number, number>();
  const first = firstPlaces(found, flowOf, flows);
  for (const place of first.values()) flowCounts.set(place, (flowCounts.get(place) ?? 0) + 1);
  const total = sum(weightOf.values()) || 1;
  const [allFlows, allPackets] = [first.size, sum(packets.values())];
  const places = [...new Set([...weightOf.keys(), ...packets.keys()])].map((place) => {
    const part = (weightOf.get(place) ?? 0) / total;
    return { place, weight: weightOf.get(place) ?? 0, flows: flowCounts.get(place) ?? 0, idealFlows: part * allFlows, packets: packets.get(place) ?? 0, idealPackets: part * allPackets };
  });
  const wanted = places.filter(({ idealFlows }) => idealFlows > 0);
  const value = wanted.reduce((all, { flows: count, idealFlows }) => all + (count - idealFlows) ** 2 / idealFlows, 0);
  return {
    flows: allFlows,
    packets: allPackets,
    places,
    maxOverIdeal: { flows: Math.max(...wanted.map(({ flows: count, idealFlows }) => count / idealFlows)), packets: Math.max(...wanted.map(({ packets: count, idealPackets }) => count / idealPackets)) },
    chiSquare: chiSquare(value, Math.max(1, wanted.length - 1)),
  };
}

/** By flow, where its first packet went that went anywhere. */
export function firstPlaces(found: Int32Array, flowOf: Int32Array, flows: ReadonlySet<number>): Map<number, number> {
  const first = new Map<number, number>();
  found.forEach((place, index) => {
    const flow = flowOf[index]!;
    if (place !== NO_PLACE && flows.has(flow) && !first.has(flow)) first.set(flow, place);
  });
  return first;
}

export interface Dependence {
  /** Flows by row and column. */
  readonly counts: readonly (readonly number[])[];
  readonly chiSquare: ChiSquare;
  /** Cramér's V: 0 where the row says nothing about the column, 1 where it says all. */
  readonly strength: number;
  readonly isDependent: boolean;
}

/** Less flows for a cell than this, and chi-square says nothing. */
const LEAST_FLOWS_PER_CELL = 5;
/** Of a thousand independent choices one is taken for dependent; and what hardly matters is not, however many flows show it. */
const BY_CHANCE = 0.001;
const MATTERS = 0.1;

/** Undefined where there is no choice, or too few flows to tell. */
export function dependence(counts: readonly (readonly number[])[]): Dependence | undefined {
  const rowSums = counts.map((row) => sum(row));
  const columnSums = (counts[0] ?? []).map((_, column) => sum(counts.map((row) => row[column]!)));
  const [rows, columns] = [rowSums, columnSums].map((sums) => sums.filter((each) => each > 0).length) as [number, number];
  const total = sum(rowSums);
  const least = Math.min(rows, columns) - 1;
  if (least < 1 || total < rows * columns * LEAST_FLOWS_PER_CELL) return undefined;
  let value = 0;
  counts.forEach((row, at) =>
    row.forEach((count, column) => {
      const expected = (rowSums[at]! * columnSums[column]!) / total;
      if (expected > 0) value += (count - expected) ** 2 / expected;
    }),
  );
  const found = chiSquare(value, (rows - 1) * (columns - 1));
  const strength = Math.sqrt(value / (total * least));
  return { counts, chiSquare: found, strength, isDependent: found.probability < BY_CHANCE && strength > MATTERS };
}

/** Wilson and Hilferty: the cube root of a chi-square variable is close to normal. */
function chiSquare(value: number, degrees: number): ChiSquare {
  const variance = 2 / (9 * degrees);
  const z = (Math.cbrt(value / degrees) - (1 - variance)) / Math.sqrt(variance);
  // Abramowitz and Stegun 26.2.17.
  const t = 1 / (1 + 0.231_641_9 * Math.abs(z));
  const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
  const tail = density * t * (0.319_381_53 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
  return { value, degrees, probability: z >= 0 ? tail : 1 - tail };
}

export function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
