#!/usr/bin/env node
/**
 * Starts the command line from its bundle (bundle.config.ts): to read some hundred modules takes longer than to run most
 * commands. What V8 made of the bundle when it was built lies beside it, so that nothing is compiled twice; where V8 is
 * another one than it was then, it compiles anew.
 */
const { existsSync, readFileSync, writeFileSync } = process.getBuiltinModule('node:fs');
const { createRequire } = process.getBuiltinModule('node:module');
const { join } = process.getBuiltinModule('node:path');
const { setFlagsFromString } = process.getBuiltinModule('node:v8');
const { Script } = process.getBuiltinModule('node:vm');

// Node 20's V8 has no compiler between the baseline one and the optimising one, and turns to that early: a third of the
// time that a short command takes goes into code that hardly runs. Later ones wait of their own accord.
if (process.versions.v8.startsWith('11.')) setFlagsFromString('--interrupt-budget=1000000');

type Body = (exports: object, require: (name: string) => unknown, module: { exports: object }, file: string, folder: string) => void;

const BUNDLE = join(__dirname, '../bundle');
const KEPT = '.code';
const requireOther = createRequire(join(BUNDLE, 'main.cjs'));
const modules = new Map<string, { exports: object }>();
const scripts = new Map<string, InstanceType<typeof Script>>();

function load(name: string): object {
  if (!name.startsWith('./')) return requireOther(name) as object;
  const known = modules.get(name);
  if (known !== undefined) return known.exports;
  const file = join(BUNDLE, name);
  const cachedData = existsSync(file + KEPT) ? readFileSync(file + KEPT) : undefined;
  const text = `(function (exports, require, module, __filename, __dirname) {${readFileSync(file, 'latin1')}\n})`;
  const script = new Script(text, { filename: file, ...(cachedData === undefined ? {} : { cachedData }) });
  scripts.set(file, script);
  const module = { exports: {} };
  modules.set(name, module);
  (script.runInThisContext() as Body)(module.exports, load, module, file, BUNDLE);
  return module.exports;
}

load('./main.cjs');

// Of functions only those are kept that have run.
if (process.env['XDPLAB_KEEP_CODE'] !== undefined) process.once('exit', () => scripts.forEach((script, file) => writeFileSync(file + KEPT, script.createCachedData())));
