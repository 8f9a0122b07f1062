/** `xdplab live --list`: the interfaces of this machine, and what can give their packets. */
import { formatMac } from '../address.ts';
import { BACKENDS } from '../devices/index.ts';
import { liveInterfaces } from '../devices/interfaces.ts';
import { whyNoFilters } from '../devices/packet-filter.ts';
import type { LiveFlags } from './live-flags.ts';
import { paint, print, printJson, safe, table } from './terminal.ts';

export function listLive({ json }: LiveFlags): void {
  const interfaces = liveInterfaces();
  const backends = BACKENDS.map((backend) => {
    const missing = backend.missing() ?? null;
    return { name: backend.name, text: backend.text, missing, refused: missing === null ? (backend.refused() ?? null) : null };
  });
  const filters = whyNoFilters();
  if (json) {
    printJson({ interfaces: interfaces.map(({ mac, ...rest }) => ({ ...rest, mac: formatMac(mac) })), backends, filters: filters ?? null });
    return;
  }
  const rows = interfaces.map(({ name, ifindex, mac, mtuBytes, up, ethernet, master }) => [safe(name), ifindex, formatMac(mac), `mtu ${mtuBytes}`, up ? 'up' : 'down', ethernet ? '' : 'not Ethernet', master === undefined ? '' : `in ${safe(master)}`]);
  const lines = [paint('bold', 'Interfaces'), ...table(rows, '  '), '', paint('bold', 'Ways to get their packets'), ...table(backends.map(({ name, text, missing, refused }) => [name, missing ?? refused ?? text]), '  ')];
  if (filters !== undefined) lines.push('', filters);
  print(lines.join('\n'));
}
