/**
 * The kernel that is loaded beside the present one and comes after it, as kexec_image of Linux.
 * There is one at a time.
 */
import { ebusy } from '../../platform/errno.ts';
import { startKernelWorker } from './early-threads.ts';
import { KernelThread } from './kernel-thread.ts';
import { type NextKernel, nextKernel } from './next-kernel.ts';

/** A kernel that is loaded, and can begin when the present one has gone down. */
export interface LoadedKernel extends NextKernel {
  readonly thread: KernelThread;
}

export class KexecImage {
  #next: LoadedKernel | undefined;
  /** A kernel is being loaded; or the present one is on its way down. */
  #changing: 'loading' | 'leaving' | undefined;
  #stopped = false;

  /**
   * Loads the kernel that comes next, while the present one runs. EBUSY: another is being loaded,
   * or a kexec is under way; ENOENT, ENOEXEC: no kernel in the folder can come next.
   */
  async load(target: string | undefined): Promise<LoadedKernel> {
    if (this.#changing || this.#stopped) throw ebusy('a kexec is under way, or the host ends');
    this.#changing = 'loading';
    try {
      const next = nextKernel(target);
      const thread = new KernelThread(startKernelWorker(next.build));
      await thread.loaded().catch(async (error: Error) => {
        await thread.stop();
        throw error;
      });
      await this.#next?.thread.stop();
      this.#next = { ...next, thread };
    } finally {
      this.#changing = undefined;
    }
    if (this.#stopped) await this.#next.thread.stop();
    return this.#next;
  }

  /** Lets the loaded kernel go. EBUSY: a kexec is under way. */
  async unload(): Promise<void> {
    if (this.#changing) throw ebusy('a kexec is under way');
    const next = this.#next;
    this.#next = undefined;
    await next?.thread.stop();
  }

  /** The kernel may go down: the next one is loaded, and stays until `take`. Errors as load. */
  async prepare(target: string | undefined): Promise<LoadedKernel> {
    const isThere = this.#next !== undefined && this.#next.build === target;
    const next = this.#changing || this.#stopped || !isThere ? await this.load(target) : this.#next!;
    this.#changing = 'leaving';
    return next;
  }

  /** The kernel has gone down after `prepare`: its successor. */
  take(): LoadedKernel {
    const next = this.#next!;
    this.#next = undefined;
    this.#changing = undefined;
    return next;
  }

  /** Nothing is loaded from here on. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#next?.thread.stop();
  }
}
