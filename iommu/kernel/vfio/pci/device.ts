/**
 * A PCI function bound to vfio-pci, and its files (vfio_pci_core.c; PCI-1…11). The first open
 * enables the function and makes a fresh view of its configuration space. The last close disables
 * it and restores the configuration that firmware had left.
 */
import { einval, enodev } from '../../../../platform/errno.ts';
import type { EventfdSources } from '../../../../platform/eventfd-source.ts';
import { type DeviceInfo, type FunctionFacts, ROM_PIECE, type TimelineReply } from '../../../abi/control.ts';
import {
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_ERR_UNCOR_MASK,
  PCI_ERR_UNCOR_STATUS,
} from '../../../abi/pci-regs.ts';
import { VFIO_PCI_ERR_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX } from '../../../abi/vfio.ts';
import { IntxLine } from '../../../bus/interrupts.ts';
import { formatBdf, type PciFunction } from '../../../bus/pci-function.ts';
import type { Profile } from '../../core/profile.ts';
import type { DeviceMemoryTable } from '../../mm/device-memory.ts';
import type { DeviceOps, VfioDevice } from '../device.ts';
import { Unbinding } from '../unbinding.ts';
import { Virqfds } from '../virqfd/virqfd.ts';
import type { PciAccess } from './access.ts';
import { BarIo } from './bar-io.ts';
import { BarMmap } from './bar-mmap.ts';
import { ConfigState } from './config-state.ts';
import { LowPower } from './feature.ts';
import { functionFacts, functionInfo, functionTimeline } from './function-info.ts';
import { resetFunction, startReset } from './function-reset.ts';
import { Intx } from './intx.ts';
import { Ioeventfds } from './ioeventfd.ts';
import { Irqs } from './irqs.ts';
import { Msi, type MsiFabric } from './msi.ts';
import { MsiHardware, queueSize } from './msi-hardware.ts';
import { MsixHardware } from './msix-hardware.ts';
import { type OpenFunction, PciDeviceFile } from './pci-device-file.ts';
import { PeerReturn } from './peer-return.ts';
import { Posting } from './posting.ts';
import { RamBars } from './ram-bars.ts';
import { RegisterPages } from './register-pages.ts';
import { findResources, type PciResources } from './resources.ts';
import { Rom } from './rom.ts';
import { VirtualConfig } from './virtual-config.ts';

export interface PciDeviceOptions {
  readonly fn: PciFunction;
  readonly pci: PciAccess;
  readonly fabric: MsiFabric;
  readonly sources: EventfdSources;
  /** How many eventfds of the device's user can be watched at a time. Default: any number. */
  readonly maxWatches?: number;
  readonly profile: Profile;
  readonly deviceMemory: DeviceMemoryTable;
  /** Returns when all DMA that began before the call, of any device, has ended. */
  readonly fenceAll: () => void;
}

/** The state that lasts from the first open to the last close. */
interface Enabled extends OpenFunction {
  readonly saved: ConfigState;
}

export class PciDevice implements VfioDevice {
  readonly name: string;
  readonly #fn: PciFunction;
  readonly resources: PciResources;
  readonly #rom: Rom | undefined;
  readonly #profile: Profile;
  readonly #pci: PciAccess;
  readonly #intx: Intx;
  readonly #msi: Msi | undefined;
  readonly #msix: Msi | undefined;
  readonly #irqs: Irqs;
  readonly #virqfds: Virqfds;
  readonly #ramBars: RamBars;
  readonly #registerPages: RegisterPages;
  readonly #posting: Posting;
  readonly #peerReturn: PeerReturn;
  readonly #deviceMemory: DeviceMemoryTable;
  readonly #sources: EventfdSources;
  #enabled: Enabled | undefined;
  /** The function has gone on since before this kernel, and nobody has opened it yet (PKF-6). */
  #kept = false;
  #leaving = false;
  readonly #unbinding = new Unbinding(
    () => this.openCount > 0,
    () => void this.#irqs.tell(VFIO_PCI_REQ_IRQ_INDEX),
  );
  openCount = 0;

  constructor({ fn, pci, fabric, sources, maxWatches, profile, deviceMemory, fenceAll }: PciDeviceOptions) {
    this.name = formatBdf(fn.bdf);
    this.#fn = fn;
    this.#profile = profile;
    this.#pci = pci;
    this.resources = findResources(this.#pci);
    this.#ramBars = new RamBars(fn, fenceAll);
    this.#registerPages = new RegisterPages({
      table: fn.registerPages,
      pci,
      resources: this.resources,
      widest: profile.barAccess,
      isRam: (bar) => this.#ramBars.has(bar),
    });
    this.#peerReturn = new PeerReturn(fn.barGate, fenceAll);
    this.#deviceMemory = deviceMemory;
    const { resources } = this;
    this.#rom = resources.romSize > 0 ? new Rom(pci, resources.romSize) : undefined;
    this.#sources = sources;
    this.#intx = new Intx(new IntxLine(fn.intx, sources));
    const grows = profile.messageVectors === 'added';
    const { msi, msix } = resources;
    this.#msi = msi && new Msi(new MsiHardware(pci, msi), fabric, grows);
    this.#msix = msix && new Msi(new MsixHardware(pci, msix), fabric, grows);
    this.#posting = new Posting([this.#msi, this.#msix].filter((kind) => kind !== undefined));
    this.#virqfds = new Virqfds(this.name, maxWatches);
    const interrupts = { intx: this.#intx, msi: this.#msi, msix: this.#msix, virqfds: this.#virqfds };
    this.#irqs = new Irqs({ resources, profile, sources, ...interrupts });
  }

  /**
   * vfio_pci_core_match. Options may follow the bdf, behind spaces. The only one is vf_token=UUID.
   * It is for physical functions with virtual functions, and for the virtual ones; no function here
   * is either.
   */
  matches(name: string): boolean {
    if (!name.startsWith(this.name)) return false;
    const options = name.slice(this.name.length);
    if (options !== '' && !options.startsWith(' ')) return false;
    if (/[^ ]/.test(options)) throw einval(`${this.name} takes no option${options}`);
    return true;
  }

  open(released: () => void): DeviceOps {
    this.#enabled ??= this.#enable();
    this.openCount++;
    return new PciDeviceFile(this.#enabled, () => {
      const wasLast = --this.openCount === 0;
      if (wasLast) this.#disable();
      released();
      if (wasLast) this.#unbinding.closed();
    });
  }

  get leaving(): boolean {
    return this.#unbinding.begun;
  }

  get gone(): boolean {
    return this.#unbinding.gone;
  }

  /** vfio_pci_core_request: REQ asks the user to close the device. */
  unbind(): Promise<void> {
    return this.#unbinding.begin();
  }

  /** MSI and MSI-X, whichever the function has. */
  get #messages(): Msi[] {
    return [this.#msi, this.#msix].filter((messages) => messages !== undefined);
  }

  /**
   * PKF-6: at boot, a function that an earlier kernel has left running in a persistent domain. It
   * keeps bus master and its MSIs.
   */
  keep(): void {
    this.#kept = true;
    for (const messages of this.#messages) messages.keep();
  }

  /**
   * At boot, a function that an earlier kernel has left in no such domain: it stops. No effect on
   * one that is as it was at power-on.
   */
  quiet(): void {
    if ((this.#pci.readConfig(PCI_COMMAND, 2) & PCI_COMMAND_MASTER) === 0) return;
    this.#clearCommand(PCI_COMMAND_MASTER);
    startReset(this.#pci, this.resources);
  }

  /** The kernel ends: the last close leaves the function as it is, for the next kernel (PKF-6). */
  leaveToNextKernel(): void {
    this.#leaving = true;
  }

  /**
   * vfio_pci_core_enable: switches decoding on and bus master off, and saves this state (PCI-9).
   */
  #enable(): Enabled {
    const pci = this.#pci;
    const ramBars = this.#ramBars;
    const kept = this.#kept;
    this.#kept = false;
    const command = pci.readConfig(PCI_COMMAND, 2);
    if (!kept) {
      pci.writeConfig(PCI_COMMAND, 2, (command | PCI_COMMAND_MEMORY) & ~PCI_COMMAND_MASTER);
      resetFunction(pci, this.resources);
    }
    const saved = new ConfigState(pci, this.resources, kept);
    if (kept) this.#intx.disabledByConfig((command & PCI_COMMAND_INTX_DISABLE) !== 0);
    else this.#clearCommand(PCI_COMMAND_INTX_DISABLE);
    const config = new VirtualConfig(pci, this.resources, {
      functionReset: () => void this.#reset(memoryEnabled),
      intxDisabled: (on) => this.#intx.disabledByConfig(on),
      msiEnabled: () => this.#msi?.enabled ?? false,
      msiQueueSize: () => queueSize(Math.max(this.#msi?.lastEnabled ?? 1, 1)),
      memoryGoes: () => disabled(),
      memoryComes: () => {
        if (memoryEnabled()) this.#showBars();
      },
    });
    const lowPower = new LowPower((engaged) => {
      if (engaged) disabled();
      else if (memoryEnabled()) this.#showBars();
    });
    const disabled = (): void => {
      if (this.#profile.peerMappings === 'revoked') this.#peerReturn.takeBack(barMmap.memories);
      this.#hideBars();
    };
    const memoryEnabled = (): boolean => config.memoryEnabled() && !lowPower.engaged;
    const { resources, name: deviceName } = this;
    const barIo = new BarIo({ pci, widest: this.#profile.barAccess, memoryEnabled, ramBars });
    const deviceMemory = this.#deviceMemory;
    const { object } = this.#fn;
    const barMmap = new BarMmap({ deviceName, object, resources, ramBars, deviceMemory, memoryEnabled, barIo });
    const ioeventfds = new Ioeventfds({ resources, profile: this.#profile, barIo, virqfds: this.#virqfds });
    if (memoryEnabled()) this.#registerPages.restore();
    return {
      ...{ name: deviceName, object, resources, profile: this.#profile, irqs: this.#irqs, sources: this.#sources },
      rom: this.#rom,
      ...{
        saved,
        config,
        barIo,
        barMmap,
        ioeventfds,
        lowPower,
        memoryEnabled,
        registerPages: this.#registerPages,
        posting: this.#posting,
      },
      reset: () => this.#reset(memoryEnabled),
    };
  }

  #hideBars(): void {
    this.#registerPages.withdraw();
    this.#ramBars.withdraw();
  }

  #showBars(): void {
    this.#ramBars.restore();
    this.#registerPages.restore();
  }

  /**
   * vfio_pci_core_disable: takes the BARs back (P2P-3), stops DMA, then interrupts, then restores
   * the former state.
   */
  #disable(): void {
    const enabled = this.#enabled!;
    this.#registerPages.closeAll();
    if (this.#leaving) {
      this.#leave(enabled);
      return;
    }
    if (this.#profile.peerMappings !== 'kept') this.#peerReturn.takeBack(enabled.barMmap.memories);
    this.#clearCommand(PCI_COMMAND_MASTER);
    this.#posting.close();
    this.#irqs.disableAll();
    for (const messages of this.#messages) messages.dropKept();
    enabled.ioeventfds.closeAll();
    enabled.lowPower.exit();
    enabled.barMmap.close();
    startReset(this.#pci, this.resources);
    enabled.saved.restore(); // memory decoding on
    this.#ramBars.restore();
    this.#ramBars.tidy();
    this.#enabled = undefined;
  }

  /** The function goes on as it is; what belongs to this kernel ends. */
  #leave(enabled: Enabled): void {
    for (const messages of this.#messages) messages.leave();
    this.#posting.close();
    this.#irqs.disableAll();
    enabled.ioeventfds.closeAll();
    enabled.barMmap.close();
    this.#enabled = undefined;
  }

  /**
   * vfio_pci_ioctl_reset (PCI-6): no mapping of a BAR is there during the reset (PCI-8), and other
   * devices may lose theirs (P2P-9). EINVAL for a device that cannot be reset.
   */
  #reset(memoryEnabled: () => boolean): number {
    if (this.resources.flr === undefined) throw einval(`${this.name} has no working reset`);
    if (this.#enabled && this.#profile.peerMappings === 'revoked') {
      this.#peerReturn.takeBack(this.#enabled.barMmap.memories);
    }
    this.#hideBars();
    resetFunction(this.#pci, this.resources);
    this.#msix?.restore();
    if (memoryEnabled()) this.#showBars();
    return 0;
  }

  /**
   * The function may have recorded an uncorrectable error. The port's driver (AER) looks, clears
   * what it finds and tells vfio-pci (vfio_pci_core_aer_err_detected; PCI-13).
   */
  errorDetected(): void {
    const { errors } = this.resources;
    if (errors === undefined) return;
    const status = this.#pci.readConfig(errors + PCI_ERR_UNCOR_STATUS, 4);
    const reported = status & ~this.#pci.readConfig(errors + PCI_ERR_UNCOR_MASK, 4);
    if (reported === 0) return;
    this.#pci.writeConfig(errors + PCI_ERR_UNCOR_STATUS, 4, status);
    this.#irqs.tell(VFIO_PCI_ERR_IRQ_INDEX);
  }

  #clearCommand(bits: number): void {
    this.#pci.writeConfig(PCI_COMMAND, 2, this.#pci.readConfig(PCI_COMMAND, 2) & ~bits);
  }

  get bdf(): number {
    return this.#fn.bdf;
  }

  /**
   * For /dev/livevmm. `interruptsSent` is how many MSIs the device tried to send, by its own count.
   */
  info(interruptsSent: number): DeviceInfo {
    const messages = this.#messages;
    return functionInfo(this.#fn, {
      interruptsSent,
      interruptsRaised: messages.reduce((sum, one) => sum + one.raised(), this.#intx.raised()),
      interruptsDropped: messages.reduce((sum, one) => sum + one.dropped(), 0),
      opens: this.openCount,
    });
  }

  /** For sysfs: what enumeration has found, and the configuration space of now. */
  facts(): FunctionFacts {
    return functionFacts(this.#fn, this.resources, this.#pci);
  }

  /** For sysfs: what is in the ROM at `offset`, a piece of it. ENODEV: there is no ROM. */
  romImages(offset: number): Uint8Array {
    if (!this.#rom) throw enodev(`${this.name} has no ROM`);
    return this.#rom.images(offset, ROM_PIECE);
  }

  timeline(fromNs: number, toNs: number): TimelineReply {
    return functionTimeline(this.#fn, fromNs, toNs);
  }
}
