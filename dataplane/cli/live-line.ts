/** One line on stderr that says what a live run is doing; nothing but its beginning when stderr is not a terminal. */
import type { PacketSource } from '../devices/device.ts';
import type { LiveSnapshot } from '../live/live.ts';
import { StatusLine } from './status-line.ts';
import { bytes, count, print, rate, safe } from './terminal.ts';

const QUICK_MS = 500;
/** Whoever reads files that are being written wants them to grow. */
const SLOW_MS = 1000;

export class LiveLine extends StatusLine {
  readonly everyMs = this.enabled ? QUICK_MS : SLOW_MS;
  #packets = 0;
  #elapsedNs = 0;

  /** `remarks`: what to know before packets come. Whoever starts this in a script waits for the line before it sends anything. */
  begin(sources: readonly PacketSource[], mode: 'observe' | 'inline', remarks: readonly string[]): void {
    for (const remark of remarks) print(remark, process.stderr);
    const names = sources.map(({ interface: { name } }) => safe(name));
    print(`${mode === 'inline' ? `inline between ${names.join(' and ')}` : `listening on ${names[0]}`} (${sources[0]!.backend}), Ctrl-C ends it`, process.stderr);
  }

  update({ packets, bytes: size, elapsedNs, accounting: { ringDrops } }: LiveSnapshot): void {
    if (!this.enabled) return;
    const speed = rate(((packets - this.#packets) * 1e9) / (elapsedNs - this.#elapsedNs));
    [this.#packets, this.#elapsedNs] = [packets, elapsedNs];
    this.show(`${count(packets)} packets, ${bytes(size)}, ${speed} packets/s${ringDrops === 0 ? '' : `, ${count(ringDrops)} dropped for want of room`}`);
  }
}
