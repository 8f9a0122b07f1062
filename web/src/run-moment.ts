/** Answers and two sockets tell of a run, and what one says may overtake another. */

/** When something was said of a run: when that began, and how long it had run, which never goes back. */
export interface RunMoment {
  readonly startedAt: string;
  readonly elapsedNs: number;
}

/** Whether `one` was said before `other`, or of a run before. */
export function isBefore(one: RunMoment, other: RunMoment): boolean {
  return one.startedAt === other.startedAt ? one.elapsedNs < other.elapsedNs : one.startedAt < other.startedAt;
}
