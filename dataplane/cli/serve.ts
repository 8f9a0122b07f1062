/** `xdplab serve`: a lab to look at and to work with, over HTTP, on this machine. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Option, type Command } from 'commander';
import { XdplabError } from '../errors.ts';
import { kernelCpus } from '../live/attached.ts';
import { deviceOf, usableInterfaces } from '../live/open-live.ts';
import { parsePace } from '../pipeline/pace.ts';
import type { RunningServer } from '../server/server.ts';
import { addLabOptions, cachePath, labSources, wholeNumber, type LabFlags } from './lab-options.ts';
import { paint, print } from './terminal.ts';

interface ServeFlags extends LabFlags {
  readonly capture?: string;
  readonly speed: string;
  readonly loop?: number | undefined;
  readonly paused?: true;
  readonly live?: string;
  readonly promiscuous?: true;
  readonly allowInline?: string;
  readonly allowAttach?: true;
  readonly port: number;
  readonly listen: string;
  readonly hostName: readonly string[];
  readonly maxUpload: number;
}

const DEFAULT_PORT = 4280;
const DEFAULT_SPEED = 'original';
const LOOPBACK = '127.0.0.1';
const DEFAULT_UPLOAD_BYTES = 2 ** 30;
const LOOPBACK_ADDRESSES: readonly string[] = [LOOPBACK, '::1', 'localhost'];
const INTERRUPTED_STATUS = 130;
const ANY_PORT = 0;

export const portNumber = wholeNumber(ANY_PORT, 65_535);

export function addServe(program: Command): void {
  const command = program.command('serve').description('run a lab, and open it to a browser and to programs on this machine');
  addLabOptions(command)
    .option('--capture <file>', 'replay this capture at once, over and over')
    .option('--speed <pace>', 'its pace: top, original, <n>x or <n>pps', DEFAULT_SPEED)
    .option('--loop <n>', 'replay it this many times and no more', wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .option('--paused', 'begin with a pause')
    .addOption(new Option('--live <interface>', 'look at the packets of this interface instead; nothing is sent, and nothing is changed on the wire').conflicts(['capture']))
    .option('--promiscuous', 'with --live: packets for other hosts too')
    .option('--allow-inline <interface>', 'with --live: who is let in may have packets leave by this interface, and from there by the other, as xdplab live --to does; until somebody asks, nothing is sent')
    .option('--allow-attach', 'with --live: who is let in may have the running Linux attach the programs to the interface, those that were uploaded too, as xdplab live --attach does; they may redirect packets to any other interface')
    .option('--port <n>', 'port to listen on; 0 for any that is free', portNumber, DEFAULT_PORT)
    .option('--listen <address>', 'address to listen on: other machines can reach the lab then, and read what is sent', LOOPBACK)
    .option('--host-name <name>', 'a further name that the server is known by; repeatable', (name: string, before: readonly string[]) => [...before, name], [])
    .option('--max-upload <bytes>', 'what all uploaded captures together may take', wholeNumber(1, Number.MAX_SAFE_INTEGER), DEFAULT_UPLOAD_BYTES)
    .action(serve);
}

/** What `replay --serve` hands over, on any port that is free unless one is said. */
export async function serveCapture(capture: string, { port = ANY_PORT, ...lab }: LabFlags & { readonly port?: number }, speed = DEFAULT_SPEED, loop?: number): Promise<void> {
  if (capture === '-') throw new XdplabError('ERR_USAGE', 'standard input cannot be gone back in, as a server lets you; write it to a file first');
  await serve({ ...lab, capture, speed, loop, port, listen: LOOPBACK, hostName: [], maxUpload: DEFAULT_UPLOAD_BYTES });
}

async function serve(flags: ServeFlags): Promise<void> {
  parsePace(flags.speed);
  // What clients upload is not to be loaded into this machine's kernel.
  if (flags.engine === 'kernel') throw new XdplabError('ERR_USAGE', 'serve --engine kernel: what is uploaded would be loaded into the running Linux; use replay --engine kernel');
  // From here on, so that nothing is left behind by who is quick.
  const interrupted = new Promise<undefined>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve(undefined));
  });
  // Only who serves waits for what a server is made of.
  const { startServer } = await import('../server/server.ts');
  const { proofs: _proofs, modules: _modules, ...sources } = labSources(flags);
  const { live, allowInline, allowAttach } = flags;
  if (allowInline !== undefined && (live === undefined || allowInline === live)) throw new XdplabError('ERR_USAGE', `--allow-inline ${allowInline}: is the other side of --live <interface>; give two different ones`);
  if (allowAttach && live === undefined) throw new XdplabError('ERR_USAGE', '--allow-attach: to which interface? Give it with --live');
  if (allowAttach && flags.cpus !== undefined) throw new XdplabError('ERR_USAGE', '--allow-attach: the lab has as many CPUs as this Linux, so that its per-CPU maps are the same; leave --cpus out');
  const interfaces = usableInterfaces([live, allowInline]);
  const server = await startServer({
    sources: { ...sources, ...(interfaces.length === 0 ? {} : { devices: interfaces.map((each) => deviceOf(each, allowInline !== undefined)) }), ...(allowAttach ? kernelCpus() : {}) },
    ...(live === undefined ? {} : { live: { interface: live, promiscuous: flags.promiscuous === true, allowAttach: allowAttach === true, ...(allowInline === undefined ? {} : { allowInline }) } }),
    proofsPath: cachePath('proofs'),
    ...(flags.capture === undefined ? {} : { capture: { path: flags.capture, run: { speed: flags.speed, loops: flags.loop ?? null, paused: flags.paused === true } } }),
    address: flags.listen,
    port: flags.port,
    hostNames: flags.hostName,
    page: fileURLToPath(new URL('../../../web/dist/', import.meta.url)),
    version: version(),
    mostUploadBytes: flags.maxUpload,
  });
  print(`Open ${paint('bold', server.url)}`);
  print('The address lets whoever has it in. Ctrl-C ends the server.', process.stderr);
  if (!LOOPBACK_ADDRESSES.includes(flags.listen)) print(paint('yellow', `Listening on ${flags.listen}: other machines can reach this, and nothing is encrypted; put a TLS proxy in front of it, or use ssh -L.`), process.stderr);
  await untilEnd(server, interrupted);
}

async function untilEnd(server: RunningServer, interrupted: Promise<undefined>): Promise<void> {
  const failure = await Promise.race([interrupted, server.failed]);
  await server.close();
  if (failure !== undefined) throw failure;
  process.exitCode = INTERRUPTED_STATUS;
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
  if (typeof manifest === 'object' && manifest !== null && 'version' in manifest) return String(manifest.version);
  throw new XdplabError('ERR_FILE', 'package.json: found no version; install xdplab again');
}
