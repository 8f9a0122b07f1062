/** The verification suite of the RSS specification: its key, its packets, its hashes. */
import { expect, test } from 'vitest';
import { parseAddress } from '../../dataplane/address.ts';
import { MachineMemory } from '../../dataplane/machine/memory.ts';
import { DEFAULT_KEY, defineHash, indirectionTable, parseRssKey, queueChooser, rssKeyText, SYMMETRIC_KEY, TOEPLITZ_TABLE_BYTES, toeplitzTable } from '../../dataplane/pipeline/receive-side-scaling.ts';
import { ModuleBuilder } from '../../dataplane/wasm/module-builder.ts';

const ADDRESSES = Array.from({ length: 12 }, () => 2);
const memory = new MachineMemory();
const packetAt = memory.allocate(2048, 64, 'packet');
const table = memory.region(TOEPLITZ_TABLE_BYTES, 64, 'table');
new Uint8Array(table.bytes.buffer, table.address).set(new Uint8Array(toeplitzTable(DEFAULT_KEY).buffer));

const module = new ModuleBuilder();
module.importMemory('machine', 'memory');
module.export('hash', defineHash(module));
const { hash } = new WebAssembly.Instance(new WebAssembly.Module(module.assemble()), { machine: { memory: memory.wasm } }).exports as { hash(data: number, end: number, table: number): number };

function hashOf(bytes: readonly number[], tableAt = table.address): number {
  memory.u8.set(bytes, packetAt);
  return hash(packetAt, packetAt + bytes.length, tableAt) >>> 0;
}

function packet(source: string, sourcePort: number, destination: string, destinationPort: number, protocol = 6, tags: readonly number[] = [], fragment = 0): number[] {
  const addresses = [...parseAddress(source)!, ...parseAddress(destination)!];
  const ports = [sourcePort >> 8, sourcePort & 255, destinationPort >> 8, destinationPort & 255];
  const ethernet = [...ADDRESSES, ...tags];
  if (addresses.length === 8) return [...ethernet, 8, 0, 0x45, 0, 0, 40, 0, 1, fragment >> 8, fragment & 255, 64, protocol, 0, 0, ...addresses, ...ports];
  return [...ethernet, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, protocol, 64, ...addresses, ...ports];
}

test.each([
  ['66.9.149.187', 2794, '161.142.100.80', 1766, 0x51ccc178, 0x323e8fc2],
  ['199.92.111.2', 14230, '65.69.140.83', 4739, 0xc626b0ea, 0xd718262a],
  ['24.19.198.95', 12898, '12.22.207.184', 38024, 0x5c2b394a, 0xd2d0a5de],
  ['3ffe:2501:200:1fff::7', 2794, '3ffe:2501:200:3::1', 1766, 0x40207d3d, 0x2cc18cd5],
  ['3ffe:501:8::260:97ff:fe40:efab', 14230, 'ff02::1', 4739, 0xdde51bbf, 0x0f0c461c],
] as const)('%s port %i to %s port %i hashes as the specification says', (source, sourcePort, destination, destinationPort, withPorts, addressesOnly) => {
  expect(hashOf(packet(source, sourcePort, destination, destinationPort))).toBe(withPorts);
  expect(hashOf(packet(source, sourcePort, destination, destinationPort, 1))).toBe(addressesOnly);
});

test('VLAN tags are looked through, and fragments hash without ports', () => {
  const tags = [0x88, 0xa8, 0, 5, 0x81, 0, 0, 6];
  expect(hashOf(packet('66.9.149.187', 2794, '161.142.100.80', 1766, 17, tags))).toBe(0x51ccc178);
  expect(hashOf(packet('66.9.149.187', 2794, '161.142.100.80', 1766, 17, [], 0x2000))).toBe(0x323e8fc2);
});

test('what is not IP, or is cut short, hashes to 0', () => {
  expect(hashOf([...ADDRESSES, 0x08, 0x06, 1, 2, 3, 4])).toBe(0);
  expect(hashOf(packet('66.9.149.187', 2794, '161.142.100.80', 1766).slice(0, 30))).toBe(0);
});

test('with the symmetric key both directions of a flow hash alike', () => {
  const symmetric = memory.allocate(TOEPLITZ_TABLE_BYTES, 64, 'table');
  memory.u32.set(toeplitzTable(SYMMETRIC_KEY), symmetric >>> 2);
  for (const [one, other] of [['66.9.149.187', '161.142.100.80'], ['3ffe:2501:200:1fff::7', '3ffe:2501:200:3::1']] as const) {
    const there = packet(one, 2794, other, 1766);
    const back = packet(other, 1766, one, 2794);
    expect(hashOf(there, symmetric)).toBe(hashOf(back, symmetric));
    expect(hashOf(there)).not.toBe(hashOf(back));
  }
});

test('a packet comes to the queue that its hash has in the indirection table, however long it is', () => {
  const bytes = Uint8Array.from(packet('66.9.149.187', 2794, '161.142.100.80', 1766));
  const long = Uint8Array.from({ length: 9000 }, (_, index) => bytes[index] ?? 0);
  for (const indirection of [undefined, [2, 1, 0]]) {
    const device = { name: 'eth0', ...(indirection === undefined ? {} : { indirection }) };
    const expected = indirectionTable(device, 3)[0x51ccc178 & 127];
    expect([bytes, long].map(queueChooser(device, 3))).toEqual([expected, expected]);
  }
  expect(queueChooser({ name: 'eth0' }, 1)(bytes)).toBe(0);
});

test('a key has a name, or its 40 bytes', () => {
  const printed = Array.from(DEFAULT_KEY, (byte) => byte.toString(16).padStart(2, '0')).join(':');
  expect(parseRssKey(printed)).toEqual(DEFAULT_KEY);
  expect(parseRssKey('symmetric')).toEqual(SYMMETRIC_KEY);
  expect([undefined, SYMMETRIC_KEY].map((key) => rssKeyText(key))).toEqual(['default', 'symmetric']);
  const own = '01'.repeat(40);
  expect(rssKeyText(parseRssKey(own))).toBe(own);
  expect(parseRssKey(printed.slice(3))).toBeUndefined();
  expect(parseRssKey('constructor')).toBeUndefined();
});
