/**
 * A client of a host's control device. Each call blocks until its answer is there, as an ioctl
 * does.
 */
import type { ControlReplies, ControlRequest } from '../../iommu/abi/control.ts';
import { SysError } from '../../platform/errno.ts';
import { ControlFile } from '../../vmm/client/control.ts';
import { KernelClient } from '../../vmm/client/kernel-client.ts';
import { CommandError } from '../cli/command.ts';

/** Errnos of connect(2) when nothing listens. */
const NOBODY: readonly string[] = ['ENOENT', 'ENOTDIR', 'ECONNREFUSED'];

export class HostClient {
  readonly #kernel: KernelClient;
  readonly #control: ControlFile;

  constructor(socketPath: string) {
    try {
      this.#kernel = new KernelClient(socketPath);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (NOBODY.includes(error.code)) throw new CommandError(`no host at ${socketPath} (${error.code})`);
      throw new CommandError(`host at ${socketPath}: ${error.message}`);
    }
    this.#control = new ControlFile(this.#kernel);
  }

  ask<R extends ControlRequest>(request: R): ControlReplies[R['op']] {
    return this.#control.ask(request);
  }

  close(): void {
    this.#control.close();
    this.#kernel.disconnect();
  }
}
