/**
 * What a host tells a VMM of its devices (PCI-13, PCI-14): it wants one back, or one has had an
 * uncorrectable error. A host process, VMM processes, the demo guest.
 */
import { afterEach, describe, expect, it, vi } from 'vitest';

import { HostClient } from '../../tools/clients/host-client.ts';
import { kexecUnder } from '../../tools/clients/kexec.ts';
import type { QmpClient } from '../../tools/clients/qmp-client.ts';
import type { HostProcess } from '../../tools/launch/host.ts';
import { updateEnded, type VmmProcess } from '../vmm/vmm-process.ts';
import { endPassedDemo, startPassedDemo } from './passed-demo.ts';

const TIMEOUT_MS = 90_000;
const PROBATION_MS = 50;
const EDU = 'edu,dma-latency-ms=0,dma-mask=0xffffffffffffffff,pcie=on';

let host: HostProcess;
let board: HostClient;
let vmm: VmmProcess;
let qmp: QmpClient;

async function start(vmmOptions: readonly string[] = [], hostOptions: readonly string[] = []): Promise<void> {
  ({ host, board, vmm, qmp } = await startPassedDemo([EDU, 'capture', 'ivshmem-plain'], { vmmOptions, hostOptions }));
}

afterEach(() => endPassedDemo({ host, board, vmm, qmp }));

const bdfOf = (index: number): string => host.devices[index]!.bdf;
const status = async (): Promise<unknown> => qmp.execute('query-status');
const isDeleted = ({ event }: { event: string }): boolean => event === 'DEVICE_DELETED';

function inUse(): { readonly groups: number[]; readonly devices: number } {
  const { groups, devices } = board.ask({ op: 'info' });
  return { groups: groups.filter(({ open }) => open).map(({ group }) => group), devices: devices.length };
}

/** Unplugs a device; returns what the VMM says of it. */
async function unplug(index: number): Promise<unknown> {
  const bdf = bdfOf(index);
  const deleted = qmp.nextEvent(isDeleted, TIMEOUT_MS);
  board.ask({ op: 'unplug', bdf }); // returns when the VMM has closed it
  return (await deleted).data;
}

async function update(args?: Record<string, string>): Promise<unknown> {
  const ended = qmp.nextEvent(updateEnded, TIMEOUT_MS);
  await Promise.all([qmp.execute('live-update', { probation: PROBATION_MS, ...args }), ended]);
  return (await ended).data.status;
}

/**
 * The host's kernel is replaced, and the VMM with it. Only its device that is gone opens nothing.
 */
async function kexec(): Promise<unknown> {
  const [after] = await kexecUnder(host.socket, [{ qmpPath: vmm.qmpPath, qmp }]);
  qmp = after!.qmp;
  board = new HostClient(host.socket);
  return after!.report.generation;
}

describe('PCI-14: a host that wants a device back', () => {
  it('gets it; the guest runs on with the others, over updates and a kexec, too', async () => {
    await start(['--pkernfs', 'guest'], ['--pkernfs', '128M']);
    expect(await unplug(2)).toEqual({ path: '/machine/peripheral-anon/device[2]', host: bdfOf(2) });
    expect(inUse()).toEqual({ groups: [0, 1], devices: 2 });
    expect(await status()).toEqual({ status: 'running', running: true });

    expect([await update(), await update({ mode: 'transfer' })]).toEqual(['completed', 'completed']);
    expect(await kexec()).toBe(3);
    expect(inUse()).toEqual({ groups: [0, 1], devices: 3 }); // the new kernel has found it again
    const before = (await vmm.stats()).framesChecked!;
    await vi.waitFor(async () => expect((await vmm.stats()).framesChecked).toBeGreaterThan(before));
    expect(await vmm.stats()).toMatchObject({ dmaRoundTripsBad: 0, framesCorrupt: 0 });
    expect(await unplug(0)).toMatchObject({ host: bdfOf(0) });
  });

  it('gets them all, and the VMM can still be replaced', async () => {
    await start();
    for (const index of [2, 1, 0]) await unplug(index);
    expect(inUse()).toEqual({ groups: [], devices: 0 });
    expect(board.ask({ op: 'info' }).pinnedPages).toBe(0);
    expect(await update()).toBe('completed');
    expect(await status()).toEqual({ status: 'running', running: true });
  });
});

it('PCI-14: a host that wants a device back gets it from the guardians, too', async () => {
  await start(['--guardian', 'always']);
  await qmp.nextEvent(({ event, data }) => event === 'GUARDIAN' && 'second' in data, TIMEOUT_MS);
  expect(await unplug(1)).toMatchObject({ host: bdfOf(1) });
  expect(await status()).toEqual({ status: 'running', running: true });
});

it('PCI-13: an uncorrectable error stops the guest until its machine is reset, over an update, too', async () => {
  await start();
  const stopped = qmp.nextEvent(({ event }) => event === 'STOP', TIMEOUT_MS);
  board.ask({ op: 'inject', defect: 'uncorrectable-error', bdf: bdfOf(0) });
  await stopped;
  expect(await status()).toEqual({ status: 'internal-error', running: false });
  await expect(qmp.execute('cont')).rejects.toThrow('Resetting the Virtual Machine is required');

  expect(await update()).toBe('completed');
  expect(await status()).toEqual({ status: 'internal-error', running: false });
  await expect(qmp.execute('cont')).rejects.toThrow('Resetting the Virtual Machine is required');

  await qmp.execute('system_reset');
  expect(await status()).toEqual({ status: 'prelaunch', running: false });
  await qmp.execute('cont');
  expect(await status()).toEqual({ status: 'running', running: true });
  expect(vmm.errors).toContain(`vmm: ${bdfOf(0)}: uncorrectable error: the guest is stopped\n`);
});
