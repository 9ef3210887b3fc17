/**
 * Requests of the kernel to the board's main thread. The kernel waits for calls (the memory map),
 * and does not wait for errands (hashes, defects).
 */
import type { MessagePort } from 'node:worker_threads';
import type { RamHashReply } from '../../iommu/abi/control.ts';
import { answerBoardCall } from '../../iommu/bus/board-reply.ts';
import type {
  BoardAnswer,
  BoardCall,
  BoardErrand,
  BoardRequest,
  KexecPermission,
  SentMessages,
} from '../../iommu/kernel/board/protocol.ts';
import { errnoNumber, SysError } from '../../platform/errno.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import type { Defect } from '../kit/control.ts';
import type { MemoryMap } from './memory-map.ts';

/** The parts of the board that an errand needs. */
export interface Errands {
  ramHash(sliceBytes: number): Promise<RamHashReply>;
  sentMessages(): SentMessages;
  halt(bdf: number, on: boolean): Promise<void>;
  inject(bdf: number, defect: Defect): void;
  /** ENOENT, ENOEXEC: there is no kernel that can come next; EBUSY: a kexec is under way. */
  loadKernel(target: string | undefined): Promise<void>;
  unloadKernel(): Promise<void>;
  /** The kernel that asks is about to go down; errors as loadKernel: it must not. */
  kexec(target: string | undefined): Promise<KexecPermission>;
}

const EIO = errnoNumber('EIO');

export class KernelRequests {
  readonly #port: MessagePort;
  readonly #reply: SharedArrayBuffer;
  readonly #memory: MemoryMap;
  readonly #errands: Errands;

  constructor(port: MessagePort, reply: SharedArrayBuffer, memory: MemoryMap, errands: Errands) {
    this.#port = port;
    this.#reply = reply;
    this.#memory = memory;
    this.#errands = errands;
    port.on('message', (request: BoardRequest) => {
      if ('seq' in request) this.#call(request);
      else void this.#errand(request);
    });
  }

  /** Answers a call. The kernel's thread waits until then. */
  #call(call: BoardCall): void {
    try {
      answerBoardCall(this.#reply, call.seq, { pfn: this.#carryOut(call) / PAGE_SIZE });
    } catch (error) {
      answerBoardCall(this.#reply, call.seq, { errno: error instanceof SysError ? error.errno : EIO });
    }
  }

  /** Carries a call out. Returns the start of the range, for calls that give one. */
  #carryOut(call: BoardCall): number {
    switch (call.op) {
      case 'attach-object':
        return this.#memory.attachObject(call.fd, call.size);
      case 'attach-process':
        return this.#memory.attachProcess(call.memFd, call.vaddr, call.size);
      case 'attach-reserved':
        this.#memory.attachReserved(call.start, call.size);
        return call.start;
      case 'detach':
        this.#memory.detach(call.start);
        return 0;
    }
  }

  async #errand(errand: BoardErrand): Promise<void> {
    const { id } = errand;
    let answer: BoardAnswer;
    try {
      answer = { id, reply: await this.#run(errand) };
    } catch (error) {
      const errno = error instanceof SysError ? error.errno : EIO;
      answer = { id, errno, message: (error as Error).message };
    }
    this.#port.postMessage(answer);
  }

  async #run(errand: BoardErrand): Promise<RamHashReply | SentMessages | KexecPermission | Record<string, never>> {
    switch (errand.op) {
      case 'ram-hash':
        return this.#errands.ramHash(errand.sliceBytes);
      case 'sent-messages':
        return this.#errands.sentMessages();
      case 'stop-device':
        await this.#errands.halt(errand.bdf, true);
        return {};
      case 'load-kernel':
        await this.#errands.loadKernel(errand.target);
        return {};
      case 'unload-kernel':
        await this.#errands.unloadKernel();
        return {};
      case 'kexec':
        return this.#errands.kexec(errand.target);
      case 'inject':
        this.#errands.inject(errand.bdf, errand.defect);
        return {};
    }
  }

  close(): void {
    this.#port.close();
  }
}
