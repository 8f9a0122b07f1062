/** Packets of a trace, and how several streams of them become one. */

export interface TracePacket {
  /** Since the start of the trace. */
  readonly timeNs: number;
  readonly bytes: Uint8Array;
  /** Where more was on the wire than was kept. */
  readonly wireLength?: number;
  readonly interface?: number;
}

/** Ordered by time, each in itself. */
export type PacketStream = Iterator<TracePacket, void>;

/** The least a network card sends: a frame of 64 bytes without its checksum. */
export const MINIMUM_FRAME = 60;

/** Pads with zeros behind the packet, as a network card does. */
export function padFrame(frame: Uint8Array, lengthBytes: number = MINIMUM_FRAME): Uint8Array {
  if (frame.length >= lengthBytes) return frame;
  const padded = new Uint8Array(lengthBytes);
  padded.set(frame);
  return padded;
}

interface Head {
  readonly stream: PacketStream;
  readonly order: number;
  packet: TracePacket;
}

/** One stream in order of time; packets of the same instant in the order of their streams. */
export function* mergeStreams(streams: Iterable<PacketStream>): Generator<TracePacket, void> {
  const heap: Head[] = [];
  let order = 0;
  for (const stream of streams) {
    const first = stream.next();
    if (!first.done) heap.push({ stream, order: order++, packet: first.value });
  }
  for (let index = (heap.length >> 1) - 1; index >= 0; index--) sink(heap, index);
  while (heap.length > 0) {
    const head = heap[0]!;
    yield head.packet;
    const next = head.stream.next();
    if (next.done) {
      const last = heap.pop()!;
      if (heap.length === 0) return;
      heap[0] = last;
    } else {
      head.packet = next.value;
    }
    sink(heap, 0);
  }
}

function sink(heap: Head[], from: number): void {
  const moving = heap[from]!;
  let index = from;
  for (;;) {
    let child = 2 * index + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
    if (!isBefore(heap[child]!, moving)) break;
    heap[index] = heap[child]!;
    index = child;
  }
  heap[index] = moving;
}

function isBefore(left: Head, right: Head): boolean {
  if (left.packet.timeNs !== right.packet.timeNs) return left.packet.timeNs < right.packet.timeNs;
  return left.order < right.order;
}
