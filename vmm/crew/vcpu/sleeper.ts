/**
 * The sleep of the owner's vCPU thread in WFI, where devices wake it themselves: by futex(2) on
 * `wake` and on the interrupt page of each device (iommu/abi/interrupt-page.ts). The foreign
 * functions for it are loaded before the first such sleep, when the guest has nothing to do.
 */
import { InterruptPage, SLEEPS } from '../../../iommu/abi/interrupt-page.ts';
import { futexWaitAny, hasFutexWaitAny, type WaitedWord } from '../../../platform/libc/futex.ts';
import { int32s, type SharedPart } from '../../../platform/shared.ts';
import { hartWords, OWNER_HART } from '../../machine/control/control-block.ts';

export class Sleeper {
  readonly #control: Int32Array;
  readonly #pages: readonly WaitedWord[];
  #usable: boolean | undefined;

  /** `pages`: those that say SLEEPS whenever sleep() is called. */
  constructor(control: Int32Array, pages: readonly SharedPart[]) {
    this.#control = control;
    const { thread } = InterruptPage.word;
    this.#pages = pages.map((page) => ({ words: int32s(page), index: thread, shared: true, seen: SLEEPS }));
  }

  /** Whether there are pages, and this Linux can sleep on them. */
  usable(): boolean {
    this.#usable ??= this.#pages.length > 0 && hasFutexWaitAny();
    return this.#usable;
  }

  /** Sleeps until `wake` is not `seen` any more or a page not SLEEPS, at most `ms`. */
  sleep(seen: number, ms: number): void {
    const { wake, outside } = hartWords(OWNER_HART);
    const own = { words: this.#control, index: wake, shared: false, seen };
    Atomics.store(this.#control, outside, 1); // before it looks at `wake`; pairs with the load in wakeHart
    futexWaitAny([own, ...this.#pages], ms);
    Atomics.store(this.#control, outside, 0);
  }
}
