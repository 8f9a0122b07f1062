/**
 * tcpdump's filter expressions for packets of the stream. Clients write them, so names are not looked up: a host or
 * service is what its address or number is, and nobody is asked over the network.
 */
import { ClassicFilter } from '../devices/classic-filter.ts';
import { byteFilter, SNAP_EVERYTHING } from '../devices/packet-filter.ts';
import { XdplabError } from '../errors.ts';

/** A packet is looked at for each client that has a filter. */
const MOST_INSTRUCTIONS = 512;

/** pcap-filter(7): words that are no names. */
const WORDS = new Set(
  [
    'host net port portrange src dst mask and or not proto ether ip ip6 arp rarp tcp udp icmp icmp6 igmp sctp pim vrrp igrp esp ah',
    'broadcast multicast less greater len vlan mpls pppoed pppoes geneve',
    'tcpflags tcp-fin tcp-syn tcp-rst tcp-push tcp-ack tcp-urg tcp-ece tcp-cwr',
    'icmptype icmpcode icmp-echoreply icmp-unreach icmp-sourcequench icmp-redirect icmp-echo icmp-routeradvert icmp-routersolicit icmp-timxceed icmp-paramprob icmp-tstamp icmp-tstampreply icmp-ireq icmp-ireqreply icmp-maskreq icmp-maskreply',
    'icmp6type icmp6code icmp6-destinationrunreach icmp6-packettoobig icmp6-timeexceeded icmp6-parameterproblem icmp6-echo icmp6-echoreply icmp6-routersolicit icmp6-routeradvert icmp6-neighborsolicit icmp6-neighboradvert icmp6-redirect',
  ].flatMap((line) => line.split(' ')),
);
/** IPv6 and Ethernet addresses, and numbers in hexadecimal: they have letters too. */
const ADDRESSES = /\b0x[0-9a-f]+\b|[0-9a-f]*(?::[0-9a-f]*){2,}(?:(?<=:)[\d.]+)?/gi;

/** Throws ERR_USAGE for what is no expression, ERR_UNSUPPORTED where there is no libpcap, or where it comes to too much. */
export function packetExpression(text: string): ClassicFilter {
  const stranger = text.replaceAll(ADDRESSES, ' ').match(/[a-z_][\w-]*/gi)?.find((word) => !WORDS.has(word.toLowerCase()));
  if (stranger !== undefined) throw new XdplabError('ERR_USAGE', `filter '${text}': found '${stranger}', and names are not looked up; write the address or the number`);
  const filter = new ClassicFilter(byteFilter(text, SNAP_EVERYTHING));
  if (filter.length > MOST_INSTRUCTIONS) throw new XdplabError('ERR_UNSUPPORTED', `filter '${text}': comes to ${filter.length} instructions, expected at most ${MOST_INSTRUCTIONS}; write a shorter one`);
  return filter;
}
