/** A report of one program on two engines, as a run would give it. */
import type { BenchReport } from '../../dataplane/measure/bench-report.ts';
import { summarizeTurns, type TurnSummary } from '../../dataplane/measure/sample-summary.ts';

export function series(ns: number): TurnSummary {
  return summarizeTurns([0.99, 1, 1.01, 1, 0.98, 1.02, 1].map((factor) => [ns * factor, ns * factor]));
}

export function report(wasm = 50, instructions = 200): BenchReport {
  const metric = (mean: number) => ({ mean, median: mean, min: mean, max: mean * 1.5 });
  return {
    kind: 'xdplab bench',
    measuredAt: '2026-01-01T00:00:00.000Z',
    machine: { cpu: 'test', cores: 2, memoryGib: 8, system: 'Linux', node: 'v20', v8: '11', tier: 'wasm', load: 0 },
    tiers: { wasm: 'optimising', kernel: 'Linux JIT' },
    workload: { text: '<1,000 flows>', packets: 4000, opening: 1000, meanBytes: 64 },
    settings: { runs: 7, durationSeconds: 1, warmupSeconds: 0.1, freshMaps: false },
    programs: [
      {
        name: 'lb',
        hook: 'xdp',
        nsPerPacket: { wasm, wasmNet: wasm - 20, kernel: 100, kernelNet: 75 },
        packetsPerSecond: { wasm: 1e9 / wasm, kernel: 1e7 },
        speedupVsKernelNet: 75 / wasm,
        series: { wasm: series(wasm), kernel: series(100) },
        fates: 'redirected 100.0 %',
        cost: {
          packets: 4000,
          perPacket: { instructions: metric(instructions), helperCalls: { ...metric(9) }, mapProbes: metric(7), bytesTouched: metric(900) },
          helpers: [{ helper: 'map_lookup_elem', callsPerPacket: 7 }],
          maps: [{ map: 'flows', type: 'lru_hash', lookups: 10, hits: 9, inserts: 1, updates: 0, deletions: 0, evictions: 0 }],
        },
        missing: [{ engine: 'interpreter', why: 'nobody asked' }],
      },
    ],
    noise: { controlSpread: 0.01, switchesPerSecond: 1, stolen: 0, rows: [], warnings: [] },
  };
}
