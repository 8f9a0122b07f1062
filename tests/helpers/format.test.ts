import { describe, expect, test } from 'vitest';
import { formatMessage } from '../../dataplane/helpers/format.ts';
import { ERRNO } from '../../dataplane/maps/map.ts';
import { Bench } from './bench.ts';

const bench = new Bench('xdp');
const NUMBERS = [-13n, 42n, -1n, 0x11_2233_4455n, 65n, 7n, 0n].map((value) => BigInt.asUintN(64, value));
const TEXT = BigInt(bench.text('hello world!'));
const IPV4 = BigInt(bench.bytes([10, 0, 0, 1]));
const IPV6 = BigInt(bench.bytes([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x11, 0x22, 0xff, 0xfe, 0x33]));

// Spellings of Linux 6.18, from bpf_snprintf; what is refused, its verifier or bpf_trace_printk refused. ENOSPC was not measured.
const SPELLED: readonly (readonly [format: string, args: readonly bigint[], spelled: string])[] = [
  ['%d|%5d|%-5d|%05d|%+d|% d|%i', NUMBERS, '-13|   42|-1   |573785173|+65| 7|0'],
  ['%x|%X|%08x|%-8x|%+x|%u|%+u', NUMBERS, 'fffffff3|2A|ffffffff|22334455|41|7|0'],
  ['%lld|%ld|%llx|%lu|%lli', NUMBERS, '-13|42|ffffffffffffffff|73588229205|65'],
  ['%-05d|%+05d|% 05d|%0-5d|%00005d', NUMBERS, '-13  |+0042|-0001|573785173|00065'],
  ['%c|%5c|%-5c|', NUMBERS, '\xf3|    *|\xff    |'],
  ['%%|%d%%', NUMBERS, '%|-13%'],
  ['\t\n%d \x80', NUMBERS, '\t\n-13 \x80'],
  ['%s|%20s|%-20s|%020s|', [TEXT, TEXT, TEXT, TEXT], 'hello world!|        hello world!|hello world!        |        hello world!|'],
  ['%s|%s|', [0n, 0xffff_ffff_ffffn], '||'],
  ['%pks|%pus', [TEXT, TEXT], 'hello world!|hello world!'],
  ['%pI4|%pi4|%20pI4|', [IPV4, IPV4, IPV4], '10.0.0.1|010.000.000.001|10.0.0.1|'],
  ['%pI6|%pi6', [IPV6, IPV6], 'fe80:0000:0000:0000:0000:0211:22ff:fe33|fe800000000000000000021122fffe33'],
  ['%pI4|%pi6', [0n, 0xffff_ffff_ffffn], '0.0.0.0|00000000000000000000000000000000'],
  ['%pI4c %pI6abc!%pI4:%d', [IPV4, IPV6, IPV4, 8080n], '10.0.0.1 fe80:0000:0000:0000:0000:0211:22ff:fe33!10.0.0.1:8080'],
  ['%px|%20px|%-20px|%5px', [0xfffff3n, 0xfffff3n, 0xfffff3n, 0xfffff3n], '0000000000fffff3|              fffff3|fffff3              |fffff3'],
  ['%ps|%pB', [0xffff_c900n, 1n], '0xffffc900|0x1'],
];

const REFUSED = ['%hd', '%o', '%', '%#x', '%.5d', '%*d', '%5%', '%lc', '%llld', '%pX', '%p0', '%pi5', '%pI', '%lp', '%ls', '%5%d', 'a\x7f', 'a\x01'];

describe('format strings', () => {
  test.each(SPELLED)('%j', (format, args, spelled) => {
    expect(formatMessage(bench.machine.memory, format, args)).toBe(spelled);
  });

  test.each(REFUSED)('%j is refused', (format) => {
    expect(formatMessage(bench.machine.memory, format, NUMBERS)).toBe(-ERRNO.EINVAL);
  });

  test('more conversions than arguments are refused', () => {
    expect(formatMessage(bench.machine.memory, '%d %d', [1n])).toBe(-ERRNO.EINVAL);
  });

  test('arguments that do not fit the kernel’s buffer are refused', () => {
    const long = BigInt(bench.text('x'.repeat(600)));
    expect(formatMessage(bench.machine.memory, '%s', [long])).toBe('x'.repeat(511));
    expect(formatMessage(bench.machine.memory, '%s%d', [long, 1n])).toBe(-ERRNO.ENOSPC);
  });
});
