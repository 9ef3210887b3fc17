/** An actor's questions to the control device. */
import type {
  ControlReplies,
  ControlRequest,
  DeviceInfo,
  HostInfo,
  PteWritesReply,
} from '../../../iommu/abi/control.ts';
import { monotonicNs } from '../../../platform/clock.ts';
import { SysError } from '../../../platform/errno.ts';
import { ControlFile } from '../../../vmm/client/control.ts';
import { Violation } from '../invariants.ts';
import type { Caller } from './caller.ts';

/**
 * Number of accesses of a device that failed: the IOMMU refused them, or nothing answered at their
 * address.
 */
export const refusals = ({ faults, unsupported }: DeviceInfo): number => faults + unsupported;

export class Questions {
  readonly #caller: Caller;
  readonly #control: ControlFile;

  constructor(caller: Caller) {
    this.#caller = caller;
    this.#control = new ControlFile(caller.client);
  }

  info(): HostInfo {
    return this.#ask('info', { op: 'info' });
  }

  device(bdf: string): DeviceInfo {
    return this.info().devices.find((device) => device.bdf === bdf)!;
  }

  /** The log of page-table writes, from a time on. */
  ptesSince(fromNs: number): PteWritesReply {
    return this.#ask('page-table writes', { op: 'pte-writes', fromNs });
  }

  setParameter(name: string, value: string): void {
    this.#ask(`${name}=${value}`, { op: 'set-parameter', name, value });
  }

  /** Makes a device lose its next interrupt. */
  dropInterrupt(bdf: string): void {
    this.#ask('defect', { op: 'inject', defect: 'drop-interrupt', bdf });
  }

  #ask<R extends ControlRequest>(what: string, request: R): ControlReplies[R['op']] {
    const { log } = this.#caller;
    const start = monotonicNs();
    try {
      return this.#control.ask(request);
    } catch (error) {
      if (error instanceof SysError && error.code !== 'EPIPE') throw new Violation('6', `${what}: ${error.message}`);
      throw error;
    } finally {
      log.set('slowestUs', Math.max(log.get('slowestUs'), (log.beat() - start) / 1000));
    }
  }
}
