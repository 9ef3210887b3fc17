/**
 * kvemu is a vfio device with an emulated IOMMU. Its user tells it what to do with the mediated
 * service; it does nothing by itself. It stands for the module of the same name with which the
 * recordings in test/conformance/vectors were made (emu_* steps).
 */

import { e2big, einval, enoent, SysError } from '../../../platform/errno.ts';
import { hex } from '../../../platform/hex.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import {
  KVEMU_LOG,
  KVEMU_PIN,
  KVEMU_RW,
  KVEMU_RW_FLAG_WRITE,
  KVEMU_UNPIN,
  KvemuLog,
  KvemuPin,
  KvemuRw,
  KvemuUnpin,
} from '../../abi/kvemu.ts';
import { splitIova } from '../../bus/dma.ts';
import { reportBug } from '../core/bug.ts';
import type { Caller } from '../core/open-file.ts';
import type { UserArg } from '../core/user-arg.ts';
import type { DmaUnmapListener } from '../vfio/container-iommu.ts';
import type { DeviceGroup, DeviceOps, VfioDevice } from '../vfio/device.ts';
import { MediatedService } from './service.ts';

/** The most bytes of one KVEMU_RW. The module keeps them in a buffer of its own. */
const MAX_RW = 1 << 20;

/** A pinned range of pages, [vpn, vpn + nrPages). */
interface Pin {
  readonly vpn: number;
  readonly nrPages: number;
}

export class Kvemu implements VfioDevice, DmaUnmapListener {
  readonly name: string;
  openCount = 0;
  readonly #service = new MediatedService(this);
  #pins: Pin[] = [];
  #log = '';

  constructor(index: number) {
    this.name = `kvemu.${index}`;
  }

  open(released: () => void, group: DeviceGroup): DeviceOps {
    if (this.openCount === 0) this.#service.opened(group);
    this.openCount++;
    return new KvemuFile(this, released);
  }

  closed(): void {
    if (--this.openCount > 0) return;
    // the unpinning ends before the group leaves the container: first come, first served
    void this.#unpinAll(this.#pins)?.catch(reportBug);
    this.#pins = [];
    this.#log = '';
    this.#service.closed();
  }

  /** MDV-6: every pin that overlaps the range goes. */
  dmaUnmap(vpn: number, nrPages: number): void | Promise<void> {
    this.#log += `cb:${(vpn * PAGE_SIZE).toString(16)}+${(nrPages * PAGE_SIZE).toString(16)};`;
    const overlapping = this.#pins.filter((pin) => pin.vpn < vpn + nrPages && vpn < pin.vpn + pin.nrPages);
    this.#pins = this.#pins.filter((pin) => !overlapping.includes(pin));
    return this.#unpinAll(overlapping);
  }

  /** Returns a promise if one of the unpins has to wait. */
  #unpinAll(pins: readonly Pin[]): Promise<void> | undefined {
    const done = pins.map(({ vpn, nrPages }) => this.#service.unpinPages(vpn, nrPages));
    return done.some((result) => result instanceof Promise) ? Promise.all(done).then(() => undefined) : undefined;
  }

  ioctl(nr: number, arg: UserArg, caller: Caller): number | Promise<number> {
    switch (nr) {
      case KVEMU_PIN:
        return this.#pin(arg, caller);
      case KVEMU_UNPIN:
        return this.#unpin(arg);
      case KVEMU_RW:
        return this.#rw(arg, caller);
      case KVEMU_LOG:
        return this.#takeLog(arg);
    }
    throw einval(`ioctl ${hex(nr)}: ${this.name} has none of VFIO's`); // as a driver without an ioctl op
  }

  async #pin(arg: UserArg, { task }: Caller): Promise<number> {
    const { argsz, flags, iova, npage: nrPages, prot } = arg.read(KvemuPin);
    if (argsz < KvemuPin.size || flags !== 0) throw einval('KVEMU_PIN: bad argsz or flags');
    const { vpn } = splitIova(iova);
    const pfns = await this.#service.pinPages({ vpn, nrPages, prot, killed: task.killed });
    this.#pins.push({ vpn, nrPages });
    return pfns.length;
  }

  #unpin(arg: UserArg): number | Promise<number> {
    const { argsz, flags, iova, npage: nrPages } = arg.read(KvemuUnpin);
    if (argsz < KvemuUnpin.size || flags !== 0) throw einval('KVEMU_UNPIN: bad argsz or flags');
    const { vpn } = splitIova(iova);
    const at = this.#pins.findIndex((pin) => pin.vpn === vpn && pin.nrPages === nrPages);
    if (at < 0) throw enoent(`KVEMU_UNPIN: ${nrPages} pages from iova page ${hex(vpn)} on are not pinned`);
    this.#pins.splice(at, 1);
    return this.#unpinAll([{ vpn, nrPages }])?.then(() => 0) ?? 0;
  }

  #rw(arg: UserArg, { task }: Caller): number | Promise<number> {
    const { argsz, flags, iova, size } = arg.read(KvemuRw);
    if (size > MAX_RW) throw e2big(`KVEMU_RW: ${size} bytes`);
    const length = Number(size);
    if (argsz < KvemuRw.size + length || (flags & ~KVEMU_RW_FLAG_WRITE) !== 0) {
      throw einval('KVEMU_RW: bad argsz or flags');
    }
    const write = (flags & KVEMU_RW_FLAG_WRITE) !== 0;
    const room = write ? undefined : arg.room(KvemuRw.size, length);
    const data = write ? bytesOf(arg.copyIn(length, KvemuRw.size)) : (room ?? new Uint8Array(length));
    const copied = (): number => {
      if (room) arg.wrote(KvemuRw.size, length);
      else if (!write) arg.copyOut(KvemuRw.size, data);
      return 0;
    };
    const sleeping = this.#service.dmaRw({ ...splitIova(iova), data, write, caller: task });
    return sleeping instanceof Promise ? sleeping.then(copied) : copied();
  }

  #takeLog(arg: UserArg): number {
    const { argsz } = arg.read(KvemuLog);
    if (argsz < KvemuLog.size) throw einval('KVEMU_LOG: bad argsz');
    const text = Buffer.from(this.#log, 'latin1');
    const needed = KvemuLog.size + text.length;
    arg.copyOut(0, KvemuLog.bytes({ argsz: needed, length: text.length }));
    if (argsz < needed) throw new SysError('ENOSPC', `KVEMU_LOG: ${needed} bytes are needed`);
    arg.copyOut(KvemuLog.size, text);
    this.#log = '';
    return 0;
  }
}

const bytesOf = ({ buffer, byteOffset, byteLength }: DataView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

class KvemuFile implements DeviceOps {
  readonly name: string;
  readonly #device: Kvemu;
  readonly #released: () => void;

  constructor(device: Kvemu, released: () => void) {
    this.name = device.name;
    this.#device = device;
    this.#released = released;
  }

  ioctl(nr: number, arg: UserArg, caller: Caller): number | Promise<number> {
    return this.#device.ioctl(nr, arg, caller);
  }

  release(): void {
    this.#device.closed();
    this.#released();
  }
}
