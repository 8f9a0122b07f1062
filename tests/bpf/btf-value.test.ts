import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Btf } from '../../dataplane/bpf/btf.ts';
import { mapKeyCodec, valueCodec, type BtfValue } from '../../dataplane/bpf/btf-value.ts';
import { buildBtf, int } from './btf-builder.ts';
import { load, mapOf } from './test-object.ts';

const values = load('values');

function codecOf(map: string, part: 'key' | 'value' = 'value') {
  const spec = mapOf(values, map);
  return part === 'key' ? valueCodec(spec.btf, spec.keyTypeId, spec.keyBytes) : valueCodec(spec.btf, spec.valueTypeId, spec.valueBytes);
}

function problem(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    expect(error).toMatchObject({ code: 'ERR_VALUE' });
    return (error as Error).message;
  }
  throw new Error('accepted');
}

const NUMBERS = {
  u8: 255, s8: -1, u16: 65535, s16: -2, u32: 0xffffffff, s32: -3, u64: 1n << 63n, s64: -4, i128: -5,
  yes: true, list: [1, 2, 3], state: 'LISTENING', large: 'HUGE', ratio: 0.5, pointer: 4096,
};

describe('C types', () => {
  const codec = codecOf('numbers');

  test('integers are numbers where exact and bigints beyond, enums are names', () => {
    expect(codec.read(codec.write(NUMBERS, 'numbers'))).toEqual(NUMBERS);
  });

  test('numbers are accepted as text, hexadecimal and bigint, enums as numbers', () => {
    const spelled = { ...NUMBERS, u8: '0xff', s8: '-1', u64: '0x8000000000000000', u16: 65535n, state: -2, large: '0x100000000', list: '01 02 03', yes: 1 };
    expect(codec.read(codec.write(spelled, 'numbers'))).toEqual(NUMBERS);
  });

  test('an enum value without a name is its number', () => {
    expect(codec.read(codec.write({ ...NUMBERS, state: 77 }, 'numbers'))).toMatchObject({ state: 77 });
  });

  test.each([
    [{ u8: 256 }, 'numbers[3].u8: found 256, expected 0 to 255'],
    [{ s8: -129 }, 'numbers[3].s8: found -129, expected -128 to 127'],
    [{ u32: 1.5 }, 'numbers[3].u32: found 1.5, expected 0 to 4294967295'],
    [{ u64: '1e3' }, 'numbers[3].u64: found "1e3", expected 0 to 18446744073709551615'],
    [{ u16: null }, 'numbers[3].u16: found null, expected 0 to 65535'],
    [{ u64: 2 ** 60 }, 'numbers[3].u64: found 1152921504606847000, which is past 53 bits and may not be exact; expected text or a bigint'],
    [{ state: 'HALF' }, 'numbers[3].state: found "HALF", expected CLOSED, OPEN, LISTENING or -2147483648 to 2147483647'],
    [{ list: [1, 2] }, 'numbers[3].list: found [1,2], expected 3 bytes, as "de ad be ef" or [222, 173, 190, 239]'],
    [{ yes: 'maybe' }, 'numbers[3].yes: found "maybe", expected true or false'],
    [{ typo: 1 }, 'numbers[3].typo: unknown field, expected an object of u8, s8, u16, s16, u32, s32, u64, s64, i128, yes, list, state, …'],
  ])('%o is refused with its path', (change, message) => {
    expect(problem(() => codec.write({ ...NUMBERS, ...change }, 'numbers[3]'))).toBe(message);
  });

  test('a missing field is refused, and so is what is no object', () => {
    const { ratio: _, ...rest } = NUMBERS;
    expect(problem(() => codec.write(rest, 'n'))).toBe('n: no ratio, expected a number');
    expect(problem(() => codec.write([1], 'n'))).toMatch(/^n: found \[1\], expected an object of u8/);
  });

  test('bitfields take their bits and leave the neighbours', () => {
    const bits = codecOf('bitfields');
    const value = { version: 4, length: 15, flags: 5, offset: 8191, rest: 1, delta: -524288, state: 'OPEN' };
    const bytes = bits.write(value, 'bits');
    expect(bits.read(bytes)).toEqual(value);
    expect([...bytes.subarray(0, 4)]).toEqual([0xf4, 0xfd, 0xff, 1]);
    expect(problem(() => bits.write({ ...value, offset: 8192 }, 'bits'))).toBe('bits.offset: found 8192, expected 0 to 8191');
  });
});

describe('network conventions', () => {
  test('addresses, ports and protocols are written as people write them', () => {
    const key = codecOf('vips', 'key');
    const bytes = key.write({ address: '10.0.0.1', port: 80, protocol: 'tcp' }, 'vips[0].key');
    expect([...bytes]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1, 0, 80, 6, 0]);
    expect(key.read(bytes)).toEqual({ address: '10.0.0.1', port: 80, protocol: 'tcp' });
    expect(key.read(key.write({ address: '2001:db8::1', port: '443', protocol: 17, pad: 1 }, ''))).toEqual({ address: '2001:db8::1', port: 443, protocol: 'udp', pad: 1 });
    expect(problem(() => key.write({ address: '10.0.0.1', port: 70000, protocol: 6 }, 'vips[3].key'))).toBe('vips[3].key.port: found 70000, expected 0 to 65535');
    expect(problem(() => key.write({ address: '10.0.0.256', port: 1, protocol: 6 }, 'vips[3].key'))).toBe('vips[3].key.address: found "10.0.0.256", expected an IPv6 address such as 2001:db8::1, or an IPv4 address');
    expect(problem(() => key.write({ address: '::', port: 1, protocol: 'tpc' }, 'vips[3].key'))).toBe('vips[3].key.protocol: found "tpc", expected icmp, igmp, ipip, tcp, udp, ipv6, gre, esp, ah, icmpv6, sctp or 0 to 255');
  });

  test('types and names together say what is an address', () => {
    const codec = codecOf('networks');
    const value = {
      source: '192.0.2.1', seq: 7, saddr: 0x0100000a, cookie: 9, router: '192.0.2.254', ip: '10.1.2.3',
      dst_v6: '2001:db8::2', words: 'fe80::1', mac: '02:00:00:00:00:01', name: 'eth0',
    };
    const bytes = codec.write(value, 'networks');
    expect(codec.read(bytes)).toEqual(value);
    expect([...bytes.subarray(0, 16)]).toEqual([0, 0, 0, 0, 0, 0, 0, 9, 192, 0, 2, 1, 0, 0, 0, 7]);
    // A plain u32 is only shown as a number, but takes an address in network order.
    expect([...codec.write({ ...value, saddr: '10.0.0.1' }, 'networks')]).toEqual([...bytes]);
    expect(problem(() => codec.write({ ...value, name: 'a-name-much-too-long' }, 'n'))).toBe('n.name: found "a-name-much-too-long", expected text of at most 14 bytes');
  });

  test.each([
    ['prefixes4', '10.0.0.0/8', [8, 0, 0, 0, 10, 0, 0, 0]],
    ['nested_prefixes', '192.0.2.1/32', [32, 0, 0, 0, 192, 0, 2, 1]],
    ['prefixes6', '2001:db8::/32', [32, 0, 0, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
    ['prefixes6', '10.0.0.0/8', [104, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 0]],
  ])('the key of %s is the prefix %s', (map, text, bytes) => {
    const codec = codecOf(map, 'key');
    expect([...codec.write(text, 'key')]).toEqual(bytes);
    expect(codec.read(Uint8Array.from(bytes))).toBe(text);
  });

  test('a prefix can be written as an object, and one that is too long is shown as such', () => {
    const codec = codecOf('prefixes4', 'key');
    expect([...codec.write({ prefixlen: 8, address: '10.0.0.0' }, 'key')]).toEqual([8, 0, 0, 0, 10, 0, 0, 0]);
    expect(codec.read(Uint8Array.of(33, 0, 0, 0, 10, 0, 0, 0))).toEqual({ prefixlen: 33, address: '10.0.0.0' });
    expect(problem(() => codec.write('10.0.0.0/33', 'trie[0].key'))).toBe('trie[0].key: found "10.0.0.0/33", expected a prefix such as 10.0.0.0/8');
    expect(problem(() => codec.write('2001:db8::/32', 'trie[0].key'))).toContain('expected a prefix such as 10.0.0.0/8');
    // More than an address behind the length is no prefix.
    expect(codecOf('nested_prefixes').read(new Uint8Array(12))).toEqual({ prefixlen: 0, address: '0.0.0.0', zone: 0 });
  });
});

describe('structs and unions', () => {
  const codec = codecOf('choices');
  const nested = [{ address: '::1', port: 1, protocol: 'tcp' }, { address: '::2', port: 2, protocol: 'udp' }];
  const value = { words: [0x0100000a, 0, 0, 0], named: { both: 0x00020001 }, inner: 3, deeper: 4, nested };

  test('members of anonymous structs and unions are the outer ones, one member of a union is enough', () => {
    expect(codec.read(codec.write(value, 'choices'))).toEqual({ ...value, ip4: '10.0.0.1', named: { low: 1, high: 2, both: 0x20001 } });
    expect(codec.read(codec.write({ ...value, named: { low: 1, high: 2 } }, 'choices'))).toMatchObject({ named: { both: 0x20001 } });
  });

  test('several members of a union must agree', () => {
    expect(codec.write({ ...value, ip4: '10.0.0.1' }, 'choices')).toEqual(codec.write(value, 'choices'));
    expect(problem(() => codec.write({ ...value, ip4: '10.0.0.2' }, 'choices[0]'))).toBe('choices[0]: ip4 and words share their bytes but differ, expected one of them');
    expect(problem(() => codec.write({ ...value, named: {} }, 'choices[0]'))).toBe('choices[0].named: found none of low, high, both, expected one of them');
    expect(problem(() => codec.write({ ...value, named: { low: 1 } }, 'choices[0]'))).toBe('choices[0].named: no high, expected 0 to 65535');
  });

  test('errors name the element and the field', () => {
    expect(problem(() => codec.write({ ...value, nested: [nested[0], { ...nested[1], port: -1 }] }, 'choices[0].value'))).toBe('choices[0].value.nested[1].port: found -1, expected 0 to 65535');
    expect(problem(() => codec.write({ ...value, nested: [nested[0]] }, 'choices[0].value'))).toBe('choices[0].value.nested: found 1 elements, expected 2');
  });
});

test('fields named like prototypes are fields', () => {
  const codec = codecOf('hostiles');
  const read = codec.read(Uint8Array.of(1, 0, 0, 0, 2, 0, 0, 0)) as object;
  expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
  expect(JSON.stringify(read)).toBe('{"__proto__":1,"constructor":2}');
  expect([...codec.write(JSON.parse('{"__proto__": 1, "constructor": 2}'), 'h')]).toEqual([1, 0, 0, 0, 2, 0, 0, 0]);
  expect(problem(() => codec.write(JSON.parse('{"constructor": 2}'), 'h'))).toBe('h: no __proto__, expected 0 to 4294967295');
  expect(problem(() => codecOf('vips', 'key').write(JSON.parse('{"__proto__": {"port": 1}}'), 'vips'))).toContain('vips.__proto__: unknown field');
});

test('any bytes can be read, and what was read gives the same bytes', () => {
  // Maps whose types have no padding that the compiler made.
  for (const [map, part] of [['vips', 'key'], ['prefixes4', 'key'], ['prefixes6', 'key'], ['nested_prefixes', 'key'], ['networks', 'value'], ['bitfields', 'value'], ['choices', 'value'], ['hostiles', 'value']] as const) {
    const codec = codecOf(map, part);
    const bytes = fc.oneof(
      fc.uint8Array({ minLength: codec.sizeBytes, maxLength: codec.sizeBytes }),
      fc.array(fc.constantFrom(0, 0, 1, 0xff, 0x41), { minLength: codec.sizeBytes, maxLength: codec.sizeBytes }).map((list) => Uint8Array.from(list)),
    );
    fc.assert(fc.property(bytes, (sample) => {
      const value: BtfValue = codec.read(sample);
      expect(codec.write(value, map)).toEqual(sample);
    }), { numRuns: 60 });
  }
});

test('the key of an LPM trie without BTF is a prefix too', () => {
  const trie = { name: 'trie', type: 11, keyBytes: 8, valueBytes: 4, maxEntries: 1, flags: 1, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false } as const;
  expect([...mapKeyCodec(trie).write('10.0.0.0/8', 'trie[0].key')]).toEqual([8, 0, 0, 0, 10, 0, 0, 0]);
  expect(mapKeyCodec({ ...trie, keyBytes: 20 }).read(new Uint8Array(20))).toBe('::/0');
  expect(mapKeyCodec({ ...trie, keyBytes: 6 }).read(new Uint8Array(6))).toBe('00 00 00 00 00 00');
});

test('a __u32 that is the whole key of a hash may be written as an address; an index may not', () => {
  const btf = Btf.parse(buildBtf([int('unsigned int', 4)]), 'btf');
  const map = { name: 'blocked', keyBytes: 4, valueBytes: 4, maxEntries: 1, flags: 0, pinning: 'none', keyTypeId: 1, valueTypeId: 1, frozen: false, btf } as const;
  const hash = mapKeyCodec({ ...map, type: 1 });
  expect([...hash.write('10.0.0.1', 'blocked[0].key')]).toEqual([10, 0, 0, 1]);
  expect([...hash.write(10, 'blocked[0].key')]).toEqual([10, 0, 0, 0]);
  expect(hash.read(Uint8Array.of(10, 0, 0, 0))).toBe(10);
  expect(problem(() => mapKeyCodec({ ...map, type: 2 }).write('10.0.0.1', 'blocked[0].key'))).toBe('blocked[0].key: found "10.0.0.1", expected 0 to 4294967295');
});

test('without a type, integers have their sizes and the rest is bytes', () => {
  expect(valueCodec(undefined, 0, 4).read(Uint8Array.of(1, 0, 0, 0))).toBe(1);
  const six = valueCodec(undefined, 0, 6);
  expect(six.read(Uint8Array.of(0xde, 0xad, 0, 0, 0, 1))).toBe('de ad 00 00 00 01');
  expect([...six.write('de ad 00 00 00 01', 'raw')]).toEqual([0xde, 0xad, 0, 0, 0, 1]);
  expect(problem(() => six.write('de ad', 'raw[0].key'))).toBe('raw[0].key: found "de ad", expected 6 bytes, as "de ad be ef" or [222, 173, 190, 239]');
});
