import { afterEach, describe, expect, it } from 'vitest';

import type { BlockInfo } from '../../iommu/abi/control.ts';
import type { HostClient } from '../../tools/clients/host-client.ts';
import type { QmpClient } from '../../tools/clients/qmp-client.ts';
import type { HostProcess } from '../../tools/launch/host.ts';
import { updateEnded, type VmmProcess } from '../vmm/vmm-process.ts';
import { endPassedDemo, startPassedDemo } from './passed-demo.ts';

/**
 * Exec updates with a device without IOMMU, whose accesses go through the VMM's own addresses: real
 * processes, the demo guest.
 */

const TIMEOUT_MS = 90_000;
/** The guest keeps 128 jobs in the ring: half a second of work. */
const MSCRIBE = 'mscribe,job-ms=4';

let host: HostProcess;
let board: HostClient;
let vmm: VmmProcess;
let qmp: QmpClient;

async function start(...hostOptions: string[]): Promise<void> {
  const devices = [MSCRIBE, 'edu,dma-latency-ms=0,dma-mask=0xffffffffffffffff'];
  ({ host, board, vmm, qmp } = await startPassedDemo(devices, { hostOptions }));
}

afterEach(() => endPassedDemo({ host, board, vmm, qmp }));

async function update(): Promise<Record<string, unknown>> {
  const ended = qmp.nextEvent(updateEnded, TIMEOUT_MS);
  await Promise.all([qmp.execute('live-update'), ended]);
  return (await ended).data;
}

/**
 * When the pause began, and when the new image began to tell the kernel its addresses, in ns of the
 * monotonic clock.
 */
function boundaries(data: Record<string, unknown>): { begin: number; remap: number } {
  const phases = Object.entries(data.phasesMs as Record<string, number>);
  const before = phases.slice(
    0,
    phases.findIndex(([name]) => name === 'remap'),
  );
  const begin = data.pauseStartNs as number;
  return { begin, remap: begin + before.reduce((sum, [, ms]) => sum + ms * 1e6, 0) };
}

const blocks = (): BlockInfo => board.ask({ op: 'info' }).devices[0]!.blocks!;

/** Until the guest has seen `jobs` more jobs end. */
async function moreJobs(jobs: number): Promise<void> {
  const { mscribeOk } = await vmm.stats();
  while ((await vmm.stats()).mscribeOk! < mscribeOk! + jobs);
}

describe('an exec update with a copy engine under way', () => {
  it('has its access sleep until the new image has its memory, and go on there with the right bytes', async () => {
    await start();
    await moreJobs(10);
    for (const generation of [1, 2, 3]) {
      const { count } = blocks();
      const data = await update();
      expect(data).toMatchObject({ status: 'completed', generation });
      await moreJobs(10);
      const after = blocks();
      if (after.count === count) continue; // a busy machine has not let the device run in the pause
      const block = after.recent.at(-1)!;
      const { begin, remap } = boundaries(data);
      expect(after.count).toBe(count + 1);
      expect(after.longestNs).toBeGreaterThanOrEqual(block.endNs - block.startNs);
      expect(block.startNs).toBeGreaterThan(begin);
      expect(block.endNs).toBeGreaterThan(remap);
    }
    expect(blocks().count).toBeGreaterThan(0);
    vmm.child.stdin.write('q');
    await vmm.prints(/@final/);
    expect(await vmm.stats()).toMatchObject({ mscribes: 1, mscribeBad: 0, interruptsLost: 0, dmaRoundTripsBad: 0 });
    vmm.child.stdin.write('x');
    expect(await vmm.exited).toEqual([0, null]);
  });

  it('is refused by kernels from 6.3 on, and the guest runs on (ST-2, UNM-3)', async () => {
    await start('--vfio-profile', '6.12');
    await expect(qmp.execute('live-update')).rejects.toThrow('UPDATE_VADDR');
    await moreJobs(10);
    expect(blocks().count).toBe(0);
  });
});
