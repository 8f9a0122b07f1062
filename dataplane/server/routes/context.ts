/** What routes work with. */
import type { Access } from '../access.ts';
import type { CaptureStore } from '../capture-store.ts';
import type { LabHost, LabSetting } from '../lab-host.ts';
import type { LiveRequest } from '../live-run.ts';
import type { Jobs } from '../jobs.ts';
import type { ObjectStore } from '../object-store.ts';
import type { Runs } from '../runs.ts';
import type { Stream } from '../stream.ts';

export interface LiveOptions extends Pick<LiveRequest, 'interface' | 'promiscuous'> {
  /** The interface that packets may leave by, where a client asks for that. */
  readonly allowInline?: string;
  /** Whether a client may have the running Linux attach the lab's programs to it. */
  readonly allowAttach?: boolean;
}

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
  /** The interface that the user of this machine has named; a client may start it again, and no other; and send by none but the one that is allowed. */
  readonly live: LiveOptions | undefined;
  /** Of a lab that a client describes: engine, seed and so on are the user's who has started the server. */
  readonly sources: LabSetting['sources'];
  readonly proofsPath: string;
}
