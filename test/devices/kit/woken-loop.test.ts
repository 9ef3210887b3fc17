import { expect, it, vi } from 'vitest';

import { CONTROL_BYTES, DeviceControl } from '../../../devices/kit/control.ts';
import { NEVER } from '../../../devices/kit/device.ts';
import type { Dma } from '../../../devices/kit/dma.ts';
import type { Endpoint } from '../../../devices/kit/endpoint.ts';
import { DeviceLoop } from '../../../devices/kit/loop.ts';
import { createPeerBox, PeerServer } from '../../../iommu/bus/peer-cycles.ts';
import type { RegisterPageServer } from '../../../iommu/bus/register-pages.ts';
import { leaveCpu } from '../../../platform/libc/cpu.ts';
import { MAILBOX_BYTES } from '../../../platform/mailbox.ts';
import { createSpinners, Spinners } from '../../../platform/spinners.ts';

vi.mock('../../../platform/libc/cpu.ts', () => ({ currentCpu: () => 5, leaveCpu: vi.fn(() => true) }));
vi.mock('../../../platform/libc/futex.ts', () => ({
  hasFutexWaitAny: () => true,
  futexWaitAny: () => {},
  futexWake: () => {},
}));

/**
 * Runs a worker that sleeps, is rung from CPU `cpu`, and serves one access. Returns how often it
 * asks for the time.
 */
function ringFrom(cpu: number): number {
  let clocks = 0;
  let slept = false;
  let looks = 0;
  const control = new DeviceControl(new SharedArrayBuffer(CONTROL_BYTES));
  const mailbox = new SharedArrayBuffer(MAILBOX_BYTES);
  const pages: Partial<RegisterPageServer> = {
    any: () => true,
    setAttentive: () => {},
    // the first look after fallAsleep is the last one before the sleep
    serve: () => slept && ++looks === 2,
    fallAsleep: () => {
      if (slept) control.requestStop(mailbox);
      slept = true;
      return [{ words: new Int32Array(1), index: 0, shared: true, seen: 1 }];
    },
    rangFrom: (ours) => ours === cpu,
  };
  new DeviceLoop({
    pages: pages as RegisterPageServer,
    spinners: new Spinners(createSpinners(), 1),
    endpoint: { run: () => NEVER } as unknown as Endpoint,
    mailbox,
    peers: new PeerServer(createPeerBox(), []),
    control,
    dma: { idle: () => {} } as unknown as Dma,
    clock: () => ++clocks,
    pollMemory: () => {},
    announce: () => {},
  }).run();
  return clocks;
}

it('a worker that was rung from its own CPU leaves that before it looks', () => {
  ringFrom(4);
  expect(leaveCpu).not.toHaveBeenCalled();
  ringFrom(5);
  expect(leaveCpu).toHaveBeenCalledTimes(1);
});

it('a worker without a deadline does not ask for the time', () => {
  expect(ringFrom(5)).toBe(0);
});
