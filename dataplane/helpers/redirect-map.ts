/**
 * bpf_redirect_map: to what stands in a slot of a DEVMAP, DEVMAP_HASH, CPUMAP or XSKMAP, or to every device of a
 * DEVMAP. The low two bits of the flags are what to answer where the slot is empty.
 */
import { BPF_MAP_TYPE } from '../bpf/map-type.ts';
import { CPU_BLOCK, REDIRECT } from '../machine/cpu.ts';
import { MAP_DESCRIPTOR, OPERATION_NAMES } from '../maps/map.ts';
import { callIndirect, i32, select } from '../wasm/expression.ts';
import type { FunctionBuilder } from '../wasm/function-builder.ts';
import type { ModuleBuilder } from '../wasm/module-builder.ts';
import type { Machine } from '../machine/machine.ts';
import type { Helper } from './helper.ts';
import { XDP_PROGRAMS } from './program-sets.ts';

const XDP_ABORTED = 0;
const XDP_REDIRECT = 4;
const ACTION_MASK = 3;
const BPF_F_BROADCAST = 8;
const BPF_F_EXCLUDE_INGRESS = 16;

function emit(module: ModuleBuilder, machine: Machine): FunctionBuilder<'i32'> {
  const mapTable = module.importTable('machine', 'mapTable');
  const lookup = module.type(['i32'], 'i32');
  const f = module.function('redirect_map', ['i32', 'i32', 'i32', 'i32', 'i32'], 'i32');
  const [map, key, flags, flagsHigh] = [f.param(0, 'i32'), f.param(1, 'i32'), f.param(3, 'i32'), f.param(4, 'i32')];
  const cpu = i32.const(machine.cpuBlock);

  const type = f.let(i32.load(map, MAP_DESCRIPTOR.type), 'type');
  const isDevmap = i32.or(i32.eq(type, i32.const(BPF_MAP_TYPE.devmap)), i32.eq(type, i32.const(BPF_MAP_TYPE.devmap_hash)));
  const allowed = select(isDevmap, i32.const(ACTION_MASK | BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS), i32.const(ACTION_MASK));
  const unknown = i32.and(flags, i32.xor(allowed, i32.const(-1)));
  f.if(i32.or(unknown, flagsHigh), () => f.return(i32.const(XDP_ABORTED)));

  f.do(i32.store(cpu, CPU_BLOCK.redirectFlags, flags));
  f.do(i32.store(cpu, CPU_BLOCK.redirectMap, map));
  f.if(i32.and(flags, i32.const(BPF_F_BROADCAST)), () => {
    f.do(i32.store(cpu, CPU_BLOCK.redirect, i32.const(REDIRECT.broadcast)));
    f.do(i32.store(cpu, CPU_BLOCK.redirectTarget, i32.const(0)));
    f.return(i32.const(XDP_REDIRECT));
  });

  // The target's cell carries the key into the map; what is found there takes its place.
  f.do(i32.store(cpu, CPU_BLOCK.redirectTarget, key));
  const operation = i32.add(i32.load(map, MAP_DESCRIPTOR.operations), i32.const(OPERATION_NAMES.indexOf('lookup')));
  const slot = f.let(callIndirect(lookup, mapTable, operation, i32.const(machine.cpuBlock + CPU_BLOCK.redirectTarget)), 'slot');
  f.do(i32.store(cpu, CPU_BLOCK.redirectTarget, slot));
  f.if(i32.eqz(slot), () => {
    f.do(i32.store(cpu, CPU_BLOCK.redirect, i32.const(REDIRECT.none)));
    f.return(i32.and(flags, i32.const(ACTION_MASK)));
  });
  f.do(i32.store(cpu, CPU_BLOCK.redirect, i32.const(REDIRECT.map)));
  f.return(i32.const(XDP_REDIRECT));
  return f;
}

export const REDIRECT_MAP_HELPERS: readonly Helper[] = [
  {
    id: 51,
    name: 'redirect_map',
    args: ['map', 'u64', 'u64'],
    returns: 'int',
    programs: XDP_PROGRAMS,
    implementation: { kind: 'wasm', emit },
  },
];
