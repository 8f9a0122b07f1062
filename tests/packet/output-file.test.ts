import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { OutputFile } from '../../dataplane/packet/output-file.ts';

const BUFFER_BYTES = 1 << 20;

test.each(['x', 'ü', '日', '😀'])('text longer than the buffer arrives whole, wherever the buffer ends in a run of %s', (character) => {
  const folder = mkdtempSync(join(tmpdir(), 'xdplab-test-'));
  try {
    const path = join(folder, 'text');
    const output = new OutputFile(path);
    const pieces = ['a', character.repeat(BUFFER_BYTES), 'bc', character.repeat(10), ''];
    for (const piece of pieces) output.writeText(piece);
    const expected = Buffer.from(pieces.join(''));
    expect(output.lengthBytes).toBe(expected.length);
    output.close();
    expect(readFileSync(path).equals(expected)).toBe(true);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
