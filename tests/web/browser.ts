/** The browser that tests of the page use: where it is, why there is none, a server to open, and a page that hears what goes wrong in it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';

export const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url));

export const CHROMIUM: string | undefined = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path));
const BUILT = existsSync(path('web/dist/index.html'));
export const missing: string | undefined = CHROMIUM === undefined ? 'no Chromium is installed' : BUILT ? undefined : 'npm run build has not built the page';
export const PATIENCE_MS = 60_000;

/** The demonstration, and the address to open. */
export function serveDemo(...more: readonly string[]): Promise<{ readonly child: ChildProcess; readonly address: string }> {
  const child = spawn(process.execPath, [path('dist/dataplane/cli/start.cjs'), 'serve', '--lab', path('programs/demo.yaml'), '--capture', path('traces/demo.pcapng'), '--speed', '500pps', '--port', '0', ...more], { stdio: ['ignore', 'pipe', 'pipe'] });
  return new Promise((resolve, reject) => {
    let said = '';
    const hear = (text: Buffer): void => {
      said += String(text);
      const address = /http:\/\/\S+/.exec(said)?.[0];
      if (address !== undefined) resolve({ child, address });
    };
    child.stdout!.on('data', hear);
    child.stderr!.on('data', hear);
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}: ${said}`)));
  });
}

/** Errors of the page's scripts, and what is written to its console as an error or a warning, go to `complaints`. */
export async function openPage(browser: Browser, complaints: string[], options: BrowserContextOptions = {}): Promise<Page> {
  const page = await browser.newPage({ viewport: { width: 1280, height: 860 }, ...options });
  page.setDefaultTimeout(PATIENCE_MS);
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && complaints.push(message.text()));
  return page;
}

/** What a button of the page saves. */
export async function saved(page: Page, button: string): Promise<Buffer> {
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: button, exact: true }).click()]);
  return readFileSync(await download.path());
}
