/**
 * One side of the peers: a container with an edu that does the DMA, and a device whose memory is
 * the target of the other side. Each side knows what its mappings must do.
 */
import { VFIO_TYPE1v2_IOMMU } from '../../../iommu/abi/vfio.ts';
import { MAP_SHARED, PROT_READ, PROT_WRITE } from '../../../platform/libc/mmap.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { setCommand } from '../../../vmm/client/device.ts';
import { Violation } from '../invariants.ts';
import type { AssignedDevice } from './assignment.ts';
import type { Caller } from './caller.ts';
import { ContainerCalls } from './container.ts';
import { Copier } from './copier.ts';
import { DeviceFile } from './device-file.ts';
import { type OpenFiles, openAll } from './opening.ts';

/** BAR 2 of ivshmem-plain,size=64K. */
export const TARGET_PAGES = 16;
const TARGET_BYTES = TARGET_PAGES * PAGE_SIZE;
const TARGET_OFFSET = 2 * 2 ** 40;
const COMMAND_MEMORY = 2;

/** What survives an exec. */
export interface SideState {
  readonly files: OpenFiles;
  readonly isMapped: boolean;
  readonly isRevoked: boolean;
  readonly isOn: boolean;
  readonly hasWindow: boolean;
  /** The target's bytes, in base64. */
  readonly content: string;
}

export class PeerSide {
  readonly devices: readonly AssignedDevice[];
  readonly files: OpenFiles;
  readonly container: ContainerCalls;
  readonly edu: Copier;
  readonly #caller: Caller;
  /** The target's fd; undefined while it is closed. */
  target: number | undefined;
  /** Whether the target decodes memory; a closed one does. */
  isOn: boolean;
  /** Whether this side has mapped the other one's target. */
  isMapped: boolean;
  /** That mapping has no translations any more (P2P-10). */
  isRevoked: boolean;
  /** Whether a window for MSIs has been donated. */
  hasWindow: boolean;
  /** What this side's target must hold. */
  readonly content: Uint8Array;

  constructor(caller: Caller, devices: readonly AssignedDevice[], state?: SideState) {
    this.#caller = caller;
    this.devices = devices;
    this.files = state?.files ?? openAll(caller, devices, VFIO_TYPE1v2_IOMMU);
    const [edu, target] = this.files.devices as [number, number];
    this.container = new ContainerCalls(caller, this.files.container);
    this.edu = new Copier(new DeviceFile(caller, edu, 'edu'), caller.log);
    this.target = target;
    this.isMapped = state?.isMapped ?? false;
    this.isRevoked = state?.isRevoked ?? false;
    this.isOn = state?.isOn ?? true;
    this.hasWindow = state?.hasWindow ?? false;
    this.content = state ? new Uint8Array(Buffer.from(state.content, 'base64')) : new Uint8Array(TARGET_BYTES);
    if (state) return;
    this.edu.file.enable();
    this.#command(true);
    this.content.set(this.#read()); // a former owner's
  }

  save(): SideState {
    const { isMapped, isRevoked, isOn, hasWindow } = this;
    const devices = this.files.devices.with(1, this.target!);
    return {
      files: { ...this.files, devices },
      isMapped,
      isRevoked,
      isOn,
      hasWindow,
      content: Buffer.from(this.content).toString('base64'),
    };
  }

  /** All that is open. */
  fds(): number[] {
    const { container, groups, devices } = this.files;
    const [edu, , ...others] = devices as [number, ...number[]];
    return [container, ...groups, edu, ...(this.target === undefined ? [] : [this.target]), ...others];
  }

  get targetDevice(): AssignedDevice {
    return this.devices[1]!;
  }

  /** Maps the target's memory into this process; returns the vaddr. It is open. */
  mmap(): number {
    const prot = PROT_READ | PROT_WRITE;
    const how = { fd: this.target!, offset: TARGET_OFFSET, length: TARGET_BYTES, prot, flags: MAP_SHARED };
    return this.#caller.must('mmap the target', (client) => client.mmap(how));
  }

  munmap(vaddr: number): void {
    this.#caller.must('munmap', (client) => client.munmap(vaddr, TARGET_BYTES));
  }

  /** COMMAND.memory of the target, which is open. */
  switch(on: boolean): void {
    this.#command(on);
    this.isOn = on;
  }

  #command(on: boolean): void {
    const { bdf } = this.targetDevice;
    this.#caller.must(`${bdf}: memory ${on ? 'on' : 'off'}`, (client) =>
      setCommand(client, this.target!, on ? COMMAND_MEMORY : 0),
    );
  }

  #read(): Uint8Array {
    const bytes = new Uint8Array(TARGET_BYTES);
    this.#caller.must('read the target', (client) => client.pread(this.target!, TARGET_OFFSET, bytes));
    return bytes;
  }

  /** Checks every byte of the target, if it can be read (invariants 1 and 2). */
  check(): void {
    if (this.target === undefined || !this.isOn) return;
    const at = this.#read().findIndex((byte, i) => byte !== this.content[i]);
    if (at < 0) return;
    throw new Violation('1', `${this.targetDevice.bdf}: byte ${at} of its memory is not what DMA has left there`);
  }
}
