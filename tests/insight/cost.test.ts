import { expect, test } from 'vitest';
import { assemble } from '../../dataplane/bpf/assemble.ts';
import { BPF_MAP_TYPE } from '../../dataplane/bpf/map-type.ts';
import type { MapSpec, ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { CostCounter, type Cost } from '../../dataplane/insight/cost.ts';
import { packTrace } from '../../dataplane/packet/packet-trace.ts';
import { ResidentTrace } from '../../dataplane/packet/resident-trace.ts';
import { Lab } from '../../dataplane/pipeline/lab.ts';

const TABLE: MapSpec = { name: 'table', type: BPF_MAP_TYPE.lru_hash, keyBytes: 4, valueBytes: 8, maxEntries: 2, flags: 0, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false };

/** Packets whose 15th byte is a key; the first `opening` run before. */
function countedOver(text: string, keys: readonly number[], opening = 0): Cost {
  const { instructions } = assemble(text);
  const program: ProgramSpec = { name: 'counted', section: 'xdp', type: 'xdp', frags: false, instructions, functions: [{ name: 'counted', slot: 0, typeId: 0, linkage: 'global' }], lines: [], license: 'GPL' };
  const counter = new CostCounter();
  const lab = new Lab({ engine: counter.engine, verify: false });
  lab.attach(lab.load({ programs: new Map([['counted', program]]), maps: new Map([['table', TABLE]]), btf: undefined, license: 'GPL' }, 'counted').program(), { hook: 'xdp' });
  const packets = keys.map((key) => Uint8Array.from({ length: 60 }, (_, index) => (index === 14 ? key : 0)));
  const { batch } = new ResidentTrace(lab.machine.memory, packTrace('test', packets, 1000));
  lab.pipeline.setInterface(0, lab.devices[0]);
  if (opening > 0) {
    const { count } = batch;
    batch.count = opening;
    lab.pipeline.run(batch);
    batch.count = count;
  }
  return counter.run(lab, batch, opening);
}

test('instructions are counted as they are executed, and loads and stores by their bytes', () => {
  const { perPacket } = countedOver(
    `r2 = *(u32 *)(r1 +0)
     r3 = *(u8 *)(r2 +14)
     *(u64 *)(r10 -8) = r3
     lock *(u32 *)(r10 -8) += r3
     if r3 == 1 goto one
     r4 = 5
     one: r0 = 2
     exit`,
    [1, 2],
  );
  expect(perPacket.instructions).toEqual({ mean: 7.5, median: 8, min: 7, max: 8 });
  expect(perPacket.bytesTouched.mean).toBe(4 + 1 + 8 + 2 * 4);
  expect(perPacket.helperCalls.max).toBe(0);
});

const REMEMBER = `r2 = *(u32 *)(r1 +0)
     r3 = *(u8 *)(r2 +14)
     *(u32 *)(r10 -4) = r3
     r1 = map[table]
     r2 = r10
     r2 += -4
     call 1
     if r0 != 0 goto known
     *(u64 *)(r10 -16) = r0
     r1 = map[table]
     r2 = r10
     r2 += -4
     r3 = r10
     r3 += -16
     r4 = 0
     call 2
     known: r0 = 2
     exit`;

test('lookups of a table are counted with their hits, and what a full one gave up', () => {
  const { maps, helpers, perPacket } = countedOver(REMEMBER, [1, 1, 2, 3, 3]);
  expect(maps).toEqual([{ map: 'table', type: 'lru_hash', lookups: 5, hits: 2, inserts: 3, updates: 0, deletions: 0, evictions: 1 }]);
  expect(helpers).toEqual([
    { helper: 'map_lookup_elem', callsPerPacket: 1 },
    { helper: 'map_update_elem', callsPerPacket: 0.6 },
  ]);
  expect(perPacket.mapProbes).toMatchObject({ min: 1, max: 2 });
});

test('counting does not change which entry a table gives up', () => {
  // 1 is in use when 3 comes: 2 has to go.
  const { maps } = countedOver(REMEMBER, [1, 2, 1, 3, 1]);
  expect(maps[0]).toMatchObject({ hits: 2, evictions: 1 });
});

test('packets that ran before are not counted, and those after them are', () => {
  const { packets, maps } = countedOver(REMEMBER, [1, 2, 1], 2);
  expect([packets, maps]).toMatchObject([1, [{ lookups: 1, hits: 1, inserts: 0 }]]);
});
