/** What routes work with. */
import type { Access } from '../access.ts';
import type { CaptureStore } from '../capture-store.ts';
import type { LabHost, LabSetting } from '../lab-host.ts';
import type { Jobs } from '../jobs.ts';
import type { ObjectStore } from '../object-store.ts';
import type { Runs } from '../runs.ts';
import type { Stream } from '../stream.ts';

export interface Context {
  readonly version: string;
  readonly access: Access;
  readonly host: LabHost;
  readonly jobs: Jobs;
  readonly objects: ObjectStore;
  readonly captures: CaptureStore;
  readonly runs: Runs;
  readonly stream: Stream;
  readonly mostUploadBytes: number;
  /** Of a lab that a client describes: engine, seed and so on are the user's who has started the server. */
  readonly sources: LabSetting['sources'];
  readonly proofsPath: string;
}
