import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
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

test('what another thread writes is there, in its order, once it has settled', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'xdplab-test-'));
  try {
    const path = join(folder, 'text');
    const output = new OutputFile(path, { behind: true });
    let expected = '';
    for (let piece = 0; piece < 70; piece++) {
      const text = `${piece},`.repeat(BUFFER_BYTES / 8);
      output.writeText(text);
      expected += text;
      // What is flushed meanwhile goes to its place too.
      if (piece % 10 === 0) output.flush();
    }
    await output.settled();
    output.close();
    expect(readFileSync(path, 'utf8') === expected).toBe(true);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.runIf(existsSync('/dev/full'))('a disk that is full is told of, in one line', async () => {
  const output = new OutputFile('/dev/full', { behind: true });
  output.writeText('x');
  expect(() => output.close()).toThrow(/^\/dev\/full: /);
});
