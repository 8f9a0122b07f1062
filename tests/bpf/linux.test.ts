/**
 * Programs as the running Linux sees them: the same instructions, spelled the same, with the same tag. bpftool loads
 * the objects; where that is not allowed the comparison is skipped, and the golden texts of the other tests remain.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
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

/** Loads an object's programs and pins them in `folder`; gives the start of what bpftool says about it. */
function loadAll(object: string, folder: string, { type = [], log = false }: { readonly type?: readonly string[]; readonly log?: boolean } = {}): string {
  const pipeline = `bpftool ${log ? '-d' : ''} prog loadall "$@" 2>&1 | { head -c ${LOG_START_BYTES}; cat > /dev/null; }`;
  return spawnSync('sh', ['-c', pipeline, 'sh', object, folder, ...type], { encoding: 'utf8', maxBuffer: 2 * LOG_START_BYTES }).stdout;
}

/** The tag of a pinned program, undefined if there is none. */
function tagOf(pin: string): string | undefined {
  const { stdout } = spawnSync('bpftool', ['--json', 'prog', 'show', 'pinned', pin], { encoding: 'utf8' });
  return stdout ? (JSON.parse(stdout) as { tag?: string }).tag : undefined;
}

/** Runs `use` with a folder where programs can be pinned. */
function withPins<T>(use: (folder: string) => T): T {
  const folder = mkdtempSync(join(BPF_FILESYSTEM, 'xdplab-'));
  try {
    return use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function objectPath(relative: string): string {
  return fileURLToPath(new URL(relative, import.meta.url));
}

const FLOW_COUNTER = objectPath('../../programs/flow_counter.bpf.o');

function whyNot(): string | undefined {
  const [major = 0, minor = 0] = readFileSync('/proc/sys/kernel/osrelease', 'utf8').split('.').map(Number);
  if (major < SHA256_SINCE[0] || (major === SHA256_SINCE[0] && minor < SHA256_SINCE[1])) return `Linux ${major}.${minor} has other tags`;
  try {
    return withPins((folder) => {
      const log = loadAll(FLOW_COUNTER, folder);
      return tagOf(join(folder, 'flow_counter')) === undefined ? `bpftool cannot load programs: ${log.trim().split('\n').at(-1) || 'it is not installed'}` : undefined;
    });
  } catch (error) {
    return `programs cannot be pinned: ${(error as Error).message}`;
  }
}

const reason = process.platform === 'linux' ? whyNot() : 'this is not Linux';

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
  test.each(OBJECTS)('the tags of $path', ({ path, ...options }) => {
    const { programs } = specOf(objectPath(path));
    withPins((folder) => {
      loadAll(objectPath(path), folder, options);
      for (const { name, instructions } of programs.values()) expect(programTag(instructions), name).toBe(tagOf(join(folder, name)));
    });
  });

  // The others' logs are a hundred times as long as this one's.
  test('the listing of flow_counter', () => {
    const { instructions } = specOf(FLOW_COUNTER).programs.get('flow_counter')!;
    const log = withPins((folder) => loadAll(FLOW_COUNTER, folder, { log: true }));
    const listing = disassemble(instructions, { helper: (id) => HELPER_NAMES[id] });
    expect(listing.length).toBeGreaterThan(100);
    expect(withoutAddresses(listing, instructions)).toEqual(withoutAddresses(linuxListing(log, 'flow_counter'), instructions));
  });
});
