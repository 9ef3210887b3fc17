/**
 * The control device of a host, /dev/livevmm: facts about it, and defects to inject
 * (iommu/abi/control.ts).
 */
import type { ControlReplies, ControlRequest } from '../../iommu/abi/control.ts';
import { CONTROL_PATH } from '../../iommu/abi/wire.ts';
import type { KernelClient } from './kernel-client.ts';

export class ControlFile {
  readonly #client: KernelClient;
  readonly #fd: number;

  constructor(client: KernelClient) {
    this.#client = client;
    this.#fd = client.open(CONTROL_PATH);
  }

  /** EPERM, EINVAL, ENODEV: as the request says. */
  ask<R extends ControlRequest>(request: R): ControlReplies[R['op']] {
    return this.#client.control(this.#fd, request);
  }

  close(): void {
    this.#client.close(this.#fd);
  }
}

/** Asks one request. The control device is open only for this call. */
export function askHost<R extends ControlRequest>(client: KernelClient, request: R): ControlReplies[R['op']] {
  const control = new ControlFile(client);
  try {
    return control.ask(request);
  } finally {
    control.close();
  }
}
