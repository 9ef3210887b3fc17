import { beforeEach, describe, expect, it } from 'vitest';
import { wholeOf } from '../../../../platform/shared.ts';
import { TaskChannel } from '../../../../vmm/client/task-channel.ts';
import type { VcpuMessage } from '../../../../vmm/crew/vcpu/protocol.ts';
import { buildVcpu } from '../../../../vmm/crew/vcpu/start.ts';
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

let main: VcpuThread;
let said: VcpuMessage[];
/** What main does as soon as it hears of something, as a thread of its own may at any moment. */
let react: (message: VcpuMessage) => void;

beforeEach(() => {
  main = new VcpuThread(createVmShared(1));
  said = [];
  react = () => {};
});

function vcpuWith(guest: readonly number[]): Vcpu {
  const ram = new SharedArrayBuffer(4 << 20);
  const vcpu = buildVcpu({
    shared: main.shared,
    parts: { ram: wholeOf(ram), entry: RAM_BASE, devices: [] },
    kernel: new TaskChannel(-1),
    state: { pci: { version: 2, functions: [] } },
    tell: (message) => {
      said.push(message);
      react(message);
    },
  });
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
