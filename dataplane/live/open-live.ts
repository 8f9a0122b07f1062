/**
 * Opens interfaces for a lab: what gives their packets and, inline, what sends them. Nothing is opened that the request
 * does not name, and nothing is sent unless it says to where.
 */
import type { BackendName, CaptureBackend, LiveInterface, PacketSource, SourceOptions } from '../devices/device.ts';
import { FanoutRings } from '../devices/fanout-rings.ts';
import { BACKENDS } from '../devices/index.ts';
import { expectInlineFit } from '../devices/inline-check.ts';
import { liveInterface, usableInterface } from '../devices/interfaces.ts';
import { PacketSender } from '../devices/packet-sender.ts';
import { socketsLeft } from '../devices/packet-socket.ts';
import { XdplabError } from '../errors.ts';
import type { NetworkDevice } from '../machine/network.ts';
import type { DeviceOptions, Lab } from '../pipeline/lab.ts';
import { spreadOf } from '../pipeline/receive-side-scaling.ts';
import { Inline, type Port } from './inline.ts';
import { deviceOfEach, hasPrograms } from './live.ts';

export interface LiveRequest {
  readonly interface: string;
  /** Inline: what passes on one side leaves on the other. */
  readonly to?: string;
  /** Inline: the interfaces that further devices of the lab stand for. */
  readonly redirect?: readonly Redirect[];
  /** The first that can be used, unless said; inline takes af_packet. */
  readonly backend?: BackendName;
  readonly bufferBytes?: number;
  readonly snapLength?: number;
  readonly filter?: string;
  readonly promiscuous?: boolean;
}

export interface Redirect {
  readonly device: string;
  readonly to: string;
}

/** What is open while a run lasts. */
export interface OpenLive {
  readonly sources: readonly PacketSource[];
  readonly inline: Inline | undefined;
  close(): void;
}

/** The interfaces of those names, that can be used. */
export function usableInterfaces(names: readonly (string | undefined)[]): LiveInterface[] {
  return names.filter((name) => name !== undefined).map((name) => usableInterface(liveInterface(name)));
}

/** The device of a lab that stands for an interface. Inline it stands for every address behind it, so that none is another host's. */
export function deviceOf({ name, ifindex, mac, mtuBytes }: LiveInterface, isInline: boolean): DeviceOptions {
  return { name, ifindex, mtuBytes, ...(isInline ? {} : { mac }) };
}

/** Throws ERR_PRIVILEGE, ERR_DEVICE or ERR_LAB where nothing can be had of the interfaces. */
export async function openLive(lab: Lab, request: LiveRequest): Promise<OpenLive> {
  const { interface: name, to, redirect = [], promiscuous = false, bufferBytes, snapLength, filter } = request;
  const isInline = to !== undefined;
  const backend = chooseBackend(isInline ? 'af_packet' : request.backend);
  const interfaces = usableInterfaces([name, to]);
  const devices = deviceOfEach(lab, interfaces.map((each) => each.name));
  const closing: { close(): void }[] = [];
  const close = (): void => closing.splice(0).forEach((each) => each.close());
  try {
    const inline = isInline ? openInline(lab, interfaces, devices, redirect, closing) : undefined;
    const sources: PacketSource[] = [];
    for (const [index, each] of interfaces.entries()) {
      const hearsHost = !isInline && hasPrograms(lab, 'tc-egress', devices[index]!);
      const wanted: SourceOptions = {
        memory: lab.machine.memory,
        index,
        promiscuous: promiscuous || isInline,
        forwarding: isInline,
        ...(hearsHost ? { outgoingIndex: interfaces.length + index } : {}),
        ...(bufferBytes === undefined ? {} : { bufferBytes }),
        ...(snapLength === undefined ? {} : { snapLength }),
        ...(filter === undefined ? {} : { filter }),
      };
      const source = !isInline && backend.name === 'af_packet' && haveRingsEach(lab) ? new FanoutRings(each, wanted, { cpus: lab.machine.cpus, ...spreadOf(devices[index]!, lab.machine.cpus) }) : await backend.open(each, wanted);
      closing.push(source);
      sources.push(source);
    }
    return { sources, inline, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Whether CPUs read packets by themselves: where several run, and there is a socket for each. */
function haveRingsEach({ machine: { parallel, cpus }, pipeline }: Lab): boolean {
  return parallel && cpus > 1 && pipeline.oneCpu === undefined && (socketsLeft() ?? cpus) >= cpus;
}

function openInline(lab: Lab, interfaces: readonly LiveInterface[], devices: readonly NetworkDevice[], redirect: readonly Redirect[], closing: { close(): void }[]): Inline {
  expectInlineFit(interfaces);
  const hearing = devices.findIndex((device) => hasPrograms(lab, 'tc-egress', device));
  if (hearing >= 0) throw new XdplabError('ERR_LAB', `${interfaces[hearing]!.name}: a program is attached to TC egress, where the host sends, and inline it sends nothing; attach it to TC ingress`);
  const port = (device: NetworkDevice, to: LiveInterface): Port => {
    const sender = new PacketSender(to, lab.machine.memory);
    closing.push(sender);
    return { ifindex: device.ifindex, sender };
  };
  const [left, right] = interfaces.map((each, index) => port(devices[index]!, each));
  const others = redirect.map((each) => port(lab.device(each.device), usableInterface(liveInterface(each.to))));
  closing.push({ close: () => (lab.pipeline.onCopy = undefined) });
  return new Inline(lab, left!, right!, others);
}

/** The one that was asked for, else the first that can be used. Throws ERR_PRIVILEGE where there is none. */
function chooseBackend(wanted: BackendName | undefined): CaptureBackend {
  const reasons: string[] = [];
  for (const backend of BACKENDS) {
    if (wanted !== undefined && backend.name !== wanted) continue;
    const missing = backend.missing();
    if (missing === undefined) return backend;
    reasons.push(`${backend.name}: ${missing}`);
  }
  throw new XdplabError('ERR_PRIVILEGE', `no packets can be had here: ${reasons.join('; ')}`);
}
