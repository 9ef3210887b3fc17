/**
 * The control device /dev/livevmm. Tools read facts about the host from it and inject defects
 * through it (abi/control.ts has the words).
 */
import { monotonicNs } from '../../platform/clock.ts';
import { eacces, einval, enodev, enotty } from '../../platform/errno.ts';
import { hex } from '../../platform/hex.ts';
import { nextRound } from '../../platform/next-round.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import type {
  ControlReplies,
  ControlRequest,
  DeviceInfo,
  FunctionFacts,
  HostInfo,
  InjectRequest,
  PteWritesReply,
  SetParameterRequest,
  TimelineReply,
  UnitInfo,
} from '../abi/control.ts';
import { CONTROL_PATH } from '../abi/wire.ts';
import type { PteLog } from '../bus/pte-log.ts';
import type { BoardClient } from './board/board-client.ts';
import type { KexecPermission, SentMessages } from './board/protocol.ts';
import type { FileOperations } from './core/open-file.ts';

/** A PCI function. */
export interface ControlledDevice {
  readonly name: string;
  readonly bdf: number;
  info(interruptsSent: number): DeviceInfo;
  facts(): FunctionFacts;
  /** As RomRequest. */
  romImages(offset: number): Uint8Array;
  timeline(fromNs: number, toNs: number): TimelineReply;
  /** It has no driver any more. */
  readonly gone: boolean;
  /** As Unbinding.begin. */
  unbind(): Promise<void>;
  /** Its port has been told of an error. */
  errorDetected(): void;
}

/** An IOMMU unit. */
export interface ControlledUnit {
  info(unit: number): UnitInfo;
  /** False when the unit has nothing mapped. */
  touchPte(): boolean;
}

/**
 * The parts of the host that the control device reports on and changes. Each fact comes from its
 * owner.
 */
export interface ControlledHost {
  readonly facts: Pick<HostInfo, 'profile' | 'memlock' | 'kernel'>;
  readonly devices: readonly ControlledDevice[];
  readonly units: readonly ControlledUnit[];
  readonly vfio: { info(): Pick<HostInfo, 'groups' | 'containers'> };
  readonly type1: Pick<HostInfo, 'busyContainers'> & { parameter(name: string): (text: string) => void };
  readonly pinner: Pick<HostInfo, 'pinnedPages'>;
  /** The kernel is to make room for the next one, which finds what outlives it or does not. */
  readonly kexec: (keeps: boolean) => void;
  /** Of the page tables that outlive the kernel; null: there are none. */
  readonly tablesHash: () => string | null;
  readonly pteLog: Pick<PteLog, 'since'>;
  readonly pkernfs: () => HostInfo['pkernfs'];
  readonly clients: () => HostInfo['clients'];
  readonly board: Pick<BoardClient, 'send'>;
}

/** One open file of the control device. Its release has nothing to clean up. */
export class ControlFile implements FileOperations {
  readonly name = CONTROL_PATH;
  readonly #host: ControlledHost;
  readonly #privileged: boolean;

  /** `privileged`: root or the host's user opened the file. */
  constructor(host: ControlledHost, privileged: boolean) {
    this.#host = host;
    this.#privileged = privileged;
  }

  ioctl(nr: number): number {
    throw enotty(`ioctl ${hex(nr)} on ${CONTROL_PATH}`);
  }

  /** Returns the reply whose type belongs to the request (ControlReplies). */
  control(request: ControlRequest): unknown {
    const { board } = this.#host;
    switch (request.op) {
      case 'info':
        return this.#info();
      case 'functions':
        return this.#devices.map((device) => device.facts());
      case 'rom':
        return { bytes: this.#device(request.bdf).romImages(request.offset) };
      case 'timeline':
        return this.#device(request.bdf).timeline(request.fromNs, request.toNs);
      case 'ram-hash':
        return board.send({ op: 'ram-hash', sliceBytes: request.sliceBytes });
      case 'stop-device':
        return board.send({ op: 'stop-device', bdf: this.#device(request.bdf).bdf });
      case 'inject':
        return this.#inject(request);
      case 'tables-hash':
        return { sha256: this.#host.tablesHash() };
      case 'pte-writes':
        return pteWrites(this.#host.pteLog, request.fromNs);
      case 'kexec-load':
        this.#mayKexec();
        return board.send({ op: 'load-kernel', target: request.target });
      case 'kexec-unload':
        this.#mayKexec();
        return board.send({ op: 'unload-kernel' });
      case 'kexec':
        this.#mayKexec();
        return this.#kexec(request.target);
      case 'unplug':
        if (!this.#privileged) throw eacces('devices are unplugged by root and the user of the host');
        return this.#device(request.bdf)
          .unbind()
          .then(() => ({}));
      case 'set-parameter':
        return this.#setParameter(request);
    }
  }

  release(): void {}

  /** Those that are plugged in. */
  get #devices(): readonly ControlledDevice[] {
    return this.#host.devices.filter(({ gone }) => !gone);
  }

  #device(bdf: string | undefined): ControlledDevice {
    const device = this.#devices.find(({ name }) => name === bdf);
    if (!device) throw enodev(`no device ${bdf}`);
    return device;
  }

  async #inject({ defect, bdf }: InjectRequest): Promise<ControlReplies['inject']> {
    if (defect !== 'touch-pte') {
      const device = this.#device(bdf);
      await this.#host.board.send({ op: 'inject', bdf: device.bdf, defect });
      if (defect === 'uncorrectable-error') device.errorDetected();
      return {};
    }
    if (!this.#host.units.some((unit) => unit.touchPte())) throw einval('no page is mapped');
    return {};
  }

  #mayKexec(): void {
    if (!this.#privileged) throw eacces('a kexec is for root and the user of the host');
  }

  /** EBUSY: one is under way; ENOENT, ENOEXEC: no kernel in the folder `target` can come next. */
  async #kexec(target: string | undefined): Promise<ControlReplies['kexec']> {
    const { board, kexec } = this.#host;
    const { keeps } = (await board.send({ op: 'kexec', target })) as KexecPermission;
    nextRound(() => kexec(keeps)); // after the answer
    return {};
  }

  #setParameter({ name, value }: SetParameterRequest): ControlReplies['set-parameter'] {
    const set = this.#host.type1.parameter(name);
    if (!this.#privileged) throw eacces('module parameters are set by root and the user of the host');
    set(value);
    return {};
  }

  async #info(): Promise<HostInfo> {
    const { facts, units, vfio, type1, pinner, clients, board, pkernfs } = this.#host;
    const sent = (await board.send({ op: 'sent-messages' })) as SentMessages;
    return {
      ...facts,
      pid: process.pid,
      nowNs: monotonicNs(),
      pinnedPages: pinner.pinnedPages,
      busyContainers: type1.busyContainers,
      devices: this.#devices.map((device) => device.info(sent.get(device.bdf) ?? 0)),
      ...vfio.info(),
      units: units.map((unit, number) => unit.info(number)),
      pkernfs: pkernfs(),
      clients: clients(),
    };
  }
}

function pteWrites(log: Pick<PteLog, 'since'>, fromNs: number): PteWritesReply {
  const { runs, whole } = log.since(fromNs);
  const word = (hi: number, lo: number): string => hex((BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0));
  return {
    whole,
    writes: runs.map(({ vpn, oldHi, oldLo, newHi, newLo, pid, ...run }) => ({
      ...{ timeNs: run.timeNs, unit: run.unit, level: run.level, count: run.count, kernel: run.kernel },
      iova: hex(vpn * PAGE_SIZE),
      before: word(oldHi, oldLo),
      after: word(newHi, newLo),
      pid: pid === 0 ? null : pid,
    })),
  };
}
