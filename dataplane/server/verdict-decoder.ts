/**
 * Decodes the binary frames of the verdict stream and of verdict logs (docs/verdict-stream.md), in Node and in browsers. Imports nothing.
 *
 *   socket.binaryType = 'arraybuffer';
 *   socket.onmessage = ({ data }) => {
 *     if (typeof data === 'string') return;
 *     const frame = decodeVerdicts(data);
 *     for (let index = 0; index < frame.count; index++) console.log(frame.packet(index), frame.verdict(index));
 *   };
 *
 * Numbers are JavaScript's: exact up to 2^53, which counts packets for centuries; times have a bigint beside them.
 */

/** Offsets within a frame, a record and a packet; the encoder writes by them too. */
export const FRAME_HEADER = { kind: 0, flags: 1, recordBytes: 2, count: 4, next: 8, produced: 16, sent: 24, skipped: 32, dropped: 40, size: 48 } as const;
/** `names` is in files only. */
export const FRAME_KIND = { verdicts: 1, names: 2 } as const;
export const FRAME_FLAG = { packets: 1 } as const;
export const VERDICT_RECORD = { number: 0, timestampNs: 8, length: 16, ifindex: 20, verdict: 24, attachment: 28, hook: 30, fault: 31, size: 32 } as const;
export const PACKET_LIST_HEADER_BYTES = 8;
export const NAMES_HEADER_BYTES = 8;
export const STREAM_PACKET = { number: 0, record: 8, records: 12, fate: 14, reason: 15, wire: 16, captured: 20, left: 24, leftIfindex: 28, beforeBytes: 32, afterBytes: 34, sequence: 40, size: 48 } as const;
export const PACKET_ALIGNMENT = 8;

const TWO_32 = 4_294_967_296;

export interface StreamPacket {
  readonly number: number;
  /** Sequence number of its first verdict, which may not be in the frame. */
  readonly sequence: number;
  /** Its records in the frame: from `record` on, so many. */
  readonly record: number;
  readonly records: number;
  /** Index into `fates` of the welcome. */
  readonly fate: number;
  /** Index into `reasons`. */
  readonly reason: number;
  readonly wire: number;
  readonly captured: number;
  readonly left: number;
  /** 0: it left through no device. */
  readonly leftIfindex: number;
  /** The beginning of the packet as it came in, and as it left. Views into the frame. */
  readonly before: Uint8Array;
  readonly after: Uint8Array;
}

/** A frame, read where it lies: nothing is copied, and nothing is made per record. */
export class VerdictFrame {
  readonly count: number;
  readonly #view: DataView;
  readonly #packetsAt: number | undefined;

  /** Throws a RangeError for what is no frame of this version. */
  constructor(view: DataView) {
    this.#view = view;
    if (view.byteLength < FRAME_HEADER.size) throw new RangeError(`a frame of ${view.byteLength} bytes: expected at least ${FRAME_HEADER.size}`);
    const kind = view.getUint8(FRAME_HEADER.kind);
    const recordBytes = view.getUint16(FRAME_HEADER.recordBytes, true);
    if (kind !== FRAME_KIND.verdicts || recordBytes !== VERDICT_RECORD.size) throw new RangeError(`a frame of kind ${kind} with records of ${recordBytes} bytes: expected kind ${FRAME_KIND.verdicts} with ${VERDICT_RECORD.size}`);
    this.count = view.getUint32(FRAME_HEADER.count, true);
    const end = FRAME_HEADER.size + this.count * VERDICT_RECORD.size;
    const hasPackets = (view.getUint8(FRAME_HEADER.flags) & FRAME_FLAG.packets) !== 0;
    if (end + (hasPackets ? PACKET_LIST_HEADER_BYTES : 0) > view.byteLength) throw new RangeError(`a frame of ${view.byteLength} bytes says it has ${this.count} records: expected at least ${end} bytes`);
    this.#packetsAt = hasPackets ? end : undefined;
  }

  /** Where to resume: `from` of a later subscription. */
  get next(): number {
    return this.#u64(FRAME_HEADER.next);
  }

  /** produced = sent + skipped + dropped. */
  get produced(): number {
    return this.#u64(FRAME_HEADER.produced);
  }

  get sent(): number {
    return this.#u64(FRAME_HEADER.sent);
  }

  get skipped(): number {
    return this.#u64(FRAME_HEADER.skipped);
  }

  get dropped(): number {
    return this.#u64(FRAME_HEADER.dropped);
  }

  /** The packet's place in the capture, from 1. */
  packet(index: number): number {
    return this.#u64(recordAt(index) + VERDICT_RECORD.number);
  }

  timestampNs(index: number): bigint {
    return this.#view.getBigUint64(recordAt(index) + VERDICT_RECORD.timestampNs, true);
  }

  /** Good to about 200 ns: what JavaScript's numbers hold of today's seconds. */
  seconds(index: number): number {
    return this.#u64(recordAt(index) + VERDICT_RECORD.timestampNs) / 1e9;
  }

  /** Of the packet after the program. */
  length(index: number): number {
    return this.#view.getUint32(recordAt(index) + VERDICT_RECORD.length, true);
  }

  ifindex(index: number): number {
    return this.#view.getUint32(recordAt(index) + VERDICT_RECORD.ifindex, true);
  }

  /** The code as returned. */
  verdict(index: number): number {
    return this.#view.getInt32(recordAt(index) + VERDICT_RECORD.verdict, true);
  }

  attachment(index: number): number {
    return this.#view.getUint16(recordAt(index) + VERDICT_RECORD.attachment, true);
  }

  hook(index: number): number {
    return this.#view.getUint8(recordAt(index) + VERDICT_RECORD.hook);
  }

  /** 0: none. */
  fault(index: number): number {
    return this.#view.getUint8(recordAt(index) + VERDICT_RECORD.fault);
  }

  /** Those that came with the records, in their order; none unless the subscription asked for them. */
  *packets(): Generator<StreamPacket, void, undefined> {
    if (this.#packetsAt === undefined) return;
    const view = this.#view;
    const count = view.getUint32(this.#packetsAt, true);
    let at = this.#packetsAt + PACKET_LIST_HEADER_BYTES;
    for (let index = 0; index < count; index++) {
      const beforeBytes = view.getUint16(at + STREAM_PACKET.beforeBytes, true);
      const afterBytes = view.getUint16(at + STREAM_PACKET.afterBytes, true);
      const bytesAt = view.byteOffset + at + STREAM_PACKET.size;
      yield {
        number: this.#u64(at + STREAM_PACKET.number),
        sequence: this.#u64(at + STREAM_PACKET.sequence),
        record: view.getUint32(at + STREAM_PACKET.record, true),
        records: view.getUint16(at + STREAM_PACKET.records, true),
        fate: view.getUint8(at + STREAM_PACKET.fate),
        reason: view.getUint8(at + STREAM_PACKET.reason),
        wire: view.getUint32(at + STREAM_PACKET.wire, true),
        captured: view.getUint32(at + STREAM_PACKET.captured, true),
        left: view.getUint32(at + STREAM_PACKET.left, true),
        leftIfindex: view.getUint32(at + STREAM_PACKET.leftIfindex, true),
        before: new Uint8Array(view.buffer, bytesAt, beforeBytes),
        after: new Uint8Array(view.buffer, bytesAt + beforeBytes, afterBytes),
      };
      at += packetBytes(beforeBytes, afterBytes);
    }
  }

  #u64(at: number): number {
    return this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * TWO_32;
  }
}

/** What numbers in records mean: the `welcome` of the stream has it too. */
export interface VerdictNames {
  readonly hooks: readonly string[];
  readonly faults: readonly string[];
  /** By hook, mode and code; a code that is not there is no verdict of its hook. */
  readonly verdicts: Readonly<Record<string, Readonly<Record<string, Readonly<Record<number, string>>>>>>;
  readonly devices: readonly { readonly name: string; readonly ifindex: number }[];
  /** By index. */
  readonly attachments: readonly { readonly index: number; readonly device: string; readonly hook: string; readonly mode: string; readonly program: string; readonly verified: boolean; readonly slots?: string }[];
}

/**
 * The frames of a verdict log, `xdplab replay --verdicts <name>.bin`, in their order, with the names that hold for each.
 * Throws a RangeError where the bytes are none, or end within a frame: what came before was given out.
 */
export function* decodeVerdictFile(data: ArrayBuffer | ArrayBufferView): Generator<{ readonly names: VerdictNames; readonly frame: VerdictFrame }, void, undefined> {
  const bytes = ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let names: VerdictNames | undefined;
  for (let at = 0; at < bytes.length; ) {
    const left = bytes.length - at;
    if (left < NAMES_HEADER_BYTES) throw new RangeError(`byte ${at}: found ${left} bytes of a frame, expected at least ${NAMES_HEADER_BYTES}`);
    const count = view.getUint32(at + FRAME_HEADER.count, true);
    if (view.getUint8(at + FRAME_HEADER.kind) === FRAME_KIND.names) {
      if (left < NAMES_HEADER_BYTES + count) throw new RangeError(`byte ${at}: found ${left} bytes of a frame of names, expected ${NAMES_HEADER_BYTES + count}`);
      names = JSON.parse(new TextDecoder().decode(bytes.subarray(at + NAMES_HEADER_BYTES, at + NAMES_HEADER_BYTES + count))) as VerdictNames;
      at += NAMES_HEADER_BYTES + count;
    } else {
      const frame = new VerdictFrame(new DataView(bytes.buffer, bytes.byteOffset + at, left));
      if (names === undefined) throw new RangeError(`byte ${at}: found verdicts, expected names before them`);
      yield { names, frame };
      at += recordAt(count);
    }
  }
}

export function decodeVerdicts(data: ArrayBuffer | ArrayBufferView): VerdictFrame {
  return new VerdictFrame(ArrayBuffer.isView(data) ? new DataView(data.buffer, data.byteOffset, data.byteLength) : new DataView(data));
}

/** What a packet takes in a frame. */
export function packetBytes(beforeBytes: number, afterBytes: number): number {
  return Math.ceil((STREAM_PACKET.size + beforeBytes + afterBytes) / PACKET_ALIGNMENT) * PACKET_ALIGNMENT;
}

function recordAt(index: number): number {
  return FRAME_HEADER.size + index * VERDICT_RECORD.size;
}
