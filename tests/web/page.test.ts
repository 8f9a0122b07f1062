/** The page in a real browser: Chromium, where it is installed. */
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chromium, type Browser, type Page, type WebSocketRoute } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHROMIUM, missing, openPage, path, PATIENCE_MS, saved, serveDemo } from './browser.ts';

describe.skipIf(missing !== undefined)(`the page${missing === undefined ? '' : ` (skipped: ${missing})`}`, () => {
  let child: ChildProcess;
  let browser: Browser;
  let page: Page;
  const complaints: string[] = [];
  const sockets: WebSocketRoute[] = [];
  let reachable = true;
  let address: string;

  beforeAll(async () => {
    const server = await serveDemo();
    ({ child, address } = server);
    browser = await chromium.launch({ executablePath: CHROMIUM!, args: ['--no-sandbox'] });
    page = await openPage(browser, complaints);
    page.on('request', (request) => new URL(request.url()).hostname === '127.0.0.1' || complaints.push(`asks ${request.url()}`));
    await page.routeWebSocket(/\/api\/stream$/, (socket) => {
      sockets.push(socket);
      if (reachable) socket.connectToServer();
      else void socket.close();
    });
    await page.goto(address);
  }, PATIENCE_MS);

  afterAll(async () => {
    await browser?.close();
    child?.kill();
  });

  const rows = (): Promise<string[]> => page.locator('.rows .row').allTextContents();
  const account = (): Promise<number> => page.locator('.account').textContent().then((text) => Number(/^([\d,]+) shown/.exec(text ?? '')?.[1]?.replaceAll(',', '') ?? 0));

  test('takes the token out of the address, and streams verdicts', async () => {
    await page.getByText('connected', { exact: true }).waitFor();
    expect(page.url()).not.toContain('token');
    await expect.poll(account, { timeout: PATIENCE_MS }).toBeGreaterThan(100);
    expect((await rows()).some((row) => /xdp_firewall.*XDP_(PASS|DROP)/.test(row))).toBe(true);
  }, PATIENCE_MS);

  test('draws the path with what runs where', async () => {
    const drawing = page.locator('.way svg');
    await expect.poll(() => drawing.textContent(), { timeout: PATIENCE_MS }).toMatch(/XDPxdp_firewallxdp_lb.*TC ingresstc_fw_ingress/);
    await expect.poll(() => drawing.getAttribute('aria-label'), { timeout: PATIENCE_MS }).toMatch(/eth0 XDP: [^,]* packets a second dropped.*web-3.* has \d/);
    await drawing.getByText('eth1', { exact: true }).waitFor();
  }, PATIENCE_MS);

  test('rates are told for every hook, verdict and backend', async () => {
    for (const legend of ['eth0 xdp', 'eth0 tc-ingress', '✕ dropped', 'web-3']) await page.locator('.legend li', { hasText: legend }).first().waitFor();
    await expect.poll(() => page.locator('.legend li', { hasText: 'eth0 xdp' }).first().textContent(), { timeout: PATIENCE_MS }).toMatch(/eth0 xdp [1-9]/);
  }, PATIENCE_MS);

  test('a filter leaves what fits, and says what it does not understand', async () => {
    const box = page.getByLabel('Filter', { exact: true });
    await box.fill('drop hook:xdp');
    await box.press('Enter');
    await expect.poll(async () => {
      const shown = await rows();
      return shown.length > 0 && shown.every((row) => row.includes('XDP_DROP'));
    }, { timeout: PATIENCE_MS }).toBe(true);
    await box.fill('nonsense');
    await box.press('Enter');
    await page.getByText('nonsense: expected drop').waitFor();
    // What tcpdump would say, where there is a libpcap to ask.
    await box.fill('pcap: prot tcp');
    await box.press('Enter');
    await expect.poll(() => page.locator('.problem').textContent(), { timeout: PATIENCE_MS }).toMatch(/syntax error, found 'prot' at the beginning.*such as|names are not looked up/);
    const before = await account();
    await expect.poll(account, { timeout: PATIENCE_MS }).toBeGreaterThan(before);
    const former = await rows();
    expect(former.length > 0 && former.every((row) => row.includes('XDP_DROP'))).toBe(true);
    await box.fill('pcap: less 1');
    await box.press('Enter');
    await expect.poll(async () => (await rows()).length, { timeout: PATIENCE_MS }).toBe(0);
    await box.fill('');
    await expect.poll(async () => (await rows()).some((row) => row.includes('PASS')), { timeout: PATIENCE_MS }).toBe(true);
  }, PATIENCE_MS);

  test('filters that follow each other before there is a connection are no matter of complaint', async () => {
    const other = await openPage(browser, complaints);
    await other.goto(address);
    await other.locator('.rows .row').first().waitFor();
    await other.evaluate("{ const form = document.querySelector('form.filter'); for (const text of ['drop', 'tcp', 'udp', 'drop hook:xdp']) { form.elements.filter.value = text; form.requestSubmit(); } }");
    await expect.poll(async () => {
      const shown = await other.locator('.rows .row').allTextContents();
      return shown.length > 0 && shown.every((row) => row.includes('XDP_DROP'));
    }, { timeout: PATIENCE_MS }).toBe(true);
    await other.close();
    expect(complaints).toEqual([]);
  }, PATIENCE_MS);

  test('a filter lets go of the verdict that was chosen', async () => {
    await page.locator('.rows .row').first().dispatchEvent('pointerdown');
    await page.locator('.row.selected').waitFor();
    const box = page.getByLabel('Filter', { exact: true });
    await box.fill('udp');
    await box.press('Enter');
    await page.locator('.row.selected').waitFor({ state: 'detached' });
    await page.locator('.rows .row').first().dispatchEvent('pointerdown');
    await page.locator('.row.selected').waitFor();
    await box.fill('');
    await page.locator('.row.selected').waitFor({ state: 'detached' });
    await page.locator('.rows .row:has(.has-bytes)').first().waitFor();
    expect(complaints).toEqual([]);
  }, PATIENCE_MS);

  test('a verdict is taken apart to its bytes', async () => {
    await page.locator('.rows .row:has(.has-bytes)').first().dispatchEvent('pointerdown');
    await page.getByRole('heading', { name: /^Packet [\d,]+$/ }).waitFor();
    await page.locator('.layers summary', { hasText: 'Ethernet' }).first().waitFor();
    await page.locator('.ran summary', { hasText: /(left by|last condition|value from) \w+\.bpf\.c:\d+ / }).first().waitFor();
    await page.getByText('destination', { exact: true }).first().hover();
    expect(await page.locator('.hex .lit').count()).toBeGreaterThan(0);
  }, PATIENCE_MS);

  test('what stands beside the path leads to its map, and to all of them', async () => {
    await page.getByRole('tab', { name: 'Packet' }).click();
    await page.locator('.backends').getByRole('button', { name: 'Services' }).click();
    await page.locator('.map-list button[aria-pressed=true]', { hasText: 'vip_stats' }).waitFor();
    await page.getByRole('tab', { name: 'Packet' }).click();
    await page.locator('.backends').getByRole('button', { name: 'all maps' }).click();
    await page.locator('.map-list button', { hasText: 'deny_v4' }).waitFor();
  }, PATIENCE_MS);

  test('a map is written, and holds what was written', async () => {
    await page.getByRole('tab', { name: 'Maps' }).click();
    // The verdict that was chosen brings its packet back.
    await page.locator('.row.selected').dispatchEvent('pointerdown');
    await page.getByRole('heading', { name: /^Packet [\d,]+$/ }).waitFor();
    await page.getByRole('tab', { name: 'Maps' }).click();
    await page.getByRole('button', { name: /^deny_v4/ }).click();
    await page.getByPlaceholder(/^key:/).fill('garbage');
    await page.getByPlaceholder(/^value:/).fill('1');
    await page.getByRole('button', { name: 'add' }).click();
    // It is said until something works.
    await page.getByText('deny_v4: key: found "garbage", expected a prefix').waitFor();
    complaints.splice(0, complaints.length, ...complaints.filter((complaint) => !complaint.includes('422')));
    await page.getByPlaceholder(/^key:/).fill('203.0.113.0/24');
    await page.getByPlaceholder(/^value:/).fill('1');
    await page.getByRole('button', { name: 'add' }).click();
    await page.getByRole('rowheader', { name: '203.0.113.0/24' }).waitFor();
    await page.getByText('deny_v4: key: found').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'delete 203.0.113.0/24' }).click();
    await page.getByRole('rowheader', { name: '203.0.113.0/24' }).waitFor({ state: 'detached' });
    // A struct is edited as JSON: Enter writes it, Escape leaves it as it is.
    await page.getByRole('button', { name: /^fw_config/ }).click();
    const edit = page.getByRole('button', { name: 'edit 0' });
    await edit.waitFor();
    // Also where the table is wider than the panel.
    const [button, panel] = [(await edit.boundingBox())!, (await page.locator('.panel').boundingBox())!];
    expect(button.x + button.width).toBeLessThanOrEqual(panel.x + panel.width);
    await edit.click();
    const value = page.getByLabel('value of 0');
    await value.fill((await value.inputValue()).replace('"syn_rate": 10', '"syn_rate": 11'));
    await value.press('Enter');
    await page.getByRole('cell', { name: '11', exact: true }).waitFor();
    await page.getByRole('button', { name: 'edit 0' }).click();
    await value.press('Escape');
    await value.waitFor({ state: 'detached' });
  }, PATIENCE_MS);

  test('programs are shown with their C, instructions and WebAssembly', async () => {
    await page.getByRole('tab', { name: 'Programs' }).click();
    await page.getByText('Linux would load it').waitFor();
    await page.getByLabel('WebAssembly').filter({ hasText: '(module' }).waitFor();
    expect(await page.getByLabel('Instructions').textContent()).toContain('call bpf_map_lookup_elem');
    // A line that is pointed at is lit in all three.
    await page.getByLabel('Instructions').locator('li').nth(8).hover();
    await expect.poll(() => page.evaluate("[...document.querySelectorAll('.code > *')].map(({ children }) => [...children].some((each) => getComputedStyle(each).backgroundColor !== 'rgba(0, 0, 0, 0)'))"), { timeout: PATIENCE_MS }).toEqual([true, true, true]);
    // Where it is out of sight, it is moved to: not in the column under the pointer, and not when it is in sight.
    const scrolled = (): Promise<number[]> => page.evaluate("[...document.querySelectorAll('.code > *')].map(({ scrollTop }) => Math.round(scrollTop))");
    const instructions = page.getByLabel('Instructions').locator('li[data-line]');
    await instructions.last().scrollIntoViewIfNeeded();
    await page.evaluate("for (const column of document.querySelectorAll('.code > :not([aria-label=Instructions])')) column.scrollTop = 0");
    const read = await page.getByLabel('Instructions').evaluate(({ scrollTop }) => Math.round(scrollTop));
    await instructions.last().hover();
    await expect.poll(async () => (await scrolled()).filter((top) => top > 0).length, { timeout: PATIENCE_MS }).toBeGreaterThan(1);
    expect(await page.getByLabel('Instructions').evaluate(({ scrollTop }) => Math.round(scrollTop))).toBe(read);
    // And how often each ran.
    await page.getByText(/Counts are of [\d,]+ runs/).waitFor();
    expect(await page.getByLabel('Instructions').locator('li').first().locator('.times').textContent()).toMatch(/^\d/);
  }, PATIENCE_MS);

  test('what programs sent is there whole', async () => {
    await page.getByRole('tab', { name: 'Printed' }).click();
    await page.locator('.printed li', { hasText: 'fw_drops' }).first().waitFor();
    expect(await page.evaluate("(() => { const panel = document.querySelector('.panel'); return panel.scrollWidth - panel.clientWidth; })()")).toBe(0);
  }, PATIENCE_MS);

  test('a pause stops the packets, and the run goes on from there', async () => {
    await page.getByRole('button', { name: 'pause' }).click();
    await page.getByRole('button', { name: 'resume' }).waitFor();
    // Ways that packets went stay where they are, so that nothing jumps.
    await expect.poll(() => page.locator('.way svg').textContent(), { timeout: PATIENCE_MS }).toMatch(/✕ 0 dropped⇢ 0 redirected↩ 0 sent back/);
    await page.getByRole('button', { name: 'resume' }).click();
    await page.getByRole('button', { name: 'pause' }).waitFor();
  }, PATIENCE_MS);

  test('a lost connection comes back, and verdicts go on', async () => {
    const before = await account();
    reachable = false;
    for (const socket of sockets.splice(0)) await socket.close();
    await page.getByText('connection lost').waitFor();
    reachable = true;
    await page.getByText('connected', { exact: true }).waitFor();
    await expect.poll(account, { timeout: PATIENCE_MS }).toBeGreaterThan(before);
  }, PATIENCE_MS);

  test('tabs are reached by the arrows, and a verdict by the keyboard alone', async () => {
    await page.getByRole('tab', { name: 'Packet' }).click();
    await page.keyboard.press('ArrowRight');
    expect(await page.getByRole('tab', { name: 'Throughput' }).getAttribute('aria-selected')).toBe('true');
    await page.getByRole('grid', { name: 'Verdicts' }).focus();
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('ArrowUp');
    await page.locator('[role=grid][aria-activedescendant]').waitFor();
    await page.locator('.row.selected').waitFor();
    await page.getByRole('heading', { name: /^Packet [\d,]+$/ }).waitFor();
  }, PATIENCE_MS);

  test('what is seen leaves as CSV, and as a capture that runs again where it is dropped', async () => {
    const [head, ...lines] = (await saved(page, 'CSV')).toString().split('\n');
    expect(head).toBe('packet,seconds,device,hook,program,verified,verdict,length,fault');
    expect(lines[0]).toMatch(/^1,\d+\.\d{9},eth0,xdp,xdp_firewall,true,XDP_/);
    const capture = await saved(page, 'pcapng');
    const dropped = await page.evaluateHandle(`(() => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([Uint8Array.from(atob('${capture.toString('base64')}'), (byte) => byte.charCodeAt(0))], 'seen.pcapng'));
      return transfer;
    })()`);
    await page.locator('main').dispatchEvent('drop', { dataTransfer: dropped });
    await expect.poll(() => page.getByLabel('Packets from').locator('option:checked').textContent(), { timeout: PATIENCE_MS }).toBe('seen.pcapng');
    await page.getByRole('button', { name: 'pause' }).waitFor();
  }, PATIENCE_MS);

  test('an object that is opened asks what to do with it, whatever its name is', async () => {
    await page.locator('.open-file input').setInputFiles({ name: '<img src=x onerror=alert(1)>.bpf.o', mimeType: 'application/octet-stream', buffer: readFileSync(path('programs/flow_counter.bpf.o')) });
    await page.getByRole('heading', { name: '<img src=x onerror=alert(1)>.bpf.o' }).waitFor();
    await page.getByRole('button', { name: 'attach flow_counter to xdp of eth0' }).click();
    await page.getByText('flow_counter runs at xdp of eth0').waitFor();
    await expect.poll(() => page.locator('.way svg').textContent(), { timeout: PATIENCE_MS }).toContain('xdp_firewall, xdp_lb, flow_counter');
  }, PATIENCE_MS);

  test('a new version of an object takes the place of its old one, and of no other', async () => {
    await page.locator('.open-file input').setInputFiles(path('programs/xdp_lb.bpf.o'));
    await page.getByRole('heading', { name: 'xdp_lb.bpf.o' }).waitFor();
    expect(await page.getByRole('button', { name: /^replace/ }).allTextContents()).toEqual(['replace xdp_lb.bpf.o, keep its maps']);
    await page.getByRole('button', { name: /^replace/ }).click();
    await page.getByText('xdp_lb.bpf.o took the place of xdp_lb.bpf.o: kept lb_config').waitFor();
  }, PATIENCE_MS);

  test('a lab that starts over has no verdicts, no run, and what was attached at its start', async () => {
    await page.getByRole('tab', { name: 'Programs' }).click();
    await page.getByRole('button', { name: 'start the lab over' }).click();
    await page.getByRole('button', { name: 'start', exact: true }).waitFor();
    await expect.poll(account, { timeout: PATIENCE_MS }).toBe(0);
    await expect.poll(() => page.locator('.way svg').textContent(), { timeout: PATIENCE_MS }).not.toContain('flow_counter');
    await page.getByRole('button', { name: 'start', exact: true }).click();
    await expect.poll(account, { timeout: PATIENCE_MS }).toBeGreaterThan(0);
  }, PATIENCE_MS);

  test('nothing was complained about, and nothing asked of another host', () => {
    expect(complaints).toEqual([]);
  });
});
