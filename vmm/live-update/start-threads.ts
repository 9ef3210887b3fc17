/** The start of the guest's threads: main runs the guest meanwhile, or another process does. */
import { setImmediate as nextSlice } from 'node:timers/promises';

import { startInterruptThread, startVcpuThread, type VcpuStart } from '../crew/threads.ts';
import type { Vm } from '../vm/vm.ts';

/** Starts the vCPU thread and the interrupt thread; resolves when both are ready. */
export async function startThreads(vm: Vm, start: VcpuStart): Promise<void> {
  const { vcpu, interrupts } = vm.parts;
  const ready = [whenReady(vcpu)];
  startVcpuThread(vcpu, vm.machineParts, start);
  await nextSlice();
  if (interrupts) {
    ready.push(whenReady(interrupts));
    startInterruptThread(interrupts);
  }
  await Promise.all(ready);
}

/** A thread that starts; a listener hears its `ready`. */
interface Starting {
  listen(listener: (message: { readonly kind: string }) => void): () => void;
}

function whenReady(thread: Starting): Promise<void> {
  return new Promise((resolve) => {
    const stop = thread.listen(({ kind }) => {
      if (kind !== 'ready') return;
      stop();
      resolve();
    });
  });
}
