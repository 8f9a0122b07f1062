import { expect, test } from 'vitest';
import { PacketBatch, DESCRIPTOR } from '../../dataplane/packet/packet-batch.ts';
import type { Lab } from '../../dataplane/pipeline/lab.ts';
import { VerdictLog } from '../../dataplane/pipeline/verdict-log.ts';
import { frame, mapSpec, programSpec, smallLab } from './small-lab.ts';

const TWO_DEVICES = [
  { name: 'eth0', ifindex: 2 },
  { name: 'out "1"', ifindex: 3 },
];

/** Returns what byte 20 of the packet says, and redirects to ifindex 3 where that is XDP_REDIRECT. */
const SOURCE = `r2 = *(u32 *)(r1 +0)
r6 = *(u8 *)(r2 +20)
if r6 != 4 goto done
r1 = 3
r2 = 0
call bpf_redirect
done: r0 = r6
if r6 != 255 goto end
r1 = -16 ll
r0 = *(u64 *)(r1 +0)
end: exit`;

/** Runs packets whose byte 20 is one of `codes`, at the given times, and returns the log. */
function logOf(lab: Lab, codes: readonly number[], timesNs: readonly bigint[], firstNumber = 1n): string {
  const { pipeline, machine } = lab;
  const { memory } = machine;
  const batch = new PacketBatch(memory, codes.length);
  for (const [index, code] of codes.entries()) {
    const packet = frame({ length: 64 });
    packet[20] = code;
    const address = memory.allocate(packet.length, 8, 'packet');
    memory.u8.set(packet, address);
    const at = batch.descriptor(index);
    memory.u32.set([address, packet.length, packet.length, 0], at >>> 2);
    memory.view.setBigUint64(at + DESCRIPTOR.timestampNs, timesNs[index]!, true);
    memory.view.setBigUint64(at + DESCRIPTOR.number, firstNumber + BigInt(index), true);
  }
  batch.count = codes.length;
  pipeline.setInterface(0, lab.devices[0]);
  let log = '';
  pipeline.run(batch, new VerdictLog(pipeline, () => 'eth0', (lines) => (log += lines)));
  return log;
}

const lab = (): Lab => smallLab('wasm', [{ hook: 'xdp', source: SOURCE }], { devices: TWO_DEVICES });

test('a line says what each program answered, what became of the packet, why, and where it left', () => {
  const log = logOf(lab(), [2, 1, 4, 77, 255], [5n, 1_999_999_999n, 2_000_000_000n, 2_000_000_001n, 0xffff_ffff_ffff_ffffn]);
  // The last one reads what is not there, and nobody has verified it.
  const program = '"hook":"xdp","program":"program_0","verified":false';
  expect(log.split('\n')).toEqual([
    `{"packet":1,"time":"0.000000005","device":"eth0","length":64,"verdicts":[{${program},"verdict":"XDP_PASS","length":64}],"fate":"stack"}`,
    `{"packet":2,"time":"1.999999999","device":"eth0","length":64,"verdicts":[{${program},"verdict":"XDP_DROP","length":64}],"fate":"dropped","reason":"XDP"}`,
    `{"packet":3,"time":"2.000000000","device":"eth0","length":64,"verdicts":[{${program},"verdict":"XDP_REDIRECT","length":64}],"fate":"redirected","out":"out \\"1\\""}`,
    `{"packet":4,"time":"2.000000001","device":"eth0","length":64,"verdicts":[{${program},"verdict":"unknown (77)","length":64}],"fate":"dropped","reason":"XDP_INVALID_ACTION"}`,
    `{"packet":5,"time":"18446744073.709551615","device":"eth0","length":64,"verdicts":[{${program},"verdict":"XDP_ABORTED","length":64,"fault":"memory"}],"fate":"dropped","reason":"PROGRAM_TRAP"}`,
    '',
  ]);
});

test('packets beyond the 2^32nd have their numbers and verdicts', () => {
  const log = logOf(lab(), [2, 1], [0n, 0n], 0xffff_ffffn);
  const lines = log.trimEnd().split('\n').map((line) => JSON.parse(line) as { packet: number; verdicts: { verdict: string }[] });
  expect(lines.map(({ packet, verdicts }) => [packet, verdicts.map(({ verdict }) => verdict)])).toEqual([
    [4_294_967_295, ['XDP_PASS']],
    [4_294_967_296, ['XDP_DROP']],
  ]);
});

test('programs in slots of maps that first run while the log is written stand in it with their way to run', () => {
  const inSlot = { ...programSpec('in "slot"', 'xdp', 'r0 = 2\nexit', 'xdp/devmap'), attach: 'xdp_devmap' } as const;
  const redirecting = smallLab('wasm', [{ hook: 'xdp', source: 'r1 = map[ports]\nr2 = 0\nr3 = 0\ncall bpf_redirect_map\nexit' }], { devices: TWO_DEVICES, maps: [mapSpec({ name: 'ports', type: 14 })], more: [inSlot], verify: true });
  const verdicts = `{"hook":"xdp","program":"program_0","verdict":"XDP_REDIRECT","length":64}`;
  const rest = '"fate":"redirected","out":"out \\"1\\""}';
  expect(logOf(redirecting, [0], [0n])).toBe('{"packet":1,"time":"0.000000000","device":"eth0","length":64,"verdicts":[{"hook":"xdp","program":"program_0","verdict":"XDP_ABORTED","length":64}],"fate":"dropped","reason":"XDP_ABORTED"}\n');
  redirecting.map('ports').set(0, { ifindex: 3, bpf_prog: 'in "slot"' });
  const slot = '{"hook":"xdp","mode":"devmap","program":"in \\"slot\\"","verdict":"XDP_PASS","length":64}';
  expect(logOf(redirecting, [0, 0], [1n, 2n], 2n)).toBe([2, 3].map((packet) => `{"packet":${packet},"time":"0.00000000${packet - 1}","device":"eth0","length":64,"verdicts":[${verdicts},${slot}],${rest}\n`).join(''));
});
