/** `xdplab dump`: a program as instructions with its C lines, spelled as bpftool spells them, or as WebAssembly text. */
import { basename } from 'node:path';
import { Option, type Command } from 'commander';
import { disassemble, disassembleInstruction, type Names } from '../bpf/disassemble.ts';
import { lineAt } from '../bpf/line-at.ts';
import { PROGRAM_TYPES, type CollectionSpec, type ProgramSpec, type ProgramType } from '../bpf/spec.ts';
import { programTag } from '../bpf/tag.ts';
import { createWasmEngine } from '../engine/wasm-engine.ts';
import { HELPER_NAMES } from '../helpers/index.ts';
import { factLine, factWords, type InstructionFactWords } from '../insight/fact-words.ts';
import { Machine } from '../machine/machine.ts';
import { splitProgram } from '../pipeline/lab-file.ts';
import { readObject } from '../pipeline/open-lab.ts';
import { Collection } from '../program/collection.ts';
import { unverified } from '../program/program.ts';
import { verifyWithFacts } from '../verifier/facts.ts';
import { XdplabError } from '../errors.ts';
import { chosenPrograms } from './chosen-programs.ts';
import { paint, print, printJson, safe } from './terminal.ts';

interface DumpFlags {
  readonly insns?: true;
  readonly wat?: true;
  readonly linum?: true;
  readonly facts?: true;
  readonly json?: true;
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
    .option('--facts', 'with --insns: what the verifier knows of the registers that each instruction reads, and of its result')
    .option('--json', 'with --insns: as JSON')
    .option('--btf <file>', 'BTF that CO-RE relocations are resolved against')
    .addOption(new Option('--type <type>', 'program type where the section does not say it').choices(PROGRAM_TYPES))
    .action(async (choice: string, flags: DumpFlags) => {
      for (const [name, set] of Object.entries({ insns: flags.insns, facts: flags.facts, json: flags.json })) {
        if (flags.wat && set) throw new XdplabError('ERR_USAGE', `dump: --${name} and --wat exclude each other; run it twice`);
      }
      const { object, program: name } = splitProgram(choice);
      const spec = await readObject(object, flags);
      if (flags.wat) return print(await wat(spec, basename(object), name));
      const chosen = chosenPrograms(spec, basename(object), name);
      const listings = chosen.map((each) => ({ program: each, facts: flags.facts ? factsOf(each, spec, flags.type) : undefined }));
      if (flags.json) printJson({ object: basename(object), programs: listings.map(asJson) });
      else print(listings.map((each) => listing(each, flags.linum === true)).join('\n\n'));
    });
}

async function wat(spec: CollectionSpec, object: string, name: string | undefined): Promise<string> {
  const machine = new Machine();
  const engine = createWasmEngine(machine);
  const collection = new Collection(machine, spec, { name: object, pinned: new Map(), admit: unverified, load: (program) => engine.load(program) });
  return (await engine.wat(collection.program(name))).trimEnd();
}

/** By slot; `undefined` where no run comes. */
type Facts = readonly (InstructionFactWords | undefined)[];

function factsOf(program: ProgramSpec, { maps, btf }: CollectionSpec, type: ProgramType | undefined): Facts {
  const known = program.type ?? type;
  const { report, facts } = verifyWithFacts(program, { maps, btf, ...(type === undefined ? {} : { type }) });
  if (facts === undefined) throw new XdplabError('ERR_PROGRAM', `program '${program.name}': has no facts, since the verifier refuses it: ${report.refusal!.message}; xdplab verify explains`);
  return facts.map((each, slot) => each && factWords(program.instructions[slot]!, each, known!));
}

interface Listing {
  readonly program: ProgramSpec;
  readonly facts: Facts | undefined;
}

const namesIn = (program: ProgramSpec): Names => ({ helper: (id) => HELPER_NAMES[id], subprogram: (slot) => nameAt(program, slot), map: safe });

const hasText = ({ instructions }: ProgramSpec): readonly number[] => instructions.flatMap((instruction, slot) => (instruction.kind === 'upper' ? [] : [slot]));

/** Where facts begin, unless the instruction is longer. */
const FACTS_COLUMN = 48;

function listing({ program, facts }: Listing, linum: boolean): string {
  const gpl = /GPL/.test(program.license) ? '  gpl' : '';
  const out = [`${program.type ?? 'unknown'}  name ${safe(program.name)}  tag ${programTag(program.instructions)}${gpl}`];
  const text = disassemble(program.instructions, namesIn(program));
  hasText(program).forEach((slot, position) => {
    const entered = nameAt(program, slot);
    if (entered !== undefined) out.push(paint('bold', `${entered}:`));
    for (const line of program.lines.filter((info) => info.slot === slot)) {
      const place = linum ? ` [file:${safe(line.file)} line_num:${line.line} line_col:${line.column}]` : '';
      out.push(paint('dim', `; ${safe(line.text.trim())}${place}`));
    }
    const instruction = text[position]!;
    const fact = facts === undefined ? '' : facts[slot] === undefined ? 'never runs' : safe(factLine(program.instructions[slot]!, facts[slot]));
    out.push(fact === '' ? instruction : `${instruction.padEnd(FACTS_COLUMN)}${paint('dim', ` ; ${fact}`)}`);
  });
  return out.join('\n');
}

function asJson({ program, facts }: Listing) {
  return {
    name: program.name,
    section: program.section,
    type: program.type,
    tag: programTag(program.instructions),
    instructions: hasText(program).map((slot) => {
      const line = lineAt(program, slot);
      const text = disassembleInstruction(program.instructions[slot]!, slot, namesIn(program));
      return { slot, text, ...(line === undefined ? {} : { file: line.file, line: line.line }), ...(facts === undefined ? {} : { facts: facts[slot] ?? 'never runs' }) };
    }),
  };
}

function nameAt({ functions }: ProgramSpec, slot: number): string | undefined {
  const found = functions.find((f) => f.slot === slot);
  return found && safe(found.name);
}
