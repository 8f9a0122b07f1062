import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import type { Btf } from '../../dataplane/bpf/btf.ts';
import type { BtfComposite } from '../../dataplane/bpf/btf-type.ts';
import { bundledBtf } from '../../dataplane/bpf/bundled-btf.ts';
import { defaultKernelBtf, readBtfFile } from '../../dataplane/bpf/kernel-btf.ts';
import { KFUNCS } from '../../dataplane/helpers/index.ts';

const hasKernel = existsSync('/sys/kernel/btf/vmlinux');
const objects = new URL('objects/', import.meta.url);

/** Each named member as `offset+size`, through anonymous structs; arrays and pointers by their size. */
function layout(btf: Btf, type: BtfComposite, base = 0): Map<string, string> {
  const places = new Map<string, string>();
  for (const member of type.members) {
    const inner = btf.resolve(member.type).type;
    if (member.name === '' && (inner.kind === 'struct' || inner.kind === 'union')) {
      for (const [name, place] of layout(btf, inner, base + member.offsetBits)) places.set(name, place);
    } else if (member.name !== '') places.set(member.name, `${base + member.offsetBits}+${member.bitfieldBits || btf.sizeBytes(member.type) * 8}`);
  }
  return places;
}

describe('the bundled BTF', () => {
  const bundled = bundledBtf();

  test('has the contexts, the headers and what helpers take', () => {
    for (const name of ['xdp_md', '__sk_buff', 'bpf_fib_lookup', 'iphdr', 'ipv6hdr', 'tcphdr', 'bpf_tunnel_key']) expect(bundled.idsByName(name, 'struct')).toHaveLength(1);
    for (const name of ['bpf_func_id', 'xdp_action', 'bpf_map_type']) expect(bundled.idsByName(name, 'enum')).toHaveLength(1);
  });

  test.runIf(hasKernel)('agrees with the running kernel on every member that both have', () => {
    const kernel = defaultKernelBtf();
    let compared = 0;
    for (const [, type] of bundled.types()) {
      if ((type.kind !== 'struct' && type.kind !== 'union') || type.name === '') continue;
      const theirs = kernel.type(kernel.idsByName(type.name, type.kind)[0] ?? expect.fail(`${type.name} is not in the kernel`));
      const places = layout(kernel, theirs as BtfComposite);
      for (const [name, place] of layout(bundled, type)) {
        // Linux 6.18 has what an older kernel may not.
        if (!places.has(name)) continue;
        expect(`${type.name}.${name} ${place}`).toBe(`${type.name}.${name} ${places.get(name)}`);
        compared++;
      }
      expect(type.sizeBytes).toBe((theirs as BtfComposite).sizeBytes);
    }
    expect(compared).toBeGreaterThan(100);
  });

  test('has every kernel function of the table, with as many parameters', () => {
    for (const { name, args } of KFUNCS) {
      const declared = bundled.type(bundled.idsByName(name, 'func')[0] ?? expect.fail(`${name} is not in bundled-types.c`));
      const prototype = declared.kind === 'func' ? bundled.type(declared.type) : undefined;
      expect([name, prototype?.kind === 'func_proto' ? prototype.parameters.length : undefined]).toEqual([name, args.length]);
    }
  });

  test.runIf(hasKernel)('agrees with the running kernel on the value of every enumerator that both have', () => {
    const kernel = defaultKernelBtf();
    for (const name of ['bpf_func_id', 'bpf_map_type', 'bpf_prog_type', 'bpf_attach_type', 'xdp_action']) {
      const [ours, theirs] = [bundled, kernel].map((btf) => {
        const type = btf.type(btf.idsByName(name, 'enum')[0]!);
        return new Map('values' in type ? type.values.map((one) => [one.name, one.value] as const) : []);
      });
      for (const [value, number] of ours!) if (theirs!.has(value) && !value.startsWith('__MAX')) expect([value, number]).toEqual([value, theirs!.get(value)]);
    }
  });
});

test('BTF is read from a file of its own and from an object', () => {
  expect(readBtfFile(fileURLToPath(new URL('core-target.bpf.o', objects))).idsByName('moved', 'struct')).toHaveLength(1);
  if (hasKernel) expect(readBtfFile('/sys/kernel/btf/vmlinux').typeCount).toBeGreaterThan(10_000);
});

test('a file that is not there, or has no BTF, is one line', () => {
  expect(() => readBtfFile('/nonexistent/vmlinux')).toThrow('/nonexistent/vmlinux: ENOENT; expected a file of BTF, such as /sys/kernel/btf/vmlinux');
  const legacy = fileURLToPath(new URL('legacy.bpf.o', objects));
  expect(() => readBtfFile(legacy)).toThrow(`${legacy}: no section .BTF; expected a file of BTF, or an object compiled with -g`);
  expect(() => readBtfFile(fileURLToPath(new URL('build.sh', objects)))).toThrow(/build\.sh: BTF at offset 0: magic 0x2123, expected 0xeb9f/);
});
