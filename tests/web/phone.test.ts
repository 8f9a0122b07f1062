/** The page where there is little room, and in both colour schemes. */
import type { ChildProcess } from 'node:child_process';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHROMIUM, missing, openPage, PATIENCE_MS, serveDemo } from './browser.ts';

const PHONE = { width: 390, height: 844 };
const TABS = ['Packet', 'Throughput', 'Maps', 'Programs', 'Printed'] as const;
/** Of text that is no headline: WCAG 2.2, 1.4.3. */
const LEAST_CONTRAST = 4.5;
const LEAST_TEXT_PX = 11;

interface Text {
  readonly text: string;
  /** As it is drawn, scaled too. */
  readonly sizePx: number;
  readonly contrast: number;
}

/** All text of the page that can be seen. Backgrounds are those of the ancestors, one upon the other. */
const SEEN_TEXT = `(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const over = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) {
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
    }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const known = new Map();
  const luminance = (colours) => {
    const key = colours.join();
    if (!known.has(key)) known.set(key, luminanceOf(over(colours)));
    return known.get(key);
  };
  const luminanceOf = (rgb) => rgb.map((byte) => byte / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)).reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const backgrounds = (element) => (element === null ? [] : [...backgrounds(element.parentElement), getComputedStyle(element).backgroundColor]);
  const found = [];
  const walker = document.createTreeWalker(document.getElementById('page'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim();
    if (text === '' || element.closest('.hidden, title, option') !== null || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const style = getComputedStyle(element);
    const behind = backgrounds(element);
    const [dark, light] = [luminance(behind), luminance([...behind, element instanceof SVGElement ? style.fill : style.color])].toSorted((a, b) => a - b);
    const scale = element instanceof SVGGraphicsElement ? element.getScreenCTM().a : 1;
    found.push({ text, sizePx: scale * parseFloat(style.fontSize), contrast: (light + 0.05) / (dark + 0.05) });
  }
  return found;
})()`;

describe.skipIf(missing !== undefined)(`the page on a phone${missing === undefined ? '' : ` (skipped: ${missing})`}`, () => {
  let child: ChildProcess;
  let browser: Browser;
  let page: Page;
  const complaints: string[] = [];

  const seenText = (): Promise<readonly Text[]> => page.evaluate(SEEN_TEXT) as Promise<readonly Text[]>;
  const openTab = async (name: (typeof TABS)[number]): Promise<void> => {
    await page.getByRole('tab', { name, exact: true }).click();
    const inside = { Packet: '.panel h2, .panel p', Throughput: '.panel canvas', Maps: '.panel table', Programs: '.panel .code', Printed: '.panel p, .panel li' }[name];
    await page.locator(inside).first().waitFor();
  };

  beforeAll(async () => {
    const server = await serveDemo();
    ({ child } = server);
    browser = await chromium.launch({ executablePath: CHROMIUM!, args: ['--no-sandbox'] });
    page = await openPage(browser, complaints, { viewport: PHONE, isMobile: true, hasTouch: true });
    await page.goto(server.address);
    await page.locator('.rows .row').nth(5).waitFor();
    await page.locator('.way svg', { hasText: 'dropped' }).waitFor();
  }, PATIENCE_MS);

  afterAll(async () => {
    await browser?.close();
    child?.kill();
  });

  test('is no wider than the screen, whatever is opened', async () => {
    for (const name of TABS) {
      await openTab(name);
      expect([name, await page.evaluate('[document.documentElement.scrollWidth, visualViewport.scale]')]).toEqual([name, [PHONE.width, 1]]);
      for (const tab of await page.getByRole('tab').all()) {
        const { x, width } = (await tab.boundingBox())!;
        expect([x >= 0, x + width <= PHONE.width]).toEqual([true, true]);
      }
    }
  }, PATIENCE_MS);

  test('has text large enough to be read, in the picture of the path too, which is moved to be seen whole', async () => {
    for (const name of TABS) {
      await openTab(name);
      expect((await seenText()).filter(({ sizePx }) => sizePx < LEAST_TEXT_PX)).toEqual([]);
    }
    const way = page.locator('.way');
    await way.evaluate((element) => void ((element as unknown as { scrollLeft: number }).scrollLeft = 1000));
    const { x, width } = (await way.locator('text', { hasText: 'TC egress' }).boundingBox())!;
    expect([x >= 0, x + width <= PHONE.width]).toEqual([true, true]);
  }, PATIENCE_MS);

  test.each([['a phone', PHONE], ['a desk', { width: 1280, height: 860 }]] as const)('has whole lines of C and instructions on %s, and WebAssembly that is moved to be seen whole', async (_where, viewport) => {
    await page.setViewportSize(viewport);
    await openTab('Programs');
    await page.locator('.code [role=region] [data-line]').last().waitFor();
    const columns = await page.locator('.code > *').evaluateAll((all) => (all as unknown as readonly { readonly scrollWidth: number; readonly clientWidth: number; getBoundingClientRect(): { readonly right: number } }[]).map((column) => ({ cut: column.scrollWidth > column.clientWidth, right: column.getBoundingClientRect().right })));
    expect(columns.map(({ cut }) => cut)).toEqual([false, false, true]);
    expect(columns.filter(({ right }) => right > viewport.width)).toEqual([]);
    // The longest of its lines, which has the variables of the program, does not make it wide.
    expect(await page.locator('.code [role=region]').evaluate((element) => (element as unknown as { readonly scrollWidth: number }).scrollWidth)).toBeLessThan(2000);
    await page.setViewportSize(PHONE);
  }, PATIENCE_MS);

  test('moves the picture of the path alone, and not what is said below it', async () => {
    await page.locator('.way').evaluate((element) => void ((element as unknown as { scrollLeft: number }).scrollLeft = 1000));
    const { x, width } = (await page.locator('.totals').boundingBox())!;
    expect([x >= 0, x + width <= PHONE.width]).toEqual([true, true]);
  }, PATIENCE_MS);

  test('says every verdict whole', async () => {
    await page.locator('.rows .row', { hasText: 'XDP_REDIRECT' }).first().waitFor();
    const cut = await page.locator('.rows .row > span:nth-child(5)').evaluateAll((cells) => (cells as unknown as readonly { readonly scrollWidth: number; readonly clientWidth: number; readonly textContent: string }[]).filter(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth).map(({ textContent }) => textContent));
    expect(cut).toEqual([]);
  }, PATIENCE_MS);

  test.each(['light', 'dark'] as const)('has text that stands out from what is behind it, %s', async (colorScheme) => {
    await page.emulateMedia({ colorScheme });
    expect(await page.evaluate('getComputedStyle(document.documentElement).backgroundColor')).toBe({ light: 'rgb(251, 251, 250)', dark: 'rgb(22, 24, 27)' }[colorScheme]);
    for (const name of TABS) {
      await openTab(name);
      const texts = await seenText();
      expect(texts.length).toBeGreaterThan(50);
      expect([name, texts.filter(({ contrast }) => contrast < LEAST_CONTRAST)]).toEqual([name, []]);
    }
  }, PATIENCE_MS);

  test('nothing was complained about', () => {
    expect(complaints).toEqual([]);
  });
});
