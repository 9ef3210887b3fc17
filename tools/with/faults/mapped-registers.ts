/** The registers that the threads of a program have mapped, and the ways to reach them. */
import { offsetOfPlace } from '../../../iommu/abi/device-object.ts';
import { codeOf, efault, esrch } from '../../../platform/errno.ts';
import { close } from '../../../platform/libc/fd.ts';
import { processVmRead, processVmWrite } from '../../../platform/libc/other-process.ts';
import { connectUnix } from '../../../platform/libc/unix-socket.ts';
import { AddressSpace } from '../../../platform/process.ts';
import { processOf } from '../../../platform/process-status.ts';
import { Conversation } from '../../../vmm/client/task-channel.ts';
import type { Bus } from './x64/bus.ts';

/** A thread that has run into registers. */
interface Entered {
  readonly pid: number;
  readonly socket: number;
  readonly kernel: Conversation;
  readonly space: AddressSpace;
}

export class MappedRegisters {
  readonly #socketPath: string;
  readonly #threads = new Map<number, Entered>();

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** Whether `vaddr` is in a mapping of a device. */
  areAt(tid: number, vaddr: number): boolean {
    return isOfDevice(this.#enter(tid).space, vaddr);
  }

  /** The memory of a thread: what is not a device's is the thread's own. */
  busOf(tid: number): Bus {
    const { space, kernel } = this.#enter(tid);
    return {
      load(address, length) {
        const vaddr = Number(address);
        if (isOfDevice(space, vaddr)) return kernel.ask({ op: 'load', vaddr, length }, 'load').out!;
        const bytes = new Uint8Array(length);
        if (processVmRead(tid, vaddr, bytes) < length) throw efault('load');
        return bytes;
      },
      store(address, data) {
        const vaddr = Number(address);
        if (isOfDevice(space, vaddr)) kernel.ask({ op: 'store', vaddr, data }, 'store');
        else if (processVmWrite(tid, vaddr, data) < data.length) throw efault('store');
      },
    };
  }

  #enter(tid: number): Entered {
    const known = this.#threads.get(tid);
    if (known) return known;
    const pid = processOf(tid);
    if (pid === undefined) throw esrch(`no thread ${tid}`);
    const space = new AddressSpace(pid);
    let socket: number | undefined;
    try {
      socket = connectUnix(this.#socketPath);
      const kernel = new Conversation(socket);
      kernel.ask({ task: tid, pid }, `thread ${tid}`);
      const entered = { pid, socket, kernel, space };
      this.#threads.set(tid, entered);
      return entered;
    } catch (error) {
      space.close();
      if (socket !== undefined) close(socket);
      throw error;
    }
  }

  /** The thread has ended. */
  forget(tid: number): void {
    const entered = this.#threads.get(tid);
    this.#threads.delete(tid);
    if (!entered) return;
    entered.space.close();
    close(entered.socket);
  }

  /** Process `pid` has become another image, whose threads enter anew. */
  execs(pid: number): void {
    for (const [tid, entered] of [...this.#threads]) if (entered.pid === pid) this.forget(tid);
  }
}

function isOfDevice(space: AddressSpace, vaddr: number): boolean {
  try {
    const vma = space.vmaAt(vaddr);
    return vma?.shared === true && offsetOfPlace(BigInt(vma.offset)) !== BigInt(vma.offset);
  } catch (error) {
    if (codeOf(error) === 'ESRCH') return false;
    throw error;
  }
}
