import { join } from 'node:path';
import { expect, test } from 'vitest';
import { RECORD } from '../../dataplane/pipeline/layout.ts';
import { openLab } from '../../dataplane/pipeline/open-lab.ts';
import { inTurn, type BatchObserver } from '../../dataplane/pipeline/pipeline.ts';
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

test('who looks second has every record, also where the memory grew while the first looked', async () => {
  const { lab } = await openLab({ file: join(ROOT, 'programs/demo.yaml') });
  const { memory } = lab.machine;
  const lengths: number[] = [];
  let grew = false;
  const growing: BatchObserver = {
    finished: () => {
      if (grew) return;
      const { buffer } = memory.wasm;
      memory.allocate(buffer.byteLength, 8, 'growth');
      grew = memory.wasm.buffer !== buffer;
    },
  };
  const reading: BatchObserver = {
    finished: (_batch, _first, _count, records, recordCount) => {
      for (let record = 0; record < recordCount; record++) lengths.push(records.getUint32(record * RECORD.size + RECORD.length, true));
    },
  };
  await replay(lab, join(ROOT, 'traces/mixed.pcap'), { observer: inTurn([growing, reading]) });
  expect(grew).toBe(true);
  expect(lengths.length).toBeGreaterThan(0);
  expect(lengths).toHaveLength(lab.statistics().programs.reduce((sum, { packets }) => sum + packets, 0));
  expect(lengths.every((length) => length > 0)).toBe(true);
});
