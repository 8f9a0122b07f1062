/**
 * What Linux answered to probes of helpers (recorded-probes.ndjson), asked of both engines: the differential test for
 * machines where bpf() is not allowed. `npm run record` asks anew, where it is; the file's first line says which
 * Linux answered. What comes is the same every time, so a difference is a difference of Linux, or of the probes.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ProgramType } from '../../../dataplane/bpf/spec.ts';
import { createInterpreter } from '../../../dataplane/engine/interpreter.ts';
import { openLinux } from '../../../dataplane/engine/kernel/linux.ts';
import { createWasmEngine } from '../../../dataplane/engine/wasm-engine.ts';
import { HELPERS } from '../../../dataplane/helpers/index.ts';
import { describeCall, probeable, probeCall, probeCalls, type ProbeArgument, type ProbeCall } from './probe-program.ts';
import { smallProbePacket } from './probe-packets.ts';
import { ProbeMachine, ProbeRunner, type Answers } from './probe-runner.ts';

const FILE = new URL('recorded-probes.ndjson', import.meta.url);
const TYPES = ['xdp', 'sched_cls'] as const;
const PROBES_OF_A_HELPER = 8;
const SEQUENCES = 50;
const SEED = 20_240_618;

interface Recorded {
  readonly type: (typeof TYPES)[number];
  readonly calls: readonly (readonly [helper: string, ...args: unknown[]])[];
  readonly packet: string;
  readonly kernel: Answers;
}

function toJson({ helper, args }: ProbeCall): Recorded['calls'][number] {
  return [helper.name, ...args.map((value) => (typeof value === 'bigint' ? String(value) : value))];
}

function fromJson(type: ProgramType, [name, ...args]: Recorded['calls'][number]): ProbeCall {
  const helper = HELPERS.find((each) => each.name === name && each.programs.includes(type))!;
  return { helper, args: args.map((value) => (typeof value === 'string' && /^-?\d+$/.test(value) ? BigInt(value) : (value as ProbeArgument))) };
}

/** Without what is as it would be anyway: most fields are 0, most packets and buffers as they were. */
function short(answers: Answers, packet: string): Answers {
  return Object.fromEntries(Object.entries(answers).filter(([name, value]) => value !== '0' && value !== '' && !(name === 'packet' && value === packet)));
}

function record(): void {
  const lines = [JSON.stringify({ linux: release(), cpus: openLinux().possibleCpus, seed: SEED })];
  for (const type of TYPES) {
    const runner = new ProbeRunner();
    const singles = probeable(type).flatMap((helper) => {
      const numRuns = helper.args.every((kind) => kind === 'ctx') ? 1 : PROBES_OF_A_HELPER;
      return fc.sample(fc.tuple(probeCall(helper), smallProbePacket), { numRuns, seed: SEED + helper.id }).map(([call, packet]) => ({ calls: [call], packet }));
    });
    const sequences = fc.sample(fc.tuple(probeCalls(type), smallProbePacket), { numRuns: SEQUENCES, seed: SEED }).map(([calls, packet]) => ({ calls, packet }));
    for (const { calls, packet } of [...singles, ...sequences]) {
      const hex = Buffer.from(packet).toString('hex');
      const { kernel } = runner.run(type, calls, { packet });
      lines.push(JSON.stringify({ type, calls: calls.map(toJson), packet: hex, kernel: short(kernel, hex) } satisfies Recorded));
    }
    runner.close();
  }
  writeFileSync(FILE, `${lines.join('\n')}\n`);
}

if (process.env['XDPLAB_RECORD'] !== undefined) record();
const [head, ...lines] = readFileSync(FILE, 'utf8').trimEnd().split('\n');
const { linux, cpus } = JSON.parse(head!) as { readonly linux: string; readonly cpus: number };

describe(`helpers as Linux ${linux} answered`, () => {
  test.each([
    ['wasm', createWasmEngine],
    ['interpreter', createInterpreter],
  ] as const)('on the %s engine', (_, factory) => {
    const machines = { xdp: new ProbeMachine(factory, cpus), sched_cls: new ProbeMachine(factory, cpus) };
    for (const line of lines) {
      const { type, calls: recorded, packet, kernel } = JSON.parse(line) as Recorded;
      const machine = machines[type];
      const calls = recorded.map((call) => fromJson(type, call));
      const here = machine.run(machine.load(type, calls), { packet: Uint8Array.from(Buffer.from(packet, 'hex')) });
      expect(short(here, packet), `${type}: ${calls.map(describeCall).join('; ')}`).toEqual(kernel);
    }
  });

  test('there is a recording of every helper that can be probed', () => {
    const recorded = new Set(lines.flatMap((line) => (JSON.parse(line) as Recorded).calls.map(([name]) => name)));
    for (const type of TYPES) for (const { name } of probeable(type)) expect(recorded, name).toContain(name);
  });
});
