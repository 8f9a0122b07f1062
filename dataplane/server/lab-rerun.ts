/** A packet that runs again to be looked at (insight/rerun.ts): what is asked of the lab, and what it answers beside what was recorded. */
import type { LineInfo } from '../bpf/spec.ts';
import type { Rerun } from '../insight/rerun.ts';
import type { Returned, TracedRun } from '../insight/run-trace.ts';
import type { PacketResult } from '../pipeline/lab.ts';
import type { Sender } from '../pipeline/layout.ts';
import { DROP_REASONS, FATES } from '../pipeline/outcome.ts';
import { nameOfVerdict, type LabNames } from './lab-names.ts';
import { VERDICT_RECORD } from './verdict-decoder.ts';
import type { VerdictRing } from './verdict-ring.ts';

export interface RerunRequest {
  readonly bytes: Uint8Array;
  /** The first one of the lab unless said. */
  readonly device?: string;
  /** Who sent it, whatever address it carries; where that is not known, its address says it. */
  readonly sender?: Sender;
  /** The lab's clock stands at the last packet unless said. */
  readonly timestampNs?: bigint;
  /** Where it has run before. */
  readonly recorded?: RecordedPacket;
}

export interface RecordedPacket {
  /** Whether only its beginning was kept. */
  readonly cut: boolean;
  readonly verdicts: readonly RecordedVerdict[];
  readonly fate: string;
  readonly reason?: string;
  /** As far as it was kept. */
  readonly after: Uint8Array;
  readonly left: number;
}

type RecordedVerdict = Pick<PacketResult['verdicts'][number], 'hook' | 'device' | 'program' | 'verdict' | 'code'>;

export interface ProgramLine extends LineInfo {
  readonly program: string;
}

export interface RerunProgram extends RecordedVerdict {
  /** It was stopped. */
  readonly faulted: boolean;
  /** That ran. */
  readonly instructions: number;
  readonly returned?: Omit<Returned, 'program'> & { readonly program: string };
  readonly lines: readonly ProgramLine[];
  readonly more: number;
}

export interface RerunAnswer {
  /** Whether all came out as it was recorded; null where nothing was. */
  readonly agrees: boolean | null;
  readonly cut: boolean;
  readonly fate: string;
  readonly reason?: string;
  readonly out?: string;
  /** The packet as it left, in hexadecimal. */
  readonly after: string;
  readonly programs: readonly RerunProgram[];
}

/** The packet of a verdict in the ring, undefined where it was not kept, or is not there any more. */
export function recordedPacket(ring: VerdictRing, names: LabNames, sequence: number): RerunRequest | undefined {
  if (sequence < ring.oldest || sequence >= ring.head) return undefined;
  const packet = ring.packet(sequence);
  if (packet === undefined) return undefined;
  const { from, end, bytes } = ring.read(packet.first, packet.records);
  if (from !== packet.first || end !== from + packet.records) return undefined;
  const records = Array.from({ length: packet.records }, (_, index) => index * VERDICT_RECORD.size);
  const attachmentAt = (at: number) => names.attachments[bytes.readUInt16LE(at + VERDICT_RECORD.attachment)];
  if (records.some((at) => attachmentAt(at) === undefined)) return undefined;
  const verdicts = records.map((at): RecordedVerdict => {
    const attachment = attachmentAt(at)!;
    const code = bytes.readInt32LE(at + VERDICT_RECORD.verdict);
    const ifindex = bytes.readUInt32LE(at + VERDICT_RECORD.ifindex);
    return { hook: attachment.hook, device: names.devices.find((device) => device.ifindex === ifindex)?.name ?? attachment.device, program: attachment.program, verdict: nameOfVerdict(attachment, code), code };
  });
  const [first] = verdicts;
  const { before, captured, fate, reason, after, left } = packet;
  return {
    bytes: before,
    // At the other hooks it is at the device that it leaves by, and the host's.
    ...(first === undefined ? {} : first.hook === 'tc-egress' ? { sender: 'host' as const } : { device: first.device, sender: 'wire' as const }),
    timestampNs: bytes.readBigUInt64LE(VERDICT_RECORD.timestampNs),
    recorded: { cut: before.length < captured, verdicts, fate: FATES[fate]!, ...(reason === 0 ? {} : { reason: DROP_REASONS[reason]!.name }), after, left },
  };
}

export function rerunAnswer({ recorded }: RerunRequest, rerun: Rerun): RerunAnswer {
  const { verdicts, fate, reason, out, bytes, runs } = rerun;
  return {
    agrees: recorded === undefined ? null : isAsRecorded(recorded, rerun),
    cut: recorded?.cut ?? false,
    fate,
    ...(reason === undefined ? {} : { reason }),
    ...(out === undefined ? {} : { out }),
    after: Buffer.from(bytes).toString('hex'),
    programs: verdicts.map((verdict, index) => ({ ...verdict, ...programAnswer(runs[index]!) })),
  };
}

function programAnswer({ instructions, returned, lines, more }: TracedRun): Pick<RerunProgram, 'instructions' | 'returned' | 'lines' | 'more'> {
  return {
    instructions,
    ...(returned === undefined ? {} : { returned: { ...returned, program: returned.program.spec.name } }),
    lines: lines.map(({ program, line }) => ({ program: program.spec.name, ...line })),
    more,
  };
}

function isAsRecorded(recorded: RecordedPacket, { verdicts, fate, reason, bytes }: Rerun): boolean {
  const text = (all: readonly RecordedVerdict[]): string => all.map(({ device, hook, program, code }) => `${device} ${hook} ${program} ${code}`).join();
  if (text(verdicts) !== text(recorded.verdicts) || fate !== recorded.fate || reason !== recorded.reason) return false;
  return (recorded.cut || bytes.length === recorded.left) && Buffer.compare(bytes.subarray(0, recorded.after.length), recorded.after) === 0;
}
