/**
 * The hand-over is the end of an update, and of a power-on. Main runs the guest (main-slices.ts)
 * while its threads start. When they are ready, they take over at a slice boundary. The state goes
 * over in sections, as in an update: no device knows that another thread is its vCPU now.
 */
import type { MainSlices } from '../crew/main-slices.ts';
import { startHartThreads } from '../crew/threads.ts';
import type { VcpuMessage } from '../crew/vcpu/protocol.ts';
import type { VcpuThread } from '../crew/vcpu/thread.ts';
import { connectThread } from '../passthrough/thread-channel.ts';
import type { Vm } from '../vm/vm.ts';
import { startThreads } from './start-threads.ts';
import type { WaitingCrew } from './waiting-crew.ts';

/** The cost of the hand-over for the guest, after the pause. */
export interface HandOver {
  /**
   * CLOCK_MONOTONIC: main's last instruction was before lastNs, the thread's first one after
   * firstNs. They are equal for a guest that is stopped.
   */
  readonly lastNs: number;
  readonly firstNs: number;
  /**
   * The longest time before the hand-over in which main did something else while the guest wanted
   * to run.
   */
  readonly longestGapNs: number;
}

/** Resolves when the threads have taken over. `waiting`: they have been started already. */
export async function handOver(vm: Vm, slices: MainSlices, waiting?: WaitingCrew): Promise<HandOver> {
  const { vcpu, interrupts, host } = vm.parts;
  if (waiting) waiting.come();
  else await startThreads(vm, { channel: host && connectThread(host) });

  const { atNs: lastNs, state } = slices.end();
  const first = firstWord(vcpu);
  vcpu.begin(state);
  interrupts?.begin(); // interrupts that came meanwhile wait in the eventfds
  const word = await first;
  startHartThreads(vcpu, vm.machineParts);
  return { lastNs, firstNs: word.kind === 'running' ? word.atNs : lastNs, longestGapNs: slices.longestGapNs };
}

function firstWord(vcpu: VcpuThread): Promise<VcpuMessage> {
  return new Promise((resolve) => {
    const stop = vcpu.listen((message) => {
      stop();
      resolve(message);
    });
  });
}
