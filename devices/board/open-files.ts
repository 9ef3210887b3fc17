/** What is behind the board's devices: open from power-on to power-off. */
import { closeSync, rmSync } from 'node:fs';
import { epollCreate } from '../../platform/libc/epoll.ts';
import type { DeviceFiles } from '../kit/device.ts';
import { parseProperties } from '../kit/properties.ts';
import type { PlannedDevice } from './floor-plan.ts';

export class OpenFiles {
  readonly #fds: number[] = [];
  readonly #paths: string[] = [];

  /** Opens what is behind a device. Errors as DeviceType.open. */
  open({ model: { type }, properties, backend }: PlannedDevice): DeviceFiles {
    const values = parseProperties(type.name, type.properties, properties);
    const { fds, paths = [] } = type.open?.(values, backend ?? '') ?? { fds: [] };
    this.#fds.push(...fds);
    this.#paths.push(...paths);
    if (backend === undefined || type.backend === 'fsdev') return { fds, backend }; // files have no news
    const news = epollCreate();
    this.#fds.push(news);
    return { fds, backend, news };
  }

  /** No device may run any more. */
  close(): void {
    for (const path of this.#paths.splice(0)) rmSync(path, { force: true });
    for (const fd of this.#fds.splice(0)) closeSync(fd);
  }
}
