/** Counters for Prometheus, read from the lab when somebody asks. */
import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';
import type { App } from '../app.ts';
import type { LabStatistics } from '../lab-service.ts';
import type { Context } from './context.ts';

export function addMetricRoutes(app: App, { host, stream }: Context): void {
  const registry = new Registry();
  const counter = <Label extends string>(name: string, help: string, labelNames: readonly Label[]): Counter<Label> => new Counter({ name, help, labelNames, registers: [registry] });
  const packets = counter('xdplab_packets_total', 'packets that went through the lab', []);
  const bytes = counter('xdplab_bytes_total', 'their bytes as they left', []);
  const verdicts = counter('xdplab_verdicts_total', 'what programs answered', ['device', 'hook', 'program', 'verdict']);
  const faults = counter('xdplab_faults_total', 'packets on which a program had to be stopped', ['device', 'hook', 'program']);
  const fates = counter('xdplab_fates_total', 'where packets went', ['fate']);
  const drops = counter('xdplab_drops_total', 'why packets were lost', ['reason']);
  const onCpu = counter('xdplab_cpu_packets_total', 'packets of a hook that a CPU ran', ['device', 'hook', 'cpu']);
  const bytesOnCpu = counter('xdplab_cpu_bytes_total', 'their bytes', ['device', 'hook', 'cpu']);
  const received = counter('xdplab_device_received_packets_total', 'packets that came in at a device', ['device']);
  const sent = counter('xdplab_device_sent_packets_total', 'packets that left through a device', ['device']);
  const busy = counter('xdplab_busy_seconds_total', 'time spent in the packet loop', []);
  const programs = new Gauge({ name: 'xdplab_programs', help: 'programs whose packets are counted, by whether they were verified', labelNames: ['verified'], registers: [registry] });
  const clients = new Gauge({ name: 'xdplab_stream_clients', help: 'clients of the stream', registers: [registry] });
  const running = new Gauge({ name: 'xdplab_run_running', help: '1 while a run is running', registers: [registry] });
  collectDefaultMetrics({ register: registry, prefix: 'xdplab_server_' });

  function take(statistics: LabStatistics): void {
    for (const one of [packets, bytes, verdicts, faults, fates, drops, onCpu, bytesOnCpu, received, sent, busy]) one.reset();
    packets.inc(statistics.packets);
    bytes.inc(statistics.bytes);
    busy.inc(statistics.busyNs / 1e9);
    for (const { device, hook, program, verdicts: counts, faults: stopped } of statistics.programs) {
      for (const { verdict, packets: count } of counts) verdicts.inc({ device, hook, program, verdict }, count);
      if (stopped > 0) faults.inc({ device, hook, program }, stopped);
    }
    for (const { fate, packets: count } of statistics.fates) fates.inc({ fate }, count);
    for (const { reason, packets: count } of statistics.reasons) drops.inc({ reason }, count);
    for (const { device, hook, cpus } of statistics.hooks) {
      for (const { cpu, packets: count, bytes: size } of cpus) {
        onCpu.inc({ device, hook, cpu }, count);
        bytesOnCpu.inc({ device, hook, cpu }, size);
      }
    }
    for (const { device, rxPackets, txPackets } of statistics.devices) {
      received.inc({ device }, rxPackets);
      sent.inc({ device }, txPackets);
    }
    for (const verified of [true, false]) programs.set({ verified: String(verified) }, statistics.programs.filter((program) => program.verified === verified).length);
    clients.set(stream.clients);
    running.set(statistics.run?.state === 'running' ? 1 : 0);
  }

  app.get('/metrics', { schema: { summary: 'counters for Prometheus', tags: ['statistics'], produces: ['text/plain'] } }, async (_request, reply) => {
    take(await host.call('statistics'));
    return reply.type(registry.contentType).serializer(String).send(await registry.metrics());
  });
}
