/**
 * Builds a device worker from the data that the board gave it, and runs its loop until the board
 * says stop.
 */
import { BarGate } from '../../iommu/bus/bar-gate.ts';
import { changesFrom } from '../../iommu/bus/change-port.ts';
import { eventfdSources, IntxLine } from '../../iommu/bus/interrupts.ts';
import { PeerRequester, PeerServer } from '../../iommu/bus/peer-cycles.ts';
import { PhysicalMemory } from '../../iommu/bus/physical.ts';
import { RegisterPageServer } from '../../iommu/bus/register-pages.ts';
import { Timeline } from '../../iommu/bus/timeline.ts';
import { DmaPort } from '../../iommu/hardware/port.ts';
import { monotonicNs } from '../../platform/clock.ts';
import { setTimerSlack } from '../../platform/libc/this-process.ts';
import { Spinners } from '../../platform/spinners.ts';
import { DeviceControl } from './control.ts';
import type { DeviceType } from './device.ts';
import { Endpoint } from './endpoint.ts';
import { DeviceLoop } from './loop.ts';
import { MediatedDma, type MediatedDmaOptions } from './mediated-dma.ts';
import type { DeviceMessage, DeviceWorkerData } from './protocol.ts';

/**
 * The wire of the fault queue, which leads nowhere: kernels of this board read the fault queue when
 * asked, and leave its interrupt disabled.
 */
const NO_WIRE = (): void => {};

export function runDevice(type: DeviceType, data: DeviceWorkerData, say: (message: DeviceMessage) => void): void {
  const control = new DeviceControl(data.control);
  const requester = new PeerRequester({
    number: data.bdf >>> 3,
    mailbox: data.mailbox,
    serve: () => port.inside(() => loop.serve()),
    stopping: () => control.stopping(),
  });
  const physical = new PhysicalMemory(data.physical, changesFrom(data.physicalPort), requester);
  const port = dmaPort(data, physical);
  const spinners = new Spinners(data.spinners);
  const dma = data.mediated ? mediatedDma(data, data.mediated, { control, spinners, serve: () => loop.serve() }) : port;
  const slot = {
    dma,
    line: new IntxLine(data.intx, eventfdSources(data.interrupts)),
    clock: monotonicNs,
    timeline: new Timeline(data.timeline),
    control,
    memoryBars: new BarGate(data.barGate),
    serial: data.bdf,
    files: data.files,
    serve: () => loop.serve(),
    rom: data.rom,
  };
  const endpoint = new Endpoint(type, slot, data.properties);
  endpoint.boot(data.barAddresses, data.interruptLine);
  const loop: DeviceLoop = new DeviceLoop({
    endpoint,
    mailbox: data.mailbox,
    peers: new PeerServer(data.peerBox, data.bells),
    pages: new RegisterPageServer(data.registerPages, data.pages),
    spinners,
    control,
    dma,
    clock: monotonicNs,
    pollMemory: () => physical.poll(),
    announce: (state) => say({ state }),
  });
  setTimerSlack(1); // a device's deadlines are as exact as its clock
  loop.run();
  endpoint.end();
}

function dmaPort(data: DeviceWorkerData, physical: PhysicalMemory): DmaPort {
  return new DmaPort({
    ...(data.unit ? { unit: data.unit } : {}),
    agent: data.agent,
    did: data.bdf,
    physical,
    wire: NO_WIRE,
    counters: data.counters,
  });
}

function mediatedDma(
  { mailbox, counters }: DeviceWorkerData,
  { channel, port }: NonNullable<DeviceWorkerData['mediated']>,
  rest: Pick<MediatedDmaOptions, 'control' | 'spinners' | 'serve'>,
): MediatedDma {
  return new MediatedDma({ channel, mailbox, counters, tell: () => port.postMessage(undefined), ...rest });
}
