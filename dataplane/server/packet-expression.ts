/**
 * tcpdump's filter expressions for packets of the stream. Clients write them, so names are not looked up: a host or
 * service is what its address or number is, and nobody is asked over the network.
 */
import { ClassicFilter } from '../devices/classic-filter.ts';
import { nameIn } from '../devices/filter-syntax.ts';
import { byteFilter, expectSyntax, SNAP_EVERYTHING, whyNoFilters } from '../devices/packet-filter.ts';
import { XdplabError } from '../errors.ts';

/** A packet is looked at for each client that has a filter. */
const MOST_INSTRUCTIONS = 512;

/** Throws ERR_USAGE for what is no expression, ERR_UNSUPPORTED where there is no libpcap, or where it comes to too much. */
export function packetExpression(text: string): ClassicFilter {
  const name = nameIn(text);
  if (name !== undefined) {
    if (whyNoFilters() === undefined) expectSyntax(text);
    throw new XdplabError('ERR_USAGE', `filter '${text}': found '${name}', and names are not looked up; write the address or the number`);
  }
  const filter = new ClassicFilter(byteFilter(text, SNAP_EVERYTHING));
  if (filter.length > MOST_INSTRUCTIONS) throw new XdplabError('ERR_UNSUPPORTED', `filter '${text}': comes to ${filter.length} instructions, expected at most ${MOST_INSTRUCTIONS}; write a shorter one`);
  return filter;
}
