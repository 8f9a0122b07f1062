import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { supportedMarkdown } from '../../dataplane/insight/supported.ts';

test('docs/SUPPORTED.md says what the tables say (npm run docs writes it)', () => {
  expect(readFileSync(new URL('../../docs/SUPPORTED.md', import.meta.url), 'utf8')).toBe(supportedMarkdown());
});
