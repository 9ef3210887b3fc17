/** A vfio-pci device over a function that a test makes, and a caller in the test's own process. */

import { IrqSet, VFIO_DEVICE_SET_IRQS } from '../../iommu/abi/vfio.ts';
import { createBarGate } from '../../iommu/bus/bar-gate.ts';
import { createPortCounters } from '../../iommu/bus/counters.ts';
import {
  createDoorbellTable,
  createIntxLine,
  DoorbellTable,
  eventfdSources,
  IntxLine,
} from '../../iommu/bus/interrupts.ts';
import { createRegisterPages } from '../../iommu/bus/register-pages.ts';
import { createTimeline } from '../../iommu/bus/timeline.ts';
import type { Caller, ClientEventfd, FileOperations } from '../../iommu/kernel/core/open-file.ts';
import { type Profile, type ProfileName, profileOf } from '../../iommu/kernel/core/profile.ts';
import { UserArg } from '../../iommu/kernel/core/user-arg.ts';
import { DeviceMemoryTable } from '../../iommu/kernel/mm/device-memory.ts';
import { DeviceFile } from '../../iommu/kernel/vfio/device-file.ts';
import type { PciAccess } from '../../iommu/kernel/vfio/pci/access.ts';
import { PciDevice } from '../../iommu/kernel/vfio/pci/device.ts';
import { VectorAllocator } from '../../iommu/kernel/vfio/pci/vector-allocator.ts';
import { ebadf, einval, enospc, SysError } from '../../platform/errno.ts';
import type { EventfdSources } from '../../platform/eventfd-source.ts';
import { eventfdId } from '../../platform/eventfd-watch.ts';
import { close, dupCloexec } from '../../platform/libc/fd.ts';
import { createMemory } from '../../platform/memory.ts';
import { viewOf } from '../../platform/struct.ts';

/** Any number that stands for a fd of another kind. */
export const NOT_AN_EVENTFD = 0;
export const NOT_OPEN = 9999;

function sameEventfd(fd: number, id: string | undefined): number | undefined {
  try {
    return eventfdId(fd) === id ? dupCloexec(fd) : undefined;
  } catch {
    return undefined; // closed
  }
}

const caller = {
  eventfd(fd: number): number {
    if (fd === NOT_OPEN || fd < 0) throw ebadf(`fd ${fd}`);
    if (fd === NOT_AN_EVENTFD) throw einval(`fd ${fd}`);
    return dupCloexec(fd);
  },
  eventfdToWatch(fd: number): ClientEventfd {
    const copy = caller.eventfd(fd);
    const id = eventfdId(copy);
    return { fd: copy, again: () => sameEventfd(fd, id) };
  },
} as unknown as Caller;

export class FakeVfioDevice {
  readonly device: PciDevice;
  /** The doorbell's table, for the side of a device worker. */
  readonly interrupts: SharedArrayBuffer;
  readonly doorbells: DoorbellTable;
  readonly vectors = new VectorAllocator(64);
  readonly line: IntxLine;
  readonly #profile: Profile;
  readonly sources: EventfdSources;
  /** Where its MSIs go, and how many times it is acquired. */
  readonly doorbell = {
    iova: 0xfee0_0000,
    users: 0,
    refuses: false,
    acquire(): number {
      if (this.refuses) throw enospc('no place for the doorbell');
      this.users++;
      return this.iova;
    },
    release(): void {
      this.users--;
    },
  };
  fences = 0;
  /** What a test looks at while a fence is under way. */
  onFence: () => void = () => {};
  file: FileOperations;
  readonly #object = createMemory('fake function', 0);

  constructor(pci: PciAccess, profile: ProfileName = '6.12') {
    this.#profile = profileOf(profile);
    const interrupts = createDoorbellTable();
    const intx = createIntxLine();
    this.interrupts = interrupts;
    this.doorbells = new DoorbellTable(interrupts);
    this.sources = eventfdSources(interrupts);
    this.line = new IntxLine(intx, this.sources);
    const shared = { counters: createPortCounters(), timeline: createTimeline(), mailbox: new SharedArrayBuffer(0) };
    const peerBox = new SharedArrayBuffer(0);
    const fn = {
      bdf: 0x10,
      name: 'fake',
      intx,
      unit: 0,
      group: 0,
      object: this.#object,
      ramBars: [],
      barGate: createBarGate(),
      registerPages: createRegisterPages(),
      peerBox,
      ...shared,
    };
    const fabric = {
      doorbells: this.doorbells,
      vectors: this.vectors,
      doorbell: this.doorbell,
      fence: () => {
        this.fences++;
        this.onFence();
      },
    };
    const deviceMemory = new DeviceMemoryTable();
    const { sources } = this;
    const { fence } = fabric;
    this.device = new PciDevice({
      fn,
      pci,
      fabric,
      sources,
      profile: this.#profile,
      deviceMemory,
      fenceAll: fence,
    });
    this.file = this.open();
  }

  /** One more file of it, as VFIO_GROUP_GET_DEVICE_FD gives it. */
  open(): FileOperations {
    return new DeviceFile(
      this.device.open(() => undefined),
      this.#profile,
    );
  }

  close(): void {
    this.file.release();
    this.sources.dispose();
    close(this.#object);
  }

  reopen(): void {
    this.file.release();
    this.file = this.open();
  }

  /** The return value, or '-ERRNO'; bytes are written back into `arg`. */
  async ioctl(nr: number, arg: number | Uint8Array): Promise<number | string> {
    const user = new UserArg(arg);
    try {
      return await this.file.ioctl(nr, user, caller);
    } catch (error) {
      if (error instanceof SysError) return `-${error.code}`;
      throw error;
    } finally {
      const out = user.output();
      if (out && typeof arg !== 'number') arg.set(out);
    }
  }

  setIrqs(
    index: number,
    flags: number,
    fields: { start?: number; count?: number; data?: readonly number[] },
  ): Promise<number | string> {
    const { start = 0, count = fields.data?.length ?? 0, data = [] } = fields;
    const isBool = (flags & 2) !== 0;
    const argsz = IrqSet.size + data.length * (isBool ? 1 : 4);
    const arg = IrqSet.bytes({ argsz, flags, index, start, count }, argsz);
    const view = viewOf(arg);
    data.forEach((value, i) => {
      if (isBool) view.setUint8(IrqSet.size + i, value);
      else view.setInt32(IrqSet.size + 4 * i, value, true);
    });
    return this.ioctl(VFIO_DEVICE_SET_IRQS, arg);
  }

  /** Hex digits of a read in region `index`, or '-ERRNO'. */
  read(index: number, at: number, length: number): string {
    return attempt(() => Buffer.from(this.file.pread!((BigInt(index) << 40n) + BigInt(at), length)).toString('hex'));
  }

  write(index: number, at: number, hex: string): number | string {
    const data = new Uint8Array(Buffer.from(hex, 'hex'));
    return attempt(() => this.file.pwrite!((BigInt(index) << 40n) + BigInt(at), data));
  }
}

/** What it returns, or '-ERRNO'. */
export function attempt<T>(run: () => T): T | string {
  try {
    return run();
  } catch (error) {
    if (error instanceof SysError) return `-${error.code}`;
    throw error;
  }
}
