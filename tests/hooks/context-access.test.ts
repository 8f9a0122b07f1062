/**
 * Which accesses of a context are allowed, every one there could be, against what Linux said: context-access.txt, which
 * `UPDATE_GOLDEN=1` writes anew from the running kernel. Programs that ask are all refused, so that none has to be freed:
 * what they do after an access that is allowed is not.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import type { ProgramType } from '../../dataplane/bpf/spec.ts';
import { contextAccess } from '../../dataplane/hooks/context-access.ts';
import { kernelTitle, whyNoKernel } from '../engine/kernel/kernel-here.ts';
import { refusalLog } from '../engine/kernel/refused-program.ts';

const GOLDEN = fileURLToPath(new URL('context-access.txt', import.meta.url));
const SIZES = [1, 2, 4, 8] as const;
const BEYOND_BYTES = 8;

interface Case {
  readonly type: ProgramType;
  readonly attach?: string;
  readonly contextBytes: number;
}

const CASES: readonly Case[] = [
  { type: 'xdp', contextBytes: 24 },
  { type: 'xdp', attach: 'xdp_devmap', contextBytes: 24 },
  { type: 'xdp', attach: 'xdp_cpumap', contextBytes: 24 },
  { type: 'socket_filter', contextBytes: 192 },
  { type: 'sched_cls', contextBytes: 192 },
  { type: 'sched_act', contextBytes: 192 },
  { type: 'cgroup_skb', attach: 'cgroup_inet_ingress', contextBytes: 192 },
  { type: 'cgroup_skb', attach: 'cgroup_inet_egress', contextBytes: 192 },
];

type Answer = (each: Case, offset: number, bytes: (typeof SIZES)[number], write: boolean) => string | undefined;

/** `sched_cls read 4: 0 4 76=packet`: the offsets that may be accessed, and what a load of them is where it is no number. */
function allowed(answer: Answer): string {
  const lines: string[] = [];
  for (const each of CASES) {
    for (const write of [false, true]) {
      for (const bytes of SIZES) {
        const offsets: string[] = [];
        for (let offset = 0; offset <= each.contextBytes + BEYOND_BYTES; offset++) {
          const kind = answer(each, offset, bytes, write);
          if (kind !== undefined) offsets.push(kind === 'scalar' || write ? String(offset) : `${offset}=${kind}`);
        }
        lines.push(`${each.type}${each.attach === undefined ? '' : ` ${each.attach}`} ${write ? 'write' : 'read'} ${bytes}: ${offsets.join(' ')}`.trimEnd());
      }
    }
  }
  return `${lines.join('\n')}\n`;
}

const KINDS: Readonly<Record<string, string>> = { scalar: 'scalar', pkt: 'packet', pkt_end: 'packet_end', pkt_meta: 'packet_meta', sock_common_or_null: 'socket_or_null' };
const WIDTHS = { 1: 'u8', 2: 'u16', 4: 'u32', 8: 'u64' } as const;

const kernelAnswer: Answer = ({ type, attach }, offset, bytes, write) => {
  const place = `*(${WIDTHS[bytes]} *)(r1 +${offset})`;
  const log = refusalLog(`r2 = 0\n${write ? `${place} = r2` : `r2 = ${place}`}\nr0 = r7\nexit`, type, attach === undefined ? {} : { attach });
  if (log.includes(`invalid bpf_context access off=${offset} size=${bytes}`)) return undefined;
  if (!log.includes('R7 !read_ok')) throw new Error(log);
  return write ? 'scalar' : KINDS[/ R2(?:_w)?=([a-z_]+)/.exec(/^1: .*$/m.exec(log)![0])![1]!];
};

const golden = (): string => readFileSync(GOLDEN, 'utf8').replace(/^#.*\n/gm, '');

describe.skipIf(whyNoKernel !== undefined)(kernelTitle('accesses of the context, asked of the kernel'), () => {
  test('the running Linux allows what was recorded', { timeout: 120_000 }, () => {
    const answers = allowed(kernelAnswer);
    if (process.env['UPDATE_GOLDEN'] !== undefined) {
      writeFileSync(GOLDEN, `# What Linux ${readFileSync('/proc/sys/kernel/osrelease', 'latin1').trim()} allows, by program type, attach type, access and size.\n${answers}`);
    }
    expect(answers).toBe(golden());
  });
});

test('every access that Linux allows is allowed here, and no other', () => {
  expect(allowed((each, offset, bytes, write) => contextAccess(each.type, offset, bytes, write, each.attach, true)?.kind)).toBe(golden());
});
