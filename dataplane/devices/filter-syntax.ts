/**
 * tcpdump's filter expressions (pcap-filter(7)) as words, to say where one is wrong: libpcap says no more than that
 * there is a syntax error. Its parser is asked about beginnings of the expression. Names stand for numbers then, so that
 * nobody is asked over the network.
 */

/** Words that are no names, but for those of which libpcap asks the network, or makes loops. */
const WORDS = new Set(
  [
    'host net port portrange src dst mask and or not proto ether ip ip6 arp rarp tcp udp icmp icmp6 igmp sctp pim vrrp igrp esp ah',
    'broadcast multicast less greater len vlan mpls pppoed pppoes geneve',
    'tcpflags tcp-fin tcp-syn tcp-rst tcp-push tcp-ack tcp-urg tcp-ece tcp-cwr',
    'icmptype icmpcode icmp-echoreply icmp-unreach icmp-sourcequench icmp-redirect icmp-echo icmp-routeradvert icmp-routersolicit icmp-timxceed icmp-paramprob icmp-tstamp icmp-tstampreply icmp-ireq icmp-ireqreply icmp-maskreq icmp-maskreply',
    'icmp6type icmp6code icmp6-destinationrunreach icmp6-packettoobig icmp6-timeexceeded icmp6-parameterproblem icmp6-echo icmp6-echoreply icmp6-routersolicit icmp6-routeradvert icmp6-neighborsolicit icmp6-neighboradvert icmp6-redirect',
  ].flatMap((line) => line.split(' ')),
);
/** IPv6 and Ethernet addresses, and numbers in hexadecimal, have letters too. */
const LETTERS = /\b0x[0-9a-f]+\b|[0-9a-f]*(?::[0-9a-f]*){2,}(?:(?<=:)[\d.]+)?|[a-z_][\w-]*/gi;
const TOKENS = /[()[\]]|[^\s()[\]]+/g;
/** What stands for names: of hosts, and of what has a number. */
const NO_NAME = '192.0.2.1';
const NO_NUMBER = '1';
const NUMBERED = /\b(?:port|portrange|proto)\s+$/i;
/** One of them makes an expression of every beginning of one, but for parentheses that are open. */
const ENDS = ['', 'ip', NO_NUMBER, NO_NAME, 'host 1', '= 1', '1 = 1', '] = 1', '1 ] = 1', ': 1 ] = 1'];

const isName = (word: string): boolean => /^[a-z_]/i.test(word) && !word.includes(':') && !WORDS.has(word.toLowerCase());

/** The first word that only a look-up would say what it is. */
export function nameIn(expression: string): string | undefined {
  return expression.match(LETTERS)?.find(isName);
}

/** Without names. */
export function nameless(expression: string): string {
  return expression.replaceAll(LETTERS, (word, at: number) => (!isName(word) ? word : NUMBERED.test(expression.slice(0, at)) ? NO_NUMBER : NO_NAME));
}

/** Which word of an expression is out of place. `parses`: whether a text without names has no syntax error. */
export function misplacedIn(expression: string, parses: (text: string) => boolean): string | undefined {
  const tokens = expression.match(TOKENS) ?? [];
  const isBeginning = (length: number): boolean => {
    const text = nameless(tokens.slice(0, length).join(' '));
    const open = Math.max(0, tokens.slice(0, length).reduce((sum, token) => sum + (token === '(' ? 1 : token === ')' ? -1 : 0), 0));
    return ENDS.some((end) => [`${text} ${end}${')'.repeat(open)}`, `${text} ${end}${')'.repeat(open)} = 1`].some(parses));
  };
  let [good, bad] = [0, tokens.length + 1];
  while (bad - good > 1) {
    const middle = (good + bad) >>> 1;
    if (isBeginning(middle)) good = middle;
    else bad = middle;
  }
  const behind = good === 0 ? 'at the beginning' : `behind '${tokens[good - 1]}'`;
  if (bad <= tokens.length) return `found '${tokens[bad - 1]}' ${behind}`;
  return parses(nameless(expression)) ? undefined : `ends ${behind}, where more is expected`;
}
