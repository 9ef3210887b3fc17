/** The files behind the board's devices: open from power-on to power-off. */
import { closeSync } from 'node:fs';
import { parseProperties } from '../kit/properties.ts';
import type { PlannedDevice } from './floor-plan.ts';

export class DeviceFiles {
  readonly #fds: number[] = [];

  /** The fds of what is behind a device. Errors as DeviceType.open. */
  open({ model: { type }, properties }: PlannedDevice): readonly number[] {
    const fds = type.open?.(parseProperties(type.name, type.properties, properties)) ?? [];
    this.#fds.push(...fds);
    return fds;
  }

  /** No device may run any more. */
  close(): void {
    for (const fd of this.#fds.splice(0)) closeSync(fd);
  }
}
