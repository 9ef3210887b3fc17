/** MSI-X of a passed-through function (PCI 3.0 §6.8.2; PCI-12: the real table is SET_IRQS's). */
import { beforeEach, describe, expect, it } from 'vitest';

import { interruptTarget } from '../../../../vmm/machine/hart-local/interrupt-target.ts';
import {
  PassthroughFunction,
  type PassthroughState,
  probeFunction,
} from '../../../../vmm/machine/shared/passthrough.ts';
import { PCI_SECTION } from '../../../../vmm/machine/shared/shared-machine.ts';
import { FakeDeviceAccess } from '../../../fakes/fake-device-access.ts';

const CAP = 0x50;
const TABLE_BAR = 1;
const TABLE = 0x100;
const PBA = 0x800;
const SETEIPNUM = 0x2400_0000;
const ENABLE = 0x8000;
const MASK_ALL = 0x4000;
const [E0, E1, E2] = [70, 71, 72];

let device: FakeDeviceAccess;
let identities: number[];
let fn: PassthroughFunction;

const router = {
  eventfd: (route: number) => 60 + route,
  setIdentity: (route: number, identity: number) => {
    identities[route] = identity;
  },
};

/** A device with MSI at 40 and MSI-X at 50: three vectors, their table at 100 of BAR 1. */
beforeEach(() => {
  device = new FakeDeviceAccess();
  const view = new DataView(device.config.buffer);
  view.setUint8(0x41, CAP);
  view.setUint32(CAP, 0x0002_0011, true);
  view.setUint32(CAP + 4, TABLE | TABLE_BAR, true);
  view.setUint32(CAP + 8, PBA | TABLE_BAR, true);
  identities = [];
  const barSizes = [4096, 4096, 0, 0, 0, 0];
  plugIn(probeFunction(device, { bdf: '0000:00:02.0', configSize: 256, barSizes, romSize: 0, routes: [10, 11, 12] }));
  fn.writeConfig(4, 2, 6);
  device.calls.length = 0;
});

function plugIn(state: PassthroughState): void {
  fn = new PassthroughFunction(device, router);
  fn.restore(state);
}

const control = (value: number): void => fn.writeConfig(CAP + 2, 2, value);
const store = (vector: number, at: number, value: number): void =>
  fn.storeBar(TABLE_BAR, TABLE + 16 * vector + at, 4, BigInt(value));
const load = (vector: number, at: number): number => Number(fn.loadBar(TABLE_BAR, TABLE + 16 * vector + at, 4));

/** Vector n leads to identity n + 1, and is not masked. */
function program(vector: number): void {
  store(vector, 0, SETEIPNUM);
  store(vector, 8, vector + 1);
  store(vector, 12, 0);
}

const routes = (): (number | undefined)[] => [10, 11, 12].map((route) => identities[route]);

describe('the table', () => {
  it('is the guest’s own, and masked at first; the device is not asked', () => {
    device.bar.fill(0x55);
    expect([0, 4, 8, 12].map((at) => load(1, at))).toEqual([0, 0, 0, 1]);
    fn.storeBar(TABLE_BAR, TABLE + 16, 8, 0x1234_5678_9abc_def0n);
    store(1, 12, 0xffff_fffe);
    expect([fn.loadBar(TABLE_BAR, TABLE + 16, 8), load(1, 12)]).toEqual([0x1234_5678_9abc_def0n, 0]);
    expect(device.bar.every((byte) => byte === 0x55)).toBe(true);
  });

  it('takes no access that is too small or not aligned', () => {
    fn.storeBar(TABLE_BAR, TABLE, 2, 0xffffn);
    fn.storeBar(TABLE_BAR, TABLE - 4, 8, -1n & 0xffff_ffff_ffff_ffffn);
    expect([load(0, 0), fn.loadBar(TABLE_BAR, TABLE, 1)]).toEqual([0, 0n]);
  });

  it('is in one BAR only, and the pending bits are the device’s', () => {
    device.bar.fill(0x55);
    expect(fn.loadBar(0, TABLE, 4)).toBe(0x5555_5555n);
    expect(fn.loadBar(TABLE_BAR, PBA, 4)).toBe(0x5555_5555n);
  });

  it('shows the capability as the device has it, with the guest’s control', () => {
    control(0xffff);
    expect([0, 4, 8].map((at) => fn.readConfig(CAP + at, 4))).toEqual([0xc002_0011, 0x101, 0x801]);
    fn.writeConfig(CAP + 4, 4, 0);
    expect(fn.readConfig(CAP + 4, 4)).toBe(0x101);
  });
});

describe('interrupts', () => {
  it('each vector that may send has its eventfd, and leads to its own identity', () => {
    [0, 2].forEach(program);
    control(ENABLE);
    expect(device.calls).toEqual([`arm-x 0: ${E0},-1,${E2}`]);
    expect(routes()).toEqual([1, 0, 3]);
  });

  it('a mask takes the eventfd away and keeps the identity, for what is on its way', () => {
    [0, 1, 2].forEach(program);
    control(ENABLE);
    store(1, 12, 1);
    store(1, 12, 1);
    expect(routes()).toEqual([1, 2, 3]);
    store(1, 8, 9);
    store(1, 12, 0);
    expect(device.calls).toEqual([`arm-x 0: ${E0},${E1},${E2}`, 'arm-x 1: -1', `arm-x 1: ${E1}`]);
    expect(routes()).toEqual([1, 9, 3]);
  });

  it('so does the mask of the function, in one call', () => {
    [0, 2].forEach(program);
    control(ENABLE | MASK_ALL);
    control(ENABLE);
    control(ENABLE | MASK_ALL);
    expect(device.calls).toEqual(['arm-x 0: -1,-1,-1', `arm-x 0: ${E0},-1,${E2}`, 'arm-x 0: -1,-1,-1']);
  });

  it('lead nowhere and have no eventfd when MSI-X is disabled', () => {
    program(0);
    control(ENABLE);
    control(0);
    expect(device.calls.slice(1)).toEqual(['disarm-x']);
    expect(routes()).toEqual([0, 0, 0]);
  });

  it('MSI goes before MSI-X comes, and comes back when it goes', () => {
    fn.writeConfig(0x44, 4, SETEIPNUM);
    fn.writeConfig(0x4c, 2, 9);
    fn.writeConfig(0x42, 2, 1);
    program(0);
    control(ENABLE);
    const both = routes();
    control(0);
    expect(device.calls).toEqual([`arm ${E0}`, 'disarm', `arm-x 0: ${E0},-1,-1`, 'disarm-x', `arm ${E0}`]);
    expect([both, routes()]).toEqual([
      [1, 0, 0],
      [9, 0, 0],
    ]);
  });

  it('leads to the interrupt file of the hart that the message names', () => {
    program(0);
    store(0, 0, SETEIPNUM + 0x3000);
    control(ENABLE);
    expect(routes()).toEqual([interruptTarget(3, 1), 0, 0]);
  });

  it('goes nowhere with data that no interrupt file has as identity', () => {
    program(0);
    store(0, 8, 0x1_0005);
    control(ENABLE);
    expect(routes()).toEqual([0, 0, 0]);
  });
});

describe('state', () => {
  it('goes on without touching the device', () => {
    [0, 2].forEach(program);
    control(ENABLE);
    const state = structuredClone(fn.save());
    device.calls.length = 0;
    plugIn(state);
    expect(device.calls).toEqual([]);
    expect([load(2, 0), load(2, 8), load(1, 12), fn.readConfig(CAP + 2, 2)]).toEqual([SETEIPNUM, 3, 1, 0x8002]);
    store(2, 12, 1);
    control(0);
    expect(device.calls).toEqual(['arm-x 2: -1', 'disarm-x']);
    expect(fn.save()).not.toEqual(state);
  });

  it('is as at power-on after a reset', () => {
    const before = fn.save();
    program(0);
    control(ENABLE);
    fn.reset();
    expect(device.calls.slice(1, 2)).toEqual(['disarm-x']);
    expect(fn.save()).toEqual({ ...before, command: 0, bars: [0, 0, 0, 0, 0, 0] });
  });

  it('of version 1 has no MSI-X, and one with it cannot be written so', () => {
    const { msix, rom, ...state } = fn.save();
    const old = { version: 1, functions: [{ ...state, version: 1 }] };
    const read = PCI_SECTION.decode(old);
    expect(read.functions).toEqual([{ ...state, msix: null, rom }]);
    expect(PCI_SECTION.encode(read, 1)).toEqual(old);
    expect(() => PCI_SECTION.encode(PCI_SECTION.of({ functions: [{ ...state, msix, rom }] }), 1)).toThrow('has MSI-X');
  });
});
