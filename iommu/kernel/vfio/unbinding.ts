/**
 * The driver is taken from a device (vfio_unregister_group_dev; PCI-14). Nobody can open the device
 * any more. Whoever has it open is asked to close it, again and again, and until then all goes on.
 */

/** How often the user is asked. */
const ASK_AGAIN_MS = 10_000;

export class Unbinding {
  readonly #ask: () => void;
  readonly #isOpen: () => boolean;
  #ended: Promise<void> | undefined;
  #end: () => void = () => {};
  #timer: NodeJS.Timeout | undefined;
  #gone = false;

  /** `ask` tells the user (vfio_device_ops.request). */
  constructor(isOpen: () => boolean, ask: () => void) {
    this.#isOpen = isOpen;
    this.#ask = ask;
  }

  /** The device cannot be opened. */
  get begun(): boolean {
    return this.#ended !== undefined;
  }

  /** The device has no driver. */
  get gone(): boolean {
    return this.#gone;
  }

  /** Resolves when nobody has the device open. The second caller waits for the same end. */
  begin(): Promise<void> {
    this.#ended ??= new Promise((resolve) => {
      this.#end = resolve;
      if (!this.#isOpen()) {
        this.#finish();
        return;
      }
      this.#ask();
      // Its user's hang-up or the kernel's end closes the device, and that ends the timer.
      this.#timer = setInterval(this.#ask, ASK_AGAIN_MS);
    });
    return this.#ended;
  }

  /** The last file of the device is closed. */
  closed(): void {
    if (this.begun) this.#finish();
  }

  #finish(): void {
    clearInterval(this.#timer);
    this.#gone = true;
    this.#end();
  }
}
