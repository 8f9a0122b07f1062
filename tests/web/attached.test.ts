/** The page of a server that may attach: a run that Linux does, in a real browser beside the server, in a network namespace of the test's own. */
import { chmodSync } from 'node:fs';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { object, Scratch, trace } from '../cli/run-cli.ts';
import { Namespace, namespaceTitle, whyNoNamespaces } from '../devices/veth-pair.ts';
import { kernelTitle, whyNoKernel } from '../engine/kernel/kernel-here.ts';
import { Server } from '../server/live-server.ts';
import { CHROMIUM, missing, openPage, PATIENCE_MS } from './browser.ts';

const scratch = new Scratch();

describe.skipIf(missing !== undefined || whyNoNamespaces !== undefined || whyNoKernel !== undefined)(kernelTitle(namespaceTitle(`the page of an attached run${missing === undefined ? '' : ` (skipped: ${missing})`}`)), () => {
  let here: Namespace;
  let server: Server;
  let browser: Browser;
  let page: Page;
  const complaints: string[] = [];
  const asked: string[] = [];
  let agrees = false;

  beforeAll(async () => {
    here = Namespace.forServers();
    server = await Server.start(here, '--live', 'near', '--allow-attach', '--xdp', object('xdp_firewall.bpf.o'));
    const inNamespace = scratch.file('chromium', `#!/bin/sh\nexec ip netns exec ${here.name} ${CHROMIUM} "$@"\n`);
    chmodSync(inNamespace, 0o755);
    browser = await chromium.launch({ executablePath: inNamespace, args: ['--no-sandbox'] });
    page = await openPage(browser, complaints);
    page.on('dialog', (dialog) => {
      asked.push(dialog.message());
      void (agrees ? dialog.accept() : dialog.dismiss());
    });
    await page.goto(server.url);
    await page.getByText('connected', { exact: true }).waitFor();
  }, PATIENCE_MS);

  afterAll(async () => {
    await browser?.close();
    await server?.stop();
    here?.remove();
    scratch.remove();
  });

  const isAttached = (): boolean => (JSON.parse(here.ip('-j', 'link', 'show', 'near')) as { xdp?: unknown }[])[0]!.xdp !== undefined;
  const source = (): Promise<string | null> => page.getByLabel('Packets from').locator('option:checked').textContent();

  test('attaches nothing that was not agreed to', async () => {
    await page.getByLabel('Packets from').selectOption('near, attached generic');
    await expect.poll(() => asked).toEqual(['From now on Linux runs the programs on near, and what they drop is lost; what they redirect leaves by any interface of the machine. They are detached when the run is stopped.']);
    await expect.poll(source).toBe('near, live');
    expect(isAttached()).toBe(false);
  }, PATIENCE_MS);

  test('shows rates, verdicts and maps of what Linux runs, and detaches it', async () => {
    agrees = true;
    await page.getByLabel('Packets from').selectOption('near, attached generic');
    await expect.poll(isAttached, { timeout: PATIENCE_MS }).toBe(true);
    await page.getByText('Linux runs the programs on near: it counts their verdicts, and lists none.').waitFor();
    const sent = await here.send('far', trace('mixed.pcap'), '--loop', '200');
    await page.getByText(`${sent.toLocaleString('en-US')} packets, by Linux`).waitFor();
    await expect.poll(() => page.locator('.totals').textContent(), { timeout: PATIENCE_MS }).toContain('delivered to the host');
    await page.locator('.legend li', { hasText: 'near xdp' }).first().waitFor();
    // Of bytes and time nothing is known.
    expect(await page.locator('.chart figcaption').allTextContents()).toEqual(['packets/s', 'verdicts/s']);
    await page.getByRole('tab', { name: 'Maps' }).click();
    await page.locator('.panel').getByText('fw_counters').click();
    // Packets and bytes of each CPU, by turns.
    const passed = async (): Promise<number> => (await page.locator('.panel table tr', { hasText: 'FW_PASSED' }).locator('td').allTextContents()).slice(1, -1).reduce((sum, text, column) => sum + (column % 2 === 0 ? Number(text) : 0), 0);
    await expect.poll(passed, { timeout: PATIENCE_MS }).toBe(sent);
    await page.getByRole('button', { name: 'stop' }).click();
    await expect.poll(isAttached, { timeout: PATIENCE_MS }).toBe(false);
    await page.getByText(`${sent.toLocaleString('en-US')} packets, by Linux, stopped`).waitFor();
    expect(complaints).toEqual([]);
  }, PATIENCE_MS);
});
