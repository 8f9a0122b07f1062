/**
 * The server: a lab in its thread, an HTTP interface and a stream in front of it. Packets never pass through this
 * thread; it reads what the lab's thread leaves in the ring, and asks it between two batches.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import type { AddressInfo } from 'node:net';
import fastifySwagger from '@fastify/swagger';
import { XdplabError } from '../errors.ts';
import { parseLabFile } from '../pipeline/lab-file.ts';
import { objectPaths, readBytes } from '../pipeline/open-lab.ts';
import { Access } from './access.ts';
import { createApp } from './app.ts';
import { CaptureStore } from './capture-store.ts';
import { Jobs } from './jobs.ts';
import { LabHost, type LabSetting } from './lab-host.ts';
import { ObjectStore } from './object-store.ts';
import { addCaptureRoutes } from './routes/captures.ts';
import type { Context, LiveOptions } from './routes/context.ts';
import { addDocumentRoutes, openApiOptions } from './routes/documents.ts';
import { addLabRoutes } from './routes/lab.ts';
import { addMapRoutes } from './routes/maps.ts';
import { addMetricRoutes } from './routes/metrics.ts';
import { addObjectRoutes } from './routes/objects.ts';
import { addPage } from './routes/page.ts';
import { addRerunRoutes } from './routes/rerun.ts';
import { addRunRoutes } from './routes/runs.ts';
import { addSessionRoutes } from './routes/session.ts';
import { Runs, type RunOptions } from './runs.ts';
import { Stream } from './stream.ts';

export interface ServerOptions {
  readonly sources: LabSetting['sources'];
  /** Where it is remembered which programs were accepted. */
  readonly proofsPath: string;
  /** Begins to run at once. */
  readonly capture?: { readonly path: string; readonly run: RunOptions };
  /** An interface to look at from the start. */
  readonly live?: LiveOptions;
  readonly address: string;
  /** 0: any that is free. */
  readonly port: number;
  /** Further names that the server is known by. */
  readonly hostNames: readonly string[];
  /** Where the built files of the page are. */
  readonly page: string;
  readonly version: string;
  /** What all uploaded captures together may take. */
  readonly mostUploadBytes: number;
}

export interface RunningServer {
  /** With the token, to be opened in a browser. */
  readonly url: string;
  readonly origin: string;
  readonly token: string;
  /** The lab's thread has ended by itself. */
  readonly failed: Promise<Error>;
  close(): Promise<void>;
}

const LOOPBACK_NAMES = ['127.0.0.1', 'localhost', '[::1]'];

export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { address, port, hostNames, mostUploadBytes, version, sources, proofsPath } = options;
  const folder = await mkdtemp(join(tmpdir(), 'xdplab-'));
  const jobs = new Jobs();
  const host = new LabHost();
  const access = new Access();
  const objects = new ObjectStore(jobs, proofsPath);
  const captures = new CaptureStore(jobs, folder, mostUploadBytes);
  const runs = new Runs(host);
  const stream = new Stream(host, access, () => host.call('statistics'));
  const app = createApp(access);
  const close = async (): Promise<void> => {
    await stream.close();
    await app.close();
    await host.close();
    await jobs.close();
    await rm(folder, { recursive: true, force: true });
  };
  const failed = new Promise<Error>((settle) => host.on('failed', settle));

  try {
    const capture = options.capture && (await captures.name(options.capture.path));
    await host.open(await settingOf(options, objects));
    const context: Context = { version, access, host, jobs, objects, captures, runs, stream, mostUploadBytes, sources, proofsPath, live: options.live };
    await app.register(fastifySwagger, openApiOptions(version));
    for (const add of [addSessionRoutes, addLabRoutes, addObjectRoutes, addMapRoutes, addCaptureRoutes, addRunRoutes, addRerunRoutes, addMetricRoutes, addDocumentRoutes]) add(app, context);
    addPage(app, options.page);
    app.server.on('upgrade', (request, socket, head) => stream.upgrade(request, socket, head));
    await listen(app, address, port);
    const { port: bound } = app.server.address() as AddressInfo;
    access.listensAt(bound, [...LOOPBACK_NAMES, ...(address.includes(':') ? [`[${address}]`] : [address]), ...hostNames].map((name) => name.toLowerCase()));
    if (capture !== undefined) await runs.start(capture, options.capture!.run);
    if (options.live !== undefined) await runs.startLive({ interface: options.live.interface, promiscuous: options.live.promiscuous });
    const shown = hostNames[0] ?? (address.includes(':') ? `[${address}]` : address === '0.0.0.0' ? 'localhost' : address);
    const origin = `http://${shown}:${bound}`;
    return { url: `${origin}/#token=${access.token}`, origin, token: access.token, failed, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Reads what the user of this machine has named, so that its objects can be looked into like uploaded ones. */
async function settingOf({ sources, proofsPath }: ServerOptions, objects: ObjectStore): Promise<LabSetting> {
  const { file } = sources;
  const texts = new Map<string, Uint8Array>();
  if (file !== undefined) texts.set(resolve(file), await readBytes(file));
  const description = file === undefined ? undefined : parseLabFile(new TextDecoder().decode(texts.get(resolve(file))), file);
  const named = new Map();
  for (const path of objectPaths(sources, description)) named.set(path, (await objects.add(basename(path), await readBytes(path))).file);
  return { name: file === undefined ? 'lab' : basename(file), sources, proofsPath, objects: named, texts, readsDisk: true };
}

async function listen(app: ReturnType<typeof createApp>, address: string, port: number): Promise<void> {
  try {
    await app.listen({ host: address, port });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const why: Readonly<Record<string, string>> = { EADDRINUSE: 'another program listens there; choose another --port', EACCES: 'this user may not listen there; choose a --port from 1024 on', EADDRNOTAVAIL: 'this machine does not have that address; choose another --listen', ENOTFOUND: 'is no address; choose another --listen, and a port with --port' };
    if (why[code] === undefined) throw error;
    throw new XdplabError(code === 'EACCES' ? 'ERR_PRIVILEGE' : 'ERR_USAGE', `${address}:${port}: ${why[code]}`, { cause: error });
  }
}
