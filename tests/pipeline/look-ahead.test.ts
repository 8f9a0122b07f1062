/** Packets of so many flows that their table is looked at ahead of them. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { makeTrace } from '../../dataplane/measure/workload.ts';
import type { PacketTrace } from '../../dataplane/packet/packet-trace.ts';
import { ResidentTrace } from '../../dataplane/packet/resident-trace.ts';
import { openLab } from '../../dataplane/pipeline/open-lab.ts';
import { RECORD } from '../../dataplane/pipeline/layout.ts';
import { programsDirectory } from '../../programs/objects.ts';

const FLOWS = 20_000;
const ROUNDS = 2;
/** A batch that is not a multiple of what is looked at at once. */
const BATCH_PACKETS = 1000;
const trace: PacketTrace = makeTrace({ name: '1k', flows: FLOWS, to: '10.0.0.100:80', mac: Uint8Array.of(2, 0, 0, 0, 0, 1) });

test.each([true, false])('every packet is counted once, and recorded in its order (observed: %s)', async (observed) => {
  const { lab } = await openLab({ engine: 'wasm', programs: [{ hook: 'xdp', program: join(programsDirectory(), 'flow_counter.bpf.o') }] });
  const { pipeline, machine } = lab;
  pipeline.setInterface(0, lab.devices[0]);
  const resident = new ResidentTrace(machine.memory, trace, BATCH_PACKETS);
  expect(machine.lookAheads.size).toBe(1);
  const numbers: number[] = [];
  const observer = {
    finished: (_batch: unknown, _first: number, _count: number, records: DataView, recordCount: number): void => {
      for (let index = 0; index < recordCount; index++) numbers.push(Number(records.getBigUint64(index * RECORD.size, true)));
    },
  };
  const wanted: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    for (let next = 0; next < 2 * FLOWS; next += BATCH_PACKETS) {
      resident.show(next, BATCH_PACKETS);
      for (let index = 0; index < BATCH_PACKETS; index++) wanted.push(next + index + 1);
      pipeline.run(resident.batch, observed ? observer : undefined);
    }
  }
  if (observed) expect(numbers).toEqual(wanted);
  const { map } = lab.map('flows');
  expect(map.size).toBe(FLOWS);
  let packets = 0n;
  for (const [, value] of map.entries()) packets += new DataView(value.buffer, value.byteOffset).getBigUint64(0, true);
  expect(packets).toBe(BigInt(ROUNDS * 2 * FLOWS));
});
