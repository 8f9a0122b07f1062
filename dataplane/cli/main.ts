/**
 * The command line. Data goes to stdout, progress and errors to stderr; an error is one line, and its code decides
 * the exit status (errors.ts). What is not an XdplabError is a bug, and shows its stack.
 */
import { Command, CommanderError } from 'commander';
import { readFileSync } from 'node:fs';
import { XdplabError } from '../errors.ts';
import { paint, print, safe } from './terminal.ts';

/** In the order that help has them. */
const COMMANDS: Readonly<Record<string, () => Promise<(program: Command) => void>>> = {
  replay: async () => (await import('./replay.ts')).addReplay,
  live: async () => (await import('./live.ts')).addLive,
  serve: async () => (await import('./serve.ts')).addServe,
  bench: async () => (await import('./bench.ts')).addBench,
  verify: async () => (await import('./verify.ts')).addVerify,
  show: async () => (await import('./show.ts')).addShow,
  dump: async () => (await import('./dump.ts')).addDump,
  map: async () => (await import('./map.ts')).addMap,
  supported: async () => (await import('./supported.ts')).addSupported,
};

const USAGE_STATUS = 2;
const FAILURE_STATUS = 1;
const INTERRUPTED_STATUS = 130;

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
  return (manifest as { version: string }).version;
}

function complain(message: string): void {
  print(`${paint('red', 'xdplab:')} ${safe(message.trimEnd())}`, process.stderr);
}

/** `error: unknown option '--lop'\n(Did you mean --loop?)` on one line. */
function usageLine(text: string): string {
  return `${text.replace(/^error: /, '').trimEnd().replaceAll(/\.?\n+/g, ' ').replace(/\.$/, '')}; --help says what there is`;
}

function isClosedPipe(error: unknown): boolean {
  return error instanceof Error && (('code' in error && error.code === 'EPIPE') || isClosedPipe(error.cause));
}

// A reader that went away (`xdplab … | head`) is no error; a full disk is.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: Error) => {
    if (isClosedPipe(error)) process.exit(0);
    if (stream === process.stdout) complain(`standard output: ${error.message}`);
    process.exit(FAILURE_STATUS);
  });
}

/** Who names a command pays for that one: to load all of them takes as long as to start Node. */
async function run([named = '']: readonly string[]): Promise<void> {
  const program = new Command('xdplab')
    .description('Run compiled XDP and TC programs over captures and live interfaces, outside the kernel')
    .version(version())
    .exitOverride()
    .configureOutput({ outputError: (text) => complain(usageLine(text)) });
  for (const load of Object.hasOwn(COMMANDS, named) ? [COMMANDS[named]!] : Object.values(COMMANDS)) (await load())(program);
  try {
    await program.parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : USAGE_STATUS;
    } else if (error instanceof XdplabError) {
      if (!isClosedPipe(error)) complain(error.message);
      process.exitCode = isClosedPipe(error) ? 0 : error.exitStatus;
    } else {
      throw error;
    }
  }
  // A pipe on which nothing comes any more would keep an interrupted process waiting.
  if (process.exitCode === INTERRUPTED_STATUS) process.exit();
}

void run(process.argv.slice(2));
