/** The shapes of the HTTP interface: what is checked, what is answered, and what OpenAPI says. In words: docs/server-api.md. */
import { Type, type TSchema } from 'typebox';
import { HOOK_NAMES } from '../hooks/hook.ts';
import { LINE_KINDS } from '../insight/run-trace.ts';
import { ATTACH_MODES } from '../live/attached.ts';

export const LONGEST_NAME = 256;
const closed = { additionalProperties: false } as const;
const oneOf = <const Names extends readonly string[]>(names: Names) => Type.Unsafe<Names[number]>(Type.Union(names.map((name) => Type.Literal(name))));

export const Id = Type.String({ pattern: '^[ocr][0-9]{1,9}$', description: 'an id as the server chose it, "o1", "c1" or "r1"' });
export const Name = Type.String({ minLength: 1, maxLength: LONGEST_NAME });
/** A program or section name of an object. */
export const ProgramName = Type.String({ minLength: 1, maxLength: LONGEST_NAME });
export const Hook = oneOf(HOOK_NAMES);

export const Problem = Type.Object({ type: Type.String(), title: Type.String(), status: Type.Integer(), code: Type.String(), detail: Type.String() }, { title: 'Problem', additionalProperties: true });

export const Attachment = Type.Object({
  index: Type.Integer({ description: 'what verdict records call it; new when its hook changes' }),
  device: Type.String(),
  hook: Hook,
  mode: Type.String(),
  object: Type.String(),
  program: Type.String(),
  verified: Type.Boolean({ description: 'false where somebody wanted it to run without' }),
  slots: Type.Optional(Type.String({ description: 'it runs from a slot of such a map' })),
});

export const Lab = Type.Object({
  name: Type.String(),
  engine: Type.String(),
  epoch: Type.Integer({ description: 'another one after PUT and reset' }),
  cpus: Type.Integer(),
  verifies: Type.Boolean({ description: 'whether programs are verified before they run' }),
  remarks: Type.Array(Type.String(), { description: 'what is special about it, for people' }),
  devices: Type.Array(Type.Object({ name: Type.String(), ifindex: Type.Integer(), mac: Type.String(), mtu: Type.Integer(), up: Type.Boolean(), addresses: Type.Array(Type.String()) })),
  attachments: Type.Array(Attachment),
  objects: Type.Array(Type.Object({ id: Type.String(), name: Type.String() })),
});

export const AttachBody = Type.Object(
  {
    object: Id,
    program: Type.Optional(ProgramName),
    device: Type.Optional(Name),
    hook: Hook,
    mode: Type.Optional(Type.String({ maxLength: 32 })),
    unverified: Type.Optional(Type.Boolean({ description: 'attach also what Linux would refuse' })),
  },
  closed,
);

export const ReplaceBody = Type.Object({ with: Id, unverified: Type.Optional(Type.Boolean()) }, closed);
export const Replacement = Type.Object({ attachments: Type.Array(Attachment), keptMaps: Type.Array(Type.String()), freshMaps: Type.Array(Type.String()) });

export const ObjectInfo = Type.Object({
  id: Type.String(),
  name: Type.String(),
  sizeBytes: Type.Integer(),
  license: Type.String(),
  inLab: Type.Boolean(),
  programs: Type.Array(Type.Object({ name: Type.String(), section: Type.String(), type: Type.String(), tag: Type.String(), instructions: Type.Integer(), unresolved: Type.Array(Type.String()) })),
  maps: Type.Array(Type.Object({ name: Type.String(), type: Type.String(), key: Type.String(), value: Type.String(), maxEntries: Type.Integer() })),
});

const Line = Type.Object({ slot: Type.Integer(), file: Type.String(), line: Type.Integer(), column: Type.Integer(), text: Type.String() });

export const Program = Type.Object({
  object: Type.String(),
  name: Type.String(),
  section: Type.String(),
  type: Type.String(),
  tag: Type.String(),
  instructions: Type.Array(Type.Object({ slot: Type.Integer(), text: Type.String() })),
  functions: Type.Array(Type.Object({ name: Type.String(), slot: Type.Integer() })),
  lines: Type.Array(Line, { description: 'the C line that begins at the slot' }),
});

export const ProgramCounts = Type.Object({
  object: Type.String(),
  name: Type.String(),
  runs: Type.Integer({ description: 'that were counted: a sample of all' }),
  instructions: Type.Array(Type.Object({ slot: Type.Integer(), times: Type.Integer() }), { description: 'those that ran at all' }),
  lines: Type.Array(Type.Object({ file: Type.String(), line: Type.Integer(), times: Type.Integer({ description: 'as often as the one of its instructions that ran most' }), instructions: Type.Integer({ description: 'all that ran for it' }) })),
});

const { slot, file, line, column, text } = Line.properties;
const MOST_RERUN_BYTES = 9216;

export const RerunBody = Type.Union([
  Type.Object({ sequence: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: 'of a verdict whose packet was kept' }) }, closed),
  Type.Object(
    {
      bytes: Type.String({ pattern: '^(?:[0-9a-fA-F]{2})*$', maxLength: 2 * MOST_RERUN_BYTES, description: 'the packet in hexadecimal, two digits for each byte' }),
      device: Type.Optional(Name),
      time: Type.Optional(Type.String({ pattern: '^[0-9]{1,10}(?:[.][0-9]{1,9})?$', description: 'seconds with up to nine decimals, as in "1700000000.5"' })),
    },
    closed,
  ),
]);

export const Rerun = Type.Object({
  agrees: Type.Union([Type.Boolean(), Type.Null()], { description: 'whether verdicts, fate and bytes are those that were recorded; null where none were' }),
  cut: Type.Boolean({ description: 'only the beginning of the packet was kept, and ran' }),
  fate: Type.String(),
  reason: Type.Optional(Type.String()),
  out: Type.Optional(Type.String()),
  after: Type.String({ description: 'the packet as it left' }),
  programs: Type.Array(
    Type.Object({
      device: Type.String(),
      hook: Hook,
      program: Type.String(),
      verdict: Type.String(),
      code: Type.Integer(),
      faulted: Type.Boolean({ description: 'it was stopped' }),
      instructions: Type.Integer({ description: 'that ran' }),
      returned: Type.Optional(
        Type.Object({
          program: Type.String({ description: 'another one after a tail call' }),
          slot: Type.Integer({ description: 'the instruction that made the value' }),
          line: Type.Optional(Line),
          lineIs: Type.Optional(oneOf(LINE_KINDS)),
        }),
      ),
      lines: Type.Array(Type.Object({ program: Type.String(), slot, file, line, column, text }), { description: 'in the order they ran' }),
      more: Type.Integer({ description: 'lines that ran after those' }),
    }),
  ),
});

export const Verification = Type.Object({
  accepted: Type.Boolean(),
  instructionsProcessed: Type.Integer(),
  totalStates: Type.Integer(),
  peakStates: Type.Integer(),
  stackBytes: Type.Array(Type.Integer()),
  elapsedNs: Type.Number(),
  deadSlots: Type.Array(Type.Integer()),
  errno: Type.Optional(Type.String()),
  refusal: Type.Optional(
    Type.Object({
      message: Type.String({ description: 'as Linux spells it' }),
      slot: Type.Integer(),
      instruction: Type.String(),
      line: Type.Optional(Line),
      known: Type.Optional(Type.String({ description: "of the value that it is about, as Linux's log spells it" })),
      meaning: Type.Optional(Type.String({ description: 'the same in words' })),
      history: Type.Array(Type.Object({ slot: Type.Integer(), text: Type.String(), line: Type.Optional(Line), value: Type.Optional(Type.String({ description: 'what it then was' })) })),
      needed: Type.Optional(Type.String()),
      suggestion: Type.Optional(Type.String()),
    }),
  ),
});

const mapFields = {
  id: Type.Integer(),
  name: Type.String(),
  type: Type.String(),
  object: Type.Union([Type.String(), Type.Null()]),
  section: Type.Optional(Type.String({ description: "'.bss', …: its only entry holds global variables" })),
  key: Type.String(),
  value: Type.String(),
  keyBytes: Type.Integer(),
  valueBytes: Type.Integer(),
  maxEntries: Type.Integer(),
  size: Type.Integer(),
  perCpu: Type.Boolean(),
  readable: Type.Boolean(),
  writable: Type.Boolean(),
};

/** By BTF, as in a lab file. */
const Value = Type.Unknown();
export const MapEntry = Type.Object({ key: Value, value: Value });
export const MapInfo = Type.Object(mapFields);
export const MapContents = Type.Object({ ...mapFields, entries: Type.Array(MapEntry), more: Type.Boolean() });
export const KeyBody = Type.Object({ key: Value }, closed);
export const UpdateBody = Type.Object({ key: Type.Optional(Value), value: Value, flags: Type.Optional(oneOf(['any', 'noexist', 'exist'])) }, closed);

export const Capture = Type.Object({
  id: Type.String(),
  name: Type.String(),
  sizeBytes: Type.Integer(),
  format: Type.String(),
  compression: Type.String(),
  packets: Type.Integer(),
  bytes: Type.Integer(),
  firstTime: Type.Union([Type.String(), Type.Null()]),
  lastTime: Type.Union([Type.String(), Type.Null()]),
  interfaces: Type.Array(Type.Object({ name: Type.Optional(Type.String()), linkType: Type.Integer() })),
  damage: Type.Optional(Type.String()),
});

const NOT_OF_LINUX = { description: 'null where the running Linux has the programs' } as const;
const runFields = {
  id: Type.String(),
  state: oneOf(['running', 'paused', 'finished', 'stopped', 'failed']),
  packets: Type.Integer(),
  bytes: Type.Union([Type.Integer(), Type.Null()], NOT_OF_LINUX),
  elapsedNs: Type.Number(),
  busyNs: Type.Union([Type.Number(), Type.Null()], NOT_OF_LINUX),
  startedAt: Type.String(),
  error: Type.Optional(Type.String()),
};
const CaptureRun = Type.Object({
  ...runFields,
  capture: Type.String(),
  speed: Type.String(),
  loops: Type.Union([Type.Integer(), Type.Null()], { description: 'null: for ever' }),
  round: Type.Integer(),
  packet: Type.Integer({ description: 'place in the capture of the last one that ran' }),
  totalPackets: Type.Integer({ description: 'of the capture' }),
  damage: Type.Optional(Type.String()),
});
const InterfaceRun = Type.Object({
  ...runFields,
  interface: Type.String(),
  to: Type.Optional(Type.String({ description: 'inline: the other side' })),
  sent: Type.Optional(Type.Array(Type.Object({ interface: Type.String(), packets: Type.Integer(), bytes: Type.Integer(), tooLong: Type.Integer(), refused: Type.Integer() }), { description: 'inline' })),
  nowhere: Type.Optional(Type.Integer({ description: 'inline: redirected to devices that stand for no interface' })),
  attach: Type.Optional(oneOf(ATTACH_MODES)),
  attached: Type.Optional(
    Type.Array(
      Type.Object({ program: Type.String(), hook: Hook, mode: oneOf([...ATTACH_MODES, 'slot']), id: Type.Integer({ description: 'as bpftool shows it' }), packets: Type.Integer(), verdicts: Type.Array(Type.Object({ verdict: Type.String(), outcome: Type.String(), packets: Type.Integer() })) }),
      { description: 'programs that the running Linux has attached' },
    ),
  ),
  accounting: Type.Optional(Type.Object({ received: Type.Integer(), ringDrops: Type.Integer(), rejected: Type.Integer(), inFlight: Type.Integer(), verdicts: Type.Record(Type.String(), Type.Integer()) }, { description: 'of packets that come here' })),
});
export const Run = Type.Union([CaptureRun, InterfaceRun]);

const Speed = Type.String({ maxLength: 40, description: 'top, original, <n>x or <n>pps' });
const Count = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
const InterfaceName = Type.String({ pattern: '^[A-Za-z0-9_.:-]{1,15}$', description: 'the name of an interface: up to 15 letters, digits, ".", ":", "_" and "-"' });
const LiveBody = Type.Object({ interface: InterfaceName, to: Type.Optional(InterfaceName), attach: Type.Optional(oneOf(ATTACH_MODES)) }, closed);
const ReplayBody = Type.Object({ capture: Id, speed: Type.Optional(Speed), loops: Type.Optional(Type.Union([Count, Type.Null()])), limit: Type.Optional(Count), paused: Type.Optional(Type.Boolean()) }, closed);
export const RunBody = Type.Union([ReplayBody, LiveBody]);
export const SeekBody = Type.Object({ packet: Count }, closed);
export const SpeedBody = Type.Object({ speed: Speed }, closed);

const VerdictCounts = Type.Array(Type.Object({ verdict: Type.String(), outcome: Type.String(), packets: Type.Integer(), bytes: Type.Integer() }));

export const Statistics = Type.Object({
  epoch: Type.Integer(),
  elapsedNs: Type.Number(),
  busyNs: Type.Number(),
  run: Type.Union([Run, Type.Null()]),
  packets: Type.Integer(),
  bytes: Type.Integer(),
  truncated: Type.Integer(),
  fates: Type.Array(Type.Object({ fate: Type.String(), text: Type.String(), packets: Type.Integer(), bytes: Type.Integer() })),
  reasons: Type.Array(Type.Object({ reason: Type.String(), text: Type.String(), packets: Type.Integer() })),
  hooks: Type.Array(Type.Object({ device: Type.String(), hook: Type.String(), slots: Type.Optional(Type.String()), packets: Type.Integer(), bytes: Type.Integer(), verdicts: VerdictCounts, cpus: Type.Array(Type.Object({ cpu: Type.Integer(), packets: Type.Integer(), bytes: Type.Integer() }), { description: 'what each CPU had of them' }) })),
  programs: Type.Array(
    Type.Object({ attachments: Type.Array(Type.Integer()), device: Type.String(), hook: Type.String(), mode: Type.String(), slots: Type.Optional(Type.String()), program: Type.String(), verified: Type.Boolean(), packets: Type.Integer(), bytes: Type.Integer(), faults: Type.Integer(), verdicts: VerdictCounts }),
  ),
  devices: Type.Array(Type.Object({ device: Type.String(), ifindex: Type.Integer(), rxPackets: Type.Integer(), rxBytes: Type.Integer(), txPackets: Type.Integer(), txBytes: Type.Integer() })),
  highlights: Type.Array(
    Type.Object({
      title: Type.String(),
      map: Type.String(),
      by: Type.String(),
      total: Type.Number(),
      more: Type.Integer(),
      rows: Type.Array(Type.Object({ label: Type.String(), amount: Type.Number(), fields: Type.Record(Type.String(), Type.Unknown()) })),
    }),
  ),
  events: Type.Array(Type.Object({ source: Type.String(), count: Type.Integer() })),
});

const LiveInfo = Type.Object({ interface: InterfaceName, to: Type.Optional(Type.String({ description: 'inline is allowed to this one' })), attach: Type.Boolean({ description: 'attaching programs is allowed' }) }, { description: 'the interface that the server was started with' });
export const ApiInfo = Type.Object({ name: Type.String(), version: Type.String(), stream: Type.String(), live: Type.Union([LiveInfo, Type.Null()]), limits: Type.Object({ objectBytes: Type.Integer(), captureBytes: Type.Integer(), clients: Type.Integer(), snapBytes: Type.Integer() }) });
export const TokenBody = Type.Object({ token: Type.String({ maxLength: LONGEST_NAME }) }, closed);
export const NameQuery = Type.Object({ name: Name }, closed);
export const NoBody = Type.Null({ description: 'nothing' });

/** A route's answers: its own, and the problems that all have. What handlers return is typed where it is made, and often readonly. */
export function answers(status: 200 | 201, schema: TSchema): Readonly<Record<string, unknown>> {
  return { [status]: schema, '4xx': Problem, '5xx': Problem };
}
export const nothing: Readonly<Record<string, unknown>> = { 204: NoBody, '4xx': Problem, '5xx': Problem };
