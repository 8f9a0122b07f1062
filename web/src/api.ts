/** The server's HTTP interface as far as the page uses it (docs/server-api.md). */
import type { RunMoment } from './run-moment.ts';

export interface Attachment {
  readonly index: number;
  readonly device: string;
  readonly hook: HookName;
  readonly mode: string;
  readonly object: string;
  readonly program: string;
  /** False where somebody wanted it to run without. */
  readonly verified: boolean;
  readonly slots?: string;
}

export type HookName = 'xdp' | 'tc-ingress' | 'tc-egress';

export interface Lab {
  readonly name: string;
  readonly engine: string;
  readonly epoch: number;
  /** What is special about it. */
  readonly remarks: readonly string[];
  readonly devices: readonly { readonly name: string; readonly ifindex: number; readonly mac: string; readonly up: boolean; readonly addresses: readonly string[] }[];
  readonly attachments: readonly Attachment[];
  readonly objects: readonly { readonly id: string; readonly name: string }[];
}

export interface LabObject {
  readonly id: string;
  readonly name: string;
  readonly programs: readonly { readonly name: string; readonly section: string; readonly type: string; readonly tag: string; readonly instructions: number }[];
}

export interface CodeLine {
  readonly slot: number;
  readonly file: string;
  readonly line: number;
  readonly text: string;
}

export interface Program {
  readonly name: string;
  readonly type: string;
  readonly tag: string;
  readonly instructions: readonly { readonly slot: number; readonly text: string }[];
  readonly lines: readonly CodeLine[];
}

export interface Verification {
  readonly accepted: boolean;
  readonly instructionsProcessed: number;
  readonly totalStates: number;
  readonly stackBytes: readonly number[];
  readonly elapsedNs: number;
  readonly deadSlots: readonly number[];
  readonly refusal?: Refusal;
}

export interface Refusal {
  readonly message: string;
  readonly instruction: string;
  readonly known?: string;
  readonly needed?: string;
  readonly suggestion?: string;
}

/** How often instructions and C lines ran, in the runs that were counted. */
export interface Counts {
  readonly runs: number;
  readonly instructions: readonly { readonly slot: number; readonly times: number }[];
  readonly lines: readonly { readonly file: string; readonly line: number; readonly times: number; readonly instructions: number }[];
}

/** A packet that ran again, to be looked at. */
export interface Rerun {
  readonly programs: readonly {
    readonly device: string;
    readonly hook: string;
    readonly program: string;
    readonly verdict: string;
    readonly instructions: number;
    readonly returned?: { readonly program: string; readonly slot: number; readonly line?: CodeLine; readonly lineIs?: 'return' | 'condition' | 'value' };
    /** All that ran, in that order; `more` came after those. */
    readonly lines: readonly (CodeLine & { readonly program: string })[];
    readonly more: number;
  }[];
}

export interface LabMap {
  readonly id: number;
  readonly name: string;
  readonly type: string;
  readonly key: string;
  readonly value: string;
  readonly maxEntries: number;
  readonly size: number;
  readonly perCpu: boolean;
  readonly readable: boolean;
  readonly writable: boolean;
}

export interface MapEntry {
  readonly key: unknown;
  readonly value: unknown;
}

export interface Capture {
  readonly id: string;
  readonly name: string;
  readonly packets: number;
  readonly firstTime: string | null;
  readonly damage?: string;
}

interface AnyRun extends RunMoment {
  readonly id: string;
  readonly state: 'running' | 'paused' | 'finished' | 'stopped' | 'failed';
  readonly packets: number;
  readonly error?: string;
}

export interface CaptureRun extends AnyRun {
  readonly interface?: undefined;
  readonly capture: string;
  readonly speed: string;
  readonly loops: number | null;
  readonly round: number;
  readonly packet: number;
  readonly totalPackets: number;
}

/** Such a run can only be stopped. */
export interface InterfaceRun extends AnyRun, WantedLive {
  readonly accounting?: { readonly ringDrops: number };
}

export type Run = CaptureRun | InterfaceRun;

export type AttachMode = 'native' | 'generic' | 'tcx';

/** What the server may do with the interface that it was started with. */
export interface LiveInfo {
  readonly interface: string;
  readonly to?: string;
  readonly attach: boolean;
}

export interface WantedLive {
  readonly interface: string;
  /** Inline: the other side. */
  readonly to?: string;
  /** The running Linux runs the programs, attached so; no packet comes here. */
  readonly attach?: AttachMode;
}

export interface VerdictCount {
  readonly verdict: string;
  readonly outcome: Outcome;
  readonly packets: number;
  readonly bytes: number;
}

export type Outcome = 'next' | 'leave' | 'pass' | 'drop' | 'aborted' | 'transmit' | 'redirect' | 'consumed';

export interface HookStatistics {
  readonly device: string;
  readonly hook: HookName;
  readonly slots?: string;
  readonly packets: number;
  readonly bytes: number;
  readonly verdicts: readonly VerdictCount[];
  /** What each CPU had of them. */
  readonly cpus: readonly { readonly cpu: number; readonly packets: number; readonly bytes: number }[];
}

export interface Highlight {
  readonly title: string;
  readonly map: string;
  readonly by: string;
  readonly total: number;
  readonly more: number;
  readonly rows: readonly { readonly label: string; readonly amount: number; readonly fields: Readonly<Record<string, unknown>> }[];
}

export interface Statistics {
  readonly epoch: number;
  readonly elapsedNs: number;
  readonly busyNs: number;
  readonly run: Run | null;
  readonly packets: number;
  readonly bytes: number;
  readonly fates: readonly { readonly fate: string; readonly text: string; readonly packets: number; readonly bytes: number }[];
  readonly reasons: readonly { readonly reason: string; readonly text: string; readonly packets: number }[];
  readonly hooks: readonly HookStatistics[];
  readonly programs: readonly (HookStatistics & { readonly program: string; readonly faults: number })[];
  readonly devices: readonly { readonly device: string; readonly ifindex: number; readonly rxPackets: number; readonly rxBytes: number; readonly txPackets: number; readonly txBytes: number }[];
  readonly highlights: readonly Highlight[];
}

/** What the server says instead of an answer: application/problem+json. */
export class Problem extends Error {
  readonly status: number;
  readonly refusal: Refusal | undefined;

  constructor(status: number, detail: string, refusal?: Refusal) {
    super(detail);
    this.status = status;
    this.refusal = refusal;
  }
}

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

/** No answer came, or a part of one: of that, browsers say only that fetching failed. */
function lost(method: Method, path: string, body: unknown): Error {
  const unsure = method === 'GET' ? '' : ', and whether that was done is not known';
  const file = body instanceof Blob ? ', or the file has changed since it was chosen' : '';
  return new Error(`${method} ${path}: the connection to the server was lost${file}${unsure}; see whether xdplab serve still runs, then try again`);
}

/** `read`: what to take of the answer. */
async function ask<T>(read: (response: Response) => Promise<T>, method: Method, path: string, body?: unknown): Promise<T> {
  const file = body instanceof Blob;
  try {
    const response = await fetch(path, {
      method,
      ...(body === undefined ? {} : { headers: { 'content-type': file ? 'application/octet-stream' : 'application/json' }, body: file ? body : JSON.stringify(body) }),
    });
    if (response.ok) return await read(response);
    const problem = (await response.json().catch(() => ({}))) as { readonly detail?: string; readonly refusal?: Refusal };
    throw new Problem(response.status, problem.detail ?? `${method} ${path}: the server answered ${response.status}`, problem.refusal);
  } catch (error) {
    throw error instanceof TypeError ? lost(method, path, body) : error;
  }
}

const json = <T>(method: Method, path: string, body?: unknown): Promise<T> => ask((response) => response.json() as Promise<T>, method, path, body);
const text = (path: string): Promise<string> => ask((response) => response.text(), 'GET', path);
const done = (method: Method, path: string, body?: unknown): Promise<void> => ask(() => Promise.resolve(), method, path, body);

const program = (object: string, name: string): string => `/api/objects/${object}/programs/${encodeURIComponent(name)}`;

export const api = {
  enter: (token: string) => done('POST', '/api/session', { token }),
  live: async () => (await json<{ readonly live: LiveInfo | null }>('GET', '/api')).live,
  lab: () => json<Lab>('GET', '/api/lab'),
  reset: () => json<Lab>('POST', '/api/lab/reset'),
  attach: (wanted: { readonly object: string; readonly program: string; readonly hook: HookName; readonly device?: string }) => json<Attachment>('POST', '/api/lab/attachments', wanted),
  detach: (index: number) => done('DELETE', `/api/lab/attachments/${index}`),
  uploadObject: (file: File) => json<LabObject>('POST', `/api/objects?name=${encodeURIComponent(file.name)}`, file),
  replaceObject: (object: string, by: string) => json<{ readonly keptMaps: readonly string[]; readonly freshMaps: readonly string[] }>('POST', `/api/lab/objects/${object}/replace`, { with: by }),
  program: (object: string, name: string) => json<Program>('GET', program(object, name)),
  wat: (object: string, name: string) => text(`${program(object, name)}/wat`),
  verification: (object: string, name: string) => json<Verification>('GET', `${program(object, name)}/verification`),
  counts: (object: string, name: string) => json<Counts>('GET', `${program(object, name)}/counts`),
  rerun: (packet: { readonly bytes: string; readonly device?: string; readonly time: string }) => json<Rerun>('POST', '/api/lab/rerun', packet),
  maps: async () => (await json<{ readonly maps: readonly LabMap[] }>('GET', '/api/maps')).maps,
  entries: (map: number, offset: number, limit: number) => json<LabMap & { readonly entries: readonly MapEntry[]; readonly more: boolean }>('GET', `/api/maps/${map}?offset=${offset}&limit=${limit}`),
  write: (map: number, key: unknown, value: unknown) => json<MapEntry>('PUT', `/api/maps/${map}/entries`, { key, value }),
  remove: (map: number, key: unknown) => done('DELETE', `/api/maps/${map}/entries`, { key }),
  captures: async () => (await json<{ readonly captures: readonly Capture[] }>('GET', '/api/captures')).captures,
  uploadCapture: (file: File) => json<Capture>('POST', `/api/captures?name=${encodeURIComponent(file.name)}`, file),
  runs: async () => (await json<{ readonly runs: readonly Run[] }>('GET', '/api/runs')).runs,
  run: (wanted: { readonly capture: string; readonly speed?: string; readonly loops?: number | null } | WantedLive) => json<Run>('POST', '/api/runs', wanted),
  control: (run: string, what: 'pause' | 'resume' | 'stop') => json<Run>('POST', `/api/runs/${run}/${what}`),
  seek: (run: string, packet: number) => json<Run>('POST', `/api/runs/${run}/seek`, { packet }),
  speed: (run: string, speed: string) => json<Run>('POST', `/api/runs/${run}/speed`, { speed }),
  statistics: () => json<Statistics>('GET', '/api/statistics'),
} as const;
