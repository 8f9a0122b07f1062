/**
 * Filters of packet sockets: classic BPF programs (`struct sock_filter`, Documentation/networking/filter.rst) that
 * answer how many bytes of a packet to keep. tcpdump's expressions are compiled by the system's libpcap.
 */
import { XdplabError } from '../errors.ts';
import { misplacedIn, nameless } from './filter-syntax.ts';
import { KOFFI_MISSING, openNative, type Native, type NativeLibrary } from '../system/native.ts';

/** Longer than any packet. */
export const SNAP_EVERYTHING = 262_144;
const INSTRUCTION_BYTES = 8;
const BPF_RET_K = 0x06;
const BPF_LD_B_ABS = 0x30;
const BPF_JEQ_K = 0x15;
/** What the kernel knows beside a packet's bytes: its type, SKF_AD_OFF + SKF_AD_PKTTYPE. */
export const SKF_PACKET_TYPE = 0xffff_f004;
/** sll_pkttype of what this host sends. */
export const PACKET_OUTGOING = 4;
const DLT_EN10MB = 1;
const LIBRARIES = process.platform === 'darwin' ? ['libpcap.A.dylib'] : ['libpcap.so.0.8', 'libpcap.so.1', 'libpcap.so'];
/** Of struct bpf_program: u32 instructions, and their address behind it. */
const PROGRAM = { length: 0, instructions: 8, sizeBytes: 16 } as const;
const PCAP_NETMASK_UNKNOWN = 0xffff_ffff;
const EXAMPLE = 'udp port 53 and not src net 10.0.0.0/8';

/** Keeps the first bytes of every packet. */
export function keepAll(snapLength: number): Uint8Array {
  const program = new DataView(new ArrayBuffer(INSTRUCTION_BYTES));
  program.setUint16(0, BPF_RET_K, true);
  program.setUint32(4, snapLength, true);
  return new Uint8Array(program.buffer);
}

/** Keeps no packet. */
export const NOTHING: Uint8Array = keepAll(0);

/** The same filter for what comes in alone; nothing of what this host sends. */
export function withoutSent(filter: Uint8Array): Uint8Array {
  const program = new DataView(new ArrayBuffer(3 * INSTRUCTION_BYTES));
  program.setUint16(0, BPF_LD_B_ABS, true);
  program.setUint32(4, SKF_PACKET_TYPE, true);
  program.setUint16(INSTRUCTION_BYTES, BPF_JEQ_K, true);
  program.setUint8(INSTRUCTION_BYTES + 3, 1);
  program.setUint32(INSTRUCTION_BYTES + 4, PACKET_OUTGOING, true);
  program.setUint16(2 * INSTRUCTION_BYTES, BPF_RET_K, true);
  return Uint8Array.of(...new Uint8Array(program.buffer), ...filter);
}

/** Why there are no filter expressions here; undefined where there are. */
export function whyNoFilters(): string | undefined {
  const native = openNative();
  if (native === undefined) return `filter expressions are compiled by libpcap, which is called through koffi: ${KOFFI_MISSING}`;
  return libpcap(native) !== undefined ? undefined : 'filter expressions are compiled by libpcap, which is not installed: apt install libpcap0.8 (or libpcap from your system)';
}

/** Compiles a tcpdump expression for packets as the kernel shows them to a filter. Throws ERR_USAGE where it is none, ERR_UNSUPPORTED where there is no libpcap. */
export function packetFilter(expression: string, snapLength: number): Uint8Array {
  // The kernel keeps VLAN tags beside the packets that it shows to a filter; libpcap compiles for bytes.
  if (/\bvlan\b/i.test(expression)) throw new XdplabError('ERR_USAGE', `filter '${expression}': the kernel takes VLAN tags off before a filter sees a packet, so 'vlan' would match none; leave it out and let the program look at the tag`);
  return byteFilter(expression, snapLength);
}

/** The same for bytes as they were on the wire, VLAN tags among them. */
export function byteFilter(expression: string, snapLength: number): Uint8Array {
  const compiled = compile(expression, snapLength);
  if (typeof compiled === 'string') throw filterMistake(expression, isSyntaxError(compiled) ? `syntax error${placeOf(expression)}` : compiled);
  return compiled;
}

/** Throws ERR_USAGE where an expression is none whatever its names stand for, which are not looked up. */
export function expectSyntax(expression: string): void {
  if (!parses(nameless(expression))) throw filterMistake(expression, `syntax error${placeOf(expression)}`);
}

/** What is no filter expression, and why. */
export function filterMistake(expression: string, found: string): XdplabError {
  return new XdplabError('ERR_USAGE', `filter '${expression}': ${found}; man pcap-filter says what there is, such as '${EXAMPLE}'`);
}

function placeOf(expression: string): string {
  const misplaced = misplacedIn(expression, parses);
  return misplaced === undefined ? '' : `, ${misplaced}`;
}

function parses(expression: string): boolean {
  const compiled = compile(expression, SNAP_EVERYTHING);
  return typeof compiled !== 'string' || !isSyntaxError(compiled);
}

const isSyntaxError = (words: string): boolean => /syntax error|illegal token/.test(words);

function libpcap(native: Native): NativeLibrary | undefined {
  for (const name of LIBRARIES) {
    const library = native.library(name);
    if (library !== undefined) return library;
  }
  return undefined;
}

/** libpcap's words where it is no expression. */
function compile(expression: string, snapLength: number): Uint8Array | string {
  const native = openNative();
  const library = native === undefined ? undefined : libpcap(native);
  if (native === undefined || library === undefined) throw new XdplabError('ERR_UNSUPPORTED', `filter '${expression}': ${whyNoFilters()}`);
  const handle = library.func('pcap_open_dead', 'uintptr_t', ['int', 'int'])(DLT_EN10MB, snapLength);
  const program = native.allocate(PROGRAM.sizeBytes);
  try {
    const compiled = library.func('pcap_compile', 'int', ['uintptr_t', 'uintptr_t', 'string', 'int', 'uint32_t'])(Number(handle), program.address, expression, 1, PCAP_NETMASK_UNKNOWN);
    if (Number(compiled) < 0) return library.func('pcap_geterr', 'string', ['uintptr_t'])(Number(handle)) as unknown as string;
    const length = program.view.getUint32(PROGRAM.length, true) * INSTRUCTION_BYTES;
    const instructions = native.at(Number(program.view.getBigUint64(PROGRAM.instructions, true)), length).slice();
    library.func('pcap_freecode', 'void', ['uintptr_t'])(program.address);
    return instructions;
  } finally {
    native.unmap(program);
    library.func('pcap_close', 'void', ['uintptr_t'])(Number(handle));
  }
}
