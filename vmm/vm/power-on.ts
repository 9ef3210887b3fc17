/** Builds a VM from its command line. Errors of the user are SysErrors with one line. */
import { createMemory, Mapping } from '../../platform/memory.ts';
import { VfioDevice } from '../client/device.ts';
import { connectTask } from '../client/kernel-client.ts';
import { InterruptThread } from '../crew/interrupts/thread.ts';
import { startInterruptThread, startVcpuThread } from '../crew/threads.ts';
import { VcpuThread } from '../crew/vcpu/thread.ts';
import { InterruptRoutes } from '../machine/interrupt-routes.ts';
import { RAM_BASE } from '../machine/memory-map.ts';
import { type PassthroughState, probeFunction } from '../machine/passthrough.ts';
import { PassthroughHost } from '../passthrough/passthrough-host.ts';
import { Console } from './console.ts';
import { readImage } from './guest-image.ts';
import type { VmOptions } from './options.ts';
import { Vm } from './vm.ts';

/** A VM that is about to be powered on: vm.powerOn() starts the guest. */
export function buildVm(options: VmOptions): Vm {
  const { entry } = readImage(options.kernel, options.memory);
  const ramFd = createMemory('guest-ram', options.memory);
  const ram = new Mapping(ramFd, options.memory);
  const host = openHost(options, ram);
  const vcpu = new VcpuThread();
  const routes = new InterruptRoutes(vcpu.shared.routes);
  const functions = host ? probeDevices(host, routes) : [];
  const devices = host?.devices.map(({ description }) => description) ?? [];
  startVcpuThread(vcpu, { ram: ram.buffer, entry, devices }, host && connectTask(host.client.socketPath));
  vcpu.begin({ pci: { version: 1, functions } });
  return new Vm({
    options,
    vcpu,
    ramFd,
    ram,
    console: new Console(vcpu.shared),
    generation: 0,
    entry,
    runState: 'running',
    ...(host ? { host, interrupts: startInterrupts(vcpu, host) } : {}),
  });
}

function startInterrupts({ shared }: VcpuThread, { container }: PassthroughHost): InterruptThread {
  const interrupts = new InterruptThread(shared, container.fd);
  startInterruptThread(interrupts);
  interrupts.begin();
  return interrupts;
}

function openHost({ host, devices, memory }: VmOptions, ram: Mapping): PassthroughHost | undefined {
  if (host === undefined || devices.length === 0) return undefined;
  return PassthroughHost.open(host, devices, { iova: RAM_BASE, offset: 0, size: memory, vaddr: ram.vaddr });
}

/** What each device shows of itself, and a route per vector it can send. */
function probeDevices({ client, devices }: PassthroughHost, routes: InterruptRoutes): PassthroughState[] {
  return devices.map(({ description, msiEventfds }, i) =>
    probeFunction(new VfioDevice(description, client), {
      bdf: description.bdf,
      configSize: description.config.size,
      barSizes: description.bars.map(({ size }) => size),
      routes: msiEventfds.map((eventfd) => routes.add({ eventfd, slot: i + 1, identity: 0, delivered: 0 })),
    }),
  );
}
