/**
 * A function's interrupts. A message (MSI or MSI-X) is a 32-bit store through its DMA port, and
 * INTx is a level on its line (PCI 3.0 §6.8, §2.2.6).
 */
import { PCI_COMMAND_INTX_DISABLE } from '../../iommu/abi/pci-regs.ts';
import type { ConfigSpace } from './config-space.ts';
import type { DeviceControl } from './control.ts';
import type { Dma } from './dma.ts';
import type { Message, MsiCapability } from './msi.ts';
import type { MsixCapability } from './msix.ts';

/** The INTx wire of one function (iommu/bus/interrupts.ts: IntxLine). */
export interface LevelLine {
  assert(): void;
  deassert(): void;
}

export interface InterruptWiring {
  readonly config: ConfigSpace;
  readonly msi: MsiCapability | undefined;
  readonly msix: MsixCapability | undefined;
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
    wiring.msix?.connect((message) => this.#store(message));
  }

  /** Whether interrupts are messages now. With both kinds enabled, MSI-X is used. */
  messagesEnabled(): boolean {
    const { msi, msix } = this.#wiring;
    return (msix?.enabled() ?? false) || (msi?.enabled() ?? false);
  }

  /**
   * Sends the message of `vector`, if messages are enabled. A function with fewer vectors takes its
   * last one. False when the bus refused the store.
   */
  message(vector = 0): boolean {
    const { msi, msix, control } = this.#wiring;
    if (this.#retired || !this.messagesEnabled()) return true;
    if (msix?.enabled()) return this.#messageX(msix, Math.max(0, Math.min(vector, msix.nrVectors - 1)));
    control.countInterrupt();
    if (control.take('drop-interrupt')) return true;
    return this.#store(msi!.message());
  }

  /** Messages of a masked vector pend as one. */
  #messageX(msix: MsixCapability, vector: number): boolean {
    const { control } = this.#wiring;
    const masked = msix.isMasked(vector);
    if (masked && msix.isPending(vector)) return true;
    control.countInterrupt();
    if (control.take('drop-interrupt')) return true;
    if (!masked) return this.#store(msix.message(vector));
    msix.setPending(vector);
    return true;
  }

  #store({ vpn, offset, data }: Message): boolean {
    return this.#retired || this.#wiring.dma.write32(vpn, offset, data);
  }

  /**
   * Raises or lowers the INTx level. It has no effect while messages are enabled, because the pin
   * is not used then.
   */
  setLevel(level: boolean): void {
    if (this.#retired) return;
    this.#level = level && !this.messagesEnabled();
    this.#drive();
  }

  /**
   * Called when COMMAND or the control of MSI or MSI-X may have changed. Enabling messages drops
   * the level for good; the device must raise it anew.
   */
  configChanged(): void {
    this.setLevel(this.#level);
    if (!this.#retired) this.#wiring.msix?.sendPending();
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
