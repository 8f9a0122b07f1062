/** The options that say what lab to run: shared by every command that runs packets. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { PROGRAM_TYPES, type ProgramType } from '../bpf/spec.ts';
import type { EngineName } from '../engine/engine.ts';
import { ENGINES } from '../engine/index.ts';
import type { HookName } from '../hooks/hook.ts';
import { MOST_CPUS } from '../machine/machine.ts';
import type { LabSources } from '../pipeline/open-lab.ts';
import { CacheFolder } from '../system/cache-folder.ts';

export interface LabFlags {
  readonly lab?: string;
  readonly xdp: readonly string[];
  readonly tcIngress: readonly string[];
  readonly tcEgress: readonly string[];
  readonly map: readonly { readonly map: string; readonly file: string }[];
  readonly engine: EngineName;
  readonly type?: ProgramType;
  readonly btf?: string;
  readonly seed?: number;
  readonly cpus?: number;
  readonly verify: boolean;
}

/** `engine` where a command takes engines in a way of its own. */
export function addLabOptions(command: Command, engine: Option = new Option('--engine <name>', 'what runs the programs').choices(Object.keys(ENGINES)).default('wasm')): Command {
  return command
    .option('--lab <file>', 'lab file: devices, programs, routes, map contents')
    .option('--xdp <object[:program]>', 'program for the XDP hook of the first device; repeat for a chain', collect, [])
    .option('--tc-ingress <object[:program]>', 'program for its TC ingress hook; repeat for a chain', collect, [])
    .option('--tc-egress <object[:program]>', 'program for its TC egress hook; repeat for a chain', collect, [])
    .option('--map <name=file>', 'fill a map from a YAML or JSON file; repeatable', collectMap, [])
    .addOption(engine)
    .addOption(new Option('--type <type>', 'program type where the section does not say it').choices(PROGRAM_TYPES))
    .option('--btf <file>', "BTF that CO-RE relocations are resolved against (the running kernel's, else a bundled one)")
    .option('--seed <n>', 'seed of bpf_get_prandom_u32', wholeNumber(0, 0xffff_ffff))
    .option('--cpus <n>', 'CPUs, each a thread: packets are spread over them by receive-side scaling', wholeNumber(1, MOST_CPUS))
    .option('--no-verify', 'run the programs without asking whether Linux would load them');
}

export function labSources(flags: LabFlags): LabSources {
  const hooks: readonly (readonly [HookName, readonly string[]])[] = [
    ['xdp', flags.xdp],
    ['tc-ingress', flags.tcIngress],
    ['tc-egress', flags.tcEgress],
  ];
  return {
    ...(flags.lab === undefined ? {} : { file: flags.lab }),
    ...(flags.type === undefined ? {} : { type: flags.type }),
    ...(flags.btf === undefined ? {} : { btf: flags.btf }),
    ...(flags.seed === undefined ? {} : { seed: flags.seed }),
    ...(flags.cpus === undefined ? {} : { cpus: flags.cpus }),
    engine: flags.engine,
    verify: flags.verify,
    proofs: new CacheFolder(cachePath('proofs')),
    modules: new CacheFolder(cachePath('modules')),
    contents: flags.map,
    programs: hooks.flatMap(([hook, programs]) => programs.map((program) => ({ hook, program }))),
  };
}

/** `proofs`: which programs were accepted. `modules`: what they were compiled to. */
export function cachePath(what: 'proofs' | 'modules'): string {
  return join(process.env.XDG_CACHE_HOME || process.env.LOCALAPPDATA || join(homedir(), '.cache'), 'xdplab', what);
}

export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text.replaceAll('_', ''));
    if (text.trim() === '' || !Number.isInteger(value) || value < least || value > most) throw new InvalidArgumentError(`Expected a whole number from ${least} to ${most}.`);
    return value;
  };
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

function collectMap(value: string, before: LabFlags['map']): LabFlags['map'] {
  const equals = value.indexOf('=');
  if (equals < 1 || equals === value.length - 1) throw new InvalidArgumentError('Expected <name>=<file>.');
  return [...before, { map: value.slice(0, equals), file: value.slice(equals + 1) }];
}

/** Sizes of maps, `<map>=<entries>` each. */
export function collectSize(text: string, before: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  const equals = text.indexOf('=');
  if (equals < 1) throw new InvalidArgumentError('Expected <map>=<entries>.');
  return { ...before, [text.slice(0, equals)]: wholeNumber(1, 0xffff_ffff)(text.slice(equals + 1)) };
}
