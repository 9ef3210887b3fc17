/**
 * The kernel's half of a device worker that has no IOMMU (iommu/bus/mediated-channel.ts). It does
 * what the driver of a mediated device does in a kernel thread. Each access is a vfio_dma_rw, which
 * sleeps while the vaddr is invalid. The kernel signals the device's MSIs from here.
 */
import type { MessagePort } from 'node:worker_threads';

import { monotonicNs } from '../../../platform/clock.ts';
import { errnoNumber, SysError } from '../../../platform/errno.ts';
import type { BlockInfo } from '../../abi/control.ts';
import type { DoorbellTable } from '../../bus/interrupts.ts';
import { type ChannelRequest, ChannelServer, OP_MESSAGE, OP_WRITE } from '../../bus/mediated-channel.ts';
import { reportBug } from '../core/bug.ts';
import type { DeviceGroup } from '../vfio/device.ts';
import { MediatedService } from './service.ts';

const EIO = errnoNumber('EIO');
/** How many of the newest blocks are remembered one by one. */
const RECENT = 16;

export interface DeviceAccessesOptions {
  readonly channel: SharedArrayBuffer;
  /** The device worker's mailbox. */
  readonly mailbox: SharedArrayBuffer;
  /** A message on this port says that there is a request. */
  readonly port: MessagePort;
  readonly doorbells: DoorbellTable;
}

export class DeviceAccesses {
  readonly #channel: ChannelServer;
  readonly #port: MessagePort;
  readonly #doorbells: DoorbellTable;
  readonly #service = new MediatedService();
  /** kthread_stop: ends a sleep. */
  #stop = new AbortController();
  #busy = false;
  #blocks: BlockInfo = { count: 0, longestNs: 0, recent: [] };

  constructor({ channel, mailbox, port, doorbells }: DeviceAccessesOptions) {
    this.#channel = new ChannelServer(channel, mailbox);
    this.#port = port;
    this.#doorbells = doorbells;
    const serve = (): void => void this.#serve().catch(reportBug);
    port.on('message', serve);
    serve(); // what was asked of an earlier kernel
  }

  get blocks(): BlockInfo {
    return this.#blocks;
  }

  /** The first open of the device. */
  opened(group: DeviceGroup): void {
    this.#stop = new AbortController();
    this.#service.opened(group);
  }

  /** The last close of the device. The access under way and all later ones are refused (RACE-3). */
  closed(): void {
    this.#stop.abort();
    this.#service.closed();
  }

  /** The kernel ends. `left`: the next one gets the port. */
  close(left: boolean): void {
    this.#stop.abort();
    if (left) this.#port.removeAllListeners('message');
    else this.#port.close();
  }

  async #serve(): Promise<void> {
    if (this.#busy) return; // one request at a time; the loop below finds the next
    this.#busy = true;
    try {
      for (let request = this.#channel.take(); request; request = this.#channel.take()) {
        this.#channel.answer(await this.#carryOut(request));
      }
    } finally {
      this.#busy = false;
    }
  }

  /** Returns 0, or the errno with which the request is refused. */
  async #carryOut(request: ChannelRequest): Promise<number> {
    if (request.op === OP_MESSAGE) {
      this.#doorbells.ring(request.message); // the routing thread itself rings: no fence is needed
      return 0;
    }
    try {
      await this.#access(request);
      return 0;
    } catch (error) {
      if (error instanceof SysError) return error.errno;
      reportBug(error);
      return EIO;
    }
  }

  async #access({ op, vpn, offset, length }: ChannelRequest): Promise<void> {
    const data = this.#channel.data.subarray(0, length);
    const startNs = monotonicNs();
    const slept = await this.#service.dmaRw({ vpn, offset, data, write: op === OP_WRITE, killed: this.#stop.signal });
    if (!slept) return;
    const endNs = monotonicNs();
    const { count, longestNs, recent } = this.#blocks;
    this.#blocks = {
      count: count + 1,
      longestNs: Math.max(longestNs, endNs - startNs),
      recent: [...recent.slice(1 - RECENT), { startNs, endNs }],
    };
  }
}
