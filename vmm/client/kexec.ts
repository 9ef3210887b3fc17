/** The host's kernel is replaced by the next one. */
import { CONTROL_PATH } from '../../iommu/abi/wire.ts';
import { farEnd } from '../../platform/lifeline.ts';
import { untilListening } from '../../platform/unix-listener.ts';
import type { KernelClient } from './kernel-client.ts';

/** A kernel goes down and another one comes up in some hundred ms, on a machine that has time. */
const LATEST_MS = 60_000;

/**
 * Asks for a kexec, into the kernel of another built version if its folder is given, and resolves
 * when the next kernel listens. The client is of no use after that, nor is any open file. ENOENT,
 * ENOEXEC: no kernel there can come next; EBUSY: a kexec is under way; EACCES. ETIMEDOUT: there is
 * no kernel any more.
 */
export async function kexec(client: KernelClient, target?: string): Promise<void> {
  const control = client.open(CONTROL_PATH);
  client.control(control, { op: 'kexec', ...(target === undefined ? {} : { target }) });
  await nextKernel(client);
}

/** Tells when the kernel ends, without blocking; and how to stop looking. */
export const kernelEnd = (client: KernelClient): { readonly closed: Promise<void>; forget(): void } =>
  farEnd(client.open(CONTROL_PATH));

/** Resolves when the kernel has ended and the next one listens. */
export async function nextKernel(client: KernelClient): Promise<void> {
  client.awaitHangUp(LATEST_MS);
  await untilListening(client.socketPath, LATEST_MS);
}
