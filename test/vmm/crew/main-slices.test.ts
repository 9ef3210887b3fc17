import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdRead, eventfdSignal } from '../../../platform/libc/eventfd.ts';
import { close } from '../../../platform/libc/fd.ts';
import { wholeOf } from '../../../platform/shared.ts';
import { InterruptThread } from '../../../vmm/crew/interrupts/thread.ts';
import { MainSlices } from '../../../vmm/crew/main-slices.ts';
import type { InitialState, VcpuMessage } from '../../../vmm/crew/vcpu/protocol.ts';
import { VcpuThread } from '../../../vmm/crew/vcpu/thread.ts';
import { createVmShared } from '../../../vmm/crew/vm-shared.ts';
import { REQUEST_EXIT, REQUEST_RESET, REQUEST_RUN, REQUEST_STOP } from '../../../vmm/machine/control/control-block.ts';
import { InterruptRoutes } from '../../../vmm/machine/shared/interrupt-routes.ts';
import { RAM_BASE } from '../../../vmm/machine/shared/memory-map.ts';

/**
 * Main in the place of the vCPU thread and the interrupt thread. The guest counts in a0 and waits:
 * addi a0,a0,1 · wfi · j -8
 */

const GUEST = [0x00150513, 0x10500073, 0xff9ff06f];
const POWER_ON: InitialState = { pci: { version: 3, functions: [] } };
const IDENTITY = 5;
/** x10, of x1–x31. */
const A0 = 9;

let vcpu: VcpuThread;
let interrupts: InterruptThread;
let ram: SharedArrayBuffer;
let said: VcpuMessage[];
let running: MainSlices[];
let device: number;
let hostFile: number;

beforeEach(() => {
  vcpu = new VcpuThread(createVmShared(1));
  said = [];
  vcpu.listen((message) => said.push(message));
  hostFile = eventfd();
  interrupts = new InterruptThread(vcpu.shared, { hostFile });
  ram = new SharedArrayBuffer(4 << 20);
  new Uint32Array(ram).set(GUEST);
  device = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  new InterruptRoutes(vcpu.shared.routes).add({ eventfd: device, slot: 1, identity: IDENTITY, delivered: 0 });
  running = [];
});

afterEach(() => {
  vcpu.request(REQUEST_EXIT);
  for (const slices of running) slices.end();
  for (const fd of [device, hostFile, interrupts.input.kick]) close(fd);
});

function newSlices(state: InitialState = POWER_ON): MainSlices {
  const machineParts = { ram: wholeOf(ram), entry: RAM_BASE, devices: [] };
  const slices = new MainSlices({ parts: { vcpu, interrupts }, machineParts }).begin(state);
  running.push(slices);
  return slices;
}

/** The same, after a reset, which is said and forgotten. */
function poweredOn(): MainSlices {
  const slices = newSlices();
  vcpu.request(REQUEST_RESET);
  slices.turn();
  said.length = 0;
  return slices;
}

const kinds = (): string[] => said.map(({ kind }) => kind);

/** Resolves when the vCPU says this, by the event loop's turns alone. */
function says(kind: VcpuMessage['kind']): Promise<VcpuMessage> {
  return new Promise((resolve) => {
    const stop = vcpu.listen((message) => {
      if (message.kind !== kind) return;
      stop();
      resolve(message);
    });
  });
}

describe('main, while the threads start', () => {
  it('runs the guest within the first turn', () => {
    const slices = poweredOn();
    vcpu.request(REQUEST_RUN);
    slices.turn();
    expect(kinds()).toEqual(['running']);
    expect(slices.end().state.harts[0]!.hart.x[A0]).toBe(1n);
  });

  it('obeys a stop request while the guest waits in WFI, and the next one', async () => {
    newSlices().turn(); // stopped from the start
    expect(kinds()).toEqual(['stopped']);
    vcpu.request(REQUEST_RUN);
    await says('running');
    const stopped = says('stopped');
    const request = vcpu.request(REQUEST_STOP);
    expect(await stopped).toMatchObject({ request });
    vcpu.request(REQUEST_RUN);
    await says('running');
  });

  it('resets the machine on request', async () => {
    const slices = poweredOn();
    vcpu.request(REQUEST_RUN);
    slices.turn();
    vcpu.request(REQUEST_RESET);
    await says('reset');
    expect(slices.end().state.harts[0]!.hart.x[A0]).toBe(0n);
  });

  it('leaves a state from which another goes on: nothing is done twice', () => {
    const slices = poweredOn();
    vcpu.request(REQUEST_RUN);
    slices.turn();
    const { state } = slices.end();
    slices.turn(); // one that was due
    const next = newSlices(state);
    next.turn();
    expect(kinds()).toEqual(['running', 'running']);
    expect(state.harts[0]!.hart.x[A0]).toBe(1n);
    expect(next.end().state.harts[0]!.hart.x[A0]).toBe(1n);
  });

  it('delivers interrupts once, and leaves in the eventfds what comes after its last turn', () => {
    const slices = newSlices();
    interrupts.request(REQUEST_RUN);
    eventfdSignal(device);
    eventfdSignal(device);
    slices.turn();
    slices.turn();
    const [route] = new InterruptRoutes(vcpu.shared.routes).save();
    expect(route).toMatchObject({ delivered: 2 });
    slices.end();
    eventfdSignal(device);
    slices.turn();
    expect(eventfdRead(device)).toBe(1);
  });

  it('takes no interrupts while they are parked', () => {
    const slices = newSlices();
    const heard: string[] = [];
    interrupts.listen(({ kind }) => heard.push(kind));
    interrupts.request(REQUEST_STOP);
    eventfdSignal(device);
    slices.turn();
    expect(heard).toEqual(['parked']);
    expect(eventfdRead(device)).toBe(1);
  });
});
