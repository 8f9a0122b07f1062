/** How a packet's way through the lab ends, and why packets are lost. The numbers stand in packet descriptors. */

/** Descriptor field `outcome`. */
export const FATES = ['none', 'stack', 'transmitted', 'redirected', 'sent', 'dropped', 'consumed', 'rejected'] as const;
export type Fate = (typeof FATES)[number];

export const FATE = Object.fromEntries(FATES.map((name, index) => [name, index])) as Readonly<Record<Fate, number>>;

/** What each fate means, as the summary says it. */
export const FATE_TEXT: Readonly<Record<Fate, string>> = {
  none: 'not processed',
  stack: 'delivered to the host',
  transmitted: 'sent back (XDP_TX)',
  redirected: 'redirected to a device',
  sent: 'sent by the host',
  dropped: 'dropped',
  consumed: 'consumed by a program',
  rejected: 'not run',
};

/**
 * Descriptor field `reason`, spelled as Linux's drop reasons where it has one (include/net/dropreason-core.h) and in
 * the same manner where it has none.
 */
export const DROP_REASONS = [
  { name: 'NONE', text: '' },
  { name: 'XDP', text: 'XDP_DROP' },
  { name: 'XDP_ABORTED', text: 'XDP_ABORTED: the program gave up' },
  { name: 'XDP_INVALID_ACTION', text: 'the program returned a code that is no XDP verdict where it ran' },
  { name: 'XDP_REDIRECT_FAILED', text: 'XDP_REDIRECT without a device to go to' },
  { name: 'TC_INGRESS', text: 'TC ingress program said drop' },
  { name: 'TC_EGRESS', text: 'TC egress program said drop' },
  { name: 'TC_REDIRECT_FAILED', text: 'TC redirect without a device to go to' },
  { name: 'TC_RECLASSIFY_LOOP', text: 'redirected between devices more than 8 times' },
  { name: 'PKT_TOO_BIG', text: 'longer than the MTU of the device it was redirected to' },
  { name: 'DEV_READY', text: 'the device it was redirected to is down' },
  { name: 'PKT_TOO_SMALL', text: 'shorter than an Ethernet header' },
  { name: 'LINK_TYPE', text: 'not an Ethernet capture' },
  { name: 'PROGRAM_TRAP', text: 'the program was stopped: it accessed memory that does not exist' },
  { name: 'PROGRAM_NULL', text: 'the program was stopped: it wrote through a NULL pointer (a map lookup that was not checked?)' },
  { name: 'PROGRAM_BUDGET', text: 'the program was stopped: it ran past its instruction budget' },
  { name: 'PROGRAM_UNSUPPORTED', text: 'the program was stopped: it used something that is not supported' },
  { name: 'NEIGH_FAILED', text: 'no route or no neighbour for the next hop of bpf_redirect_neigh' },
] as const;

export type DropReason = (typeof DROP_REASONS)[number]['name'];

export const DROP_REASON = Object.fromEntries(DROP_REASONS.map(({ name }, index) => [name, index])) as Readonly<Record<DropReason, number>>;
