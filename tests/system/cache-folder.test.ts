import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CacheFolder } from '../../dataplane/system/cache-folder.ts';

const BYTES = Uint8Array.of(1, 2, 3, 4);
let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'xdplab-'))));
afterEach(() => rmSync(folder, { recursive: true }));

test('what one process adds another one finds, under no other key', () => {
  new CacheFolder(join(folder, 'made')).add('a', BYTES);
  const cache = new CacheFolder(join(folder, 'made'));
  expect(Uint8Array.from(cache.get('a')!)).toEqual(BYTES);
  expect(cache.get('b')).toBeUndefined();
});

test('what is added last is found, and nothing else is left in the folder', () => {
  const cache = new CacheFolder(folder);
  cache.add('a', Uint8Array.of(9));
  cache.add('a', BYTES);
  expect(Uint8Array.from(cache.get('a')!)).toEqual(BYTES);
  expect(readdirSync(folder)).toEqual(['a']);
});

describe('is not there, and can be added anew:', () => {
  test.each<readonly [string, (file: Buffer) => Buffer]>([
    ['a file with another byte in it', (file) => Buffer.concat([file.subarray(0, -1), Buffer.of(5)])],
    ['one with another digest', (file) => Buffer.concat([Buffer.of(file[0]! ^ 1), file.subarray(1)])],
    ['half of one', (file) => file.subarray(0, -2)],
    ['a longer one', (file) => Buffer.concat([file, file])],
    ['an empty one', () => Buffer.alloc(0)],
  ])('%s', (_what, damage) => {
    const cache = new CacheFolder(folder);
    cache.add('a', BYTES);
    writeFileSync(join(folder, 'a'), damage(readFileSync(join(folder, 'a'))));
    expect(cache.get('a')).toBeUndefined();
    cache.add('a', BYTES);
    expect(Uint8Array.from(cache.get('a')!)).toEqual(BYTES);
  });

  test("another key's file", () => {
    const cache = new CacheFolder(folder);
    cache.add('a', BYTES);
    copyFileSync(join(folder, 'a'), join(folder, 'b'));
    expect(cache.get('b')).toBeUndefined();
  });
});

test('where nothing can be written, nothing is found', () => {
  const cache = new CacheFolder('/dev/null/cache');
  cache.add('a', BYTES);
  expect(cache.get('a')).toBeUndefined();
});

test('the oldest files go where there are too many', () => {
  for (let number = 0; number < 1024; number++) {
    const file = join(folder, `${number}`);
    writeFileSync(file, '');
    utimesSync(file, number, number);
  }
  const cache = new CacheFolder(folder);
  cache.add('new', BYTES);
  expect(readdirSync(folder)).toHaveLength(513);
  expect(readdirSync(folder)).toEqual(expect.arrayContaining(['512', '1023', 'new']));
  expect(cache.get('new')).toBeDefined();
});
