/**
 * Waits until the host has forgotten the last case: nothing is open. Then the module parameters get
 * their defaults.
 */
import type { HostInfo } from '../../../iommu/abi/control.ts';
import { askHost, setParameters } from '../steps/host-info.ts';
import type { HostControl } from '../steps/process-calls.ts';

/** How long the host may take to notice that the last client is dead. */
const SETTLE_MS = 20_000;
const PAUSE_MS = 1;
const DEFAULTS = { dma_entry_limit: '65535', allow_unsafe_interrupts: 'N', disable_hugepages: 'N' };

export function settle(host: HostControl): void {
  const deadline = Date.now() + SETTLE_MS;
  while (!isIdle(askHost(host))) {
    if (Date.now() > deadline) throw new Error('the host has not let go of the last case');
    pause();
  }
  setParameters(host, DEFAULTS);
}

const isIdle = ({ groups, containers }: HostInfo): boolean =>
  containers.length === 0 && groups.every(({ open }) => !open);

const nobody = new Int32Array(new SharedArrayBuffer(4));

function pause(): void {
  Atomics.wait(nobody, 0, 0, PAUSE_MS);
}
