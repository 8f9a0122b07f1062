/**
 * Builds the command line into dist/dataplane/bundle: a file for what every command needs, and some for single commands.
 * Paths in the code lead from a room of dataplane/ to the files of another, so the bundle is a room of its own there.
 *
 * Then it is run once, and what V8 made of it is kept beside it (dataplane/cli/start.cts).
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { defineConfig, type Plugin, type Rolldown } from 'vite';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** What is not ASCII stands in text and patterns only. So the engine reads bytes, and not two for each character. */
const inAscii: Rolldown.Plugin = {
  name: 'ascii',
  generateBundle: (_options, files) => {
    for (const file of Object.values(files)) {
      if (file.type === 'chunk') file.code = file.code.replaceAll(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
    }
  },
};

/** commander loads what starts other programs as soon as it is loaded itself. Of a command that is a program of its own there is none. */
const NOTHING = '\0nothing';
const startsNoPrograms: Plugin = {
  name: 'starts-no-programs',
  enforce: 'pre',
  resolveId: (name, importer) => (name === 'node:child_process' && importer?.includes('commander') === true ? NOTHING : undefined),
  load: (id) => (id === NOTHING ? 'export {};' : undefined),
};

/** Without it commands run as well, and start later. */
const keptCode: Rolldown.Plugin = {
  name: 'kept-code',
  closeBundle: () => {
    spawnSync(process.execPath, [here('dist/dataplane/cli/start.cjs'), 'replay', here('traces/demo.pcapng'), '--lab', here('programs/demo.yaml')], { env: { ...process.env, XDPLAB_KEEP_CODE: '1' }, stdio: ['ignore', 'ignore', 'inherit'] });
  },
};

export default defineConfig({
  publicDir: false,
  plugins: [startsNoPrograms, inAscii, keptCode],
  ssr: {
    // Small, or to be had as ES modules only.
    noExternal: ['commander', 'fzstd', 'yaml', 'typebox', '@fastify/type-provider-typebox'],
    resolve: { conditions: ['module', 'import', 'default'] },
  },
  build: {
    ssr: true,
    target: 'node20',
    outDir: 'dist/dataplane/bundle',
    emptyOutDir: true,
    minify: false,
    rolldownOptions: {
      input: { main: here('dataplane/cli/main.ts') },
      output: {
        format: 'cjs',
        dynamicImportInCjs: false,
        comments: false,
        entryFileNames: '[name].cjs',
        chunkFileNames: '[name].cjs',
        codeSplitting: { groups: [{ name: 'lab', test: (id: string) => !/dataplane.(server|measure|devices|live|cli)|typebox/.test(id) || /cli.(replay|terminal|picture|progress|status-line|lab-options)/.test(id) }] },
      },
    },
  },
});
