/** `xdplab live --to`: what inline needs and refuses, and what it says in the end. */
import { XdplabError } from '../errors.ts';
import type { InlineCounts } from '../live/inline.ts';
import type { LiveFlags } from './live-flags.ts';
import { bytes, count, safe } from './terminal.ts';

export function checkInline(name: string, filter: readonly string[], { to, snaplen, backend, redirect }: LiveFlags): void {
  if (to === undefined) {
    if (redirect.length > 0) throw new XdplabError('ERR_USAGE', '--redirect: packets are sent only inline; give the other side with --to <interface>');
    return;
  }
  if (to === name) throw new XdplabError('ERR_USAGE', `--to ${to}: is the same interface; give the one on the other side`);
  if (filter.length > 0) throw new XdplabError('ERR_USAGE', `--to ${to}: inline, what a filter does not match would be lost; leave the filter out`);
  if (snaplen !== undefined) throw new XdplabError('ERR_USAGE', `--to ${to}: inline, packets that --snaplen cuts would be damaged; leave it out`);
  if (backend !== undefined && backend !== 'af_packet') throw new XdplabError('ERR_USAGE', `--to ${to}: inline takes af_packet, not ${backend}; leave --backend out`);
}

export function inlineLines({ sent, nowhere }: InlineCounts): string[] {
  return [
    ...sent.map(({ interface: name, packets, bytes: size, tooLong, refused }) => `  sent by ${safe(name)} ${count(packets)}, ${bytes(size)}${refused === 0 ? '' : `; not sent, its queue was full: ${count(refused)}`}${tooLong === 0 ? '' : `; longer than its MTU: ${count(tooLong)} (at their sender: ethtool -K <interface> tso off gso off)`}`),
    ...(nowhere === 0 ? [] : [`  redirected to devices that stand for no interface: ${count(nowhere)} (--redirect <device=interface>)`]),
  ];
}
