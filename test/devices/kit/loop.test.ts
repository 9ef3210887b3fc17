import { describe, expect, it } from 'vitest';

import {
  CONTROL_BYTES,
  DeviceControl,
  type DeviceState,
  HALTED,
  RUNNING,
  STOPPED,
} from '../../../devices/kit/control.ts';
import { type Bus, type DeviceType, NEVER } from '../../../devices/kit/device.ts';
import { Endpoint } from '../../../devices/kit/endpoint.ts';
import { DeviceLoop } from '../../../devices/kit/loop.ts';
import { createPeerBox, PeerServer } from '../../../iommu/bus/peer-cycles.ts';
import { createRegisterPages, RegisterPageServer } from '../../../iommu/bus/register-pages.ts';
import { MAILBOX_BYTES, ringBell } from '../../../platform/mailbox.ts';
import { createSpinners, Spinners } from '../../../platform/spinners.ts';
import { BenchLine, BenchMemory, BenchRecord } from '../bench.ts';

/** A loop around a device whose slices the test writes; everything on this thread. */
function plug(run: (bus: Bus) => number) {
  const mailbox = new SharedArrayBuffer(MAILBOX_BYTES);
  const control = new DeviceControl(new SharedArrayBuffer(CONTROL_BYTES));
  const memory = new BenchMemory();
  const states: DeviceState[] = [];
  /** How often the port had gone idle when each state was announced. */
  const idlesAt: number[] = [];
  let polls = 0;
  const type: DeviceType = {
    name: 'probe',
    identity: {
      vendor: 1,
      device: 2,
      classCode: 0,
      revision: 0,
      subsystemVendor: 0,
      subsystem: 0,
      interruptPin: 0,
    },
    bars: () => [],
    msi: false,
    summary: 'a test',
    properties: {},
    defects: [],
    create: (bus) => ({ bars: {}, run: () => run(bus) }),
  };
  const clock = () => performance.now() * 1e6;
  const slot = {
    dma: memory,
    line: new BenchLine(),
    clock,
    timeline: new BenchRecord(),
    control,
    memoryBars: { setDecoding: () => {} },
  };
  const loop = new DeviceLoop({
    pages: new RegisterPageServer(createRegisterPages(), new SharedArrayBuffer(0)),
    spinners: new Spinners(createSpinners()),
    endpoint: new Endpoint(type, slot, {}),
    mailbox,
    peers: new PeerServer(createPeerBox(), []),
    control,
    dma: memory,
    clock,
    pollMemory: () => {
      polls++;
    },
    announce: (state) => {
      states.push(state);
      idlesAt.push(memory.idles);
    },
  });
  return { loop, control, mailbox, memory, states, idlesAt, polls: () => polls };
}

describe('device loop', () => {
  it('leaves on stop, with the DMA port idle, and says so', () => {
    let slices = 0;
    const { loop, control, mailbox, memory, states } = plug(() => {
      if (++slices === 3) control.requestStop(mailbox);
      return 0;
    });

    loop.run();

    expect(slices).toBe(3);
    expect(states).toEqual([RUNNING, STOPPED]);
    expect(memory.idles).toBe(4);
  });

  it('is idle after each slice, before it sleeps', () => {
    const { loop, memory } = plug(() => NEVER);

    const deadline = loop.turn();

    expect(deadline).toBe(NEVER);
    expect(memory.idles).toBe(1);
  });

  it('sleeps until the deadline of the device', () => {
    const due: number[] = [];
    const { loop, control, mailbox } = plug(({ clock }) => {
      due.push(clock());
      if (due.length === 2) control.requestStop(mailbox);
      return clock() + 20e6;
    });

    loop.run();

    expect(due[1]! - due[0]!).toBeGreaterThan(19e6);
  });

  it('a halt stops the slices and not the loop; resuming goes on', () => {
    let slices = 0;
    const { loop, control, mailbox, states } = plug(() => {
      slices++;
      return NEVER;
    });
    loop.turn();

    control.requestHalt(mailbox, true);
    loop.turn();
    loop.turn();
    const halted = slices;
    control.requestHalt(mailbox, false);
    loop.turn();

    expect(halted).toBe(1);
    expect(slices).toBe(2);
    expect(states).toEqual([RUNNING, HALTED, RUNNING]);
  });

  it('is halted, and says so, only when its DMA port is idle', () => {
    const { loop, control, mailbox, idlesAt } = plug(() => NEVER);
    loop.turn();
    control.requestHalt(mailbox, true);
    loop.turn();
    expect(idlesAt).toEqual([0, 2]);
  });

  it('looks at its memory port when it is rung, not in each turn', () => {
    const { loop, mailbox, polls } = plug(() => 0);
    loop.turn();
    loop.turn();
    const before = polls();

    ringBell(mailbox);
    loop.turn();
    loop.turn();

    expect(before).toBe(1);
    expect(polls()).toBe(2);
  });

  it('a device that throws leaves the DMA port idle, so that no fence waits for it', () => {
    const { loop, memory, states } = plug(() => {
      throw new Error('bug');
    });

    expect(() => loop.run()).toThrow('bug');
    expect(memory.idles).toBe(1);
    expect(states).toEqual([RUNNING, STOPPED]);
  });
});
