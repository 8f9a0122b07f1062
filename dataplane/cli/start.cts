#!/usr/bin/env node
/**
 * Starts the command line from its bundle (bundle.config.ts): to read some hundred modules takes longer than to run most
 * commands. What V8 made of the bundle when it was built lies beside it, so that nothing is compiled twice; where V8 is
 * another one than it was then, it compiles anew.
 *
 * V8 looks at its version, its flags and the length of the text alone, and runs whatever else is there. So a sum of the
 * text, the code and who made it stands before the code.
 *
 *   kept code   0 u32 sum    8 code
 */
const { existsSync, readFileSync, writeFileSync } = process.getBuiltinModule('node:fs');
const { createRequire } = process.getBuiltinModule('node:module');
const { join } = process.getBuiltinModule('node:path');
const { setFlagsFromString } = process.getBuiltinModule('node:v8');
const { Script } = process.getBuiltinModule('node:vm');
const { crc32 } = process.getBuiltinModule('node:zlib');

// Node 20's V8 has no compiler between the baseline one and the optimising one, and turns to that early: a third of the
// time that a short command takes goes into code that hardly runs. Later ones wait of their own accord.
if (process.versions.v8.startsWith('11.') && !process.execArgv.some((flag) => flag.startsWith('--interrupt'))) setFlagsFromString('--interrupt-budget=1000000');

type Body = (exports: object, require: (name: string) => unknown, module: { exports: object }, file: string, folder: string) => void;

const BUNDLE = join(__dirname, '../bundle');
const KEPT = { suffix: '.code', code: 8 } as const;
const MAKER = `${process.version} ${process.platform} ${process.arch}`;
const requireOther = createRequire(join(BUNDLE, 'main.cjs'));
const modules = new Map<string, { exports: object }>();
const scripts = new Map<string, { readonly bytes: Buffer; readonly script: InstanceType<typeof Script> }>();

const sumOf = (bytes: Buffer, code: Buffer): number => crc32(code, crc32(bytes, crc32(MAKER)));

function keptCode(file: string, bytes: Buffer): Buffer | undefined {
  if (!existsSync(file + KEPT.suffix)) return undefined;
  const kept = readFileSync(file + KEPT.suffix);
  const code = kept.subarray(KEPT.code);
  return code.length > 0 && kept.readUInt32LE(0) === sumOf(bytes, code) ? code : undefined;
}

function keepCode(file: string, bytes: Buffer, code: Buffer): void {
  const head = Buffer.alloc(KEPT.code);
  head.writeUInt32LE(sumOf(bytes, code), 0);
  writeFileSync(file + KEPT.suffix, Buffer.concat([head, code]));
}

function load(name: string): object {
  if (!name.startsWith('./')) return requireOther(name) as object;
  const known = modules.get(name);
  if (known !== undefined) return known.exports;
  const file = join(BUNDLE, name);
  const bytes = readFileSync(file);
  const cachedData = keptCode(file, bytes);
  const text = `(function (exports, require, module, __filename, __dirname) {${bytes.toString('latin1')}\n})`;
  const script = new Script(text, { filename: file, ...(cachedData === undefined ? {} : { cachedData }) });
  scripts.set(file, { bytes, script });
  const module = { exports: {} };
  modules.set(name, module);
  (script.runInThisContext() as Body)(module.exports, load, module, file, BUNDLE);
  return module.exports;
}

load('./main.cjs');

// Of functions only those are kept that have run.
if (process.env['XDPLAB_KEEP_CODE'] !== undefined) process.once('exit', () => scripts.forEach(({ bytes, script }, file) => keepCode(file, bytes, script.createCachedData())));
