/**
 * Programs as the running Linux sees them: the same instructions, spelled the same, with the same tag. bpftool loads
 * the objects; where that is not allowed the comparison is skipped, and the golden texts of the other tests remain.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { disassemble } from '../../dataplane/bpf/disassemble.ts';
import type { Instruction } from '../../dataplane/bpf/isa.ts';
import { loadObject } from '../../dataplane/bpf/object.ts';
import type { CollectionSpec } from '../../dataplane/bpf/spec.ts';
import { programTag } from '../../dataplane/bpf/tag.ts';
import { HELPER_NAMES } from '../../dataplane/helpers/names.ts';

const BPF_FILESYSTEM = '/sys/fs/bpf';
/** Linux has named programs by SHA-256 since this version. */
const SHA256_SINCE = [6, 18] as const;
/** The listing is at the start of a log that can be a hundred times as long. */
const LOG_START_BYTES = 1 << 20;

const ANSWER_WITHIN_MS = 10_000;

/** The start of what a command writes. A kernel can hold bpftool for good, so it is not waited for longer than said. */
async function outputOf(folder: string, command: string, ...args: readonly string[]): Promise<string> {
  const path = join(folder, 'output');
  const file = openSync(path, 'w');
  const child = spawn(command, args, { stdio: ['ignore', file, file] });
  closeSync(file);
  child.unref();
  const ended = once(child, 'close', { signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
  await ended.catch((error: Error) => {
    throw new Error(`${command} ${error.name === 'AbortError' ? `does not answer within ${ANSWER_WITHIN_MS / 1000} seconds` : 'is not installed'}`);
  });
  return readFileSync(path, 'utf8').slice(0, LOG_START_BYTES);
}

/** An object's programs, loaded and pinned. */
interface Loaded {
  readonly log: string;
  /** Undefined if no program of that name was loaded. */
  tagOf(program: string): Promise<string | undefined>;
}

interface LoadOptions {
  readonly type?: readonly string[];
  readonly log?: boolean;
}

/** Loads an object's programs, and takes them away when `use` is done. */
async function withLoaded<T>(object: string, { type = [], log = false }: LoadOptions, use: (loaded: Loaded) => T | Promise<T>): Promise<T> {
  const scratch = mkdtempSync(join(tmpdir(), 'xdplab-'));
  const pins = mkdtempSync(join(BPF_FILESYSTEM, 'xdplab-'));
  try {
    const output = await outputOf(scratch, 'bpftool', ...(log ? ['-d'] : []), 'prog', 'loadall', object, pins, ...type);
    return await use({
      log: output,
      async tagOf(program) {
        const shown = await outputOf(scratch, 'bpftool', '--json', 'prog', 'show', 'pinned', join(pins, program));
        return (JSON.parse(shown) as { tag?: string }).tag;
      },
    });
  } finally {
    rmSync(pins, { recursive: true, force: true });
    rmSync(scratch, { recursive: true, force: true });
  }
}

function objectPath(relative: string): string {
  return fileURLToPath(new URL(relative, import.meta.url));
}

const FLOW_COUNTER = objectPath('../../programs/flow_counter.bpf.o');

async function whyNot(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'this is not Linux';
  const [major = 0, minor = 0] = readFileSync('/proc/sys/kernel/osrelease', 'utf8').split('.').map(Number);
  if (major < SHA256_SINCE[0] || (major === SHA256_SINCE[0] && minor < SHA256_SINCE[1])) return `Linux ${major}.${minor} has other tags`;
  try {
    return await withLoaded(FLOW_COUNTER, {}, async ({ log, tagOf }) =>
      (await tagOf('flow_counter')) === undefined ? `bpftool cannot load programs: ${log.trim().split('\n').at(-1)}` : undefined,
    );
  } catch (error) {
    return (error as Error).message;
  }
}

const reason = await whyNot();

/** What the verifier lists before it walks the program: slot, live registers, and the instruction. */
function linuxListing(log: string, program: string): string[] {
  const from = log.indexOf(`prog '${program}': -- BEGIN PROG LOAD LOG --`);
  const listing = log.slice(log.indexOf('Live regs before insn:', from), log.indexOf('-- END PROG LOAD LOG --', from));
  return [...listing.matchAll(/^ *(\d+): [.\d]{10} (\([0-9a-f]{2}\) .*)$/gm)].map(([, slot, text]) => `${slot!.padStart(4)}: ${text}`);
}

/** Linux shows addresses where we show the names of maps and functions. */
function withoutAddresses(lines: readonly string[], instructions: readonly Instruction[]): string[] {
  return lines.map((line) => {
    const instruction = instructions[Number.parseInt(line, 10)];
    const isReference = instruction?.kind === 'load_imm64' && instruction.value.kind !== 'constant';
    return isReference ? line.replace(/ = .*/, ' = an address') : line;
  });
}

function specOf(path: string): CollectionSpec {
  return loadObject(new Uint8Array(readFileSync(path)), { name: basename(path) });
}

/** bpftool of Debian 12 does not know the section names of TC programs. */
const OBJECTS: readonly { readonly path: string; readonly type?: readonly string[] }[] = [
  { path: '../../programs/flow_counter.bpf.o' },
  { path: '../../programs/xdp_firewall.bpf.o' },
  { path: '../../programs/xdp_lb.bpf.o' },
  { path: '../../programs/tc_firewall.bpf.o', type: ['type', 'classifier'] },
];

describe.skipIf(reason !== undefined)(`as the running Linux sees it${reason === undefined ? '' : `: ${reason}`}`, () => {
  test.each(OBJECTS)('the tags of $path', async ({ path, ...options }) => {
    const { programs } = specOf(objectPath(path));
    await withLoaded(objectPath(path), options, async ({ tagOf }) => {
      for (const { name, instructions } of programs.values()) expect(programTag(instructions), name).toBe(await tagOf(name));
    });
  });

  // The others' logs are a hundred times as long as this one's.
  test('the listing of flow_counter', async () => {
    const { instructions } = specOf(FLOW_COUNTER).programs.get('flow_counter')!;
    const linux = await withLoaded(FLOW_COUNTER, { log: true }, ({ log }) => linuxListing(log, 'flow_counter'));
    const listing = disassemble(instructions, { helper: (id) => HELPER_NAMES[id] });
    expect(listing.length).toBeGreaterThan(100);
    expect(withoutAddresses(listing, instructions)).toEqual(withoutAddresses(linux, instructions));
  });
});
