/** What a client needs of its way into the emulated kernel. */
import type { KernelClient } from '../../../vmm/client/kernel-client.ts';

export type ClientKernel = Pick<
  KernelClient,
  'open' | 'ioctl' | 'pread' | 'pwrite' | 'close' | 'mmap' | 'munmap' | 'mappedBar' | 'execve' | 'control'
>;
