/**
 * A VMM over a kexec of its host's kernel, the half before: the guest stops, its state goes into
 * pkernfs, and the VMM waits for the kernel's end, which is the end of everything that it has open
 * there. Devices go on: their DMA reaches guest RAM all the time, and their interrupts pend.
 */
import { monotonicNs } from '../../../platform/clock.ts';
import { ebusy, einval, eopnotsupp } from '../../../platform/errno.ts';
import { close } from '../../../platform/libc/fd.ts';
import { PAGE_SIZE, wholePages } from '../../../platform/page.ts';
import { writeAll } from '../../../platform/whole-file.ts';
import { VfioDevice } from '../../client/device.ts';
import { kernelEnd } from '../../client/kexec.ts';
import { createPersistent } from '../../client/pkernfs.ts';
import { takeInterrupts } from '../../crew/interrupts/dispatcher.ts';
import { MsiCapability } from '../../machine/shared/msi-capability.ts';
import { MsixCapability } from '../../machine/shared/msix-capability.ts';
import type { PassthroughState } from '../../machine/shared/passthrough.ts';
import type { PassthroughHost } from '../../passthrough/passthrough-host.ts';
import { persistentFiles } from '../../passthrough/persistent-files.ts';
import { intxEventfd } from '../../passthrough/vfio-section.ts';
import type { Vm } from '../../vm/vm.ts';
import { encodeState } from '../state-file.ts';
import { saveAtRest } from '../survivors.ts';
import { beBornAgain } from './rebirth.ts';

/** A guest that waits for the next kernel. */
export interface Saved {
  /** The host's socket. */
  readonly host: string;
  readonly stateBytes: number;
  /** CLOCK_MONOTONIC: the guest's last instruction. */
  readonly pausedNs: number;
}

export class KexecSave {
  readonly #vm: Vm;
  /** Ends the wait for the kernel: the guest runs on here. */
  #cancel: (() => void) | undefined;

  constructor(vm: Vm) {
    this.#vm = vm;
  }

  /**
   * Stops the guest and saves it. From then on the VMM waits for its kernel's end, or for cancel().
   * `to`: folder of the built version that goes on. EOPNOTSUPP: the guest is not in memory that
   * outlives the kernel. EBUSY: it waits already, or the VM is ending.
   */
  save(to: string | undefined): Promise<Saved> {
    const { host, options } = this.#vm.parts;
    const { pkernfs } = options;
    if (!host || pkernfs === undefined)
      throw eopnotsupp('the guest is not in memory that outlives the kernel: --pkernfs');
    if (host.container.save().peerBars.some(({ iova }) => iova !== null)) {
      throw eopnotsupp('a BAR is mapped for the DMA of another device: that mapping does not outlive the kernel');
    }
    if (options.guardian === 'always') throw eopnotsupp('a guardian has the devices, too: --guardian update');
    if (this.#cancel) throw ebusy('the guest waits for the next kernel already');
    return new Promise((resolve, reject) => {
      this.#vm.change(() => this.#wait(host, pkernfs, to, resolve)).catch(reject);
    });
  }

  /** The kexec does not take place: the guest runs on. EINVAL: the guest does not wait. */
  cancel(): void {
    if (!this.#cancel) throw einval('the guest does not wait for a kernel');
    this.#cancel();
  }

  async #wait(
    host: PassthroughHost,
    name: string,
    to: string | undefined,
    saved: (saved: Saved) => void,
  ): Promise<void> {
    const vm = this.#vm;
    if (vm.runState === 'shutdown') throw ebusy('the VM is ending');
    const { console, ram } = vm.parts;
    const stopped = await vm.quiesce();
    const machine = stopped.state();
    const { functions } = machine.pci;
    const kernel = kernelEnd(host.client);
    try {
      console.pause();
      holdInterrupts(host, functions);
      for (let route = 0; route < vm.routes.count; route++) takeInterrupts(vm.routes, route, vm.imsics);
      const stateBytes = writeState(host, name, encodeState(saveAtRest({ vm, machine })));
      const cancelled = new Promise<'cancelled'>((resolve) => {
        this.#cancel = () => resolve('cancelled');
      });
      saved({ host: host.client.socketPath, stateBytes, pausedNs: stopped.atNs });
      const how = await Promise.race([kernel.closed, cancelled]);
      if (how !== 'cancelled') {
        ram.dropPages();
        beBornAgain(vm.parts.options, { pausedNs: stopped.atNs, downNs: monotonicNs() }, to);
      }
    } finally {
      this.#cancel = undefined;
      kernel.forget();
    }
    armInterrupts(host, functions);
    console.refill();
    await vm.unquiesce();
  }
}

/** Whatever devices send from here on pends in the host: no eventfd is there to count it. */
function holdInterrupts(host: PassthroughHost, functions: readonly PassthroughState[]): void {
  setInterrupts(host, functions, () => -1);
}

/** The eventfds take the interrupts again, also those that pend. */
export function armInterrupts(host: PassthroughHost, functions: readonly PassthroughState[]): void {
  setInterrupts(host, functions, (eventfd) => eventfd);
}

/** Gives each vector that the guest lets send what `of` says of its eventfd. */
function setInterrupts(
  { client, devices }: PassthroughHost,
  functions: readonly PassthroughState[],
  of: (eventfd: number) => number,
): void {
  for (const [i, passed] of devices.entries()) {
    const { description, msiEventfds, gone } = passed;
    const { armed, msi, msix } = functions[i]!;
    if (gone) continue;
    const device = new VfioDevice(description, client);
    const intx = intxEventfd(passed);
    // a line that is up tells so again
    if (!armed && intx !== undefined && of(intx) >= 0) device.armIntx(intx);
    if (!armed) continue;
    const capability = msix && new MsixCapability(msix);
    if (capability?.enabled) {
      device.armMsix(
        0,
        capability.unmasked().map((maySend, vector) => (maySend ? of(msiEventfds[vector]!) : -1)),
      );
    } else if (msi) {
      device.armMsi(msiEventfds.slice(0, new MsiCapability(msi).vectors).map(of));
    }
  }
}

function writeState({ client }: PassthroughHost, name: string, state: Uint8Array): number {
  const memory = createPersistent(client, persistentFiles(name).state, Math.max(PAGE_SIZE, wholePages(state.length)));
  try {
    writeAll(memory, state);
    return state.length;
  } finally {
    close(memory);
  }
}
