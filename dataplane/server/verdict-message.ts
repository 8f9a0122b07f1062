/** Messages of the verdict stream, as docs/verdict-stream.md lays them out. */
import { jsonText } from '../pipeline/json-text.ts';
import { FATES } from '../pipeline/outcome.ts';
import { seconds } from '../pipeline/verdict-log.ts';
import { FAULT_NAMES, nameOfVerdict, REASON_NAMES, type LabNames } from './lab-names.ts';
import { FRAME_FLAG, FRAME_HEADER, FRAME_KIND, PACKET_LIST_HEADER_BYTES, packetBytes, STREAM_PACKET, VERDICT_RECORD } from './verdict-decoder.ts';
import type { Account } from './verdict-subscription.ts';
import type { KeptPacket } from './verdict-ring.ts';

export interface SelectedVerdicts {
  /** Room for a frame's header, then the records. */
  readonly bytes: Buffer;
  readonly count: number;
  /** Of the records, where somebody asks: in JSON, and with packets. */
  readonly sequences: readonly number[];
  /** Those of the records, in their order, where they were kept. */
  readonly packets: readonly KeptPacket[];
  /** Sequence number behind the last that was looked at. */
  readonly end: number;
}

/** Writes the header into the room before the records, so that they are not copied again. */
export function binaryVerdicts({ bytes, count, sequences, packets }: SelectedVerdicts, account: Account, wantsPackets: boolean): Buffer {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  view.setUint8(FRAME_HEADER.kind, FRAME_KIND.verdicts);
  view.setUint8(FRAME_HEADER.flags, wantsPackets ? FRAME_FLAG.packets : 0);
  view.setUint16(FRAME_HEADER.recordBytes, VERDICT_RECORD.size, true);
  view.setUint32(FRAME_HEADER.count, count, true);
  for (const field of ['next', 'produced', 'sent', 'skipped', 'dropped'] as const) view.setBigUint64(FRAME_HEADER[field], BigInt(account[field]), true);
  return wantsPackets ? Buffer.concat([bytes, packetList(view, sequences, packets)]) : bytes;
}

function packetList(records: DataView, sequences: readonly number[], packets: readonly KeptPacket[]): Buffer {
  const bytes = Buffer.alloc(packets.reduce((total, { before, after }) => total + packetBytes(before.length, after.length), PACKET_LIST_HEADER_BYTES));
  bytes.writeUInt32LE(packets.length, 0);
  let at = PACKET_LIST_HEADER_BYTES;
  let record = 0;
  for (const packet of packets) {
    const { first, before, after } = packet;
    while (sequences[record]! < first) record++;
    const begin = record;
    while (record < sequences.length && sequences[record]! < first + packet.records) record++;
    bytes.writeBigUInt64LE(records.getBigUint64(FRAME_HEADER.size + begin * VERDICT_RECORD.size + VERDICT_RECORD.number, true), at + STREAM_PACKET.number);
    bytes.writeUInt32LE(begin, at + STREAM_PACKET.record);
    bytes.writeUInt16LE(record - begin, at + STREAM_PACKET.records);
    bytes.writeUInt8(packet.fate, at + STREAM_PACKET.fate);
    bytes.writeUInt8(packet.reason, at + STREAM_PACKET.reason);
    bytes.writeUInt32LE(packet.wire, at + STREAM_PACKET.wire);
    bytes.writeUInt32LE(packet.captured, at + STREAM_PACKET.captured);
    bytes.writeUInt32LE(packet.left, at + STREAM_PACKET.left);
    bytes.writeUInt32LE(packet.leftIfindex, at + STREAM_PACKET.leftIfindex);
    bytes.writeUInt16LE(before.length, at + STREAM_PACKET.beforeBytes);
    bytes.writeUInt16LE(after.length, at + STREAM_PACKET.afterBytes);
    bytes.writeBigUInt64LE(BigInt(first), at + STREAM_PACKET.sequence);
    bytes.set(before, at + STREAM_PACKET.size);
    bytes.set(after, at + STREAM_PACKET.size + before.length);
    at += packetBytes(before.length, after.length);
  }
  return bytes;
}

export function jsonVerdicts({ bytes, sequences, packets }: SelectedVerdicts, account: Account, names: LabNames, wantsPackets: boolean): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const deviceName = (ifindex: number): string => names.devices.find((device) => device.ifindex === ifindex)?.name ?? String(ifindex);
  let packet = 0;
  const verdicts = sequences.map((sequence, index) => {
    const at = FRAME_HEADER.size + index * VERDICT_RECORD.size;
    const attachment = names.attachments[view.getUint16(at + VERDICT_RECORD.attachment, true)]!;
    const code = view.getInt32(at + VERDICT_RECORD.verdict, true);
    const fault = view.getUint8(at + VERDICT_RECORD.fault);
    while (packet < packets.length && packets[packet]!.first + packets[packet]!.records <= sequence) packet++;
    const kept = packets[packet];
    return {
      sequence,
      packet: Number(view.getBigUint64(at + VERDICT_RECORD.number, true)),
      time: seconds(view.getBigUint64(at + VERDICT_RECORD.timestampNs, true)),
      device: deviceName(view.getUint32(at + VERDICT_RECORD.ifindex, true)),
      hook: attachment.hook,
      program: attachment.program,
      attachment: attachment.index,
      verdict: nameOfVerdict(attachment, code),
      code,
      length: view.getUint32(at + VERDICT_RECORD.length, true),
      ...(fault === 0 ? {} : { fault: FAULT_NAMES[fault] }),
      ...(wantsPackets && kept !== undefined && kept.first <= sequence ? jsonPacket(kept, deviceName) : {}),
    };
  });
  return jsonText({ type: 'verdicts', ...account, verdicts });
}

function jsonPacket({ fate, reason, wire, captured, left, leftIfindex, before, after }: KeptPacket, deviceName: (ifindex: number) => string): object {
  return {
    fate: FATES[fate],
    ...(reason === 0 ? {} : { reason: REASON_NAMES[reason] }),
    ...(leftIfindex === 0 ? {} : { out: deviceName(leftIfindex) }),
    wire,
    captured,
    left,
    before: Buffer.from(before).toString('hex'),
    after: Buffer.from(after).toString('hex'),
  };
}
