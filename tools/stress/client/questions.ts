/** What an actor asks the control device. */
import type { DeviceInfo, HostInfo } from '../../../iommu/abi/control.ts';
import { CONTROL_PATH } from '../../../iommu/abi/wire.ts';
import { monotonicNs } from '../../../platform/clock.ts';
import { SysError } from '../../../platform/errno.ts';
import { Violation } from '../invariants.ts';
import type { Caller } from './caller.ts';

/** Accesses of a device that came to nothing: refused by the IOMMU, or let through to where nobody answers. */
export const refusals = ({ faults, unsupported }: DeviceInfo): number => faults + unsupported;

export class Questions {
  readonly #caller: Caller;
  readonly #fd: number;

  constructor(caller: Caller) {
    this.#caller = caller;
    this.#fd = caller.client.open(CONTROL_PATH);
  }

  info(): HostInfo {
    return this.#ask('info', () => this.#caller.client.board(this.#fd, { op: 'info' })) as HostInfo;
  }

  device(bdf: string): DeviceInfo {
    return this.info().devices.find((device) => device.bdf === bdf)!;
  }

  setParameter(name: string, value: string): void {
    this.#ask(`${name}=${value}`, () => this.#caller.client.board(this.#fd, { op: 'set-parameter', name, value }));
  }

  /** A device loses its next interrupt. */
  dropInterrupt(bdf: string): void {
    const request = { op: 'inject', defect: 'drop-interrupt', bdf } as const;
    this.#ask('defect', () => this.#caller.client.board(this.#fd, request));
  }

  #ask(what: string, ask: () => unknown): unknown {
    const { log } = this.#caller;
    const start = monotonicNs();
    try {
      return ask();
    } catch (error) {
      if (error instanceof SysError && error.code !== 'EPIPE') throw new Violation('6', `${what}: ${error.message}`);
      throw error;
    } finally {
      log.set('slowestUs', Math.max(log.get('slowestUs'), (log.beat() - start) / 1000));
    }
  }
}
