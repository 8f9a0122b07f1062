/** `xdplab dump`: a program as instructions with its C lines, spelled as bpftool spells them, or as WebAssembly text. */
import { basename } from 'node:path';
import { Option, type Command } from 'commander';
import { disassemble } from '../bpf/disassemble.ts';
import { PROGRAM_TYPES, type CollectionSpec, type ProgramSpec, type ProgramType } from '../bpf/spec.ts';
import { programTag } from '../bpf/tag.ts';
import { createWasmEngine } from '../engine/wasm-engine.ts';
import { HELPER_NAMES } from '../helpers/index.ts';
import { Machine } from '../machine/machine.ts';
import { splitProgram } from '../pipeline/lab-file.ts';
import { readObject } from '../pipeline/open-lab.ts';
import { Collection } from '../program/collection.ts';
import { unverified } from '../program/program.ts';
import { XdplabError } from '../errors.ts';
import { paint, print, safe } from './terminal.ts';

interface DumpFlags {
  readonly insns?: true;
  readonly wat?: true;
  readonly linum?: true;
  readonly type?: ProgramType;
  readonly btf?: string;
}

export function addDump(program: Command): void {
  program
    .command('dump')
    .description('print a program: its instructions with C lines (--insns, the default), or what it is compiled to (--wat)')
    .argument('<object[:program]>')
    .option('--insns', "instructions, as 'bpftool prog dump xlated' prints them")
    .option('--wat', 'the compiled module as WebAssembly text')
    .option('--linum', 'with --insns: file, line and column of each C line')
    .option('--btf <file>', 'BTF that CO-RE relocations are resolved against')
    .addOption(new Option('--type <type>', 'program type where the section does not say it').choices(PROGRAM_TYPES))
    .action(async (choice: string, flags: DumpFlags) => {
      if (flags.insns && flags.wat) throw new XdplabError('ERR_USAGE', 'dump: --insns and --wat exclude each other; run it twice');
      const { object, program: name } = splitProgram(choice);
      const spec = await readObject(object, flags);
      print(flags.wat ? await wat(spec, basename(object), name) : instructions(spec, basename(object), name, flags.linum === true));
    });
}

async function wat(spec: CollectionSpec, object: string, name: string | undefined): Promise<string> {
  const machine = new Machine();
  const engine = createWasmEngine(machine);
  const collection = new Collection(machine, spec, { name: object, pinned: new Map(), admit: unverified, load: (program) => engine.load(program) });
  return (await engine.wat(collection.program(name))).trimEnd();
}

/** Every program of the object unless one is named. */
function instructions(spec: CollectionSpec, object: string, name: string | undefined, linum: boolean): string {
  const all = [...spec.programs.values()];
  const chosen = name === undefined ? all : all.filter((program) => program.name === name || program.section === name);
  if (chosen.length === 0) throw new XdplabError('ERR_USAGE', `${object}: found no program '${name}', expected one of ${all.map((program) => program.name).join(', ')}`);
  return chosen.map((program) => listing(program, linum)).join('\n\n');
}

function listing(program: ProgramSpec, linum: boolean): string {
  const names = {
    helper: (id: number) => HELPER_NAMES[id],
    subprogram: (slot: number) => nameAt(program, slot),
    map: safe,
  };
  const gpl = /GPL/.test(program.license) ? '  gpl' : '';
  const out = [`${program.type ?? 'unknown'}  name ${safe(program.name)}  tag ${programTag(program.instructions)}${gpl}`];
  const text = disassemble(program.instructions, names);
  const slots = program.instructions.flatMap((instruction, slot) => (instruction.kind === 'upper' ? [] : [slot]));
  slots.forEach((slot, position) => {
    const entered = nameAt(program, slot);
    if (entered !== undefined) out.push(paint('bold', `${entered}:`));
    for (const line of program.lines.filter((info) => info.slot === slot)) {
      const place = linum ? ` [file:${safe(line.file)} line_num:${line.line} line_col:${line.column}]` : '';
      out.push(paint('dim', `; ${safe(line.text.trim())}${place}`));
    }
    out.push(text[position]!);
  });
  return out.join('\n');
}

function nameAt({ functions }: ProgramSpec, slot: number): string | undefined {
  const found = functions.find((f) => f.slot === slot);
  return found && safe(found.name);
}
