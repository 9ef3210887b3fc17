import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { HostInfo } from '../../iommu/abi/control.ts';
import { HostClient } from '../../tools/clients/host-client.ts';
import type { QmpClient } from '../../tools/clients/qmp-client.ts';
import { HostProcess } from '../../tools/launch/host.ts';
import { turncoat } from '../vmm/successors.ts';
import { updateEnded, VmmProcess } from '../vmm/vmm-process.ts';

/**
 * Exec updates with real devices that DMA all the time: a host process, VMM processes, the demo
 * guest (docs/DESIGN.md, "Invariants", 2–5).
 */

const TIMEOUT_MS = 90_000;
const PROBATION_MS = 50;
const EDU = 'edu,dma-latency-ms=0,dma-mask=0xffffffffffffffff';

let host: HostProcess;
let board: HostClient;
let hostAlive: boolean;
const vmms: VmmProcess[] = [];

async function startHost(...devices: string[]): Promise<void> {
  host = await HostProcess.start(devices);
  board = new HostClient(host.socket);
  hostAlive = true;
}

async function stopHost(): Promise<void> {
  if (!hostAlive) return;
  hostAlive = false;
  board.close();
  await host.stop();
}

/** A VMM with these devices of the host, by index; its guest has found them. */
async function startVmm(devices: readonly number[], ...args: string[]): Promise<VmmProcess> {
  const passed = devices.flatMap((index) => ['--device', `vfio-pci,host=${host.devices[index]!.bdf}`]);
  const vmm = new VmmProcess('demo', '--host', host.socket, ...passed, ...args);
  vmms.push(vmm);
  await vmm.prints(/demo: .*\n/);
  return vmm;
}

async function update(qmp: QmpClient, args?: Record<string, string>): Promise<Record<string, unknown>> {
  const ended = qmp.nextEvent(updateEnded, TIMEOUT_MS);
  await Promise.all([qmp.execute('live-update', { probation: PROBATION_MS, ...args }), ended]);
  return (await ended).data;
}

const info = (): HostInfo => board.ask({ op: 'info' });
const pteWrites = (): number => info().units.reduce((sum, unit) => sum + unit.pteWrites, 0);
const faults = (): number => info().devices.reduce((sum, device) => sum + device.faults, 0);

/** Frames per interrupt, as the demo guest sets its capture device up. */
const FRAMES_PER_INTERRUPT = 16;
const raised = (): number => info().devices.reduce((sum, device) => sum + device.interruptsRaised, 0);

/**
 * Resolves when the guest has checked every frame that `bdf` had interrupted for by now, however
 * late that is.
 */
async function caughtUp(vmm: VmmProcess, bdf: string): Promise<void> {
  const { interruptsRaised } = info().devices.find((device) => device.bdf === bdf)!;
  for (let seen = 0; seen < interruptsRaised * FRAMES_PER_INTERRUPT; ) {
    const { framesChecked, framesLost } = await vmm.stats();
    seen = framesChecked! + framesLost!;
  }
}

async function delivered(qmp: QmpClient): Promise<number> {
  const { devices } = (await qmp.execute('x-interrupts')) as { devices: { delivered: number }[] };
  return devices.reduce((sum, device) => sum + device.delivered, 0);
}

interface DmaWindow {
  readonly ms: number;
  readonly transactions: number;
  readonly bytes: number;
}

/** The answer to query-migrate. */
interface Migrated {
  readonly 'x-live-update': {
    readonly dma: readonly {
      readonly bdf: string;
      readonly before: DmaWindow;
      readonly during: DmaWindow;
      readonly after: DmaWindow;
    }[];
  };
}

/** A time of the report in whole milliseconds. */
const ms = (round: (n: number) => number, ns: unknown): number => round(Number(ns) / 1e6) * 1e6;

const NOTHING_LOST = { factorialsBad: 0, dmaRoundTripsBad: 0, framesLost: 0, framesCorrupt: 0 };

afterEach(async () => {
  const left = await Promise.all(vmms.splice(0).map((vmm) => vmm.end()));
  await stopHost();
  expect(left.flat()).toEqual([]);
});

describe('an exec update with passed-through devices', () => {
  let vmm: VmmProcess;
  let qmp: QmpClient;

  beforeEach(async () => {
    await startHost(EDU, 'capture,msix=3');
    vmm = await startVmm([0, 1]);
    qmp = await vmm.monitor();
  });

  afterEach(() => qmp.close());

  it('tells of the DMA before, in and after its pause, as the devices themselves do', async () => {
    const capture = host.devices[1]!.bdf;
    const data = await update(qmp);
    const { dma } = ((await qmp.execute('query-migrate')) as Migrated)['x-live-update'];
    expect(dma.map(({ bdf }) => bdf)).toEqual(host.devices.map(({ bdf }) => bdf));
    const { before, during, after } = dma.find(({ bdf }) => bdf === capture)!;
    const [fromNs, toNs] = [ms(Math.ceil, data.pauseStartNs), ms(Math.floor, data.pauseEndNs)];
    const { transactions, bytes } = board.ask({ op: 'timeline', bdf: capture, fromNs, toNs });
    expect(during).toEqual({ ms: (toNs - fromNs) / 1e6, transactions, bytes });
    expect(during.transactions).toBeGreaterThan(0);
    expect(before.ms).toBe(during.ms);
    expect(before.transactions).toBeGreaterThan(0);
    expect(after.ms).toBeLessThanOrEqual(during.ms);
    expect(after.transactions).toBeGreaterThan(0);
  });

  it('keeps DMA going through untouched page tables, and loses no frame and no interrupt (RACE-38)', async () => {
    const writes = pteWrites();
    const pinned = info().pinnedPages;
    const capture = host.devices[1]!.bdf;
    let transactions = 0;
    for (const generation of [1, 2]) {
      const data = await update(qmp);
      expect(data).toMatchObject({ status: 'completed', generation, pid: vmm.pid });
      const [fromNs, toNs] = [data.pauseStartNs as number, data.pauseEndNs as number];
      transactions += board.ask({ op: 'timeline', bdf: capture, fromNs, toNs }).transactions;
      await caughtUp(vmm, capture); // its ring holds sixteen seconds
    }
    expect(transactions).toBeGreaterThan(0);
    expect(pteWrites()).toBe(writes);
    expect(info()).toMatchObject({ pinnedPages: pinned, containers: [{ mappings: 1, invalidVaddrs: 0 }] });
    const before = await vmm.stats();
    expect(before).toMatchObject(NOTHING_LOST);
    vmm.child.stdin.write('q');
    await vmm.prints(/@final/);
    while ((await delivered(qmp)) < raised()); // one may be under way
    expect(await delivered(qmp)).toBe(raised());
    expect(faults()).toBe(0);
    vmm.child.stdin.write('x'); // the guest's own verdict
    expect(await vmm.exited).toEqual([0, null]);
  });

  it('is rolled back with valid vaddrs when execve fails, and can then be done (CPR-1)', async () => {
    const node = turncoat(join(vmm.dir, 'node'), 'no program', 0o755);
    expect(await update(qmp, { node })).toEqual({ status: 'failed', error: `execve ${node}: ENOEXEC` });
    rmSync(node);
    await caughtUp(vmm, host.devices[1]!.bdf);
    expect(info().containers).toMatchObject([{ mappings: 1, invalidVaddrs: 0 }]);
    expect(await update(qmp)).toMatchObject({ status: 'completed', generation: 1 });
    expect(await vmm.stats()).toMatchObject(NOTHING_LOST);
  });

  it('leaves the devices to the guest after a reset of the machine', async () => {
    await qmp.execute('system_reset');
    await vmm.prints(/demo:[\s\S]*demo:.*\n/);
    await update(qmp);
    const first = await vmm.stats();
    while ((await vmm.stats()).framesChecked! <= first.framesChecked!);
    expect(await vmm.stats()).toMatchObject({ factorialsBad: 0, framesCorrupt: 0 });
  });

  it('ends the VMM with one line when the host ends', async () => {
    await stopHost();
    expect(await vmm.exited).toEqual([1, null]);
    expect(vmm.errors).toMatch(/^vmm: the host .*is gone\n$/);
  });
});

describe('two VMMs on one host, with different groups', () => {
  it('are updated at the same time without a trace in each other', async () => {
    await startHost(EDU, 'capture', EDU, 'capture');
    const [one, two] = [await startVmm([0, 1]), await startVmm([2, 3])];
    const monitors = [await one.monitor(), await two.monitor()];
    const [first, second] = await Promise.all(monitors.map((qmp) => update(qmp)));
    expect(first).toMatchObject({ status: 'completed', pid: one.pid });
    expect(second).toMatchObject({ status: 'completed', pid: two.pid });
    // A frame that is lost only says that four busy guests and devices had too few CPUs.
    const { framesLost: _, ...nothingWrong } = NOTHING_LOST;
    expect(await one.stats()).toMatchObject(nothingWrong);
    expect(await two.stats()).toMatchObject(nothingWrong);
    expect(faults()).toBe(0);
    for (const qmp of monitors) qmp.close();
  });

  it('cannot have the same group (CORE-7)', async () => {
    await startHost('capture');
    await startVmm([0]);
    const bdf = host.devices[0]!.bdf;
    const other = new VmmProcess('hello', '--host', host.socket, '--device', `vfio-pci,host=${bdf}`);
    expect(await other.exited).toEqual([1, null]);
    expect(other.errors).toMatch(/^vmm: open \/dev\/vfio\/0: .+\n$/);
    expect(await other.end()).toEqual([]);
  });
});

describe('a VMM with passed-through devices', () => {
  it('cannot have RAM in the MSI window of the IOMMU (MAP-9)', async () => {
    await startHost('capture');
    const args = ['--host', host.socket, '--device', `vfio-pci,host=${host.devices[0]!.bdf}`, '-m'];
    const tooMuch = new VmmProcess('hello', ...args, '2031M');
    expect(await tooMuch.exited).toEqual([1, null]);
    expect(tooMuch.errors).toMatch(/^vmm: -m: at most 2030M with these devices: .*\n$/);
    expect(await tooMuch.end()).toEqual([]);
    const most = new VmmProcess('hello', ...args, '2030M');
    expect(await most.exited).toEqual([0, null]);
    expect(await most.end()).toEqual([]);
  });
});

describe('registers as targets of other devices', () => {
  it('are mapped where the guest has placed them, if that is asked for, and stay so over an update', async () => {
    await startHost(EDU, 'capture', EDU);
    const vmm = await startVmm([0, 1, 2], '--peer-bars', 'all');
    const qmp = await vmm.monitor();
    const bars = board.ask({ op: 'functions' }).flatMap((one) => one.bars.filter((bar) => bar !== null));
    const unpinnedBytes = bars.reduce((sum, { size }) => sum + Math.max(size, 4096), 0);
    const mapped = [{ mappings: 1 + bars.length, unpinnedBytes, invalidVaddrs: 0 }];
    expect(info().containers).toMatchObject(mapped);
    const writes = pteWrites();
    expect(await update(qmp)).toMatchObject({ status: 'completed' });
    expect(info().containers).toMatchObject(mapped);
    expect([pteWrites(), faults()]).toEqual([writes, 0]);
    expect(await vmm.stats()).toMatchObject({ dmaRoundTripsBad: 0, framesCorrupt: 0 });
    await qmp.execute('system_reset'); // BARs decode no more, until the guest places them again
    await expect.poll(() => pteWrites(), { timeout: 30_000 }).toBeGreaterThanOrEqual(writes + 2 * bars.length);
    await expect.poll(() => info().containers[0]!.mappings, { timeout: 30_000 }).toBe(1 + bars.length);
    qmp.close();
  });

  it('are not mapped unless that is asked for', async () => {
    await startHost(EDU, 'capture');
    await startVmm([0, 1]);
    const [container] = info().containers;
    expect([container!.mappings, container!.unpinnedBytes]).toEqual([1, undefined]);
  });

  it('are memory or all', async () => {
    const vmm = new VmmProcess('hello', '--peer-bars', 'some');
    expect(await vmm.exited).toEqual([1, null]);
    expect(vmm.errors).toBe('vmm: --peer-bars some: give memory or all\n');
    expect(await vmm.end()).toEqual([]);
  });
});

describe('a VMM that maps the wrong memory after an update', () => {
  it('is found out: the guest does not survive it', async () => {
    await startHost('capture');
    const vmm = await startVmm([0], '--inject', 'wrong-memfd');
    const qmp = await vmm.monitor();
    const heard = vmm.output.length;
    expect(await update(qmp)).toMatchObject({ status: 'completed' });
    vmm.child.stdin.write('s');
    await qmp.execute('query-status');
    await qmp.execute('x-stats');
    expect(vmm.output.slice(heard)).not.toContain('@stats');
    qmp.close();
  });
});
