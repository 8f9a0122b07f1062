/**
 * What several CPUs change. Where the state of programs is per flow, and a flow stays on one CPU, nothing: verdicts are
 * those of one CPU. Here is what programs do that may make a difference, and what makes all packets run on one.
 */
import type { Engine } from '../../engine/engine.ts';
import type { NetworkDevice } from '../../machine/network.ts';
import { helpersCalled } from '../loop/program-needs.ts';
import { SYMMETRIC_KEY } from '../receive-side-scaling.ts';

/** Timers belong to the lab, and not to a CPU. */
const TIMER_HELPERS = /^timer_/;

/** Helpers whose answers are a CPU's own, and what that means. */
const OF_CPU: Readonly<Record<string, string>> = {
  get_prandom_u32: 'each CPU has random numbers of its own',
  get_smp_processor_id: 'it asks which CPU it runs on',
};

/** Why all packets run on the first CPU, though there are others. */
export function whyOneCpu({ parallel, name }: Engine): string | undefined {
  if (parallel === undefined) return `the engine ${name} runs one`;
  const timed = parallel.loaded.find((program) => [...helpersCalled(program)].some((helper) => TIMER_HELPERS.test(helper)));
  return timed && `${timed.spec.name} uses bpf_timer, and timers run on one`;
}

/** What the order of packets decides in a map, by type. */
const BY_ORDER: Readonly<Record<string, string>> = {
  lru_hash: 'which entry leaves when it is full depends on the order in which CPUs come',
  lru_percpu_hash: 'which entry leaves when it is full depends on the order in which CPUs come',
  queue: 'its values stand in the order in which CPUs come',
  stack: 'its values stand in the order in which CPUs come',
};

/** What may make verdicts differ from those of one CPU, each in a line. */
export function differences({ loaded }: NonNullable<Engine['parallel']>, devices: readonly NetworkDevice[], cpus: number): readonly string[] {
  const maps = [...new Set(loaded.flatMap((program) => [...program.maps.values()]))];
  const lines = loaded.flatMap((program) => [...helpersCalled(program)].filter((helper) => helper in OF_CPU).map((helper) => `${program.spec.name} calls bpf_${helper}: ${OF_CPU[helper]}.`));
  lines.push(...maps.filter(({ type }) => type.name in BY_ORDER).map(({ name, type }) => `Map ${name} (${type.name}): ${BY_ORDER[type.name]}.`));
  const isShared = maps.some(({ type, frozen }) => !frozen && !type.perCpu && type.holds === 'bytes');
  const splits = devices.some(({ queues = cpus, rssKey }) => queues > 1 && (rssKey === undefined || !Buffer.from(rssKey).equals(SYMMETRIC_KEY)));
  if (isShared && splits) lines.push('The two directions of a flow may come to two CPUs; a device with rss_key: symmetric brings them to one.');
  return lines;
}
