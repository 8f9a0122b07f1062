/** What a lab sets before it loads its objects: constants and the sizes of maps. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { openLab } from '../../dataplane/pipeline/open-lab.ts';
import { Lab } from '../../dataplane/pipeline/lab.ts';
import { ENGINE_NAMES, programSpec } from './small-lab.ts';

const folder = mkdtempSync(join(tmpdir(), 'xdplab-settings-'));
afterAll(() => rmSync(folder, { recursive: true }));
const DATA = fileURLToPath(new URL('../bpf/objects/data.bpf.o', import.meta.url));
/** Its program answers 1 where device[1] is 't', else 2: TC_ACT_SHOT. */
const PROGRAMS = [{ hook: 'tc-ingress', program: `${DATA}:variables` }] as const;
const PACKET = new Uint8Array(64);

function labFile(text: string): string {
  const file = join(folder, 'lab.yaml');
  writeFileSync(file, text);
  return file;
}

describe.each(ENGINE_NAMES)('on %s', (engine) => {
  test('a constant is there before the program is compiled', async () => {
    const plain = await openLab({ engine, programs: PROGRAMS });
    expect(plain.lab.run(PACKET).verdicts[0]?.code).toBe(1);
    const { lab } = await openLab({ engine, programs: PROGRAMS, file: labFile('constants: { device: wan, ports: [1, 2, 3] }') });
    expect(lab.run(PACKET).verdicts[0]?.code).toBe(2);
    expect(lab.map('.bss').get(0)).toMatchObject({ packets: 1, bytes: 103 });
  });

  test('a map whose size its loader would set is refused with what to do, and has the size that is said', () => {
    const spec = {
      programs: new Map([['pass', programSpec('pass', 'xdp', 'r0 = 2\nexit')]]),
      maps: new Map([['counters', { name: 'counters', type: 2, keyBytes: 4, valueBytes: 8, maxEntries: 0, flags: 0, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false }]] as const),
      btf: undefined,
      license: 'GPL',
    };
    expect(() => new Lab({ engine }).load(spec, 'a.bpf.o')).toThrow("map 'counters' (array) declares max_entries 0, expected at least 1; say it under max_entries in the lab file where a loader would set it (EINVAL)");
    const lab = new Lab({ engine, maxEntries: { counters: 3 } });
    lab.load(spec, 'a.bpf.o');
    expect(lab.map('counters').size).toBe(3);
  });
});

describe('a lab file', () => {
  test.each([
    ['constants: { limti: 1 }', 'constants.limti: no object has it, expected one of limit, device, ports'],
    ['max_entries: { counters: 1 }', 'max_entries.counters: no object has it, expected one of (none)'],
    ['max_entries: { counters: 0 }', "max_entries.counters: found '0', expected a whole number from 1 to 4294967295"],
    ['constants: 7', "constants: found '7', expected a mapping"],
  ])('that says %s is one line about it', async (text, message) => {
    const file = labFile(text);
    await expect(openLab({ programs: PROGRAMS, file })).rejects.toThrow(`${file}: ${message}`);
  });

  test('that writes to .rodata among map contents is told where constants stand', async () => {
    await expect(openLab({ programs: PROGRAMS, file: labFile('maps: { .rodata: { limit: 1 } }') })).rejects.toThrow(/under constants in the lab file/);
  });
});
