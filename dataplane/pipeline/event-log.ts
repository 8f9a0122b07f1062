/**
 * What programs sent to user space: ring buffer records, perf events, trace_printk lines. Counted always, written as
 * JSON lines if someone wants them. What a packet's programs sent is read before the next packet of its CPU runs, so that
 * the time of a record is its packet's, however the capture was read, and, where one CPU runs, no ring buffer fills up.
 */
import { valueCodec, type ValueCodec } from '../bpf/btf-value.ts';
import { XdplabError } from '../errors.ts';
import type { BpfMap } from '../maps/bpf-map.ts';
import type { Lab } from './lab.ts';
import { jsonText } from './json-text.ts';
import { seconds } from './verdict-log.ts';

export interface EventCount {
  /** Name of the map, or `trace_printk`. */
  readonly source: string;
  readonly count: number;
}

const TRACE = 'trace_printk';

/** Takes a line with its end. `isTrace`: it is of trace_printk, else of a map. */
export type EventSink = (line: string, isTrace: boolean) => void;

export class EventLog {
  readonly #lab: Lab;
  readonly #write: EventSink | undefined;
  readonly #counts = new Map<string, number>();
  #ringBuffers: readonly BpfMap[] = [];
  readonly #codecs = new Map<string, ValueCodec>();

  /** `types`: by map, the struct its records are; others are written as hexadecimal. */
  constructor(lab: Lab, types: ReadonlyMap<string, string>, write?: EventSink) {
    this.#lab = lab;
    this.#write = write;
    this.watchMaps();
    for (const [map, type] of types) this.#codecs.set(map, recordCodec(lab.map(map).map, type));
    lab.machine.onRecords = () => this.#drain();
    lab.machine.onEvent = ({ source, map, bytes, timestampNs }) => {
      if (source === 'trace') this.#add(TRACE, timestampNs, { text: new TextDecoder().decode(bytes) });
      else this.#add(map, timestampNs, { record: this.#decode(map, bytes) });
    };
  }

  /** To be called again when the lab's objects have changed. */
  watchMaps(): void {
    this.#ringBuffers = this.#lab.maps.filter((map) => map.type.holds === 'records');
  }

  get counts(): readonly EventCount[] {
    return Array.from(this.#counts, ([source, count]) => ({ source, count }));
  }

  #drain(): void {
    for (const map of this.#ringBuffers) {
      for (const bytes of map.records()) this.#add(map.name, this.#lab.machine.nowNs, { record: this.#decode(map.name, bytes) });
    }
  }

  #decode(map: string, bytes: Uint8Array): unknown {
    if (this.#write === undefined) return undefined;
    const codec = this.#codecs.get(map);
    return codec && bytes.length >= codec.sizeBytes ? codec.read(bytes) : Buffer.from(bytes).toString('hex');
  }

  #add(source: string, timestampNs: bigint, content: object): void {
    this.#counts.set(source, (this.#counts.get(source) ?? 0) + 1);
    this.#write?.(`${jsonText({ time: seconds(timestampNs), source, ...(this.#lab.verified ? {} : { verified: false }), ...content })}\n`, source === TRACE && 'text' in content);
  }
}

function recordCodec(map: BpfMap, type: string): ValueCodec {
  const { btf } = map.spec;
  const [id] = btf?.idsByName(type, 'struct') ?? [];
  if (btf === undefined || id === undefined) throw new XdplabError('ERR_LAB', `events.${map.name}: the object has no struct '${type}'; name the struct that its records are, and let a variable refer to it (struct ${type} *unused;), else clang leaves it out`);
  return valueCodec(btf, id, btf.sizeBytes(id));
}
