/**
 * Starts the VMM's threads. This file is apart from the classes that stand for the threads: Node's
 * worker_threads takes 2 ms to load, and a new image needs it only when the guest runs again.
 */
import type { Worker } from 'node:worker_threads';

import { close } from '../../platform/libc/fd.ts';
import { startWorker } from '../../platform/thread.ts';
import { hartCount, OWNER_HART } from '../machine/control/control-block.ts';
import { hartNumbers, threadName } from '../machine/hart-local/hart-number.ts';
import type { InterruptInput } from './interrupts/protocol.ts';
import type { InterruptThread } from './interrupts/thread.ts';
import type { MachineParts, VcpuChannel, VcpuInput } from './vcpu/protocol.ts';
import type { VcpuThread } from './vcpu/thread.ts';

export interface VcpuStart {
  /** The thread's own task channel; absent without devices. */
  readonly channel?: VcpuChannel | undefined;
  /** As in VcpuInput. */
  readonly ahead?: boolean;
}

/** The thread says `ready`, and then waits for begin(). */
export function startVcpuThread(vcpu: VcpuThread, parts: MachineParts, { channel, ahead }: VcpuStart = {}): Worker {
  const input: VcpuInput = {
    shared: vcpu.shared,
    hart: OWNER_HART,
    parts,
    ...(ahead ? { ahead } : {}),
    ...(channel ? { channel: transferable(channel) } : {}),
  };
  const worker = startWorker('vmm/crew/vcpu/worker', input, { name: threadName(OWNER_HART) });
  if (channel) worker.once('exit', () => close(channel.socket));
  vcpu.attach(worker);
  return worker;
}

/** Without what only main needs of it, which cannot be cloned. */
const transferable = ({ socket, callPage, registerPages, interruptPages }: VcpuChannel): VcpuChannel => ({
  ...{ socket, registerPages, interruptPages },
  ...(callPage ? { callPage } : {}),
});

/**
 * Starts the threads of the other harts. The vCPU lends each its hart when it has come. Where time
 * is counted by instructions the vCPU runs all harts, and there are no such threads.
 */
export function startHartThreads(vcpu: VcpuThread, parts: MachineParts): void {
  if (parts.icount) return;
  const { shared } = vcpu;
  for (const hart of hartNumbers(hartCount(shared.control))) {
    if (hart === OWNER_HART) continue;
    const input: VcpuInput = { shared, hart, parts };
    vcpu.attachHelper(startWorker('vmm/crew/vcpu/worker', input, { name: threadName(hart) }));
  }
}

/** The thread says `ready`, and then waits for begin(). */
export function startInterruptThread(interrupts: InterruptThread): Worker {
  const worker = startWorker<InterruptInput>('vmm/crew/interrupts/worker', interrupts.input, { name: 'interrupts' });
  interrupts.attach(worker);
  return worker;
}
