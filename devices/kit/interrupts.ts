/**
 * A function's interrupts. An MSI is a 32-bit store through its DMA port, and INTx is a level on
 * its line (PCI 3.0 §6.8, §2.2.6).
 */
import { PCI_COMMAND_INTX_DISABLE } from '../../iommu/abi/pci-regs.ts';
import type { ConfigSpace } from './config-space.ts';
import type { DeviceControl } from './control.ts';
import type { Dma } from './dma.ts';
import type { MsiCapability } from './msi.ts';

/** The INTx wire of one function (iommu/bus/interrupts.ts: IntxLine). */
export interface LevelLine {
  assert(): void;
  deassert(): void;
}

export interface InterruptWiring {
  readonly config: ConfigSpace;
  readonly msi: MsiCapability | undefined;
  /** The DMA port, gated by bus master enable. With the bit clear a message is lost. */
  readonly dma: Dma;
  readonly line: LevelLine;
  readonly control: DeviceControl;
}

export class Interrupts {
  readonly #wiring: InterruptWiring;
  /** The level that the device wants on its INTx pin. */
  #level = false;
  #asserted = false;
  #retired = false;

  constructor(wiring: InterruptWiring) {
    this.#wiring = wiring;
  }

  msiEnabled(): boolean {
    return this.#wiring.msi?.enabled() ?? false;
  }

  /** Sends the message if MSI is enabled. False when the bus refused the store. */
  message(): boolean {
    const { msi, dma, control } = this.#wiring;
    if (this.#retired || !msi?.enabled()) return true;
    control.countInterrupt();
    if (control.take('drop-interrupt')) return true;
    return dma.write32(msi.vpn(), msi.offset(), msi.data());
  }

  /**
   * Raises or lowers the INTx level. It has no effect while MSI is enabled, because the pin is not
   * used then.
   */
  setLevel(level: boolean): void {
    if (this.#retired) return;
    this.#level = level && !this.msiEnabled();
    this.#drive();
  }

  /**
   * Called when COMMAND or the MSI control may have changed. Enabling MSI drops the level for good;
   * the device must raise it anew.
   */
  configChanged(): void {
    this.setLevel(this.#level);
  }

  /** The device has been reset: the level drops, and what it still raises reaches nobody. */
  retire(): void {
    this.setLevel(false);
    this.#retired = true;
  }

  #drive(): void {
    const { config, line } = this.#wiring;
    config.setInterruptStatus(this.#level);
    const asserted = this.#level && !config.command(PCI_COMMAND_INTX_DISABLE);
    if (asserted === this.#asserted) return;
    this.#asserted = asserted;
    if (asserted) line.assert();
    else line.deassert();
  }
}
