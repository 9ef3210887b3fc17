import { beforeEach, describe, expect, it } from 'vitest';

import { InterruptPage, RUNS } from '../../../../iommu/abi/interrupt-page.ts';
import { postInterrupt } from '../../../../iommu/bus/posted-interrupts.ts';
import { int32s, newPart, wholeOf } from '../../../../platform/shared.ts';
import { type FileCalls, TaskChannel } from '../../../../vmm/client/task-channel.ts';
import { Publication } from '../../../../vmm/crew/publication.ts';
import type { VcpuMessage } from '../../../../vmm/crew/vcpu/protocol.ts';
import { buildVcpu, type VcpuOptions } from '../../../../vmm/crew/vcpu/start.ts';
import { VcpuThread } from '../../../../vmm/crew/vcpu/thread.ts';
import type { Vcpu } from '../../../../vmm/crew/vcpu/vcpu.ts';
import { createVmShared } from '../../../../vmm/crew/vm-shared.ts';
import {
  REQUEST_EXIT,
  REQUEST_RESET,
  REQUEST_RUN,
  REQUEST_STOP,
} from '../../../../vmm/machine/control/control-block.ts';
import { RAM_BASE } from '../../../../vmm/machine/shared/memory-map.ts';
import type { PassthroughState } from '../../../../vmm/machine/shared/passthrough.ts';

/**
 * lui a0, 0x100 (the test finisher) · lui a1, value >> 12 · addi a1, a1, value & 0xfff · sw a1,
 * 0(a0) · j .
 */
const tellsFinisher = (value: number): number[] => [
  0x00100537,
  (value & 0xffff_f000) | 0x5b7,
  ((value & 0xfff) << 20) | 0x58593,
  0x00b52023,
  0x0000006f,
];
const POWEROFF = 0x5555;
const RESET = 0x7777;

const DESCRIPTION = {
  ...{ bdf: '0000:00:01.0', fd: 5, resettable: false, bars: [], config: { offset: 0, size: 256 } },
  ...{ msiVectors: 1, msixVectors: 0, rom: { offset: 0, size: 0 } },
};
const FUNCTION: PassthroughState = {
  ...{ bdf: '0000:00:01.0', configSize: 256, layout: [], command: 0, bars: [], msi: null },
  ...{ version: 3, msix: null, rom: null, armed: false, routes: [0] },
};
/** A kernel whose devices do nothing. */
const SILENT: FileCalls = { ioctl: () => 0, ioctls: () => {}, pread: () => 0, pwrite: () => 0 };

let main: VcpuThread;
let said: VcpuMessage[];
/** What main does as soon as it hears of something, as a thread of its own may at any moment. */
let react: (message: VcpuMessage) => void;

beforeEach(() => {
  main = new VcpuThread(createVmShared(1));
  said = [];
  react = () => {};
});

/** `device`: what it has of a passed-through device. */
function vcpuWith(guest: readonly number[], device?: Pick<VcpuOptions, 'interruptPages'>): Vcpu {
  const ram = new SharedArrayBuffer(4 << 20);
  const vcpu = buildVcpu({
    ...device,
    shared: main.shared,
    parts: { ram: wholeOf(ram), entry: RAM_BASE, devices: device ? [DESCRIPTION] : [] },
    kernel: device ? SILENT : new TaskChannel(-1),
    tell: (message) => {
      said.push(message);
      react(message);
    },
  }).begin({ pci: { version: 3, functions: device ? [FUNCTION] : [] } });
  main.request(REQUEST_RESET);
  vcpu.turn();
  new Uint32Array(ram).set(guest);
  said.length = 0;
  return vcpu;
}

/** Turns until the vCPU says this. */
function turnsUntil(vcpu: Vcpu, kind: VcpuMessage['kind']): VcpuMessage {
  const heard = (): VcpuMessage | undefined => said.find((message) => message.kind === kind);
  for (let turns = 0; turns < 100 && !heard(); turns++) vcpu.turn();
  return heard()!;
}

describe('a vCPU that stops itself', () => {
  it.each([
    ['its guest powers off', POWEROFF, 'poweroff'],
    ['its guest resets the machine', RESET, 'reset'],
  ] as const)('waits for what main decides: %s', (_what, value, kind) => {
    const vcpu = vcpuWith(tellsFinisher(value));
    main.request(REQUEST_RUN);
    expect(turnsUntil(vcpu, kind)).toBeDefined();
    expect(vcpu.turn().kind).toBe('stopped');
    const request = main.request(REQUEST_RUN);
    expect(vcpu.turn().kind).not.toBe('stopped');
    expect(request).toBeGreaterThan(0);
  });

  it.each([
    ['to stop, its guest powering off', POWEROFF, REQUEST_STOP],
    ['to reset, its guest powering off', POWEROFF, REQUEST_RESET],
    ['to leave, its guest powering off', POWEROFF, REQUEST_EXIT],
    ['to stop, its guest resetting', RESET, REQUEST_STOP],
    ['to leave, its guest resetting', RESET, REQUEST_EXIT],
  ])('obeys the request that main has made meanwhile: %s', (_what, value, what) => {
    const vcpu = vcpuWith(tellsFinisher(value));
    let request = -1;
    react = ({ kind }) => {
      // in the very slice in which it stops itself
      if (kind === 'running') request = main.request(what);
    };
    main.request(REQUEST_RUN);
    turnsUntil(vcpu, value === POWEROFF ? 'poweroff' : 'reset');
    said.length = 0;
    const rest = vcpu.turn();
    expect({ rest: rest.kind, said }).toMatchObject(
      {
        [REQUEST_STOP]: { rest: 'stopped', said: [{ kind: 'stopped', request }] },
        [REQUEST_RESET]: { rest: 'run', said: [{ kind: 'reset' }] },
        [REQUEST_EXIT]: { rest: 'exit', said: [] },
      }[what]!,
    );
  });
});

describe('a vCPU with a device that posts interrupts', () => {
  const SPINS = [0x0000006f]; // j .
  const SLEEPS = [0x10500073, 0xffdff06f]; // wfi; j -4
  const page = newPart(4096);
  const words = int32s(page);
  const takesPosted = (): boolean => words[InterruptPage.word.thread] === RUNS;
  beforeEach(() => {
    words.fill(0);
    main = new VcpuThread(createVmShared(1));
  });

  it('takes them while it runs, and no more when it has stopped', () => {
    const vcpu = vcpuWith(SPINS, { interruptPages: [page] });
    main.request(REQUEST_RUN);
    vcpu.turn();
    const running = takesPosted();
    main.request(REQUEST_STOP);
    vcpu.turn();

    expect([running, takesPosted()]).toEqual([true, false]);
  });

  it('takes none in its sleep', () => {
    const vcpu = vcpuWith(SLEEPS, { interruptPages: [page] });
    main.request(REQUEST_RUN);

    expect([vcpu.turn().kind, takesPosted()]).toEqual(['wfi', false]);
  });

  it('does not sleep when one has come just before', () => {
    const vcpu = vcpuWith(SLEEPS, { interruptPages: [page] });
    react = ({ kind }) => {
      if (kind === 'running') postInterrupt(words, 0, 0, () => {}); // after the hart has begun to wait
    };
    main.request(REQUEST_RUN);

    expect([vcpu.turn().kind, vcpu.turn().kind]).toEqual(['run', 'wfi']);
  });

  it('takes none while its states are published: one that it had in hand would be lost with it', () => {
    const vcpu = vcpuWith(SPINS, { interruptPages: [page] });
    main.request(REQUEST_RUN);
    vcpu.turn();
    new Publication(main.shared.publication).wanted = true;
    vcpu.turn();

    expect(takesPosted()).toBe(false);
  });
});
