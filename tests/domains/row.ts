/** What was found of one operator. */
export interface Row {
  readonly what: string;
  /** Operands, pairs of operands or combinations that were looked at, all of their members with them. */
  readonly looked: number;
  /** For how many of them more could have been said; undefined where nobody counted. */
  readonly inexact?: number;
  /** Linux says all that can be said, so `inexact` has to be 0. */
  readonly mustBeExact?: boolean;
  /** The first operands of which a member was lost, or more is claimed than holds. */
  readonly wrong?: string;
}

export const isGood = ({ wrong, inexact, mustBeExact }: Row): boolean => wrong === undefined && !(mustBeExact === true && inexact !== 0);

/** Counts as it goes. */
export class Tally {
  looked = 0;
  inexact = 0;
  wrong: string | undefined;

  /** `what` is asked for once. */
  lost(what: () => string): void {
    this.wrong ??= what();
  }

  row(what: string, exactness: 'must be exact' | 'counted' | 'not counted'): Row {
    const { looked, inexact, wrong } = this;
    return { what, looked, ...(exactness === 'not counted' ? {} : { inexact, mustBeExact: exactness === 'must be exact' }), ...(wrong === undefined ? {} : { wrong }) };
  }
}
