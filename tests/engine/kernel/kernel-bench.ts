/** Programs of a few instructions in the kernel, each loaded, run once and gone; with all 64 bits of r0, of which a test run answers 32. */
import { assemble } from '../../../dataplane/bpf/assemble.ts';
import { checkProgram } from '../../../dataplane/bpf/check.ts';
import type { Instruction } from '../../../dataplane/bpf/isa.ts';
import type { MapSpec, ProgramSpec, ProgramType } from '../../../dataplane/bpf/spec.ts';
import { BtfImage } from '../../../dataplane/engine/kernel/btf-image.ts';
import { loadBtf } from '../../../dataplane/engine/kernel/load-btf.ts';
import { createKernelMap, type KernelMap } from '../../../dataplane/engine/kernel/kernel-map.ts';
import { loadKernelProgram } from '../../../dataplane/engine/kernel/kernel-program.ts';
import { openLinux } from '../../../dataplane/engine/kernel/linux.ts';
import type { TestRunInput, TestRunOutput } from '../../../dataplane/engine/test-run.ts';
import { HELPERS, helpersOf, kfuncNamed } from '../../../dataplane/helpers/index.ts';

export interface BenchRun extends TestRunOutput {
  /** Unsigned. */
  readonly r0: bigint;
}

const RESULT: MapSpec = { name: 'r0', type: 2, keyBytes: 4, valueBytes: 8, maxEntries: 1, flags: 0, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false };
const EPILOGUE = assemble(`r1 = map[${RESULT.name}][0]+0\n*(u64 *)(r1 +0) = r0\nexit`).instructions;
const KEY = new Uint8Array(4);
/** What is in the map where a program ends without reaching the epilogue: LD_ABS past the end returns 0. */
const UNTOUCHED = 0x5ca1_ab1e_0ddb_a115n;

/** A program as it comes from the assembler. */
export function programSpec(code: string | readonly Instruction[], type: ProgramType = 'xdp', name = 'case'): ProgramSpec {
  const known = helpersOf(type);
  const instructions = typeof code === 'string' ? assemble(code, { helper: (wanted) => HELPERS.find((helper) => helper.name === wanted)?.id, kfunc: (wanted) => kfuncNamed(wanted) !== undefined }).instructions : code;
  const ranges = checkProgram({ name, instructions, unresolved: [] }, { isHelper: (id) => known.has(id) || id > 0xffff, isKfunc: () => true, packetLoads: type !== 'xdp' });
  const functions = ranges.map(({ start }) => ({ name: `f${start}`, slot: start, typeId: 0, linkage: 'static' as const }));
  return { name, section: type, type, frags: false, instructions, functions, lines: [], license: 'GPL' };
}

/** Every exit of the entry function goes by way of code that keeps r0. */
export function keepResult(spec: ProgramSpec): ProgramSpec {
  const end = spec.functions[1]?.slot ?? spec.instructions.length;
  const moved = (slot: number): number => (slot >= end ? slot + EPILOGUE.length : slot);
  const instructions = spec.instructions.map((instruction, slot): Instruction => {
    if (instruction.kind === 'exit' && slot < end) return { kind: 'jump', offset: end - slot - 1, long: end - slot > 0x7fff };
    if (instruction.kind === 'call' && instruction.target.kind === 'subprogram') return { ...instruction, target: { kind: 'subprogram', slot: moved(instruction.target.slot) } };
    if (instruction.kind === 'load_imm64' && instruction.value.kind === 'function') return { ...instruction, value: { kind: 'function', slot: moved(instruction.value.slot) } };
    return instruction;
  });
  return {
    ...spec,
    instructions: [...instructions.slice(0, end), ...EPILOGUE, ...instructions.slice(end)],
    functions: spec.functions.map((each) => ({ ...each, slot: moved(each.slot) })),
  };
}

/** As BenchMachine makes it: it begins with `bytes` and goes on to 64, each byte being its offset. */
export function benchPacket(bytes: Uint8Array = new Uint8Array()): Uint8Array {
  return Uint8Array.from({ length: Math.max(64, bytes.length) }, (_, index) => bytes[index] ?? index);
}

export class KernelBench {
  readonly #linux = openLinux();
  readonly #result: KernelMap = createKernelMap(this.#linux, RESULT);

  /** `maps`: what the program names, by that name. */
  run(program: ProgramSpec, input: TestRunInput, maps: ReadonlyMap<string, KernelMap> = new Map()): BenchRun {
    const spec = keepResult(program);
    const image = new BtfImage(undefined, [spec]);
    const loaded = loadBtf(this.#linux, image, spec.name, (fd) =>
      loadKernelProgram(this.#linux, spec, { type: spec.type!, map: (name) => (maps.get(name) ?? this.#result).fd, btf: { image, fd } }),
    );
    try {
      const value = new Uint8Array(8);
      new DataView(value.buffer).setBigUint64(0, UNTOUCHED);
      this.#result.update(KEY, value);
      const output = loaded.run(input);
      const kept = new DataView(this.#result.lookup(KEY)!.buffer);
      const r0 = kept.getBigUint64(0) === UNTOUCHED ? BigInt.asUintN(32, BigInt(output.code)) : kept.getBigUint64(0, true);
      return { ...output, r0 };
    } finally {
      loaded.close();
    }
  }

  close(): void {
    this.#result.close();
  }
}
