import { addressOf, bitsOf } from './address.ts';
import type { Core } from './core.ts';
import { decode } from './decode.ts';
import * as isa from './isa.ts';
import { isSemihostingCall, semihost } from './semihosting.ts';
import { raise, returnFromMachine, returnFromSupervisor } from './trap.ts';
import { executeCsr } from './zicsr.ts';

/** Of SFENCE.VMA: it names an address. */
const RS1 = 31 << 15;

/**
 * Executes the SYSTEM instruction `insn` at core.pc. Afterwards core.pc is at the instruction to
 * execute next; that is `next` unless `insn` jumps.
 */
export function executeSystem(core: Core, insn: number, next: number): void {
  const { csr } = core;
  const epc = bitsOf(core.pc);
  const { mode, mstatus } = csr;
  const inSupervisor = mode === isa.MODE_S;
  let legal: boolean;
  switch (decode(insn)?.name) {
    case 'ecall': // priv-isa §3.3.1: tval 0
      raise(core, isa.CAUSE_USER_ECALL + mode, 0n, epc);
      return;
    // tval is the address of the instruction, as QEMU has it (priv-isa §3.1.16 allows it or 0)
    case 'ebreak':
      if (next - core.pc === 4 && core.semihosting && isSemihostingCall(core.semihosting, core)) {
        if (semihost(core.semihosting, core)) core.pc = next;
        return;
      }
      raise(core, isa.CAUSE_BREAKPOINT, epc, epc);
      return;
    case 'mret': // §3.3.2
      legal = mode === isa.MODE_M;
      if (!legal) break;
      returnFromMachine(core);
      return;
    case 'sret': // §3.3.2, and TSR (§3.1.6.5)
      legal = mode !== isa.MODE_U && !(inSupervisor && mstatus & isa.MSTATUS_TSR);
      if (!legal) break;
      returnFromSupervisor(core);
      return;
    // §3.3.3: the engine ends the waiting if something is pending already. TW (§3.1.6.5): the time
    // that it allows is 0 here. In U mode WFI is illegal, since there is S mode.
    case 'wfi':
      legal = mode === isa.MODE_M || (inSupervisor && !(mstatus & isa.MSTATUS_TW));
      if (legal) core.waiting = true;
      break;
    case 'sfence.vma': // §10.2.1, and TVM (§3.1.6.5)
      legal = mode === isa.MODE_M || (inSupervisor && !(mstatus & isa.MSTATUS_TVM));
      if (!legal) break;
      if (insn & RS1) core.mmu.flushAddress(addressOf(core.x[(insn >>> 15) & 31]!));
      else csr.stale = true;
      break;
    default:
      legal = (insn & 0x3000) !== 0 && executeCsr(core, insn);
  }
  if (legal) core.pc = next;
  else raise(core, isa.CAUSE_ILLEGAL_INSTRUCTION, BigInt(insn >>> 0), epc);
}
