import type { Core } from './core.ts';
import { CAUSE_BREAKPOINT, CAUSE_ILLEGAL_INSTRUCTION, CAUSE_MACHINE_ECALL } from './isa.ts';
import { pcValue, raise, returnFromTrap } from './trap.ts';
import { executeCsr } from './zicsr.ts';

const ECALL = 0x0000_0073;
const EBREAK = 0x0010_0073;
const WFI = 0x1050_0073;
const MRET = 0x3020_0073;

/**
 * Executes the SYSTEM instruction `insn` at core.pc. Afterwards core.pc is at the instruction to
 * execute next; that is `next` unless `insn` jumps.
 */
export function executeSystem(core: Core, insn: number, next: number): void {
  const mepc = pcValue(core.pc);
  switch (insn) {
    case ECALL: // priv-isa §3.3.1: mtval 0
      raise(core, CAUSE_MACHINE_ECALL, 0n, mepc);
      break;
    // mtval is the address of the instruction, as QEMU has it (priv-isa §3.1.16 allows it or 0)
    case EBREAK:
      raise(core, CAUSE_BREAKPOINT, mepc, mepc);
      break;
    case MRET:
      returnFromTrap(core);
      break;
    case WFI: // priv-isa §3.3.3; the engine ends the waiting if something is pending already
      core.waiting = true;
      core.pc = next;
      break;
    default:
      if ((insn & 0x3000) !== 0 && executeCsr(core, insn)) core.pc = next;
      else raise(core, CAUSE_ILLEGAL_INSTRUCTION, BigInt(insn >>> 0), mepc);
  }
}
