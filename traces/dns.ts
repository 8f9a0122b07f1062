/**
 * DNS messages (RFC 1035 §4) of a wanted length: one question whose name is as long as it takes.
 *
 *   0 u16 id   2 u16 flags   4 u16 questions   6 u16 answers   8 u16 authorities   10 u16 additionals   12 question
 *   question: labels, each u8 length and letters, u8 0, u16 type A, u16 class IN
 */
import { writeU16 } from '../dataplane/packet/big-endian.ts';
import { filler } from './filler.ts';

export const DNS_PORT = 53;

const QUESTION_AT = 12;
/** Of a message beside its name's letters: header, first length, the name's end, type and class. */
const FIXED_BYTES = QUESTION_AT + 1 + 1 + 4;
const MAX_NAME_BYTES = 255;
const MAX_LABEL_BYTES = 63;
const FLAGS = { query: 0x0100, response: 0x8180 } as const;

/** Filler where no message has that length. */
export function dnsMessage(kind: keyof typeof FLAGS, id: number, lengthBytes: number): Uint8Array {
  const nameBytes = lengthBytes - QUESTION_AT - 4;
  if (lengthBytes <= FIXED_BYTES || nameBytes > MAX_NAME_BYTES) return filler(lengthBytes);
  const message = filler(lengthBytes).slice();
  message.fill(0, 0, QUESTION_AT);
  writeU16(message, 0, id);
  writeU16(message, 2, FLAGS[kind]);
  writeU16(message, 4, 1);
  const end = QUESTION_AT + nameBytes - 1;
  for (let at = QUESTION_AT; at < end;) {
    const left = end - at - 1;
    // No label may be empty, so one that would leave a single byte is a byte shorter.
    const label = left <= MAX_LABEL_BYTES ? left : Math.min(MAX_LABEL_BYTES, left - 2);
    message[at] = label;
    at += 1 + label;
  }
  message[end] = 0;
  writeU16(message, end + 1, 1);
  writeU16(message, end + 3, 1);
  return message;
}
