/** What is seen, as files: verdicts as CSV, those of their packets whose bytes are here as pcapng (draft-ietf-opsawg-pcapng). */
import { names, packetOf, records, type KeptPacket } from './model.ts';
import { NOT_VERIFIED, seconds } from './text.ts';
import { rowAt } from './verdict-list.tsx';

/** Lines that are one string. */
const STRETCH = 1 << 14;
const COLUMNS = ['packet', 'seconds', 'device', 'hook', 'program', 'verified', 'verdict', 'length', 'fault'] as const;

function save(parts: BlobPart[], name: string, type: string): void {
  const address = URL.createObjectURL(new Blob(parts, { type }));
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  URL.revokeObjectURL(address);
}

/** Quoted, and no formula: names come from objects that anybody may have made. */
function cell(value: unknown): string {
  const text = String(value ?? '');
  const harmless = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

export function exportCsv(): void {
  const known = names.value;
  if (known === undefined) return;
  const parts = [`${COLUMNS.join(',')}\n`];
  for (let from = records.first; from < records.end; from += STRETCH) {
    let lines = '';
    for (let index = from; index < Math.min(from + STRETCH, records.end); index++) {
      const row = rowAt(index, known);
      lines += `${COLUMNS.map((column) => cell(column === 'seconds' ? seconds(row.timestampNs) : row[column])).join(',')}\n`;
    }
    parts.push(lines);
  }
  save(parts, 'verdicts.csv', 'text/csv');
}

const SECTION = 0x0a0d_0d0a;
const INTERFACE = 1;
const PACKET = 6;
const ETHERNET = 1;
const NANOSECONDS = 9;
const OPTION = { comment: 1, timeResolution: 9 } as const;

/** A block of 32-bit words and bytes, its length in front and behind. */
function block(type: number, words: readonly number[], bytes: Uint8Array = new Uint8Array()): ArrayBuffer {
  const padded = (bytes.length + 3) & ~3;
  const length = 12 + 4 * words.length + padded;
  const buffer = new ArrayBuffer(length);
  const view = new DataView(buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, length, true);
  words.forEach((word, index) => view.setUint32(8 + 4 * index, word, true));
  new Uint8Array(buffer).set(bytes, 8 + 4 * words.length);
  view.setUint32(length - 4, length, true);
  return buffer;
}

/** `comment` may be empty. */
function interfaceBlock(comment: string): ArrayBuffer {
  const text = new TextEncoder().encode(comment);
  // What is left of it is padding, and the end of options.
  const end = new Uint8Array(((text.length + 3) & ~3) + 4);
  end.set(text);
  return block(INTERFACE, [ETHERNET, 0, OPTION.timeResolution | (1 << 16), NANOSECONDS, ...(comment === '' ? [] : [OPTION.comment | (text.length << 16)])], end);
}

export function exportPcapng(): void {
  const found = new Set<KeptPacket>();
  for (let index = records.first; index < records.end; index++) {
    const packet = packetOf({ packet: records.packet(index), timestampNs: records.timestampNs(index) });
    if (packet !== undefined) found.add(packet);
  }
  const parts: ArrayBuffer[] = [
    block(SECTION, [0x1a2b_3c4d, 1, 0xffff_ffff, 0xffff_ffff]),
    interfaceBlock(names.value?.attachments.some(({ verified }) => !verified) === true ? `programs ${NOT_VERIFIED}` : ''),
  ];
  for (const { timestampNs, after, left, before, captured } of found) {
    const bytes = after.length > 0 ? after : before;
    parts.push(block(PACKET, [0, Number(timestampNs >> 32n), Number(timestampNs & 0xffff_ffffn), bytes.length, Math.max(bytes.length, after.length > 0 ? left : captured)], bytes));
  }
  save(parts, 'packets.pcapng', 'application/octet-stream');
}
