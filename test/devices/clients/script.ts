/**
 * What the scripts of this folder are made of. They run in a process of their own and block as they
 * like.
 */
import { readSync } from 'node:fs';
import { joinContainer, openContainer } from '../../../vmm/client/container.ts';
import { describeDevice, VfioDevice } from '../../../vmm/client/device.ts';
import { openDevice } from '../../../vmm/client/group.ts';
import { KernelClient } from '../../../vmm/client/kernel-client.ts';
import { RegionRegisters, type Registers } from '../../../vmm/client/registers.ts';

export const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);

/** Until the test says goOn(). */
export function wait(): void {
  readSync(0, new Uint8Array(1));
}

export const kernel = new KernelClient(process.argv[2]!);

export interface OpenedDevice {
  readonly container: number;
  readonly groupFd: number;
  readonly fd: number;
  readonly device: VfioDevice;
  /** Those of BAR 0. */
  readonly registers: Registers;
}

/** A device in a container, by default a new one. */
export function openDeviceOf(group: number, bdf: string, container?: number): OpenedDevice {
  const fresh = container === undefined ? openContainer(kernel, [group]) : undefined;
  const groupFd = fresh?.groups[0] ?? joinContainer(kernel, group, container!);
  return { container: fresh?.fd ?? container!, groupFd, ...deviceOf(openDevice(kernel, groupFd, bdf), bdf) };
}

/** An open fd of a device. */
export function deviceOf(fd: number, bdf: string): Pick<OpenedDevice, 'fd' | 'device' | 'registers'> {
  const description = describeDevice(kernel, fd, bdf);
  const registers = new RegionRegisters(kernel, fd, description.bars[0]!.offset);
  return { fd, device: new VfioDevice(description, kernel), registers };
}

/** COMMAND, which is what a driver writes first. */
export function setCommand(device: VfioDevice, value: number): void {
  device.writeConfig(4, new Uint8Array(new Uint16Array([value]).buffer));
}
