/**
 * Traces a program and all that it starts (ptrace(2)), and makes its accesses to mapped registers.
 * At such a mapping there are no bytes (iommu/abi/device-object.ts), so an access is a SIGBUS. The
 * thread stops for it; the access is made in the emulated kernel, and the thread goes on behind the
 * instruction. Everything else that stops a thread is none of our business, and passed on.
 */
import { codeOf, SysError } from '../../../platform/errno.ts';
import { processVmRead } from '../../../platform/libc/other-process.ts';
import {
  detach,
  faultOf,
  goOn,
  nextStop,
  PTRACE_EVENT_EXEC,
  PTRACE_EVENT_EXIT,
  PTRACE_EVENT_STOP,
  setUserFpregs,
  setUserRegs,
  setUserXstate,
  stayStopped,
  type TraceStop,
  userFpregs,
  userRegs,
  userXstate,
} from '../../../platform/libc/ptrace.ts';
import { MappedRegisters } from './mapped-registers.ts';
import { Cpu } from './x64/cpu.ts';
import { execute } from './x64/execute.ts';
import { MAX_LENGTH } from './x64/instruction.ts';

const SIGTRAP = 5;
const SIGBUS = 7;

export class FaultHandler {
  readonly #registers: MappedRegisters;
  readonly #say: (line: string) => void;

  /** `say` gets a line about an access that is not made. */
  constructor(socketPath: string, say: (line: string) => void) {
    this.#registers = new MappedRegisters(socketPath);
    this.#say = say;
  }

  /** Until no traced thread is left. */
  run(): void {
    for (;;) {
      let stop: TraceStop;
      try {
        stop = nextStop();
      } catch (error) {
        if (codeOf(error) !== 'ECHILD') throw error;
        return;
      }
      try {
        this.#stopped(stop);
      } catch (error) {
        if (codeOf(error) !== 'ESRCH') throw error; // it has been killed meanwhile
      }
    }
  }

  #stopped({ tid, signal, event }: TraceStop): void {
    if (signal === undefined) this.#registers.forget(tid);
    else if (event === PTRACE_EVENT_STOP && signal !== SIGTRAP) stayStopped(tid);
    else if (event === PTRACE_EVENT_EXIT) {
      this.#registers.forget(tid);
      detach(tid); // else its parent could wait for it only after us
    } else if (event !== 0) {
      if (event === PTRACE_EVENT_EXEC) this.#registers.execs(tid);
      goOn(tid, 0);
    } else goOn(tid, signal === SIGBUS && this.#isAccess(tid) ? 0 : signal);
  }

  /** The thread has run into a mapped register, and the access is made. False: it gets SIGBUS. */
  #isAccess(tid: number): boolean {
    const { code, vaddr } = faultOf(tid);
    if (code <= 0) return false;
    try {
      return this.#registers.areAt(tid, vaddr) && this.#access(tid);
    } catch (error) {
      // A bus error, as the hardware would say it; or the host has no room for another thread.
      if (!(error instanceof SysError) || error.code === 'ESRCH') throw error;
      return false;
    }
  }

  #access(tid: number): boolean {
    const regs = userRegs(tid);
    let floats: Uint8Array | undefined;
    const read = (): Uint8Array => {
      floats ??= userFpregs(tid);
      return floats;
    };
    const cpu = new Cpu(regs, {
      read,
      write: (changed) => setUserFpregs(tid, changed),
      readWhole: () => userXstate(tid),
      writeWhole: (area) => setUserXstate(tid, area),
    });
    if (!cpu.is64Bit) return false;
    const code = new Uint8Array(MAX_LENGTH);
    const bytes = code.subarray(0, processVmRead(tid, Number(cpu.rip), code));
    if (!execute(bytes, cpu, this.#registers.busOf(tid))) {
      this.#say(`thread ${tid}: --map-registers does not know the instruction ${Buffer.from(bytes).toString('hex')}`);
      return false;
    }
    setUserRegs(tid, regs);
    return true;
  }
}
