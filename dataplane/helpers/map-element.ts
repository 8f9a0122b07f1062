/** Helpers that maps answer themselves. Flags of an update are small numbers, so their low half is what counts. */
import type { MapOperation } from '../maps/map.ts';
import type { ArgumentKind, Helper, ReturnKind } from './helper.ts';
import { ANY_PROGRAM } from './program-sets.ts';

const row = (id: number, name: string, operation: MapOperation, args: readonly ArgumentKind[], returns: ReturnKind, more: Pick<Helper, 'packetAccess'> = { packetAccess: true }): Helper => ({
  id,
  name,
  args: ['map', ...args],
  returns,
  programs: ANY_PROGRAM,
  implementation: { kind: 'map', operation },
  ...more,
});

export const MAP_ELEMENT_HELPERS: readonly Helper[] = [
  row(1, 'map_lookup_elem', 'lookup', ['map_key'], 'map_value_or_null'),
  row(2, 'map_update_elem', 'update', ['map_key', 'map_value', 'u32'], 'int'),
  row(3, 'map_delete_elem', 'delete', ['map_key'], 'int'),
  row(87, 'map_push_elem', 'push', ['map_value', 'u32'], 'int'),
  row(88, 'map_pop_elem', 'pop', ['map_value_out'], 'int', {}),
  row(89, 'map_peek_elem', 'peek', ['map_value_out'], 'int', {}),
  row(195, 'map_lookup_percpu_elem', 'lookup_percpu', ['map_key', 'u32'], 'map_value_or_null'),
];
