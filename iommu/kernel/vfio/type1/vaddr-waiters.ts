/** The wait queue of tasks that need a valid vaddr (VAD-1…14; kernels 5.12–6.2). */
import { efault } from '../../../../platform/errno.ts';
import { countWake } from '../../core/wakes.ts';

export class VaddrWaiters {
  #sleepers = new Set<() => void>();

  /**
   * wake_up_all. Called by every MAP VADDR, every removal of an invalid entry, and the close of the
   * container (VAD-7).
   */
  wakeAll(): void {
    const sleepers = this.#sleepers;
    this.#sleepers = new Set();
    if (sleepers.size > 0) countWake();
    for (const wake of sleepers) wake();
  }

  /**
   * VAD-1: sleeps until a wake-up or the caller's death. Only then it tests whether the sleep was
   * in vain: EFAULT after a fatal signal, or when `mayGoOn` returns false. A wake-up promises
   * nothing: the caller must look again from scratch (VAD-2).
   */
  async sleep(mayGoOn: () => boolean, killed: AbortSignal | undefined): Promise<void> {
    await new Promise<void>((resolve) => {
      if (killed?.aborted) {
        resolve();
        return;
      }
      const wake = (): void => {
        this.#sleepers.delete(wake);
        killed?.removeEventListener('abort', wake);
        resolve();
      };
      this.#sleepers.add(wake);
      killed?.addEventListener('abort', wake);
    });
    if (killed?.aborted) throw efault('killed while waiting for a valid vaddr');
    if (!mayGoOn()) throw efault('container closed while waiting for a valid vaddr');
  }

  get nrSleepers(): number {
    return this.#sleepers.size;
  }
}
