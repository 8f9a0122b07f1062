/** What became of the packets, in a few words: shows that a benchmark measured the path that was meant. */
import type { Statistics } from '../pipeline/statistics.ts';

export function describeFates({ packets, fates }: Pick<Statistics, 'packets' | 'fates'>): string {
  return fates.map((row) => `${row.fate} ${((100 * row.packets) / packets).toFixed(1)} %`).join(', ');
}
