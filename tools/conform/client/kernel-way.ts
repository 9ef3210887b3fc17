/** A thread's way into the emulated kernel: the client library, or real system calls. */
import { KernelClient } from '../../../vmm/client/kernel-client.ts';
import type { ClientKernel } from './client-kernel.ts';
import { SystemKernel } from './system-kernel.ts';

export interface KernelWay {
  readonly socketPath: string;
  /** This process is under a supervisor (`livevmm with`), which answers its system calls. */
  readonly throughSyscalls: boolean;
}

export const enterKernel = ({ socketPath, throughSyscalls }: KernelWay): ClientKernel =>
  throughSyscalls ? new SystemKernel(socketPath) : new KernelClient(socketPath);
