/** The machine without threads: a test runs its harts, slice by slice, in turn. */
import { newPart, wholeOf } from '../../../platform/shared.ts';
import { controlBytes } from '../../../vmm/machine/control/control-block.ts';
import { imsicBytes } from '../../../vmm/machine/hart-local/imsic.ts';
import { Machine } from '../../../vmm/machine/machine.ts';
import { CONSOLE_INPUT_BYTES, ConsoleInput } from '../../../vmm/machine/shared/console-input.ts';
import { CONSOLE_OUTPUT_BYTES, ConsoleOutput } from '../../../vmm/machine/shared/console-output.ts';
import type { VirtioUnit } from '../../../vmm/machine/shared/virtio-devices.ts';
import type { Aia } from '../../../vmm/machine/shared/wired-devices.ts';
import { fillRam, type GuestImage } from '../../../vmm/vm/guest-image.ts';

/** Instructions of one hart at a time. */
const SLICE = 10_000;
const SLICE_OF_SEVERAL = 50;

export interface BareOptions {
  readonly ramBytes: number;
  readonly aia?: Aia;
  readonly aplic?: boolean;
  readonly harts?: number;
  readonly iommu?: boolean;
  readonly virtio?: readonly VirtioUnit[];
  readonly image?: Pick<GuestImage, 'entry' | 'next' | 'segments' | 'tree'>;
}

export class BareMachine {
  readonly machine: Machine;
  readonly ram: SharedArrayBuffer;
  readonly input: ConsoleInput;
  #printed = '';

  constructor({ ramBytes, aia = 'aplic-imsic', aplic, harts = 1, iommu, virtio, image }: BareOptions) {
    this.ram = new SharedArrayBuffer(ramBytes);
    if (image) fillRam(image, new Uint8Array(this.ram));
    this.input = new ConsoleInput(newPart(CONSOLE_INPUT_BYTES));
    this.machine = new Machine({
      ram: wholeOf(this.ram),
      entry: image?.entry ?? 0x8000_0000,
      next: image?.next,
      ...{ aia, aplic, iommu, virtio },
      control: newPart(controlBytes(harts)),
      imsic: newPart(imsicBytes(harts)),
      input: this.input,
      output: new ConsoleOutput(newPart(CONSOLE_OUTPUT_BYTES), (bytes) => {
        this.#printed += Buffer.from(bytes).toString();
        return bytes.length;
      }),
      functions: [],
    });
    this.machine.reset();
    this.machine.shared.clock.start();
  }

  get printed(): string {
    this.machine.shared.output.flush();
    return this.#printed;
  }

  /** What the guest ended its machine with; undefined after so many instructions per hart. */
  run(mostInstructions: number): 'poweroff' | 'reset' | undefined {
    const { harts, shared } = this.machine;
    const slice = harts.length > 1 ? SLICE_OF_SEVERAL : SLICE;
    for (let done = 0; done < mostInstructions; done += slice) {
      shared.update();
      for (const { timer, engine } of harts) {
        timer.update();
        engine.run(slice);
      }
      const finish = shared.finisher.take();
      if (finish) return finish.kind;
    }
    return undefined;
  }
}
