import type { Core } from './core.ts';
import type { ControlStatus } from './csr.ts';
import {
  CSR_CYCLE,
  CSR_INSTRET,
  CSR_MIP,
  CSR_MTOPEI,
  CSR_MVIP,
  CSR_SATP,
  CSR_SIP,
  CSR_STIMECMP,
  CSR_STOPEI,
} from './csr-numbers.ts';
import { csrAt } from './csr-table.ts';
import { ENVCFG_STCE, MODE_M, MODE_S, MSTATUS_TVM } from './isa.ts';

/**
 * CSRRW, CSRRS, CSRRC and their immediate forms (unpriv-isa §7). False: the instruction is illegal
 * and did nothing.
 */
export function executeCsr({ csr, x }: Core, insn: number): boolean {
  const address = insn >>> 20;
  const source = (insn >>> 15) & 31; // rs1, or the immediate itself
  const funct3 = (insn >>> 12) & 7;
  const rd = (insn >>> 7) & 31;
  const operand = funct3 & 4 ? BigInt(source) : BigInt.asUintN(64, x[source]!);
  // CSRRS and CSRRC with x0 or 0 do not write at all: read-only CSRs allow that, and mtopei and
  // stopei claim nothing.
  const writes = (funct3 & 3) === 1 || source !== 0;
  if (!isAllowed(csr, address, writes)) return false;

  // Reading and claiming mtopei or stopei is one step: an interrupt that arrives between the two
  // must not be claimed unseen.
  if (writes && (address === CSR_MTOPEI || address === CSR_STOPEI)) {
    const file = address === CSR_MTOPEI ? csr.file : csr.supervisorFile;
    if (!file) return false;
    x[rd] = BigInt(file.claim());
    return true;
  }
  const access = csrAt(address);
  const old = access?.read(csr);
  if (access === undefined || old === undefined) return false;
  if (writes) {
    // A set or clear of bits in mip must not turn a line that is up into a bit that software has
    // set (priv-isa §3.1.9, of SEIP).
    const base = isPending(address) ? BigInt(csr.softPending) : old;
    const value = (funct3 & 3) === 1 ? operand : (funct3 & 3) === 2 ? base | operand : base & ~operand;
    if (access.write?.(csr, value) === false) return false;
  }
  x[rd] = old;
  return true;
}

const isPending = (address: number): boolean => address === CSR_MIP || address === CSR_SIP || address === CSR_MVIP;

/** What allows an access beside the CSR's own rules. */
function isAllowed(csr: ControlStatus, address: number, writes: boolean): boolean {
  // csr[9:8] is the lowest mode that may access it; csr[11:10] = 3 is read only (priv-isa §2.1)
  const lowest = (address >> 8) & 3;
  if (lowest === 2 || lowest > csr.mode) return false;
  if (writes && address >> 10 === 3) return false;
  if (csr.mode === MODE_M) return true;
  // priv-isa §3.1.6.5
  if (address === CSR_SATP) return (csr.mstatus & MSTATUS_TVM) === 0;
  // priv-isa §3.1.11, §10.1.5
  if (address >= CSR_CYCLE && address <= CSR_INSTRET) {
    const bit = 1 << (address - CSR_CYCLE);
    return (csr.mcounteren & bit) !== 0 && (csr.mode === MODE_S || (csr.scounteren & bit) !== 0);
  }
  // Sstc: mcounteren.TM and menvcfg.STCE
  if (address === CSR_STIMECMP) return (csr.mcounteren & 2) !== 0 && (csr.menvcfg & ENVCFG_STCE) !== 0n;
  return true;
}
