/** What became of a packet in the end, for people. */
import type { Names } from './stream.ts';

interface Fate {
  readonly fate: number;
  readonly reason: number;
  readonly leftIfindex: number;
}

export function fateText({ fate, reason, leftIfindex }: Fate, { fates, reasons, devices }: Names): string {
  const out = devices.find(({ ifindex }) => ifindex === leftIfindex)?.name;
  const why = reason === 0 ? undefined : reasons[reason];
  return `${fates[fate] ?? fate}${why === undefined ? '' : `, because of ${why}`}${out === undefined ? '' : `, out of ${out}`}`;
}
