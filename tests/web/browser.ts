/** The browser that tests of the page use: where it is, why there is none, and a page that hears what goes wrong in it. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';

export const CHROMIUM: string | undefined = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path));
const BUILT = existsSync(fileURLToPath(new URL('../../web/dist/index.html', import.meta.url)));
export const missing: string | undefined = CHROMIUM === undefined ? 'no Chromium is installed' : BUILT ? undefined : 'npm run build has not built the page';
export const PATIENCE_MS = 60_000;

/** Errors of the page's scripts, and what it writes as errors, go to `complaints`. */
export async function openPage(browser: Browser, complaints: string[]): Promise<Page> {
  const page = await browser.newPage({ viewport: { width: 1280, height: 860 } });
  page.setDefaultTimeout(PATIENCE_MS);
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  return page;
}
