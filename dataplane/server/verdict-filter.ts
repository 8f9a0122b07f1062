/**
 * Which verdicts a subscription wants. What a record says by itself (hook, verdict, device, program) is one look into
 * a table made for the lab's attachments; the rest looks at the record's packet.
 */
import { parseAddress, parsePrefix, type Prefix } from '../address.ts';
import { HOOK_NAMES } from '../hooks/hook.ts';
import { flowKey, type FlowKey } from '../packet/flow.ts';
import { IP_PROTOCOL } from '../packet/ipv4.ts';
import { OTHER_VERDICT_SLOT, RECORD, VERDICT_SLOTS } from '../pipeline/layout.ts';
import { FATES } from '../pipeline/outcome.ts';
import { XdplabError } from '../errors.ts';
import type { ClassicFilter } from '../devices/classic-filter.ts';
import { nameOfVerdict, OTHER_VERDICT, REASON_NAMES, VERDICT_NAMES, type LabNames } from './lab-names.ts';
import { packetExpression } from './packet-expression.ts';
import { MOST_SNAP_BYTES, verdictIndexAt, type KeptPacket } from './verdict-ring.ts';

/** All that are given have to fit; of a list, one. */
export interface FilterDescription {
  readonly hook?: readonly string[];
  readonly verdict?: readonly string[];
  readonly device?: readonly string[];
  readonly program?: readonly string[];
  readonly fate?: readonly string[];
  readonly reason?: readonly string[];
  readonly prefix?: readonly string[];
  readonly port?: readonly number[];
  readonly protocol?: readonly (string | number)[];
  /** An expression as tcpdump takes it. */
  readonly pcap?: string;
}

const PROTOCOLS: ReadonlyMap<string, number> = new Map(Object.entries(IP_PROTOCOL));
const KNOWN_VERDICTS: readonly string[] = [...new Set(Object.values(VERDICT_NAMES).flatMap((modes) => Object.values(modes).flatMap((codes) => Object.values(codes)))), OTHER_VERDICT];
/** Bytes of a packet that hold the addresses and ports of nearly any: Ethernet, two tags, IPv6 with some extensions, ports. */
export const FILTER_SNAP_BYTES = 128;

export class VerdictFilter {
  /** Bytes of each packet it looks at; 0: none, not even its fate. */
  readonly snapBytes: number;
  readonly #description: FilterDescription;
  readonly #names: LabNames;
  /** By attachment and verdict slot: 1 where it fits. */
  readonly table: Uint8Array;
  readonly #ifindexes: ReadonlySet<number> | undefined;
  readonly #fates: ReadonlySet<number> | undefined;
  readonly #reasons: ReadonlySet<number> | undefined;
  readonly #prefixes: readonly Prefix[] | undefined;
  readonly #ports: ReadonlySet<number> | undefined;
  readonly #protocols: ReadonlySet<number> | undefined;
  readonly #looksAtFlows: boolean;
  readonly #expression: ClassicFilter | undefined;
  /** The packet looked at last: its records follow each other. */
  #last: { readonly packet: KeptPacket; readonly fits: boolean } | undefined;

  /** Throws ERR_VALUE for what there is not; devices and programs may come later. `before`: the same one for another lab. */
  constructor(description: FilterDescription, names: LabNames, before?: VerdictFilter) {
    const { hook, verdict, device, program, fate, reason, prefix, port, protocol, pcap } = description;
    this.#description = description;
    this.#names = names;
    expectKnown('hook', hook, HOOK_NAMES);
    expectKnown('verdict', verdict, KNOWN_VERDICTS);
    this.table = new Uint8Array(names.attachments.length * VERDICT_SLOTS);
    for (const attachment of names.attachments) {
      const fits = (hook?.includes(attachment.hook) ?? true) && (program?.includes(attachment.program) ?? true);
      for (let slot = 0; fits && slot < VERDICT_SLOTS; slot++) {
        if (verdict?.includes(slot === OTHER_VERDICT_SLOT ? OTHER_VERDICT : nameOfVerdict(attachment, slot - 1)) ?? true) this.table[attachment.index * VERDICT_SLOTS + slot] = 1;
      }
    }
    this.#ifindexes = device && new Set(names.devices.filter(({ name }) => device.includes(name)).map(({ ifindex }) => ifindex));
    this.#fates = numbersOf('fate', fate, FATES);
    this.#reasons = numbersOf('reason', reason, REASON_NAMES);
    this.#prefixes = prefix?.map((text) => parsePrefix(text) ?? refuse('prefix', text, 'a prefix such as 10.0.0.0/8'));
    this.#ports = port && new Set(port);
    this.#protocols = protocol && new Set(protocol.map((one) => (typeof one === 'number' ? one : (PROTOCOLS.get(one) ?? refuse('protocol', one, `a number, or one of ${[...PROTOCOLS.keys()].join(', ')}`)))));
    this.#looksAtFlows = [prefix, port, protocol].some((one) => one !== undefined);
    this.#expression = before !== undefined ? before.#expression : pcap === undefined ? undefined : packetExpression(pcap);
    this.snapBytes = Math.max(this.#fates !== undefined || this.#reasons !== undefined ? 1 : 0, this.#looksAtFlows ? FILTER_SNAP_BYTES : 0, this.#expression === undefined ? 0 : Math.max(1, Math.min(MOST_SNAP_BYTES, this.#expression.reachBytes)));
  }

  /** The same for a lab whose attachments have changed. */
  forNames(names: LabNames): VerdictFilter {
    return names === this.#names ? this : new VerdictFilter(this.#description, names, this);
  }

  /** By what the record at `at` says. */
  fits(records: DataView, at: number): boolean {
    if (this.table[verdictIndexAt(records, at)] !== 1) return false;
    return this.#ifindexes?.has(records.getUint32(at + RECORD.ifindex, true)) ?? true;
  }

  /** By what its packet says. A packet that is not there does not fit. */
  fitsPacket(packet: KeptPacket | undefined): boolean {
    if (packet === undefined) return false;
    if (this.#last?.packet !== packet) this.#last = { packet, fits: this.#fitsFacts(packet) };
    return this.#last.fits;
  }

  #fitsFacts(packet: KeptPacket): boolean {
    if (!(this.#fates?.has(packet.fate) ?? true) || !(this.#reasons?.has(packet.reason) ?? true)) return false;
    if (this.#expression?.run(packet.before, packet.wire) === 0) return false;
    if (!this.#looksAtFlows) return true;
    const flow = flowKey(packet.before);
    return flow !== undefined && this.#fitsFlow(flow);
  }

  #fitsFlow({ source, destination, protocol, sourcePort, destinationPort }: FlowKey): boolean {
    if (!(this.#protocols?.has(protocol) ?? true)) return false;
    if (this.#ports !== undefined && !this.#ports.has(sourcePort) && !this.#ports.has(destinationPort)) return false;
    if (this.#prefixes === undefined) return true;
    const addresses = [source, destination].map((text) => parseAddress(text)!);
    return this.#prefixes.some((prefix) => addresses.some((address) => isWithin(address, prefix)));
  }
}

function isWithin(address: Uint8Array, { address: wanted, prefixBits }: Prefix): boolean {
  if (address.length !== wanted.length) return false;
  for (let bit = 0; bit < prefixBits; bit += 8) {
    const mask = prefixBits - bit >= 8 ? 0xff : 0xff << (8 - (prefixBits - bit));
    if (((address[bit >>> 3]! ^ wanted[bit >>> 3]!) & mask & 0xff) !== 0) return false;
  }
  return true;
}

function numbersOf(field: string, wanted: readonly string[] | undefined, names: readonly string[]): ReadonlySet<number> | undefined {
  expectKnown(field, wanted, names);
  return wanted && new Set(wanted.map((name) => names.indexOf(name)));
}

function expectKnown(field: string, wanted: readonly string[] | undefined, known: readonly string[]): void {
  const stranger = wanted?.find((name) => !known.includes(name));
  if (stranger !== undefined) refuse(field, stranger, `one of ${known.join(', ')}`);
}

function refuse(field: string, found: string, expected: string): never {
  throw new XdplabError('ERR_VALUE', `filter.${field}: found '${found}', expected ${expected}`);
}
