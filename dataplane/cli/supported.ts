/** `xdplab supported`: what programs, maps and helpers run here, and what does not. */
import type { Command } from 'commander';
import { supportedMarkdown } from '../insight/supported.ts';
import { print } from './terminal.ts';

export function addSupported(program: Command): void {
  program
    .command('supported')
    .description('list the hooks, map types, helpers and instructions that are supported, and those that are not (Markdown)')
    .action(() => print(supportedMarkdown().trimEnd()));
}
