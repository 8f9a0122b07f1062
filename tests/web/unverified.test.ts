/** The page of a lab whose programs nobody verified: it says so where they run, where they are listed, and in what is saved. */
import type { ChildProcess } from 'node:child_process';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHROMIUM, missing, openPage, PATIENCE_MS, saved, serveDemo } from './browser.ts';

describe.skipIf(missing !== undefined)(`programs that nobody verified${missing === undefined ? '' : ` (skipped: ${missing})`}`, () => {
  let child: ChildProcess;
  let browser: Browser;
  let page: Page;
  const complaints: string[] = [];

  beforeAll(async () => {
    const server = await serveDemo('--no-verify');
    ({ child } = server);
    browser = await chromium.launch({ executablePath: CHROMIUM!, args: ['--no-sandbox'] });
    page = await openPage(browser, complaints);
    await page.goto(server.address);
    await page.locator('.rows .row:has(.has-bytes)').first().waitFor();
  }, PATIENCE_MS);

  afterAll(async () => {
    await browser?.close();
    child?.kill();
  });

  test('are marked on the path, also for who hears it', async () => {
    expect(await page.locator('.way svg .box').allTextContents()).toEqual(expect.arrayContaining([expect.stringMatching(/^XDPxdp_firewall \+ 1not verified/), expect.stringMatching(/^TC ingresstc_fw_ingressnot verified/)]));
    expect(await page.locator('.way svg').getAttribute('aria-label')).toMatch(/xdp_firewall is not verified, xdp_lb is not verified/);
    expect(await page.locator('header .name').getAttribute('title')).toMatch(/Programs were not verified/);
  }, PATIENCE_MS);

  test('are marked where they are listed, and at a packet', async () => {
    await page.getByRole('tab', { name: 'Programs' }).click();
    await page.locator('.choice').getByRole('button', { name: 'xdp_lb not verified' }).waitFor();
    await page.locator('.rows .row:has(.has-bytes)').first().dispatchEvent('pointerdown');
    await page.locator('.decided li', { hasText: 'not verified at ' }).first().waitFor();
  }, PATIENCE_MS);

  test('are marked in what is saved', async () => {
    expect(String(await saved(page, 'CSV'))).toMatch(/^1,.*,xdp_firewall,false,XDP_/m);
    expect((await saved(page, 'pcapng')).includes('programs not verified')).toBe(true);
    expect(complaints).toEqual([]);
  }, PATIENCE_MS);
});
