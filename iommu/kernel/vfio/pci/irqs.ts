/** The interrupts of one function, in the state that SET_IRQS has given them (vfio_pci_intrs.c). */
import { ebusy, einval, SysError } from '../../../../platform/errno.ts';
import type { EventfdSources } from '../../../../platform/eventfd-source.ts';
import { hex } from '../../../../platform/hex.ts';
import { close } from '../../../../platform/libc/fd.ts';
import {
  VFIO_IRQ_SET_ACTION_MASK,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
} from '../../../abi/vfio.ts';
import type { Caller } from '../../core/open-file.ts';
import type { Profile } from '../../core/profile.ts';
import type { Virqfds, VirqfdWatch } from '../virqfd/virqfd.ts';
import { EventTrigger } from './event-trigger.ts';
import type { Intx } from './intx.ts';
import type { Msi } from './msi.ts';
import type { PciResources } from './resources.ts';

/** A SET_IRQS call that has passed the checks common to all indices (set-irqs.ts). */
export interface IrqChange {
  readonly index: number;
  readonly start: number;
  readonly count: number;
  /** The ACTION bits. No interrupt supports a call with none or several of them. */
  readonly action: number;
  readonly data:
    | { readonly type: 'none' }
    | { readonly type: 'bool'; readonly values: readonly boolean[] }
    | { readonly type: 'eventfd'; readonly fds: readonly number[] };
}

export interface IrqsOptions {
  readonly resources: PciResources;
  readonly profile: Profile;
  readonly intx: Intx;
  /** Undefined without the capability. */
  readonly msi: Msi | undefined;
  readonly msix: Msi | undefined;
  readonly virqfds: Virqfds;
  readonly sources: EventfdSources;
}

export class Irqs {
  readonly #options: IrqsOptions;
  /** The eventfds of ERR and REQ. They are only stored; tell() and the loop-back signal them. */
  readonly #stored = new Map<number, EventTrigger>();
  /** The eventfd that unmasks INTx. */
  #unmaskWatch: VirqfdWatch | undefined;

  constructor(options: IrqsOptions) {
    this.#options = options;
  }

  /** vfio_pci_get_irq_count. 0 for an index that does not exist. */
  count(index: number): number {
    const { resources } = this.#options;
    switch (index) {
      case VFIO_PCI_INTX_IRQ_INDEX:
        return resources.hasIntx ? 1 : 0;
      case VFIO_PCI_MSI_IRQ_INDEX:
        return resources.msi?.maxVectors ?? 0;
      case VFIO_PCI_MSIX_IRQ_INDEX:
        return resources.msix?.nrVectors ?? 0;
      case VFIO_PCI_ERR_IRQ_INDEX:
        return resources.isPcie ? 1 : 0;
      case VFIO_PCI_REQ_IRQ_INDEX:
        return 1;
    }
    return 0;
  }

  /**
   * vfio_pci_set_irqs_ioctl. ENOTTY for an action that the index does not support (PCI-3). Returns
   * a promise when a thread may start.
   */
  apply(change: IrqChange, caller: Caller): void | Promise<void> {
    const { index, action } = change;
    const trigger = action === VFIO_IRQ_SET_ACTION_TRIGGER;
    if (index === VFIO_PCI_INTX_IRQ_INDEX) {
      if (action === VFIO_IRQ_SET_ACTION_UNMASK) return this.#unmaskIntx(change, caller);
      if (action === VFIO_IRQ_SET_ACTION_MASK) return this.#maskIntx(change);
      if (trigger) return this.#triggerIntx(change, caller);
    }
    const messages = this.#messagesOf(index);
    if (messages && trigger) return this.#triggerMsi(messages, change, caller);
    if ((index === VFIO_PCI_ERR_IRQ_INDEX || index === VFIO_PCI_REQ_IRQ_INDEX) && trigger)
      return this.#store(change, caller);
    throw new SysError('ENOTTY', `interrupt index ${index}: action ${hex(action)} is not supported`);
  }

  #messagesOf(index: number): Msi | undefined {
    if (index === VFIO_PCI_MSI_IRQ_INDEX) return this.#options.msi;
    return index === VFIO_PCI_MSIX_IRQ_INDEX ? this.#options.msix : undefined;
  }

  /** vfio_pci_set_intx_mask */
  #maskIntx({ start, count, data }: IrqChange): void {
    const { intx } = this.#options;
    if (!intx.enabled || start !== 0 || count !== 1) throw einval('INTx is not enabled, or not its one interrupt');
    if (data.type === 'none' || (data.type === 'bool' && data.values[0])) intx.mask();
    if (data.type === 'eventfd') throw new SysError('ENOTTY', 'INTx cannot be masked by an eventfd');
  }

  /** vfio_pci_set_intx_unmask */
  #unmaskIntx({ start, count, data }: IrqChange, caller: Caller): void | Promise<void> {
    const { intx, virqfds } = this.#options;
    if (!intx.enabled || start !== 0 || count !== 1) throw einval('INTx is not enabled, or not its one interrupt');
    if (data.type === 'none' || (data.type === 'bool' && data.values[0])) intx.unmask();
    if (data.type !== 'eventfd') return undefined;
    const fd = data.fds[0]!;
    if (fd < 0) {
      this.#unwatch();
      return undefined;
    }
    const eventfd = caller.eventfdToWatch(fd);
    if (this.#unmaskWatch?.ended()) this.#unwatch();
    if (this.#unmaskWatch) {
      close(eventfd.fd);
      throw ebusy('INTx has an eventfd that unmasks it');
    }
    this.#unmaskWatch = virqfds.watch(eventfd, () => intx.unmask());
    return this.#unmaskWatch.armed;
  }

  /** vfio_pci_set_intx_trigger */
  #triggerIntx({ start, count, data }: IrqChange, caller: Caller): void {
    const { intx } = this.#options;
    if (intx.enabled && count === 0 && data.type === 'none') {
      this.#disableIntx();
      return;
    }
    if (this.#messagesEnabled() || start !== 0 || count !== 1) {
      throw einval('messages are enabled, or not the one INTx interrupt');
    }
    if (data.type === 'eventfd') {
      const trigger = this.#triggerOf(data.fds[0]!, caller);
      if (intx.enabled) intx.setTrigger(trigger);
      else intx.enable(trigger);
      return;
    }
    if (!intx.enabled) throw einval('INTx is not enabled');
    if (data.type === 'none' || data.values[0]) intx.raise();
  }

  #unwatch(): void {
    this.#unmaskWatch?.close();
    this.#unmaskWatch = undefined;
  }

  #disableIntx(): void {
    this.#unwatch();
    this.#options.intx.disable();
  }

  #messagesEnabled(): boolean {
    const { msi, msix } = this.#options;
    return (msi?.enabled ?? false) || (msix?.enabled ?? false);
  }

  /** vfio_pci_set_msi_trigger */
  #triggerMsi(msi: Msi, { start, count, data }: IrqChange, caller: Caller): void {
    if (msi.enabled && count === 0 && data.type === 'none') {
      msi.disable();
      return;
    }
    if (!msi.enabled && (this.#options.intx.enabled || this.#messagesEnabled())) {
      throw einval('interrupts of another kind are enabled');
    }
    if (data.type === 'eventfd') {
      this.#setMsiTriggers(msi, start, data.fds, (fd) => new EventTrigger(this.#options.sources, caller.eventfd(fd)));
      return;
    }
    if (!msi.enabled) throw einval('no vector is enabled');
    msi.checkRange(start, count);
    for (let i = 0; i < count; i++) if (data.type === 'none' || data.values[i]) msi.raise(start + i);
  }

  #setMsiTriggers(msi: Msi, start: number, fds: readonly number[], open: (fd: number) => EventTrigger): void {
    if (msi.enabled) {
      msi.setBlock(start, fds, open);
      return;
    }
    msi.enable(start + fds.length);
    try {
      msi.setBlock(start, fds, open);
    } catch (error) {
      msi.disable();
      throw error;
    }
  }

  /** vfio_pci_set_err_trigger, vfio_pci_set_req_trigger: vfio_pci_set_ctx_trigger_single. */
  #store({ index, start, count, data }: IrqChange, caller: Caller): void {
    if (start !== 0 || count > 1) throw einval('there is one such interrupt');
    const now = this.#stored.get(index);
    if (data.type === 'none') {
      if (!now) throw einval('no eventfd is stored');
      if (count > 0) now.signal();
      else this.#forget(index);
      return;
    }
    if (count === 0) throw einval('no data');
    if (data.type === 'bool') {
      if (data.values[0]) now?.signal();
      return;
    }
    const fd = data.fds[0]!;
    if (fd < -1 && this.#options.profile.reqFdBelowMinusOne === 'EINVAL') throw einval(`eventfd ${fd}`);
    if (fd >= 0) {
      const trigger = new EventTrigger(this.#options.sources, caller.eventfd(fd));
      this.#forget(index);
      this.#stored.set(index, trigger);
    } else if (fd === -1) {
      this.#forget(index);
    }
  }

  /** Signals the eventfd of ERR or REQ, if there is one. */
  tell(index: number): boolean {
    const trigger = this.#stored.get(index);
    trigger?.signal();
    return trigger !== undefined;
  }

  #forget(index: number): void {
    this.#stored.get(index)?.close();
    this.#stored.delete(index);
  }

  /** The last close of the device: every eventfd is released (PCI-9). */
  disableAll(): void {
    if (this.#options.intx.enabled) this.#disableIntx();
    for (const messages of [this.#options.msi, this.#options.msix]) if (messages?.enabled) messages.disable();
    this.#options.intx.disabledByConfig(false);
    for (const index of [...this.#stored.keys()]) this.#forget(index);
  }

  /** Any negative fd means "none" (PCI-3). */
  #triggerOf(fd: number, caller: Caller): EventTrigger | undefined {
    return fd < 0 ? undefined : new EventTrigger(this.#options.sources, caller.eventfd(fd));
  }
}
