import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openLab } from '../../dataplane/pipeline/open-lab.ts';
import { replay } from '../../dataplane/pipeline/replay.ts';

const ROOT = join(import.meta.dirname, '../..');

/** What counters and maps say after a capture. */
async function after(capture: string, observed: boolean) {
  const { lab } = await openLab({ file: join(ROOT, 'programs/demo.yaml') });
  let packets = 0;
  await replay(lab, join(ROOT, 'traces', capture), observed ? { observer: { finished: (_batch, _first, count) => void (packets += count) } } : {});
  return { packets, statistics: lab.statistics(), maps: lab.maps.map((map) => [lab.mapName(map), ...lab.typed(map).dump().entries]) };
}

test.each(['mixed.pcap', 'vlan.pcap', 'jumbo.pcap', 'runts.pcap', 'interfaces.pcapng'])('%s: packets fare the same, and are counted the same, when nobody looks', async (capture) => {
  const [seen, unseen] = [await after(capture, true), await after(capture, false)];
  expect(seen.packets).toBe(seen.statistics.packets);
  expect(unseen.statistics).toEqual(seen.statistics);
  expect(unseen.maps).toEqual(seen.maps);
});
