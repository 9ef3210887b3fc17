/**
 * The kernel's half of a device worker that has no IOMMU (iommu/bus/mediated-channel.ts). It does
 * what the driver of a mediated device does in a kernel thread. Each access is a vfio_dma_rw, which
 * sleeps while the vaddr is invalid. The kernel signals the device's MSIs from here. While requests
 * follow each other the kernel's thread looks at the channel, as it does at the call pages of
 * clients; otherwise the device rings, or a message tells of each.
 */
import type { MessagePort } from 'node:worker_threads';

import { monotonicNs } from '../../../platform/clock.ts';
import { errnoNumber, SysError } from '../../../platform/errno.ts';
import type { WaitedWord } from '../../../platform/libc/futex.ts';
import type { BlockInfo } from '../../abi/control.ts';
import type { DoorbellTable } from '../../bus/interrupts.ts';
import { type ChannelRequest, ChannelServer, OP_MESSAGE, OP_WRITE } from '../../bus/mediated-channel.ts';
import type { Attention } from '../core/attention.ts';
import { reportBug } from '../core/bug.ts';
import { DEVICE_ACCESSES, type RestingPlace, type RingingDoor, type Served } from '../core/door.ts';
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
  /** The kernel's. */
  readonly attention: Attention;
}

export class DeviceAccesses implements RingingDoor {
  readonly pace = DEVICE_ACCESSES;
  readonly #channel: ChannelServer;
  readonly #port: MessagePort;
  readonly #doorbells: DoorbellTable;
  readonly #attention: Attention;
  readonly #service = new MediatedService();
  /** kthread_stop: ends a sleep. */
  #stop = new AbortController();
  /** There the device can ring, while it is open. */
  #place: RestingPlace | undefined;
  /** An access sleeps. */
  #busy = false;
  #blocks: BlockInfo = { count: 0, longestNs: 0, recent: [] };

  constructor({ channel, mailbox, port, doorbells, attention }: DeviceAccessesOptions) {
    this.#channel = new ChannelServer(channel, mailbox);
    this.#port = port;
    this.#doorbells = doorbells;
    this.#attention = attention;
    port.on('message', () => {
      attention.called(this);
      this.serve();
      attention.answered(this);
    });
    this.setAttentive(false); // and serves what was asked of an earlier kernel
  }

  get blocks(): BlockInfo {
    return this.#blocks;
  }

  /** The first open of the device. */
  opened(group: DeviceGroup): void {
    this.#stop = new AbortController();
    this.#service.opened(group);
    this.#place = this.#attention.place();
    this.#place?.add(this);
  }

  /** The last close of the device. The access under way and all later ones are refused (RACE-3). */
  closed(): void {
    this.#stop.abort();
    this.#service.closed();
    this.#leavePlace();
  }

  #leavePlace(): void {
    if (!this.#place) return;
    this.#place.remove(this);
    this.#place = undefined;
    this.#attention.dismiss(this);
    this.setAttentive(false);
  }

  /** The kernel ends. `left`: the next one gets the port. */
  close(left: boolean): void {
    this.#stop.abort();
    this.#leavePlace();
    this.#attention.dismiss(this);
    if (left) this.#port.removeAllListeners('message');
    else this.#port.close();
  }

  letRing(): WaitedWord {
    return this.#channel.letRing();
  }

  /** A device is no client: nobody has its turn. */
  inTurn(work: () => void): void {
    work();
  }

  setAttentive(on: boolean): void {
    this.#channel.setAttentive(on);
    if (!on) this.serve(); // the last look: nobody tells of what was posted before
  }

  serve(): Served {
    if (this.#busy) return 'nothing'; // the device waits for the answer, and posts nothing
    const request = this.#channel.take();
    if (!request) return 'nothing';
    const refused = this.#carryOut(request);
    if (typeof refused === 'number') {
      this.#channel.answer(refused);
      return 'done';
    }
    this.#busy = true;
    void refused
      .then((errno) => {
        this.#busy = false;
        this.#channel.answer(errno);
        this.#attention.answered(this);
      })
      .catch(reportBug);
    return 'goes-on';
  }

  /** 0, or the errno with which the request is refused; a promise if the access sleeps. */
  #carryOut(request: ChannelRequest): number | Promise<number> {
    try {
      if (request.op === OP_MESSAGE) {
        this.#doorbells.ring(request.message); // the routing thread itself rings: no fence is needed
        return 0;
      }
      const access = this.#access(request);
      return access instanceof Promise ? access.then(() => 0, refusal) : 0;
    } catch (error) {
      return refusal(error);
    }
  }

  #access({ op, vpn, offset, length }: ChannelRequest): void | Promise<void> {
    const data = this.#channel.data.subarray(0, length);
    const startNs = monotonicNs();
    const access = this.#service.dmaRw({ vpn, offset, data, write: op === OP_WRITE, killed: this.#stop.signal });
    if (!(access instanceof Promise)) return;
    return access.then((slept) => {
      if (slept) this.#countBlock(startNs);
    });
  }

  #countBlock(startNs: number): void {
    const endNs = monotonicNs();
    const { count, longestNs, recent } = this.#blocks;
    this.#blocks = {
      count: count + 1,
      longestNs: Math.max(longestNs, endNs - startNs),
      recent: [...recent.slice(1 - RECENT), { startNs, endNs }],
    };
  }
}

/** The errno of an access that was refused; EIO for a bug, which is reported. */
function refusal(error: unknown): number {
  if (error instanceof SysError) return error.errno;
  reportBug(error);
  return EIO;
}
