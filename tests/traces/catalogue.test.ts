import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

import { afterAll, describe, expect, test } from 'vitest';

import { XdplabError } from '../../dataplane/errors.ts';
import { CATALOGUE } from '../../traces/catalogue.ts';
import { writeTrace } from '../../traces/write-trace.ts';
import { readCapture, ScratchFolder } from '../packet/crafted-capture.ts';

const scratch = new ScratchFolder();
afterAll(() => scratch.remove());

const folder = new URL('../../traces/', import.meta.url).pathname;

/** Without the packing: zlib's versions pack the same bytes differently. */
function content(path: string): Buffer {
  const bytes = readFileSync(path);
  return path.endsWith('.gz') ? gunzipSync(bytes) : bytes;
}

describe.each(CATALOGUE)('$file', ({ file, shows, packets, interfaces }) => {
  test('is what the generator writes', () => {
    const path = join(scratch.path, file);
    writeTrace(path, packets(), interfaces);
    expect(content(path).equals(content(join(folder, file))), 'run `npm run traces` and look at the difference').toBe(
      true,
    );
  });

  test('reads back without damage, in order of time, and stands in the README', async () => {
    const read = await readCapture(join(folder, file));
    expect(read.damage).toBeUndefined();
    const generated = [...packets()];
    expect(read.packets.length).toBe(generated.length);
    expect(read.packets.every(({ bytes }, index) => Buffer.from(bytes).equals(generated[index]!.bytes))).toBe(true);
    const times = generated.map(({ timeNs }) => timeNs);
    expect(times).toEqual(times.toSorted((left, right) => left - right));
    expect(readFileSync(join(folder, 'README.md'), 'utf8')).toContain(
      `| [${file}](${file}) | ${generated.length} | ${shows} |`,
    );
  });
});

test('the captures stay small enough to be kept', () => {
  const sizes = CATALOGUE.map(({ file }) => readFileSync(join(folder, file)).length);
  expect(Math.max(...sizes)).toBeLessThan(600_000);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(1_700_000);
});

test('a pcap of two link types is refused with what to do', () => {
  const path = join(scratch.path, 'two.pcap');
  expect(() => writeTrace(path, [], [{}, { linkType: 101 }])).toThrow(XdplabError);
  expect(() => writeTrace(path, [], [{}, { linkType: 101 }])).toThrow(
    /link type 101 cannot be written; name it \.pcapng/,
  );
});
