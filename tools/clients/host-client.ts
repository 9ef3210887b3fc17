/** Asks a host's control device. Calls block for the length of one answer, as an ioctl does. */
import type { ControlReplies, ControlRequest } from '../../iommu/abi/control.ts';
import { CONTROL_PATH } from '../../iommu/abi/wire.ts';
import { SysError } from '../../platform/errno.ts';
import { KernelClient } from '../../vmm/client/kernel-client.ts';
import { CommandError } from '../cli/command.ts';

/** connect(2), where nobody listens. */
const NOBODY: readonly string[] = ['ENOENT', 'ENOTDIR', 'ECONNREFUSED'];

export class HostClient {
  readonly #kernel: KernelClient;
  readonly #fd: number;

  constructor(socketPath: string) {
    try {
      this.#kernel = new KernelClient(socketPath);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (NOBODY.includes(error.code)) throw new CommandError(`no host at ${socketPath} (${error.code})`);
      throw new CommandError(`host at ${socketPath}: ${error.message}`);
    }
    this.#fd = this.#kernel.open(CONTROL_PATH);
  }

  ask<R extends ControlRequest>(request: R): ControlReplies[R['op']] {
    return this.#kernel.board(this.#fd, request) as ControlReplies[R['op']];
  }

  close(): void {
    this.#kernel.close(this.#fd);
    this.#kernel.disconnect();
  }
}
