#!/usr/bin/env node
/**
 * The command line. Data goes to stdout, progress and errors to stderr; an error is one line, and its code decides
 * the exit status (errors.ts). What is not an XdplabError is a bug, and shows its stack.
 */
import { Command, CommanderError } from 'commander';
import { readFileSync } from 'node:fs';
import { XdplabError } from '../errors.ts';
import { addDump } from './dump.ts';
import { addMap } from './map.ts';
import { addReplay } from './replay.ts';
import { addShow } from './show.ts';
import { addSupported } from './supported.ts';
import { paint } from './terminal.ts';

const USAGE_STATUS = 2;

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
  return (manifest as { version: string }).version;
}

const program = new Command('xdplab')
  .description('Run compiled XDP and TC programs over captures, outside the kernel')
  .version(version())
  .exitOverride()
  .showHelpAfterError('(add --help for what there is)');
for (const add of [addReplay, addShow, addDump, addMap, addSupported]) add(program);

// A reader that went away (`xdplab … | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : USAGE_STATUS;
  } else if (error instanceof XdplabError) {
    process.stderr.write(`${paint('red', 'xdplab:')} ${error.message}\n`);
    process.exitCode = error.exitStatus;
  } else {
    throw error;
  }
}
