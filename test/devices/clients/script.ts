/** What the scripts of this folder are made of. They run in a process of their own and block as they like. */
import { readSync } from 'node:fs';
import { Container } from '../../../vmm/client/container.ts';
import { describeDevice, VfioDevice } from '../../../vmm/client/device.ts';
import { KernelClient } from '../../../vmm/client/kernel-client.ts';

export const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);

/** Until the test says goOn(). */
export function wait(): void {
  readSync(0, new Uint8Array(1));
}

export const kernel = new KernelClient(process.argv[2]!);

export interface OpenedDevice {
  readonly container: Container;
  readonly groupFd: number;
  readonly fd: number;
  readonly device: VfioDevice;
}

/** A device in a container, by default a new one. */
export function openDevice(group: number, bdf: string, container = new Container(kernel)): OpenedDevice {
  const groupFd = container.addGroup(group);
  const fd = container.openDevice(groupFd, bdf);
  return { container, groupFd, fd, device: new VfioDevice(describeDevice(kernel, fd, bdf), kernel) };
}

export function write32(device: VfioDevice, offset: number, value: number): void {
  device.writeBar(0, offset, new Uint8Array(new Uint32Array([value]).buffer));
}

export function read32(device: VfioDevice, offset: number): number {
  const bytes = new Uint8Array(4);
  device.readBar(0, offset, bytes);
  return new DataView(bytes.buffer).getUint32(0, true);
}

/** COMMAND, which is what a driver writes first. */
export function setCommand(device: VfioDevice, value: number): void {
  device.writeConfig(4, new Uint8Array(new Uint16Array([value]).buffer));
}
