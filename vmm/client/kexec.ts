/** The host's kernel is replaced by the next one. */
import type { KexecLoadRequest, KexecRequest, KexecUnloadRequest } from '../../iommu/abi/control.ts';
import { CONTROL_PATH } from '../../iommu/abi/wire.ts';
import { farEnd } from '../../platform/lifeline.ts';
import { untilListening } from '../../platform/unix-listener.ts';
import type { KernelClient } from './kernel-client.ts';

/** A kernel goes down and another one comes up in some hundred ms, on a machine that has time. */
const LATEST_MS = 60_000;

/**
 * Loads the kernel that kexec() brings, while the present one runs: `target` is the folder of
 * another built version. So the time without a kernel is short, and a kernel that is not there is
 * told before anything ends. ENOENT, ENOEXEC: no kernel there can come next; EBUSY: a kexec is
 * under way; EACCES.
 */
export const loadKernel = (client: KernelClient, target?: string): void =>
  ask(client, { op: 'kexec-load', ...targetOf(target) });

/** There will be no kexec. EBUSY: it is under way; EACCES. */
export const unloadKernel = (client: KernelClient): void => ask(client, { op: 'kexec-unload' });

/**
 * Asks for a kexec, into the kernel that is loaded, or else into one that is loaded now, and
 * resolves when the next kernel listens. The client is of no use after that, nor is any open file.
 * Errors as loadKernel. ETIMEDOUT: there is no kernel any more.
 */
export async function kexec(client: KernelClient, target?: string): Promise<void> {
  ask(client, { op: 'kexec', ...targetOf(target) }, true);
  await nextKernel(client);
}

const targetOf = (target?: string): { readonly target?: string } => (target === undefined ? {} : { target });

/** `stays`: the file is closed by the kernel's end. */
function ask(client: KernelClient, request: KexecLoadRequest | KexecUnloadRequest | KexecRequest, stays = false): void {
  const control = client.open(CONTROL_PATH);
  client.control(control, request);
  if (!stays) client.close(control);
}

/** Tells when the kernel ends, without blocking; and how to stop looking. */
export const kernelEnd = (client: KernelClient): { readonly closed: Promise<void>; forget(): void } =>
  farEnd(client.open(CONTROL_PATH));

/** Resolves when the kernel has ended and the next one listens. */
export async function nextKernel(client: KernelClient): Promise<void> {
  client.awaitHangUp(LATEST_MS);
  await untilListening(client.socketPath, LATEST_MS);
}
