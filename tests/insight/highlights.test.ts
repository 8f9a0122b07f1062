import { readFileSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import { loadObject } from '../../dataplane/bpf/object.ts';
import { checkHighlights, highlightTables } from '../../dataplane/insight/highlights.ts';
import { Lab } from '../../dataplane/pipeline/lab.ts';
import { programsDirectory } from '../../programs/objects.ts';

let lab: Lab;
beforeAll(() => {
  lab = new Lab({ engine: 'interpreter', cpus: 2 });
  for (const name of ['xdp_lb.bpf.o', 'tc_firewall.bpf.o']) lab.load(loadObject(readFileSync(`${programsDirectory()}/${name}`), { name }), name);
  lab.map('backends').set(1, { address: '10.1.0.1', state: 'BACKEND_UP' });
  lab.map('backend_stats').set(1, [{ packets: 3, bytes: 300, flows: 1 }, { packets: 4, bytes: 400, flows: 0 }]);
  lab.map('backend_stats').set(2, { packets: 10, bytes: 9, flows: 0 });
  lab.map('backend_stats').set(3, [{ packets: 1, bytes: 1, flows: 1 }, { packets: 0, bytes: 0, flows: 0 }]);
});

test('entries are summed over CPUs, largest first, and called by name and by another map', () => {
  const [table] = highlightTables(lab, [{ map: 'backend_stats', title: 'Backends', by: 'packets', fields: ['flows'], label: 'backends.address', names: new Map([['1', 'web']]), top: 2 }]);
  expect(table).toEqual({
    title: 'Backends',
    map: 'backend_stats',
    by: 'packets',
    rows: [
      { label: '::', amount: 20, fields: { flows: 0 } },
      { label: 'web  10.1.0.1', amount: 7, fields: { flows: 1 } },
    ],
    more: 1,
    total: 28,
  });
});

test('unless told, every map that counts per CPU and has counted is shown by its first number', () => {
  const tables = highlightTables(lab, []);
  expect(tables.map(({ map, by }) => [map, by])).toEqual([['backend_stats', 'packets']]);
  expect(tables[0]!.rows[1]).toEqual({ label: '1', amount: 7, fields: { bytes: 700, flows: 1 } });
});

test.each([
  [{ map: 'connections', by: 'age' }, "show: map 'connections' has no field 'age', expected one of expires_ns, ingress.packets, ingress.bytes, egress.packets, egress.bytes, state, opened_by"],
  [{ map: 'connections', fields: ['age'] }, "show: map 'connections' has no field 'age'"],
  [{ map: 'connections', by: 'state' }, "show: map 'connections': field 'state' is no number, so no bar can be drawn of it; say which one: by"],
  [{ map: 'vip_stats', label: 'nope.address' }, "map 'nope': no object declares it"],
  [{ map: 'vip_stats', label: 'vips.id' }, 'vips: key: found 0, expected an object of address, port, protocol'],
])('%j is refused while the map is still empty', (highlight, problem) => {
  expect(() => checkHighlights(lab, [highlight])).toThrow(problem);
});
