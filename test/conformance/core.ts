/** As much of the VFIO core (containers, groups, devices and their fds; CORE-2…10) as the type1 vectors need. */

import type { Task } from '../../iommu/kernel/core/task.ts';
import type { IommuGroup } from '../../iommu/kernel/vfio/container-iommu.ts';
import type { Type1, Type1Driver } from '../../iommu/kernel/vfio/type1/type1.ts';
import { ebadf, ebusy, einval, enodev, SysError } from '../../platform/errno.ts';

export class Container {
  readonly kind = 'container';
  type1: Type1 | undefined;
  readonly groups: Group[] = [];

  async setIommu(driver: Type1Driver, type: number, task: Task): Promise<void> {
    if (this.groups.length === 0 || this.type1) throw einval('SET_IOMMU');
    if (driver.checkExtension(type) <= 0) throw enodev('SET_IOMMU');
    const type1 = driver.open(type);
    const attached: Group[] = [];
    try {
      for (const group of this.groups) {
        await type1.attachGroup(group.iommuGroup, task);
        attached.unshift(group);
      }
    } catch (error) {
      for (const group of attached) type1.detachGroup(group.iommuGroup);
      type1.release();
      throw error;
    }
    this.type1 = type1;
  }
}

export class Group {
  readonly kind = 'group';
  readonly iommuGroup: IommuGroup;
  container: Container | undefined;
  opened = false;
  nrDevices = 0;

  constructor(iommuGroup: IommuGroup) {
    this.iommuGroup = iommuGroup;
  }

  async setContainer(container: Container, task: Task): Promise<void> {
    if (this.container) throw einval('SET_CONTAINER: has one');
    await container.type1?.attachGroup(this.iommuGroup, task);
    container.groups.unshift(this);
    this.container = container;
  }

  unsetContainer(): void {
    if (!this.container) throw einval('UNSET_CONTAINER: has none');
    if (this.nrDevices > 0) throw ebusy('UNSET_CONTAINER: device open');
    this.leave();
  }

  leave(): void {
    const { container } = this;
    if (!container) return;
    this.container = undefined;
    container.type1?.detachGroup(this.iommuGroup);
    container.groups.splice(container.groups.indexOf(this), 1);
    if (container.groups.length > 0) return;
    container.type1?.release();
    container.type1 = undefined;
  }

  /** The group's fd or a device of it was closed. */
  closed(): void {
    if (!this.opened && this.nrDevices === 0) this.leave();
  }
}

/** An open file; each process' fd table refers to it. */
export interface OpenFile {
  refs: number;
  readonly target: Container | Group | Device;
}

export interface Device {
  readonly kind: 'device';
  readonly name: string;
  readonly group: Group;
}

/** The fd tables of the processes of a case: names instead of numbers. */
export class Files {
  readonly #tables = new Map<object, Map<string, { file: OpenFile; cloexec: boolean }>>();
  readonly #onLastClose: (target: OpenFile['target']) => void;

  constructor(onLastClose: (target: OpenFile['target']) => void) {
    this.#onLastClose = onLastClose;
  }

  #table(process: object): Map<string, { file: OpenFile; cloexec: boolean }> {
    let table = this.#tables.get(process);
    if (!table) {
      table = new Map();
      this.#tables.set(process, table);
    }
    return table;
  }

  open(process: object, name: string, target: OpenFile['target'], cloexec = false): void {
    this.#table(process).set(name, { file: { refs: 1, target }, cloexec });
  }

  dup(process: object, name: string, copy: string): void {
    const { file } = this.#entry(process, name);
    file.refs++;
    this.#table(process).set(copy, { file, cloexec: false });
  }

  setCloexec(process: object, name: string, on: boolean): void {
    this.#entry(process, name).cloexec = on;
  }

  fork(parent: object, child: object): void {
    for (const [name, { file, cloexec }] of this.#table(parent)) {
      file.refs++;
      this.#table(child).set(name, { file, cloexec });
    }
  }

  close(process: object, name: string): void {
    const { file } = this.#entry(process, name);
    this.#table(process).delete(name);
    if (--file.refs === 0) this.#onLastClose(file.target);
  }

  exec(process: object): void {
    for (const [name, { cloexec }] of [...this.#table(process)]) if (cloexec) this.close(process, name);
  }

  /** The fds of one process are another's now. */
  move(from: object, to: object): void {
    this.#tables.set(to, this.#table(from));
    this.#tables.delete(from);
  }

  exit(process: object): void {
    for (const name of [...this.#table(process).keys()]) this.close(process, name);
  }

  exitAll(): void {
    for (const process of this.#tables.keys()) this.exit(process);
  }

  #entry(process: object, name: string): { file: OpenFile; cloexec: boolean } {
    const entry = this.#table(process).get(name);
    if (!entry) throw ebadf(`no fd ${name}`);
    return entry;
  }

  container(process: object, name: string): Container {
    const { target } = this.#entry(process, name).file;
    if (target.kind !== 'container') throw new SysError('ENOTTY', `${name} is no container`);
    return target;
  }

  group(process: object, name: string): Group {
    const { target } = this.#entry(process, name).file;
    if (target.kind !== 'group') throw new SysError('ENOTTY', `${name} is no group`);
    return target;
  }

  device(process: object, name: string): Device {
    const { target } = this.#entry(process, name).file;
    if (target.kind !== 'device') throw new SysError('ENOTTY', `${name} is no device`);
    return target;
  }
}
