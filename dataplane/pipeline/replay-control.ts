/**
 * The hand on a replay while it runs: pause and go on, another pace, another place in the capture. The replay looks
 * here between two calls of the packet loop; a change ends its waiting at once.
 */
import type { Pace } from './pace.ts';

export class ReplayControl {
  /** Called after each change; replaced by the replay that looks here. */
  onChange: () => void = () => {};
  #isPaused: boolean;
  #pace: Pace;
  #place: number | undefined;

  constructor(options: { readonly pace?: Pace; readonly paused?: boolean } = {}) {
    this.#pace = options.pace ?? { kind: 'top' };
    this.#isPaused = options.paused ?? false;
  }

  get paused(): boolean {
    return this.#isPaused;
  }

  set paused(paused: boolean) {
    this.#isPaused = paused;
    this.onChange();
  }

  get pace(): Pace {
    return this.#pace;
  }

  set pace(pace: Pace) {
    this.#pace = pace;
    this.onChange();
  }

  /** Whether a place was asked for that the replay has not gone to yet. */
  get seeking(): boolean {
    return this.#place !== undefined;
  }

  /** The next packet to run is the one at that place in the capture, from 1. Those in between are not run. */
  seek(place: number): void {
    this.#place = place;
    this.onChange();
  }

  takePlace(): number | undefined {
    const place = this.#place;
    this.#place = undefined;
    return place;
  }
}
